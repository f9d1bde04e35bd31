//! What a cluster's own controllers write, for this API server runs without them: the Job controller makes pods and replaces none,
//! the kubelet lets them run and end ([`super::nodes`]), provisioner and snapshotter make what is asked for, volumes are bound and
//! handed over, claims in use are protected, and the garbage collector removes what lost its last owner ([`super::collector`]).
//! Each act does some of what is due.
//!
//! Of the data in a volume its number is kept: 0 where nothing whole is in it, and a higher one with every mover that succeeded.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use doppel::resources::snapshot::VolumeSnapshot;

use super::dice::Dice;
use super::state::{all, claim_of, is_alive, is_deleted, place, uid};

pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) namespaces: [String; 2],
    pub(super) dice: Dice,
    /// Whether everything that is due is done, and movers succeed.
    pub(super) is_calm: bool,
    /// UIDs of Jobs that had a pod.
    pub(super) ran: BTreeSet<String>,
    /// What is in volumes, by name, and in snapshots, by UID.
    pub(super) contents: BTreeMap<String, u64>,
    /// UIDs of the objects that Jobs work for.
    pub(super) owners: BTreeMap<String, String>,
    /// How many movers have succeeded for an object, by its UID.
    pub(super) successes: BTreeMap<String, usize>,
    /// What users have deleted.
    pub(super) removed: BTreeSet<String>,
    /// By UID: the version of the cluster's state at which a user deleted an object.
    pub(super) ends: BTreeMap<String, u64>,
    pub(super) number: u64,
    pub(super) pods: u64,
}

/// What was written for an object that was deleted or changed meanwhile is of no account. Anything else is a mistake of this test's.
pub(super) fn unless_overtaken<T: std::fmt::Debug>(answer: kube::Result<T>) {
    match answer {
        // A pod is forbidden while its ServiceAccount is missing.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => {}
        // A custom resource of another UID, where others would be a conflict.
        Err(kube::Error::Api(status)) if status.code == 422 && status.message.contains("metadata.uid") => {}
        answer => drop(answer.unwrap()),
    }
}

impl Cluster {
    pub(super) async fn new(client: Client, namespaces: [String; 2], seed: u64) -> Self {
        let cluster = Self {
            client,
            namespaces,
            dice: Dice::new(seed),
            is_calm: false,
            ran: BTreeSet::new(),
            contents: BTreeMap::new(),
            owners: BTreeMap::new(),
            successes: BTreeMap::new(),
            removed: BTreeSet::new(),
            ends: BTreeMap::new(),
            number: 0,
            pods: 0,
        };
        for name in &cluster.namespaces {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let namespace: Namespace = serde_json::from_value(namespace).unwrap();
            Api::all(cluster.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
            cluster.create::<ServiceAccount>(name, json!({"metadata": {"name": "default"}})).await;
            for claim in ["data-a", "dest-a"] {
                cluster.create_claim(name, claim, &json!({})).await;
            }
        }
        cluster
    }

    pub(super) fn summary(&self) -> String {
        let synchronized: usize = self.successes.values().sum();
        format!("{} movers ran, {synchronized} succeeded, {} things were deleted", self.ran.len(), self.removed.len())
    }

    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) async fn create<K>(&self, namespace: &str, object: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + serde::Serialize
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        unless_overtaken(self.api::<K>(namespace).create(&PostParams::default(), &object).await);
    }

