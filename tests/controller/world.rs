//! What everything around the operator writes: users, storage, kubelet, garbage collector.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use doppel::model::pod::MoverImage;
use doppel::model::policy::Policy;
use doppel::operator::client::builder;
use doppel::population;
use doppel::replication::interpret::Kind;
use doppel::replication::queue::Queue;
use doppel::replication::{Context, reconcile};
use doppel::resources::snapshot::VolumeSnapshot;
use doppel::telemetry::events::Events;
use doppel::telemetry::metrics::Metrics;

use super::faults::{Fault, Mortal};
use super::server;

pub(super) const COMPLETE: &str = r#"{"verdict":{"result":"complete"},"tally":{},"elapsedMs":5}"#;

/// A namespace with its surroundings.
#[derive(Clone)]
pub(super) struct World {
    pub(super) client: Client,
    pub(super) config: kube::Config,
    pub(super) namespace: String,
    /// Name of the object that is replicated.
    pub(super) name: String,
    /// Secrets for pulling the movers' image; the operator's namespace is this one.
    pub(super) pull_secrets: Vec<String>,
    /// What its operators are told of limits.
    pub(super) policy: Policy,
    /// UIDs of all Jobs that were ever seen.
    pub(super) jobs: BTreeSet<String>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::named("x").await
    }

    /// One whose object has this name.
    pub(super) async fn named(name: &str) -> Self {
        Self::on(server::config().await, name).await
    }

    /// The same on this API server.
    pub(super) async fn on(config: kube::Config, name: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let client = builder(config.clone()).unwrap().build();
        let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let namespace = format!("t{unique}-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let object: Namespace = serde_json::from_value(object).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let world = Self {
            client,
            config,
            namespace,
            name: name.to_owned(),
            pull_secrets: Vec::new(),
            policy: Policy::default(),
            jobs: BTreeSet::new(),
        };
        // Without it the API server admits no pod; elsewhere the controller-manager makes it.
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        world.create::<ServiceAccount>(account).await;
        world
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + serde::Serialize
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    pub(super) async fn create_claim(&self, name: &str) {
        self.create::<PersistentVolumeClaim>(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .await;
    }

    pub(super) async fn create_key(&self, name: &str, text: &str) {
        self.create::<Secret>(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"psk.txt": text}}),
        )
        .await;
    }

    /// The Secret of a repository.
    pub(super) async fn create_repository(&self, name: &str) {
        let data = json!({"RESTIC_REPOSITORY": "/mnt/repository", "RESTIC_PASSWORD": "open sesame"});
        self.create::<Secret>(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}),
        )
        .await;
    }

    pub(super) async fn create_object<K: Kind + serde::Serialize>(&self, spec: Value) -> K {
        self.create(json!({
            "apiVersion": "volsync.backube/v1alpha1", "kind": K::ROLE.kind(), "metadata": {"name": self.name}, "spec": spec,
        }))
        .await
    }

    pub(super) async fn object<K: Kind>(&self) -> K {
        self.api::<K>().get(&self.name).await.unwrap()
    }

    /// An operator with this fate.
    pub(super) fn operator(&self, fate: &Mortal) -> Arc<Context> {
        self.operator_with(fate, Metrics::default())
    }

    /// One that is measured by these.
    pub(super) fn operator_with(&self, fate: &Mortal, metrics: Metrics) -> Arc<Context> {
        self.operator_over(fate.client(self.config.clone()), metrics)
    }

    /// The same, over this client.
    pub(super) fn operator_over(&self, client: Client, metrics: Metrics) -> Arc<Context> {
        let events = Events::new(self.client.clone(), "test".to_owned());
        let (queue, _) = Queue::new(self.policy, metrics.clone());
        Arc::new(Context::new(client, self.image(), events, (metrics, queue)))
    }

    pub(super) fn image(&self) -> MoverImage {
        MoverImage {
            reference: "mover:1".to_owned(),
            namespace: self.namespace.clone(),
            pull_secrets: self.pull_secrets.clone(),
            proxies: Vec::new(),
        }
    }

    /// The part with this fate that fills claims.
    pub(super) fn populator(&self, fate: &Mortal) -> Arc<population::Context> {
        self.populator_with(fate.client(self.config.clone()))
    }

    /// The same, over this client.
    pub(super) fn populator_with(&self, client: Client) -> Arc<population::Context> {
        let events = Events::new(self.client.clone(), "test".to_owned());
        Arc::new(population::Context::new(client, self.image(), events))
    }

    /// One pass of the operator, then one of everything around it.
    pub(super) async fn turn<K: Kind>(&mut self, operator: &Arc<Context>) {
        let object = Arc::new(self.object::<K>().await);
        let _ = reconcile(object, operator.clone()).await;
        self.act().await;
    }

    /// Turns until the object's status fulfils a condition.
    pub(super) async fn until<K: Kind>(&mut self, operator: &Arc<Context>, met: impl Fn(&K) -> bool) -> K {
        for _ in 0..40 {
            self.turn::<K>(operator).await;
            let object = self.object::<K>().await;
            if met(&object) {
                return object;
            }
        }
        panic!("not met after 40 turns: {:#?}", self.object::<K>().await.status());
    }

    /// What storage, kubelet and garbage collector do: whatever there is becomes ready, ended or gone.
    pub(super) async fn act(&mut self) {
        self.bind_claims().await;
        self.finish_snapshots().await;
        self.run_jobs().await;
    }

    async fn bind_claims(&self) {
        let api = self.api::<PersistentVolumeClaim>();
        for claim in api.list(&ListParams::default()).await.unwrap() {
            let name = claim.name_any();
            if claim.metadata.deletion_timestamp.is_some() {
                self.drop_finalizers(&api, &name).await;
            } else if claim.status.and_then(|status| status.capacity).is_none() {
                let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
                api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
            }
        }
    }

    async fn finish_snapshots(&self) {
        let api = self.api::<VolumeSnapshot>();
        for snapshot in api.list(&ListParams::default()).await.unwrap() {
            if snapshot.status.is_none() {
                let status = json!({"status": {"boundVolumeSnapshotContentName": "c", "readyToUse": true}});
                api.patch_status(&snapshot.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
            }
        }
    }

    async fn run_jobs(&mut self) {
        let api = self.api::<Job>();
        for job in api.list(&ListParams::default()).await.unwrap() {
            let uid = job.uid().unwrap();
            if job.metadata.deletion_timestamp.is_some() {
                self.drop_job_finalizers(&job.name_any()).await;
            } else if self.jobs.insert(uid.clone()) {
                self.finish_pod(&uid, 0, COMPLETE).await;
            }
        }
    }

    /// A pod of this Job that has ended.
    pub(super) async fn finish_pod(&self, job_uid: &str, code: i32, message: &str) {
        self.finish_pod_at(job_uid, code, message, "2026-11-23T10:00:01Z").await;
    }

    /// The same, at this time.
    pub(super) async fn finish_pod_at(&self, job_uid: &str, code: i32, message: &str, time: &str) {
        let ended = json!({"exitCode": code, "reason": "Completed", "message": message,
            "startedAt": "2026-11-23T10:00:00Z", "finishedAt": time});
        self.create_pod(job_uid, "Succeeded", &json!({"terminated": ended})).await;
    }

    /// A pod of this Job that runs.
    pub(super) async fn start_pod(&self, job_uid: &str) {
        self.create_pod(job_uid, "Running", &json!({"running": {"startedAt": "2026-11-23T10:00:00Z"}})).await;
    }

    /// Gives the pod of this Job an address.
    pub(super) async fn address_pod(&self, job_uid: &str, address: &str) {
        let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}});
        let name = format!("pod-{job_uid}");
        self.api::<Pod>().patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    async fn create_pod(&self, job_uid: &str, phase: &str, state: &Value) {
        let jobs = self.api::<Job>().list(&ListParams::default()).await.unwrap();
        let job = jobs.iter().find(|job| job.uid().as_deref() == Some(job_uid)).unwrap();
        let labels = json!({"batch.kubernetes.io/controller-uid": job_uid, "batch.kubernetes.io/job-name": job.name_any(),
            "app.kubernetes.io/created-by": "volsync"});
        let name = format!("pod-{job_uid}");
        let template = &job.spec.as_ref().unwrap().template;
        let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.clone());
        let container = &template.spec.as_ref().unwrap().containers[0].name;
        self.create::<Pod>(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "spec": {"containers": [{"name": container, "image": "mover:1"}]},
        }))
        .await;
        let container = json!({"name": container, "image": "mover:1", "imageID": "", "ready": false,
            "restartCount": 0, "state": state});
        let status = json!({"status": {"phase": phase, "containerStatuses": [container]}});
        self.api::<Pod>().patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    /// What the garbage collector does with a Job that is deleted with its pods: they go first.
    pub(super) async fn drop_job_finalizers(&self, name: &str) {
        let own = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
        for pod in self.api::<Pod>().list(&own).await.unwrap() {
            let at_once = DeleteParams::default().grace_period(0);
            self.api::<Pod>().delete(&pod.name_any(), &at_once).await.unwrap();
        }
        self.drop_finalizers(&self.api::<Job>(), name).await;
    }

    pub(super) async fn set_manual<K: Kind>(&self, value: &str) {
        let patch = json!({"spec": {"trigger": {"manual": value}}});
        self.api::<K>().patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub(super) async fn drop_finalizers<K>(&self, api: &Api<K>, name: &str)
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let none = json!({"metadata": {"finalizers": null}});
        // It may be gone already.
        let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(none)).await;
    }

    pub(super) async fn delete<K>(&self, name: &str)
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api::<K>().delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// Names of everything temporary or published that is there, as `kind/name`.
    pub(super) async fn children(&self) -> BTreeSet<String> {
        let all = ListParams::default();
        let ours = ListParams::default().labels("app.kubernetes.io/created-by=volsync");
        let mut children = BTreeSet::new();
        children.extend(self.api::<Job>().list(&all).await.unwrap().iter().map(|x| format!("Job/{}", x.name_any())));
        let claims = self.api::<PersistentVolumeClaim>().list(&ours).await.unwrap();
        children.extend(claims.iter().map(|x| format!("PersistentVolumeClaim/{}", x.name_any())));
        let snapshots = self.api::<VolumeSnapshot>().list(&all).await.unwrap();
        children.extend(snapshots.iter().map(|x| format!("VolumeSnapshot/{}", x.name_any())));
        children.extend(
            self.api::<Service>().list(&ours).await.unwrap().iter().map(|x| format!("Service/{}", x.name_any())),
        );
        children
    }
}
