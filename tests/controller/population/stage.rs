//! One claim, its ReplicationDestination, and the operator that fills it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::population::{Context, reconcile};
use doppel::resources::snapshot::VolumeSnapshot;

use crate::controller::faults::Mortal;
use crate::controller::storage::{Storage, claim_of};
use crate::controller::world::World;

const NOTE: &str = "doppel.backube/waits-for";

/// A claim, its ReplicationDestination `rd`, and the operator that fills it.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) claim: String,
    pub(super) operator: Arc<Context>,
}

impl Stage {
    pub(super) async fn new(fate: &Mortal) -> Self {
        Self::named("data", fate).await
    }

    pub(super) async fn named(claim: &str, fate: &Mortal) -> Self {
        let world = World::named("rd").await;
        let operator = world.populator(fate);
        Self { world, claim: claim.to_owned(), operator }
    }

    /// The claim as a user makes it.
    pub(super) async fn claim(&self, changes: &Value) -> PersistentVolumeClaim {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "dataSourceRef": {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "rd"}});
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": self.claim}, "spec": spec});
        self.world.create(object).await
    }

    pub(super) async fn destination(&self) -> ReplicationDestination {
        self.world.create_object(json!({"rsyncTLS": {"copyMethod": "Snapshot"}})).await
    }

    /// A snapshot as a synchronization leaves it, not published yet.
    pub(super) async fn snapshot(&self, name: &str, status: &Value) {
        let owner: ReplicationDestination = self.world.object().await;
        let owner = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationDestination", "name": "rd",
            "uid": owner.uid(), "controller": true, "blockOwnerDeletion": true});
        self.world
            .create::<VolumeSnapshot>(json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                "metadata": {"name": name, "labels": {"app.kubernetes.io/created-by": "volsync"},
                    "ownerReferences": [owner]},
                "spec": {"source": {"persistentVolumeClaimName": "volsync-rd-dst"}}}))
            .await;
        let patch = json!({"status": status});
        let api = self.world.api::<VolumeSnapshot>();
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub(super) async fn publish(&self, kind: &str, name: &str) {
        let group = if kind == "VolumeSnapshot" { "snapshot.storage.k8s.io" } else { "" };
        let image = json!({"apiGroup": group, "kind": kind, "name": name});
        let patch = json!({"status": {"latestImage": image, "latestMoverStatus": {}}});
        let api = self.world.api::<ReplicationDestination>();
        api.patch_status("rd", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// A ReplicationDestination with an image that is ready.
    pub(super) async fn with_image(&self, name: &str) {
        if self.world.api::<ReplicationDestination>().get_opt("rd").await.unwrap().is_none() {
            self.destination().await;
        }
        self.snapshot(name, &ready("1Gi")).await;
        self.publish("VolumeSnapshot", name).await;
    }

    /// What a synchronization does with its former image that others still want.
    pub(super) async fn disown(&self, image: &str) {
        let api = self.world.api::<VolumeSnapshot>();
        let Some(snapshot) = api.get_opt(image).await.unwrap() else { return };
        let owners = snapshot.owner_references().iter().filter(|owner| owner.kind != "ReplicationDestination");
        let patch = json!({"metadata": {"ownerReferences": owners.collect::<Vec<_>>()}});
        if snapshot.owner_references().len() == 1 && snapshot.labels().contains_key("volsync.backube/do-not-delete") {
            api.patch(image, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        } else if snapshot.owner_references().len() == 1 {
            self.world.delete::<VolumeSnapshot>(image).await;
        } else {
            api.patch(image, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
    }

    /// Passes until the claim's note says this.
    pub(super) async fn until_noted(&self, expected: &str) -> String {
        for _ in 0..100 {
            self.turn().await;
            if let Some(note) = self.note().await.filter(|note| note.contains(expected)) {
                return note;
            }
        }
        panic!("{expected}: {:?}", self.note().await)
    }

    pub(super) async fn until_filled(&self) {
        for _ in 0..100 {
            if is_filled(self).await {
                return;
            }
            self.turn().await;
        }
        panic!("not filled: {:?}", self.note().await)
    }

    pub(super) fn storage(&self) -> Storage<'_> {
        Storage(&self.world)
    }

    pub(super) async fn get(&self) -> Option<PersistentVolumeClaim> {
        self.world.api::<PersistentVolumeClaim>().get_opt(&self.claim).await.unwrap()
    }

    pub(super) async fn pass(&self) -> Action {
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.name = Some(self.claim.clone());
        claim.metadata.namespace = Some(self.world.namespace.clone());
        reconcile(Arc::new(claim), self.operator.clone()).await.unwrap()
    }

    /// One pass of the operator, then one of everything around it.
    pub(super) async fn turn(&self) {
        self.pass().await;
        self.storage().act().await;
    }

    pub(super) async fn turns(&self, count: usize) {
        for _ in 0..count {
            self.turn().await;
        }
    }

    pub(super) async fn note(&self) -> Option<String> {
        self.get().await.unwrap().annotations().get(NOTE).cloned()
    }

    /// Reasons of the events about the claim, each as often as it was told, in the order of their reasons.
    pub(super) async fn told(&self) -> Vec<String> {
        let events = self.world.api::<Event>().list(&ListParams::default()).await.unwrap();
        let about = events
            .items
            .into_iter()
            .filter(|event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(&self.claim)));
        let mut told = Vec::new();
        for event in about {
            let times = event.series.map_or(1, |series| series.count);
            told.extend(std::iter::repeat_n(event.reason.unwrap(), times.try_into().unwrap()));
        }
        told.sort();
        told
    }

    pub(super) async fn prime(&self) -> Option<PersistentVolumeClaim> {
        self.storage().claims().await.into_iter().find(|claim| claim.name_any().starts_with("vs-prime-"))
    }

    /// Fails unless the claim holds this image and nothing is left of its filling.
    pub(super) async fn assert_filled_from(&self, image: &str) {
        let claim = self.get().await.unwrap();
        assert_eq!(claim.status.as_ref().unwrap().phase.as_deref(), Some("Bound"), "{claim:#?}");
        assert_eq!(claim.annotations().get(NOTE), None);
        let volumes = self.storage().volumes().await;
        let [volume] = &volumes[..] else { panic!("{volumes:#?}") };
        assert_eq!(volume.spec.as_ref().unwrap().csi.as_ref().unwrap().volume_handle, image);
        assert_eq!(claim_of(volume)["uid"].as_str(), claim.metadata.uid.as_deref());
        let from = format!("{}/{image}", self.world.namespace);
        assert_eq!(volume.annotations().get("volsync.backube/populated-from"), Some(&from));
        assert_eq!(self.storage().claims().await.len(), 1, "no prime is left");
        self.assert_nothing_held().await;
    }

    /// Fails if a snapshot has a mark, or an owner other than a ReplicationDestination.
    pub(super) async fn assert_nothing_held(&self) {
        for snapshot in self.storage().snapshots().await {
            let is_mark = |key: &String| key.starts_with("volsync.backube/volpop-pvc-");
            assert!(!snapshot.labels().keys().any(is_mark), "{snapshot:#?}");
            let kinds: Vec<_> = snapshot.owner_references().iter().map(|owner| owner.kind.as_str()).collect();
            assert!(kinds.iter().all(|kind| *kind == "ReplicationDestination"), "{kinds:?}");
        }
    }

    pub(super) async fn snapshot_names(&self) -> Vec<String> {
        self.storage().snapshots().await.iter().map(ResourceExt::name_any).collect()
    }
}

pub(super) fn ready(restore_size: &str) -> Value {
    json!({"boundVolumeSnapshotContentName": "c", "readyToUse": true, "restoreSize": restore_size})
}

/// Enough turns for any filling to end, whatever happens to it.
pub(super) const ENOUGH: usize = 12;

/// Whether what matters to this test has happened.
pub(super) async fn is_filled(stage: &Stage) -> bool {
    let claim = stage.get().await;
    let is_bound = claim.is_some_and(|claim| claim.spec.unwrap().volume_name.is_some());
    is_bound && stage.prime().await.is_none()
}

pub(super) async fn is_bound(stage: &Stage) -> bool {
    stage.get().await.unwrap().status.unwrap().phase.as_deref() == Some("Bound")
}

/// Fills a claim by an operator with this fate and, if it dies, its successor. `meanwhile` is what happens when it is dead.
pub(super) async fn fill(fate: &Mortal, meanwhile: &impl AsyncFn(&Stage)) -> Stage {
    let mut stage = Stage::new(fate).await;
    stage.claim(&json!({})).await;
    stage.turn().await;
    stage.with_image("image-1").await;
    for _ in 0..ENOUGH {
        if fate.is_dead() || is_filled(&stage).await {
            break;
        }
        stage.turn().await;
    }
    meanwhile(&stage).await;
    stage.operator = stage.world.populator(&Mortal::immortal());
    stage.turns(ENOUGH).await;
    stage
}

/// How many writes an operator makes that never dies: told (a note), marked, a prime, no note, held, handed over, let go, the
/// prime deleted.
pub(super) const WRITES: usize = 8;

/// What a user deletes.
pub(super) async fn delete(stage: &Stage, what: &str) {
    match what {
        "claim" => stage.world.delete::<PersistentVolumeClaim>("data").await,
        "destination" => stage.world.delete::<ReplicationDestination>("rd").await,
        "snapshot" => stage.world.delete::<VolumeSnapshot>("image-1").await,
        other => panic!("{other}"),
    }
}