    pub(super) async fn create_claim(&self, namespace: &str, name: &str, changes: &Value) {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.create::<PersistentVolumeClaim>(namespace, json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    /// One of all that act does some of what is due for it. Returns which.
    pub(super) async fn act(&mut self) -> String {
        match self.dice.below(14) {
            0..=2 => {
                self.run_jobs().await;
                "the Job controller acts".to_owned()
            }
            3..=5 => {
                self.run_pods().await;
                "the kubelet acts".to_owned()
            }
            6 | 7 => {
                self.finish_snapshots().await;
                "the snapshotter acts".to_owned()
            }
            8 | 9 => {
                self.provide_volumes().await;
                "the provisioner and the volume controller act".to_owned()
            }
            10 => {
                self.collect().await;
                "the garbage collector acts".to_owned()
            }
            _ => self.act_as_user().await,
        }
    }

    /// All do all that is due.
    pub(super) async fn act_calmly(&mut self) {
        self.is_calm = true;
        self.run_jobs().await;
        self.run_pods().await;
        self.finish_snapshots().await;
        self.provide_volumes().await;
        self.collect().await;
        self.is_calm = false;
    }

    pub(super) fn is_time(&mut self) -> bool {
        self.is_calm || self.dice.one_in(2)
    }

    /// Looks at snapshots that are new, before the volumes that they were taken of change.
    pub(super) async fn notice(&mut self) {
        let claims = all::<PersistentVolumeClaim>(&self.client).await;
        for snapshot in all::<VolumeSnapshot>(&self.client).await {
            let source = snapshot.spec.source.persistent_volume_claim_name.clone().unwrap_or_default();
            let source = format!("{}/{source}", snapshot.namespace().unwrap_or_default());
            let content = claims.iter().find(|claim| place(*claim) == source).map(|claim| self.content(claim));
            self.contents.entry(uid(&snapshot)).or_insert(content.unwrap_or_default());
            // One that is going is as good as gone.
            if !is_deleted(&snapshot) {
                self.removed.remove(&place(&snapshot));
            }
        }
        for claim in claims.iter().filter(|claim| !is_deleted(*claim)) {
            self.removed.remove(&place(claim));
        }
    }

    fn content(&self, claim: &PersistentVolumeClaim) -> u64 {
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref());
        volume.and_then(|volume| self.contents.get(volume)).copied().unwrap_or_default()
    }

    /// The snapshotter. One in four snapshots has an error first.
    async fn finish_snapshots(&mut self) {
        self.notice().await;
        for snapshot in all::<VolumeSnapshot>(&self.client).await {
            let ready = snapshot.status.as_ref().and_then(|status| status.ready_to_use);
            if ready == Some(true) || !self.is_time() {
                continue;
            }
            let status = if !self.is_calm && snapshot.status.is_none() && self.dice.one_in(4) {
                json!({"readyToUse": false, "error": {"message": "the storage is busy"}})
            } else {
                json!({"boundVolumeSnapshotContentName": "c", "readyToUse": true, "restoreSize": "1Gi", "error": null})
            };
            let api = self.api::<VolumeSnapshot>(&snapshot.namespace().unwrap());
            let patch = Patch::Merge(json!({"status": status}));
            unless_overtaken(api.patch_status(&snapshot.name_any(), &PatchParams::default(), &patch).await);
        }
    }

    /// Provisioner and volume controller; and the protection of claims that pods use.
    async fn provide_volumes(&mut self) {
        self.notice().await;
        let snapshots = all::<VolumeSnapshot>(&self.client).await;
        let claims = all::<PersistentVolumeClaim>(&self.client).await;
        let volumes = all::<PersistentVolume>(&self.client).await;
        let pods = all::<Pod>(&self.client).await;
        for claim in &claims {
            let has_volume = claim.spec.as_ref().unwrap().volume_name.is_some();
            let own = volumes.iter().find(|volume| claim_uid(volume) == uid(claim));
            if is_deleted(claim) {
                let is_used = |pod: &Pod| {
                    is_alive(pod)
                        && pod.namespace() == claim.namespace()
                        && claim_of(pod.spec.as_ref()) == claim.metadata.name
                };
                if !pods.iter().any(is_used) && self.is_time() {
                    self.remove(&self.api::<PersistentVolumeClaim>(&claim.namespace().unwrap()), claim).await;
                }
            } else if let (false, Some(volume)) = (has_volume, own) {
                self.bind(claim, &volume.name_any()).await;
            } else if !has_volume && self.is_time() {
                self.provision(claim, &claims, &snapshots).await;
            } else if has_volume && own.is_none() {
                self.set_phase(claim, "Lost").await;
            }
        }
        for volume in &volumes {
            if !claims.iter().any(|claim| uid(claim) == claim_uid(volume)) {
                self.remove(&Api::<PersistentVolume>::all(self.client.clone()), volume).await;
            }
        }
    }

    /// A volume with what the claim asks for, once that is there. Who fills others than the provisioner is left alone.
    async fn provision(
        &mut self,
        claim: &PersistentVolumeClaim,
        claims: &[PersistentVolumeClaim],
        snapshots: &[VolumeSnapshot],
    ) {
        let spec = claim.spec.as_ref().unwrap();
        let namespace = claim.namespace().unwrap();
        let origin =
            spec.data_source_ref.as_ref().map(|origin| (origin.kind.as_str(), format!("{namespace}/{}", origin.name)));
        let is_ready = |one: &&VolumeSnapshot| one.status.as_ref().and_then(|status| status.ready_to_use) == Some(true);
        let content = match origin {
            None => Some(0),
            Some(("VolumeSnapshot", origin)) => {
                let found = snapshots.iter().filter(is_ready).find(|snapshot| place(*snapshot) == origin);
                found.map(|snapshot| self.contents.get(&uid(snapshot)).copied().unwrap_or_default())
            }
            Some(("PersistentVolumeClaim", origin)) => {
                claims.iter().find(|claim| place(*claim) == origin).map(|claim| self.content(claim))
            }
            Some(_) => None,
        };
        let Some(content) = content else { return };
        let name = format!("pv-{}", uid(claim));
        let volume: PersistentVolume = serde_json::from_value(json!({"metadata": {"name": name}, "spec": {
            "accessModes": spec.access_modes, "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Delete",
            "csi": {"driver": "test", "volumeHandle": name},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace,
                "name": claim.name_any(), "uid": uid(claim)},
        }}))
        .unwrap();
        self.contents.insert(name.clone(), content);
        unless_overtaken(Api::all(self.client.clone()).create(&PostParams::default(), &volume).await);
        self.bind(claim, &name).await;
    }

    async fn bind(&self, claim: &PersistentVolumeClaim, volume: &str) {
        let patch = json!({"metadata": {"uid": uid(claim)}, "spec": {"volumeName": volume}});
        let api = self.api::<PersistentVolumeClaim>(&claim.namespace().unwrap());
        unless_overtaken(api.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await);
        self.set_phase(claim, "Bound").await;
    }

    async fn set_phase(&self, claim: &PersistentVolumeClaim, phase: &str) {
        let patch =
            json!({"metadata": {"uid": uid(claim)}, "status": {"phase": phase, "capacity": {"storage": "1Gi"}}});
        let api = self.api::<PersistentVolumeClaim>(&claim.namespace().unwrap());
        unless_overtaken(api.patch_status(&claim.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await);
    }

    /// Removes exactly this object at once, whatever protects it.
    pub(super) async fn remove<K>(&self, api: &Api<K>, object: &K)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let preconditions = Some(Preconditions { uid: object.uid(), resource_version: None });
        let parameters = DeleteParams { preconditions, grace_period_seconds: Some(0), ..DeleteParams::default() };
        unless_overtaken(api.delete(&object.name_any(), &parameters).await);
        let none = json!({"metadata": {"uid": object.uid(), "finalizers": null}});
        unless_overtaken(api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(none)).await);
    }
}

fn claim_uid(volume: &PersistentVolume) -> String {
    let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    claim.and_then(|claim| claim.uid.clone()).unwrap_or_default()
}
