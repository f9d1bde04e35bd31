//! All that is there at one moment, as the API server tells it.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;
use doppel::resources::snapshot::VolumeSnapshot;

pub(super) const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

pub(super) struct State {
    pub(super) sources: Vec<ReplicationSource>,
    pub(super) destinations: Vec<ReplicationDestination>,
    pub(super) claims: Vec<PersistentVolumeClaim>,
    pub(super) snapshots: Vec<VolumeSnapshot>,
    pub(super) jobs: Vec<Job>,
    pub(super) pods: Vec<Pod>,
}

impl State {
    pub(super) async fn read(client: &Client) -> Self {
        let (sources, destinations, claims, snapshots, jobs, pods) =
            futures::join!(all(client), all(client), all(client), all(client), all(client), all(client));
        Self { sources, destinations, claims, snapshots, jobs, pods }
    }

    /// What there is, for whoever reads why something has not come to its end.
    pub(super) fn lines(&self) -> Vec<String> {
        let claims = self.claims.iter().map(describe);
        let others = self.snapshots.iter().map(describe).chain(self.jobs.iter().map(describe));
        let children = claims.chain(others).chain(self.pods.iter().map(describe));
        let objects = self.sources.iter().map(with_status).chain(self.destinations.iter().map(with_status));
        objects.chain(children).collect()
    }
}

fn with_status<K: Kind>(object: &K) -> String {
    format!("{}: {:?}", describe(object), object.status())
}

/// An object's kind, place and owners, and since when it is being deleted.
pub(super) fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let owners: Vec<_> =
        object.owner_references().iter().map(|owner| format!("{}/{}", owner.kind, owner.name)).collect();
    let meta = object.meta();
    let (labels, deleted) = (&meta.labels, meta.deletion_timestamp.as_ref().map(|time| (time, &meta.finalizers)));
    let created = meta.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
    format!("{} {} of {created}, of {owners:?}, {labels:?}, deleted {deleted:?}", K::kind(&()), place(object))
}

/// Of all namespaces.
pub(super) async fn all<K>(client: &Client) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    Api::<K>::all(client.clone()).list(&ListParams::default()).await.unwrap().items
}

/// Namespace and name.
pub(super) fn place(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

pub(super) fn uid(object: &impl ResourceExt) -> String {
    object.uid().unwrap_or_default()
}

/// Of an object or of the cluster's state. This API server's are numbers, in the order of all writes.
pub(super) fn version(version: Option<&str>) -> u64 {
    version.unwrap().parse().unwrap()
}

pub(super) fn is_deleted(object: &impl ResourceExt) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// The claim that a mover's pod works on.
pub(super) fn claim_of(spec: Option<&k8s_openapi::api::core::v1::PodSpec>) -> Option<String> {
    let volumes = spec?.volumes.as_ref()?;
    volumes.iter().find(|volume| volume.name == "data")?.persistent_volume_claim.as_ref().map(|c| c.claim_name.clone())
}

/// Whether a pod has not ended.
pub(super) fn is_alive(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

pub(super) fn is_finished(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Failed" && condition.status == "True")
}
