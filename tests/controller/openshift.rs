//! OpenShift's objects, as far as a Kubernetes without OpenShift can judge them: their definition, and who may use them. That a pod of
//! a privileged mover is within the constraints is tested where it is built (src/resources/job/tests/constraints.rs).

use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::world::World;

const MANIFESTS: &str = include_str!("../../deploy/openshift/privileged-movers.yaml");
const DEFINITION: &str = "securitycontextconstraints.security.openshift.io";
const CONSTRAINTS: &str = "volsync-privileged-mover";

/// `SecurityContextConstraints` of `security.openshift.io/v1`: its fields, their types, and which of them must be there, as OpenShift's
/// API reference has them. Of strategies only what every one has.
fn definition() -> CustomResourceDefinition {
    let switches = [
        "allowHostDirVolumePlugin",
        "allowHostIPC",
        "allowHostNetwork",
        "allowHostPID",
        "allowHostPorts",
        "allowPrivilegedContainer",
        "readOnlyRootFilesystem",
    ];
    let lists = ["allowedCapabilities", "defaultAddCapabilities", "requiredDropCapabilities", "volumes"];
    let required: Vec<_> = [&switches[..], &lists, &["priority"]].concat();
    let switch = json!({"type": "boolean"});
    let list = json!({"type": "array", "items": {"type": "string"}, "nullable": true});
    let strategy = json!({"type": "object", "properties": {"type": {"type": "string"}}, "nullable": true});
    let mut properties = json!({"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
        "priority": {"type": "integer", "format": "int32", "nullable": true}});
    let fields = [
        (&switches[..], &switch),
        (&["allowPrivilegeEscalation", "defaultAllowPrivilegeEscalation"], &switch),
        (&lists, &list),
        (&["seccompProfiles", "users", "groups", "allowedUnsafeSysctls", "forbiddenSysctls"], &list),
        (&["runAsUser", "seLinuxContext", "fsGroup", "supplementalGroups"], &strategy),
    ];
    for (name, schema) in fields.into_iter().flat_map(|(names, schema)| names.iter().map(move |name| (name, schema))) {
        properties[*name] = schema.clone();
    }
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": properties, "required": required}});
    serde_json::from_value(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION}, "spec": {"group": "security.openshift.io", "scope": "Cluster",
            "names": {"kind": "SecurityContextConstraints", "plural": "securitycontextconstraints"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}}))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn openshifts_objects_are_valid_and_serve_those_namespaces_that_were_let() {
    let world = World::new().await;
    let definitions = Api::<CustomResourceDefinition>::all(world.client.clone());
    definitions.patch(DEFINITION, &PatchParams::apply("test"), &Patch::Apply(definition())).await.unwrap();
    await_condition(definitions, DEFINITION, is_crd_established()).await.unwrap();

    let manifests: Vec<Value> = serde_yaml_ng::Deserializer::from_str(MANIFESTS)
        .map(|document| Value::deserialize(document).unwrap())
        .collect();
    let [constraints, role] = &manifests[..] else { panic!("{manifests:?}") };
    let kind = GroupVersionKind::gvk("security.openshift.io", "v1", "SecurityContextConstraints");
    let kind = ApiResource::from_gvk_with_plural(&kind, "securitycontextconstraints");
    let parameters = PatchParams::apply("test").validation_strict();
    let api = Api::<DynamicObject>::all_with(world.client.clone(), &kind);
    let made = api.patch(CONSTRAINTS, &parameters, &Patch::Apply(constraints)).await.unwrap();
    for (field, value) in constraints.as_object().unwrap() {
        assert!(["apiVersion", "kind", "metadata"].contains(&field.as_str()) || made.data[field] == *value, "{field}");
    }
    let roles = Api::<ClusterRole>::all(world.client.clone());
    roles.patch("doppel-privileged-mover", &parameters, &Patch::Apply(role)).await.unwrap();

    let account = format!("system:serviceaccount:{}:volsync-src-x", world.namespace);
    assert!(!may_use(&world, &account, &world.namespace).await, "nobody has let this namespace");
    // docs/openshift.md
    let binding = json!({"metadata": {"name": "doppel-privileged-mover"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "doppel-privileged-mover"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
            "name": format!("system:serviceaccounts:{}", world.namespace)}]});
    world.create::<RoleBinding>(binding).await;
    // The authorizer learns of bindings by a watch.
    let mut looks = 0;
    while !may_use(&world, &account, &world.namespace).await {
        looks += 1;
        assert!(looks < 200, "it was let, and may not");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        !may_use(&world, "system:serviceaccount:default:volsync-src-x", &world.namespace).await,
        "another's account"
    );
    assert!(!may_use(&world, &account, "default").await, "in another namespace");
}

/// Whether the API server lets this account use the constraints in this namespace, which is what OpenShift asks it.
async fn may_use(world: &World, account: &str, namespace: &str) -> bool {
    let groups = account.split(':').nth(2).map(|of| format!("system:serviceaccounts:{of}"));
    let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {"user": account,
        "groups": ["system:serviceaccounts", groups, "system:authenticated"],
        "resourceAttributes": {"group": "security.openshift.io", "resource": "securitycontextconstraints",
            "name": CONSTRAINTS, "verb": "use", "namespace": namespace}}}))
    .unwrap();
    let answer = Api::all(world.client.clone()).create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}
