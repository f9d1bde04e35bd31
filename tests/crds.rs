//! The CRDs are what VolSync's are, and `crds/` holds them as they are now.

#![cfg(test)]

#[path = "crds/paths.rs"]
mod paths;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

const COMMITTED: &str = include_str!("../crds/crds.yaml");

#[test]
fn the_committed_crds_are_fresh() {
    let fresh = doppel::crd::yaml().unwrap();
    assert!(fresh == COMMITTED, "crds/crds.yaml is stale; run: cargo run --quiet -- crds > crds/crds.yaml");
}

#[test]
fn nothing_is_required_that_volsync_does_not_require() {
    for (crd, own) in [
        (
            source(),
            json!({
                ".spec.syncthing.peers[]": ["ID", "address", "introducer"],
                ".status.syncthing.peers[]": ["ID", "address", "connected"],
            }),
        ),
        (destination(), json!({".status.latestImage": ["kind", "name"]})),
    ] {
        let mut expected: BTreeMap<String, Value> = serde_json::from_value(own).unwrap();
        expected.insert(
            ".status.conditions[]".into(),
            json!(["lastTransitionTime", "message", "reason", "status", "type"]),
        );
        for section in ["rsyncTLS", "rclone", "restic", "syncthing"] {
            if schema(&crd)["properties"]["spec"]["properties"].get(section).is_some() {
                let path = format!(".spec.{section}.moverVolumes[]");
                expected.insert(path, json!(["mountPath", "volumeSource"]));
            }
        }
        let mut found = BTreeMap::new();
        walk(schema(&crd), &mut |path, node| {
            if let Some(required) = node.get("required").filter(|_| !is_foreign(path)) {
                let mut names: Vec<&str> = required.as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
                names.sort_unstable();
                found.insert(path.to_owned(), json!(names));
            }
        });
        assert_eq!(found, expected);
    }
}

#[test]
fn patterns_stand_where_volsync_has_them_and_nowhere_else() {
    for crd in [source(), destination()] {
        walk(schema(&crd), &mut |path, node| {
            let pattern = node["pattern"].as_str();
            if node["x-kubernetes-int-or-string"] == true {
                assert!(pattern.is_some_and(|p| p.starts_with(r"^(\+|-)?(([0-9]+")), "{path}");
                assert_eq!(node["anyOf"], json!([{"type": "integer"}, {"type": "string"}]), "{path}");
            } else if path == ".spec.trigger.schedule" {
                let volsync = r"^(@(annually|yearly|monthly|weekly|daily|hourly))|((((\d+,)*\d+|(\d+(\/|-)\d+)|\*(\/\d+)?)\s?){5})$";
                assert_eq!(pattern, Some(volsync));
            } else if node["format"] == "date-time" {
                // All but the one that is text in the types: see `bound_time`.
                assert_eq!(pattern.is_some(), path != ".spec.restic.restoreAsOf", "{path}");
            } else if !path.starts_with(".status.conditions[]") {
                assert_eq!(pattern, None, "{path}");
            }
        });
    }
}

/// What an API server demands of a structural schema, and what would change the meaning of VolSync's manifests.
#[test]
fn the_schemas_are_structural_and_set_no_defaults() {
    for crd in [source(), destination()] {
        walk(schema(&crd), &mut |path, node| {
            assert!(node.get("type").is_some() || node["x-kubernetes-int-or-string"] == true, "{path}: no type");
            for unwanted in [
                "$ref",
                "oneOf",
                "allOf",
                "not",
                "nullable",
                "default",
                "x-kubernetes-preserve-unknown-fields",
                "title",
            ] {
                assert!(node.get(unwanted).is_none(), "{path}: {unwanted}");
            }
            if node["x-kubernetes-list-type"] == "map" {
                let required = node["items"]["required"].as_array().unwrap();
                let keys = node["x-kubernetes-list-map-keys"].as_array().unwrap();
                assert!(keys.iter().all(|key| required.contains(key)), "{path}: an optional key");
            }
        });
    }
}

/// What the schema lets through must fit the types: one object that does not would stop the watch on all of them.
#[test]
fn every_integer_is_bounded_by_its_type() {
    for crd in [source(), destination()] {
        walk(schema(&crd), &mut |path, node| {
            let limit = match (node["type"].as_str(), node["format"].as_str()) {
                (Some("integer"), Some("int32")) => 2_f64.powi(31),
                (Some("integer"), Some("int64")) => 2_f64.powi(63),
                (Some("integer" | "number"), format) => panic!("{path}: {format:?}"),
                _ => return,
            };
            assert!(node["minimum"].as_f64().is_some_and(|least| least >= -limit), "{path}");
            assert!(node["maximum"].as_f64().is_some_and(|most| most < limit), "{path}");
        });
    }
}

#[test]
fn every_field_has_a_description() {
    for crd in [source(), destination()] {
        walk(schema(&crd), &mut |path, node| {
            let needs_none = path.ends_with("[]") || path.ends_with("{}") || path == ".metadata";
            let description = node["description"].as_str().unwrap_or_default();
            assert!(needs_none || !description.is_empty(), "{path}");
            assert!(!description.contains('\n'), "{path}");
        });
    }
}

