//! Storage, played: of provisioner, volume controller and garbage collector none runs on this API server. What they write to
//! claims that are made from snapshots is written here, as Kubernetes 1.33 does it, onto the real API server.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::model::quantity;
use doppel::resources::snapshot::VolumeSnapshot;

use super::world::World;

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The actor.
pub(super) struct Storage<'a>(pub(super) &'a World);

impl Storage<'_> {
    /// Each does what there is to do for it.
    pub(super) async fn act(&self) {
        self.provision().await;
        self.bind().await;
        self.collect().await;
    }

    pub(super) async fn claims(&self) -> Vec<PersistentVolumeClaim> {
        self.0.api::<PersistentVolumeClaim>().list(&ListParams::default()).await.unwrap().items
    }

    pub(super) async fn snapshots(&self) -> Vec<VolumeSnapshot> {
        self.0.api::<VolumeSnapshot>().list(&ListParams::default()).await.unwrap().items
    }

    /// The volumes of this namespace's claims.
    pub(super) async fn volumes(&self) -> Vec<PersistentVolume> {
        let all = self.volumes_api().list(&ListParams::default()).await.unwrap().items;
        all.into_iter().filter(|volume| claim_of(volume)["namespace"] == self.0.namespace).collect()
    }

    fn volumes_api(&self) -> Api<PersistentVolume> {
        Api::all(self.0.client.clone())
    }

    /// The provisioner: a volume for each claim that names a snapshot which is ready and not larger.
    async fn provision(&self) {
        let snapshots = self.snapshots().await;
        for claim in self.claims().await {
            let spec = claim.spec.clone().unwrap();
            let source = spec.data_source_ref.filter(|source| source.kind == "VolumeSnapshot");
            let (None, None, Some(source)) = (&claim.metadata.deletion_timestamp, &spec.volume_name, source) else {
                continue;
            };
            let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.name_any() == source.name) else {
                continue;
            };
            let status = snapshot.status.clone().unwrap_or_default();
            let size = spec.resources.unwrap().requests.unwrap()["storage"].0.clone();
            let is_too_small = |needed: String| quantity::bytes(&size) < quantity::bytes(&needed);
            if status.ready_to_use != Some(true) || status.restore_size.is_some_and(is_too_small) {
                continue;
            }
            let volume: PersistentVolume = serde_json::from_value(json!({
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": format!("pv-{}", claim.uid().unwrap())},
                "spec": {
                    "accessModes": spec.access_modes, "capacity": {"storage": size},
                    "storageClassName": spec.storage_class_name, "persistentVolumeReclaimPolicy": "Delete",
                    "csi": {"driver": "test", "volumeHandle": source.name},
                    "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.0.namespace,
                        "name": claim.name_any(), "uid": claim.uid()},
                },
            }))
            .unwrap();
            self.volumes_api().create(&PostParams::default(), &volume).await.unwrap();
        }
    }

    /// The volume controller: a volume's claim is bound to it, a claim whose volume is another's is lost, and the volume of
    /// a claim that is gone goes too.
    async fn bind(&self) {
        let claims = self.claims().await;
        let volumes = self.volumes().await;
        for volume in &volumes {
            let uid = claim_of(volume)["uid"].as_str().unwrap().to_owned();
            let Some(claim) = claims.iter().find(|claim| claim.uid().as_ref() == Some(&uid)) else {
                self.remove(&self.volumes_api(), volume).await;
                continue;
            };
            if claim.spec.as_ref().unwrap().volume_name.is_none() {
                self.set_volume(claim, &volume.name_any()).await;
            }
        }
        for claim in self.claims().await {
            let Some(name) = claim.spec.as_ref().unwrap().volume_name.clone() else { continue };
            let volume = volumes.iter().find(|volume| volume.name_any() == name);
            let is_own = volume.is_some_and(|volume| claim_of(volume)["uid"].as_str() == claim.metadata.uid.as_deref());
            self.set_phase(&claim, if is_own { "Bound" } else { "Lost" }).await;
        }
    }

    async fn set_volume(&self, claim: &PersistentVolumeClaim, volume: &str) {
        let patch = json!({"spec": {"volumeName": volume}});
        let api = self.0.api::<PersistentVolumeClaim>();
        api.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn set_phase(&self, claim: &PersistentVolumeClaim, phase: &str) {
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some(phase) {
            let patch = json!({"status": {"phase": phase, "capacity": {"storage": "1Gi"}}});
            let api = self.0.api::<PersistentVolumeClaim>();
            api.patch_status(&claim.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
    }

    /// The garbage collector: what lost its last owner goes, and references to who is gone are dropped. It works until
    /// nothing changes, since what it removes may be an owner too.
    async fn collect(&self) {
        while self.collect_once().await {}
    }

    async fn collect_once(&self) -> bool {
        let destinations = self.0.api::<ReplicationDestination>().list(&ListParams::default()).await.unwrap().items;
        let (claims, snapshots) = (self.claims().await, self.snapshots().await);
        let uids = |uid: Option<String>| uid.unwrap();
        let alive: BTreeSet<String> =
            destinations.iter().map(|x| uids(x.uid())).chain(claims.iter().map(|x| uids(x.uid()))).collect();
        let mut changed = false;
        for claim in &claims {
            changed |= self.collect_one(&alive, claim).await;
        }
        for snapshot in &snapshots {
            changed |= self.collect_one(&alive, snapshot).await;
        }
        changed
    }

    async fn collect_one<K>(&self, alive: &BTreeSet<String>, object: &K) -> bool
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api = self.0.api::<K>();
        let owners = object.owner_references();
        let living: Vec<_> = owners.iter().filter(|owner| alive.contains(&owner.uid)).collect();
        if object.meta().deletion_timestamp.is_some() || (!owners.is_empty() && living.is_empty()) {
            self.remove(&api, object).await;
            return true;
        }
        if living.len() < owners.len() {
            let patch = json!({"metadata": {"uid": object.uid(), "ownerReferences": living}});
            api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
            return true;
        }
        false
    }

    /// Deletes exactly this object, whatever protects it.
    async fn remove<K>(&self, api: &Api<K>, object: &K)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let preconditions = Preconditions { uid: object.uid(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let _ = api.delete(&object.name_any(), &parameters).await;
        let none = json!({"metadata": {"uid": object.uid(), "finalizers": null}});
        // It may be gone already.
        let _ = api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(none)).await;
    }

    /// The scheduler: a pod of the claim is to run there.
    pub(super) async fn select_node(&self, claim: &str, node: &str) {
        let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
        let api = self.0.api::<PersistentVolumeClaim>();
        api.patch(claim, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

/// What a volume says about its claim.
pub(super) fn claim_of(volume: &PersistentVolume) -> Value {
    serde_json::to_value(&volume.spec.as_ref().unwrap().claim_ref).unwrap()
}
