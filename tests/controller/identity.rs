//! As whom movers run: privilege that is given and withdrawn, Secrets for pulling their image.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, Namespace, PodSpec, Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;
use doppel::replication::{Context, reconcile};

use super::faults::Mortal;
use super::world::World;

const JOB: &str = "volsync-rsync-tls-src-x";

fn source() -> Value {
    json!({"sourcePVC": "data", "trigger": {"manual": "one"},
        "rsyncTLS": {"copyMethod": "Direct", "address": "192.0.2.1"}})
}

async fn passes(world: &World, operator: &Arc<Context>, count: usize) -> ReplicationSource {
    for _ in 0..count {
        let _ = reconcile(Arc::new(world.object::<ReplicationSource>().await), operator.clone()).await;
    }
    world.object::<ReplicationSource>().await
}

async fn allow_privilege(world: &World, value: Option<&str>) {
    let patch = json!({"metadata": {"annotations": {"volsync.backube/privileged-movers": value}}});
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces.patch(&world.namespace, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

fn pod(job: &Job) -> &PodSpec {
    job.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

fn is_root(container: &Container) -> bool {
    container.security_context.as_ref().unwrap().run_as_user == Some(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_is_withdrawn_stops_the_mover_that_has_it() {
    let world = World::new().await;
    world.create_claim("data").await;
    allow_privilege(&world, Some("True")).await;
    world.create_object::<ReplicationSource>(source()).await;
    let operator = world.operator(&Mortal::immortal());
    passes(&world, &operator, 4).await;
    let privileged = world.api::<Job>().get(JOB).await.unwrap();
    assert!(is_root(&pod(&privileged).containers[0]));
    world.start_pod(&privileged.uid().unwrap()).await;
    allow_privilege(&world, None).await;
    passes(&world, &operator, 1).await;
    let stopped = world.api::<Job>().get(JOB).await.unwrap();
    assert!(stopped.metadata.deletion_timestamp.is_some(), "it goes when its pod is gone");
    world.drop_job_finalizers(JOB).await;
    passes(&world, &operator, 1).await;
    let unprivileged = world.api::<Job>().get(JOB).await.unwrap();
    assert_ne!(unprivileged.uid(), privileged.uid());
    let container = &pod(&unprivileged).containers[0];
    assert!(
        !is_root(container)
            && container.security_context.as_ref().unwrap().capabilities.as_ref().unwrap().add.is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_for_pulling_the_image_is_copied_to_where_its_mover_runs() {
    let mut world = World::new().await;
    world.pull_secrets = vec!["registry".to_owned(), "absent".to_owned()];
    let config = "{\"auths\":{}}";
    world
        .create::<Secret>(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}}))
        .await;
    world.create_claim("data").await;
    world.create_object::<ReplicationSource>(source()).await;
    let operator = world.operator(&Mortal::immortal());
    passes(&world, &operator, 4).await;
    let job = world.api::<Job>().get(JOB).await.unwrap();
    let named = pod(&job).image_pull_secrets.clone().unwrap();
    let [only] = &named[..] else { panic!("{named:?}") };
    let copy = world.api::<Secret>().get(&only.name).await.unwrap();
    assert_eq!(copy.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    assert_eq!(copy.data.as_ref().unwrap()[".dockerconfigjson"].0, config.as_bytes());
    assert_eq!(copy.owner_references()[0].name, "x", "it goes with the object it was made for");

    world.delete::<Secret>(&only.name).await;
    passes(&world, &operator, 1).await;
    assert!(world.api::<Secret>().get_opt(&only.name).await.unwrap().is_some(), "its mover has not started yet");
    let ours = ListParams::default().labels("app.kubernetes.io/created-by=volsync");
    let secrets = world.api::<Secret>().list(&ours).await.unwrap();
    assert_eq!(secrets.items.len(), 2, "the key and one copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_of_the_users_is_waited_for_and_brings_its_own_secrets() {
    let mut world = World::new().await;
    world.pull_secrets = vec!["registry".to_owned()];
    world.create_key("registry", "x").await;
    world.create_claim("data").await;
    let mut spec = source();
    spec["rsyncTLS"]["moverServiceAccount"] = json!("mine");
    world.create_object::<ReplicationSource>(spec).await;
    let operator = world.operator(&Mortal::immortal());
    let object = passes(&world, &operator, 3).await;
    let message = object.status().condition.unwrap().message;
    assert!(
        message.starts_with("spec.rsyncTLS.moverServiceAccount: ServiceAccount \"mine\" does not exist"),
        "{message}"
    );
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mine"}});
    world.create::<ServiceAccount>(account).await;
    passes(&world, &operator, 1).await;
    let job = world.api::<Job>().get(JOB).await.unwrap();
    assert_eq!(pod(&job).service_account_name.as_deref(), Some("mine"));
    assert_eq!(pod(&job).image_pull_secrets, None);
}