#[test]
fn the_columns_of_a_table_are_volsyncs_then_what_is_going_on() {
    let shared = [
        json!({"name": "Last sync", "jsonPath": ".status.lastSyncTime", "type": "string", "format": "date-time"}),
        json!({"name": "Duration", "jsonPath": ".status.lastSyncDuration", "type": "string"}),
        json!({"name": "Next sync", "jsonPath": ".status.nextSyncTime", "type": "string", "format": "date-time"}),
    ];
    let condition = |field: &str| format!(".status.conditions[?(@.type=='Synchronizing')].{field}");
    let ours = [
        json!({"name": "State", "jsonPath": condition("reason"), "type": "string"}),
        json!({"name": "Message", "jsonPath": condition("message"), "type": "string", "priority": 1}),
    ];
    let shared = [&shared[..], &ours].concat();
    let first = json!({"name": "Source", "jsonPath": ".spec.sourcePVC", "type": "string"});
    let columns = |crd: &Value| crd["spec"]["versions"][0]["additionalPrinterColumns"].clone();
    assert_eq!(columns(&destination()), json!(shared));
    assert_eq!(columns(&source()), json!([&[first], &shared[..]].concat()));
}

#[test]
fn the_names_are_volsyncs() {
    for (crd, plural, kind) in [
        (source(), "replicationsources", "ReplicationSource"),
        (destination(), "replicationdestinations", "ReplicationDestination"),
    ] {
        assert_eq!(crd["metadata"], json!({"name": format!("{plural}.volsync.backube")}));
        assert_eq!(
            crd["spec"]["names"],
            json!({"kind": kind, "plural": plural, "singular": kind.to_lowercase()}),
            "no short names and no categories"
        );
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1);
        assert_eq!(versions[0]["name"], "v1alpha1");
        assert_eq!(versions[0]["subresources"], json!({"status": {}}));
    }
}

/// The whole of a CRD must fit into the annotation of a client-side `kubectl apply`: the API server's limit for all
/// annotations of an object is 256 KiB.
#[test]
fn a_crd_can_be_applied_by_the_client() {
    for crd in [source(), destination()] {
        let bytes = serde_json::to_string(&crd).unwrap().len();
        assert!(bytes < 200 * 1024, "{bytes} bytes");
    }
}

#[test]
fn the_type_of_a_crd_takes_every_keyword_of_the_schemas() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    for crd in [source(), destination()] {
        let typed: CustomResourceDefinition = serde_json::from_value(crd.clone()).unwrap();
        let mut again = serde_json::to_value(typed).unwrap();
        let mut crd = crd;
        // Limits are floating point there: 0 becomes 0.0.
        make_numbers_comparable(&mut crd);
        make_numbers_comparable(&mut again);
        assert!(again == crd, "a keyword was lost");
    }
}

fn make_numbers_comparable(value: &mut Value) {
    match value {
        Value::Number(number) => *number = serde_json::Number::from_f64(number.as_f64().unwrap()).unwrap(),
        Value::Array(values) => values.iter_mut().for_each(make_numbers_comparable),
        Value::Object(fields) => fields.values_mut().for_each(make_numbers_comparable),
        _ => {}
    }
}

#[test]
fn a_foreign_type_keeps_its_topology_for_server_side_apply() {
    let mut atomic = BTreeSet::new();
    walk(schema(&source()), &mut |path, node| {
        if let Some(rest) = path.strip_prefix(".spec.rsyncTLS.moverAffinity.nodeAffinity.")
            && node["x-kubernetes-map-type"] == "atomic"
        {
            atomic.insert(rest.to_owned());
        }
    });
    let expected = [
        "preferredDuringSchedulingIgnoredDuringExecution[].preference",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[]",
    ];
    assert_eq!(atomic, expected.map(str::to_owned).into());
    let claims = "/properties/spec/properties/rsync/properties/moverResources/properties/claims";
    assert_eq!(schema(&source()).pointer(claims).unwrap()["x-kubernetes-list-map-keys"], json!(["name"]));
}

fn source() -> Value {
    doppel::crd::definitions().unwrap()[0].clone()
}

fn destination() -> Value {
    doppel::crd::definitions().unwrap()[1].clone()
}

fn schema(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn is_foreign(path: &str) -> bool {
    ["moverAffinity", "moverResources", "moverSecurityContext", "volumeSource"]
        .iter()
        .any(|name| path.split('.').any(|part| part == *name))
}

fn walk(node: &Value, visit: &mut impl FnMut(&str, &Value)) {
    fn inner(node: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        if !path.is_empty() {
            visit(path, node);
        }
        for (name, property) in node["properties"].as_object().into_iter().flatten() {
            inner(property, &format!("{path}.{name}"), visit);
        }
        if let Some(items) = node.get("items") {
            inner(items, &format!("{path}[]"), visit);
        }
        if let Some(values) = node.get("additionalProperties") {
            inner(values, &format!("{path}{{}}"), visit);
        }
    }
    inner(node, "", visit);
}
