//! Movers of restic repositories on the real API server.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;

use super::faults::Mortal;
use super::world::World;

const STORED: &str = r#"{"verdict":{"result":"complete"},"tally":{"entries":3,"bytes":5},"elapsedMs":5,"repository":
    {"snapshot":{"id":"1a2b3c4d","time":"2026-11-23T10:00:00.5Z"},"pruned":true,"unlocked":true,"snapshots":2,
    "newest":[{"id":"1a2b3c4d","time":"2026-11-23T10:00:00.5Z","bytes":5},{"id":"ffffffff","time":"2026-11-22T10:00:00Z","incomplete":true}]}}"#;
const NOTHING: &str =
    r#"{"verdict":{"result":"complete"},"tally":{},"elapsedMs":5,"repository":{"nothing":"no-repository"}}"#;

fn source(restic: &Value) -> Value {
    let mut spec = json!({"sourcePVC": "data", "trigger": {"manual": "one"},
        "restic": {"copyMethod": "Direct", "repository": "repository"}});
    spec["restic"].as_object_mut().unwrap().extend(restic.as_object().unwrap().clone());
    spec
}

/// Turns until a mover was started, and ends it with these words; then until the iteration is over.
async fn synchronize<K: Kind>(world: &mut World, words: &str) -> Job {
    let operator = world.operator(&Mortal::immortal());
    let mut started = None;
    for _ in 0..20 {
        let jobs = world.api::<Job>().list(&Default::default()).await.unwrap();
        if let Some(job) = jobs.into_iter().find(|job| world.jobs.insert(job.uid().unwrap())) {
            world.finish_pod(&job.uid().unwrap(), 0, words).await;
            started = Some(job);
            break;
        }
        let object = std::sync::Arc::new(world.object::<K>().await);
        doppel::replication::reconcile(object, operator.clone()).await.unwrap();
    }
    let started = started.unwrap();
    world.until(&operator, |object: &K| object.status().last_manual.is_some()).await;
    started
}

