//! The garbage collector: what lost its last owner goes, references to who is gone are dropped, and a Job that waits for its pods
//! goes when they are gone.

use std::collections::BTreeSet;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::resources::snapshot::VolumeSnapshot;

use super::cluster::{Cluster, unless_overtaken};
use super::state::{all, is_deleted, uid};

impl Cluster {
    pub(super) async fn collect(&self) {
        let mut alive = BTreeSet::new();
        alive.extend(all::<ReplicationSource>(&self.client).await.iter().map(uid));
        alive.extend(all::<ReplicationDestination>(&self.client).await.iter().map(uid));
        alive.extend(all::<Job>(&self.client).await.iter().map(uid));
        alive.extend(all::<PersistentVolumeClaim>(&self.client).await.iter().map(uid));
        self.collect_all::<Job>(&alive).await;
        self.collect_all::<Pod>(&alive).await;
        self.collect_all::<PersistentVolumeClaim>(&alive).await;
        self.collect_all::<VolumeSnapshot>(&alive).await;
        self.collect_all::<Service>(&alive).await;
        self.collect_all::<Secret>(&alive).await;
        self.collect_all::<ServiceAccount>(&alive).await;
        self.finish_foreground().await;
    }

    async fn collect_all<K>(&self, alive: &BTreeSet<String>)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        for object in all::<K>(&self.client).await {
            let owners = object.owner_references();
            let living: Vec<_> = owners.iter().filter(|owner| alive.contains(&owner.uid)).collect();
            if living.len() == owners.len() || is_deleted(&object) {
                continue;
            }
            let api = self.api::<K>(&object.namespace().unwrap());
            if living.is_empty() {
                let preconditions = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
                let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
                unless_overtaken(api.delete(&object.name_any(), &parameters).await);
            } else {
                let version = object.resource_version();
                let patch =
                    json!({"metadata": {"uid": uid(&object), "resourceVersion": version, "ownerReferences": living}});
                unless_overtaken(api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await);
            }
        }
    }

    /// A Job that is deleted with its pods first.
    async fn finish_foreground(&self) {
        let pods = all::<Pod>(&self.client).await;
        for job in all::<Job>(&self.client).await.iter().filter(|job| is_deleted(*job)) {
            let is_own =
                |pod: &&Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref());
            let own: Vec<_> = pods.iter().filter(is_own).collect();
            let namespace = job.namespace().unwrap();
            if own.is_empty() {
                self.remove(&self.api::<Job>(&namespace), job).await;
            }
            for pod in own.into_iter().filter(|pod| !is_deleted(*pod)) {
                let api = self.api::<Pod>(&namespace);
                unless_overtaken(api.delete(&pod.name_any(), &DeleteParams::default()).await);
            }
        }
    }
}
