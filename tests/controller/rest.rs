//! Objects of which nothing is to be done, and the operator as it runs in a cluster, with all its watches.

use std::time::{Duration, Instant};

use clap::Parser as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::args::{Command, Typed};
use doppel::model::replication::Role;
use doppel::replication::interpret::Kind;
use doppel::resources::snapshot::VolumeSnapshot;
use doppel::telemetry::metrics::Metrics;

use super::faults::{Fault, Listener};
use super::server::Alone;

const NAMESPACE: &str = "rest";
const SOURCES: usize = 12;

/// Runs all controllers until they are told to stop.
pub(super) struct Operator {
    stop: watch::Sender<bool>,
    metrics: Metrics,
    controllers: tokio::task::JoinHandle<()>,
}

impl Operator {
    pub(super) fn start(client: Client) -> Self {
        let arguments = ["doppel", "operator", "--mover-image", "mover:1", "--identity", "rest"];
        let Command::Operator(args) = Typed::parse_from(arguments).command else { unreachable!() };
        let ((stop, stopped), metrics) = (watch::channel(false), Metrics::default());
        let measured = metrics.clone();
        let controllers =
            tokio::spawn(async move { doppel::operator::controllers(client, &args, measured, stopped).await });
        Self { stop, metrics, controllers }
    }

    /// Until it has looked at all objects.
    async fn has_looked(&self) {
        until("all are looked at", async || {
            (self.metrics.known(Role::Source).len(), self.metrics.known(Role::Destination).len()) == (SOURCES, 1)
        })
        .await;
    }

    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        self.controllers.await.unwrap();
    }
}

async fn until(what: &str, met: impl AsyncFn() -> bool) {
    let begin = Instant::now();
    while !met().await {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn create<K>(client: &Client, object: Value) -> K
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::Serialize
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &object).await.unwrap()
}

/// Sources and a destination that were synchronized, and wait for their triggers.
async fn synchronized(client: &Client) {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let answered = json!({"lastManualSync": "one", "lastSyncTime": "2026-11-23T10:00:00Z", "latestMoverStatus": {}});
    let trigger = json!({"manual": "one"});
    for number in 0..SOURCES {
        let name = format!("s{number}");
        let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        create::<PersistentVolumeClaim>(client, json!({"metadata": {"name": name}, "spec": claim})).await;
        let rsync = json!({"copyMethod": "Snapshot", "address": "192.0.2.1"});
        let spec = json!({"sourcePVC": name, "trigger": trigger, "rsyncTLS": rsync});
        create::<ReplicationSource>(client, json!({"metadata": {"name": name}, "spec": spec})).await;
        let patch = Patch::Merge(json!({"status": answered}));
        let api = Api::<ReplicationSource>::namespaced(client.clone(), NAMESPACE);
        api.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    }
    let rsync = json!({"copyMethod": "Snapshot", "capacity": "1Gi", "accessModes": ["ReadWriteOnce"]});
    let spec = json!({"trigger": trigger, "rsyncTLS": rsync});
    let made = create::<ReplicationDestination>(client, json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let metadata = json!({"name": "image", "labels": {"app.kubernetes.io/created-by": "volsync"},
        "ownerReferences": [made.controller_owner_ref(&()).unwrap()]});
    let source = json!({"persistentVolumeClaimName": "volsync-d-dst"});
    create::<VolumeSnapshot>(client, json!({"metadata": metadata, "spec": {"source": source}})).await;
    let mut status = answered;
    status["latestImage"] = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "image"});
    let api = Api::<ReplicationDestination>::namespaced(client.clone(), NAMESPACE);
    api.patch_status("d", &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap();
}

fn is_idle<K: Kind>(object: &K) -> bool {
    object.status().condition.is_some_and(|condition| condition.message == "Waiting for manual trigger")
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_at_rest_cost_no_request_and_are_woken_by_what_concerns_them() {
    let server = Alone::up("rest");
    let client = server.client().await;
    synchronized(&client).await;
    let sources = Api::<ReplicationSource>::namespaced(client.clone(), NAMESPACE);
    let destinations = Api::<ReplicationDestination>::namespaced(client.clone(), NAMESPACE);
    let first = Operator::start(client.clone());
    first.has_looked().await;
    until("all tell that they wait", async || {
        let all_wait = sources.list(&Default::default()).await.unwrap().iter().all(is_idle);
        all_wait && is_idle(&destinations.get("d").await.unwrap())
    })
    .await;
    first.end().await;

    let listener = Listener::default();
    let second = Operator::start(listener.client(server.config().await));
    second.has_looked().await;
    // A claim that changes is no reason to ask either.
    let note = Patch::Merge(json!({"metadata": {"annotations": {"somebody": "wrote"}}}));
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), NAMESPACE);
    claims.patch("s0", &PatchParams::default(), &note).await.unwrap();
    assert_eq!(listener.heard(), Vec::<String>::new());

    // What an operator left that died is removed, and a new wish begins.
    let owner = sources.get("s1").await.unwrap().controller_owner_ref(&()).unwrap();
    let metadata = json!({"name": "volsync-rsync-tls-src-s1", "labels": {"app.kubernetes.io/created-by": "volsync"},
        "ownerReferences": [owner]});
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}});
    create::<Job>(&client, json!({"metadata": metadata, "spec": {"template": pod, "parallelism": 0}})).await;
    let jobs = Api::<Job>::namespaced(client.clone(), NAMESPACE);
    until("the Job that was left is being deleted", async || {
        jobs.get_opt("volsync-rsync-tls-src-s1")
            .await
            .unwrap()
            .is_none_or(|job| job.metadata.deletion_timestamp.is_some())
    })
    .await;
    let keep = Patch::Merge(json!({"metadata": {"labels": {"volsync.backube/do-not-delete": "yes"}}}));
    let snapshots = Api::<VolumeSnapshot>::namespaced(client.clone(), NAMESPACE);
    snapshots.patch("image", &PatchParams::default(), &keep).await.unwrap();
    until("the snapshot is its user's", async || {
        snapshots.get("image").await.unwrap().owner_references().is_empty()
            && is_idle(&destinations.get("d").await.unwrap())
    })
    .await;
    let again = Patch::Merge(json!({"spec": {"trigger": {"manual": "two"}}}));
    sources.patch("s2", &PatchParams::default(), &again).await.unwrap();
    until("a synchronization is under way", async || snapshots.get_opt("volsync-s2-src").await.unwrap().is_some())
        .await;
    second.end().await;
}