async fn told_until<K: Kind>(world: &mut World, words: &str) {
    let operator = world.operator(&Mortal::immortal());
    let message = |object: &K| object.status().condition.map(|condition| condition.message).unwrap_or_default();
    world.until(&operator, |object: &K| message(object).contains(words)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_leaves_its_cache_and_tells_what_the_repository_holds() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    world.create_repository("repository").await;
    world.create_object::<ReplicationSource>(source(&json!({"unlock": "one", "retain": {"daily": 2}}))).await;
    let job = synchronize::<ReplicationSource>(&mut world, STORED).await;
    assert_eq!(job.name_any(), "volsync-src-x");
    let cache = world.api::<PersistentVolumeClaim>().get("volsync-src-x-cache").await.unwrap();
    assert_eq!(cache.spec.unwrap().resources.unwrap().requests.unwrap()["storage"].0, "1Gi");
    let status = serde_json::to_value(world.object::<ReplicationSource>().await.status).unwrap();
    assert_eq!(status["restic"], json!({"lastPruned": "2026-11-23T10:00:01Z", "lastUnlocked": "one"}));
    let newest = json!([{"id": "1a2b3c4d", "time": "2026-11-23T10:00:00Z", "bytes": 5},
        {"id": "ffffffff", "time": "2026-11-22T10:00:00Z", "incomplete": true}]);
    assert_eq!(status["repository"], json!({"snapshots": 2, "newest": newest}));
    assert_eq!(status["latestMoverStatus"]["result"], "Successful");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_its_keys_is_named_and_a_right_one_goes_on() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    world.create_object::<ReplicationSource>(source(&json!({}))).await;
    told_until::<ReplicationSource>(&mut world, "spec.restic.repository: Secret \"repository\" does not exist").await;
    world.create_key("repository", "no repository").await;
    told_until::<ReplicationSource>(&mut world, "Secret \"repository\": secret is missing field: RESTIC_REPOSITORY")
        .await;
    let patch = |data: Value| Patch::Merge(json!({"stringData": data}));
    let secrets = world.api::<Secret>();
    let address = json!({"RESTIC_REPOSITORY": "/mnt/x", "RESTIC_PASSWORD": ""});
    secrets.patch("repository", &PatchParams::default(), &patch(address)).await.unwrap();
    told_until::<ReplicationSource>(&mut world, "secret is missing field: RESTIC_PASSWORD").await;
    assert!(world.jobs.is_empty(), "no mover starts without a password");
    let password = json!({"RESTIC_PASSWORD": "x"});
    secrets.patch("repository", &PatchParams::default(), &patch(password)).await.unwrap();
    synchronize::<ReplicationSource>(&mut world, STORED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_have_to_be_there_under_their_key() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    world.create_repository("repository").await;
    let ca = json!({"customCA": {"configMapName": "trust", "key": "ca.pem"}});
    world.create_object::<ReplicationSource>(source(&ca)).await;
    told_until::<ReplicationSource>(&mut world, "spec.restic.customCA.configMapName: ConfigMap \"trust\" does not")
        .await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trust"}, "data": {"other": "x"}});
    world.create::<ConfigMap>(map).await;
    told_until::<ReplicationSource>(&mut world, "ConfigMap \"trust\" is missing field: ca.pem").await;
    let patch = Patch::Merge(json!({"data": {"ca.pem": "PEM"}}));
    world.api::<ConfigMap>().patch("trust", &PatchParams::default(), &patch).await.unwrap();
    let job = synchronize::<ReplicationSource>(&mut world, STORED).await;
    let pod = serde_json::to_value(job.spec.unwrap().template.spec.unwrap()).unwrap();
    let volumes = pod["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume["configMap"]["name"] == "trust"), "{volumes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deployment_that_has_nothing_to_restore_succeeds_and_says_so() {
    let mut world = World::new().await;
    world.create_repository("repository").await;
    let spec = json!({"trigger": {"manual": "one"}, "restic": {"copyMethod": "Direct", "repository": "repository",
        "capacity": "1Gi", "accessModes": ["ReadWriteOnce"]}});
    world.create_object::<ReplicationDestination>(spec).await;
    let job = synchronize::<ReplicationDestination>(&mut world, NOTHING).await;
    assert_eq!(job.name_any(), "volsync-dst-x");
    let operator = world.operator(&Mortal::immortal());
    let told = |object: &ReplicationDestination| {
        let ready = object.status().readiness.unwrap();
        ready.message.contains("nothing was restored, because there is no repository yet")
    };
    let object = world.until(&operator, told).await;
    let status = serde_json::to_value(object.status).unwrap();
    assert_eq!(status["latestImage"]["name"], "volsync-x-dest");
    assert_eq!(status["repository"], json!({"newest": [], "nothing": "NoRepository"}), "nobody counted");
}

/// Two movers would work on one volume.
#[tokio::test(flavor = "multi_thread")]
async fn a_mover_that_is_not_asked_for_any_more_is_gone_before_another_begins() {
    let world = World::new().await;
    world.create_claim("data").await;
    world.create_repository("repository").await;
    world.create_key("key", &format!("volsync:{}", "ab".repeat(32))).await;
    let direct = |mover: Value| json!({"sourcePVC": "data", "trigger": {"manual": "one"}, "rsyncTLS": mover});
    let tls = json!({"copyMethod": "Direct", "keySecret": "key", "address": "192.0.2.1"});
    world.create_object::<ReplicationSource>(direct(tls)).await;
    let operator = world.operator(&Mortal::immortal());
    let jobs = async || {
        let found = world.api::<Job>().list(&Default::default()).await.unwrap();
        found.into_iter().map(|job| (job.name_any(), job.metadata.deletion_timestamp.is_some())).collect::<Vec<_>>()
    };
    let pass = async || {
        let object = std::sync::Arc::new(world.object::<ReplicationSource>().await);
        doppel::replication::reconcile(object, operator.clone()).await.unwrap();
    };
    let tls_job = "volsync-rsync-tls-src-x".to_owned();
    for _ in 0..5 {
        pass().await;
    }
    assert_eq!(jobs().await, [(tls_job.clone(), false)]);
    let restic = json!({"rsyncTLS": null, "restic": {"copyMethod": "Direct", "repository": "repository"}});
    let patch = Patch::Merge(json!({"spec": restic}));
    world.api::<ReplicationSource>().patch("x", &PatchParams::default(), &patch).await.unwrap();
    for _ in 0..5 {
        pass().await;
    }
    assert_eq!(jobs().await, [(tls_job.clone(), true)], "its pod may still be there");
    world.drop_job_finalizers(&tls_job).await;
    for _ in 0..5 {
        pass().await;
    }
    assert_eq!(jobs().await, [("volsync-src-x".to_owned(), false)]);
}
