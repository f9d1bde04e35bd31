//! Claims that are filled from images: what they wait for, in any order of deletions, after a crash behind every write, and when
//! others write at the same moment. Scheduler, provisioner, volume controller and garbage collector are played by [`Storage`].

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, ResourceQuota};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::model::replication::Image;
use doppel::population::{Context, offer, reconcile};
use doppel::replication::interpret::Kind;
use doppel::resources::populator;
use doppel::resources::snapshot::VolumeSnapshot;

use super::faults::{Meddler, Mortal};
use super::storage::{Storage, claim_of};
use super::world::World;

const NOTE: &str = "doppel.backube/waits-for";

/// A claim, its ReplicationDestination `rd`, and the operator that fills it.
struct Stage {
    world: World,
    claim: String,
    operator: Arc<Context>,
}

impl Stage {
    async fn new(fate: &Mortal) -> Self {
        Self::named("data", fate).await
    }

    async fn named(claim: &str, fate: &Mortal) -> Self {
        let world = World::named("rd").await;
        let operator = world.populator(fate);
        Self { world, claim: claim.to_owned(), operator }
    }

    /// The claim as a user makes it.
    async fn claim(&self, changes: &Value) -> PersistentVolumeClaim {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "dataSourceRef": {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "rd"}});
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": self.claim}, "spec": spec});
        self.world.create(object).await
    }

    async fn destination(&self) -> ReplicationDestination {
        self.world.create_object(json!({"rsyncTLS": {"copyMethod": "Snapshot"}})).await
    }

    /// A snapshot as a synchronization leaves it, not published yet.
    async fn snapshot(&self, name: &str, status: &Value) {
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

    async fn publish(&self, kind: &str, name: &str) {
        let group = if kind == "VolumeSnapshot" { "snapshot.storage.k8s.io" } else { "" };
        let image = json!({"apiGroup": group, "kind": kind, "name": name});
        let patch = json!({"status": {"latestImage": image, "latestMoverStatus": {}}});
        let api = self.world.api::<ReplicationDestination>();
        api.patch_status("rd", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// A ReplicationDestination with an image that is ready.
    async fn with_image(&self, name: &str) {
        if self.world.api::<ReplicationDestination>().get_opt("rd").await.unwrap().is_none() {
            self.destination().await;
        }
        self.snapshot(name, &ready("1Gi")).await;
        self.publish("VolumeSnapshot", name).await;
    }

    /// What a synchronization does with its former image that others still want.
    async fn disown(&self, image: &str) {
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
    async fn until_noted(&self, expected: &str) -> String {
        for _ in 0..100 {
            self.turn().await;
            if let Some(note) = self.note().await.filter(|note| note.contains(expected)) {
                return note;
            }
        }
        panic!("{expected}: {:?}", self.note().await)
    }

    async fn until_filled(&self) {
        for _ in 0..100 {
            if is_filled(self).await {
                return;
            }
            self.turn().await;
        }
        panic!("not filled: {:?}", self.note().await)
    }

    fn storage(&self) -> Storage<'_> {
        Storage(&self.world)
    }

    async fn get(&self) -> Option<PersistentVolumeClaim> {
        self.world.api::<PersistentVolumeClaim>().get_opt(&self.claim).await.unwrap()
    }

    async fn pass(&self) -> Action {
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.name = Some(self.claim.clone());
        claim.metadata.namespace = Some(self.world.namespace.clone());
        reconcile(Arc::new(claim), self.operator.clone()).await.unwrap()
    }

    /// One pass of the operator, then one of everything around it.
    async fn turn(&self) {
        self.pass().await;
        self.storage().act().await;
    }

    async fn turns(&self, count: usize) {
        for _ in 0..count {
            self.turn().await;
        }
    }

    async fn note(&self) -> Option<String> {
        self.get().await.unwrap().annotations().get(NOTE).cloned()
    }

    /// Reasons of the events about the claim, each as often as it was told, in the order of their reasons.
    async fn told(&self) -> Vec<String> {
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

    async fn prime(&self) -> Option<PersistentVolumeClaim> {
        self.storage().claims().await.into_iter().find(|claim| claim.name_any().starts_with("vs-prime-"))
    }

    /// Fails unless the claim holds this image and nothing is left of its filling.
    async fn assert_filled_from(&self, image: &str) {
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
    async fn assert_nothing_held(&self) {
        for snapshot in self.storage().snapshots().await {
            let is_mark = |key: &String| key.starts_with("volsync.backube/volpop-pvc-");
            assert!(!snapshot.labels().keys().any(is_mark), "{snapshot:#?}");
            let kinds: Vec<_> = snapshot.owner_references().iter().map(|owner| owner.kind.as_str()).collect();
            assert!(kinds.iter().all(|kind| *kind == "ReplicationDestination"), "{kinds:?}");
        }
    }

    async fn snapshot_names(&self) -> Vec<String> {
        self.storage().snapshots().await.iter().map(ResourceExt::name_any).collect()
    }
}

fn ready(restore_size: &str) -> Value {
    json!({"boundVolumeSnapshotContentName": "c", "readyToUse": true, "restoreSize": restore_size})
}

/// Enough turns for any filling to end, whatever happens to it.
const ENOUGH: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_made_before_the_first_synchronization_says_why_it_waits_and_is_filled_by_the_first_image() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.claim(&json!({})).await;
    stage.turns(3).await;
    assert!(stage.note().await.unwrap().starts_with("ReplicationDestination \"rd\" does not exist"));
    assert_eq!(stage.told().await, ["VolSyncPopulatorReplicationDestinationMissing"], "once, not with each pass");
    stage.destination().await;
    stage.turns(3).await;
    assert!(stage.note().await.unwrap().starts_with("ReplicationDestination \"rd\" has no image yet"));
    assert_eq!(stage.told().await.len(), 2);

    stage.with_image("image-1").await;
    stage.turns(ENOUGH).await;
    stage.assert_filled_from("image-1").await;
    let expected = [
        "VolSyncPopulatorFinished",
        "VolSyncPopulatorPVCCreated",
        "VolSyncPopulatorReplicationDestinationMissing",
        "VolSyncPopulatorReplicationDestinationNoLatestImage",
    ];
    assert_eq!(stage.told().await, expected);
    assert_eq!(stage.snapshot_names().await, ["image-1"], "it is still the ReplicationDestination's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prime_looks_as_volsync_makes_it_and_holds_its_image() {
    let stage = Stage::new(&Mortal::immortal()).await;
    let claim = stage.claim(&json!({"volumeMode": "Block", "storageClassName": ""})).await;
    stage.with_image("image-1").await;
    stage.pass().await;
    let uid = claim.uid().unwrap();
    let prime = stage.world.api::<PersistentVolumeClaim>().get(&format!("vs-prime-{uid}")).await.unwrap();
    assert_eq!(prime.labels()["volsync.backube/populator-pvc-for"], "data");
    assert_eq!(prime.labels()["app.kubernetes.io/created-by"], "volsync");
    let [owner] = prime.owner_references() else { panic!("{prime:#?}") };
    assert_eq!((owner.kind.as_str(), &owner.uid, owner.controller), ("PersistentVolumeClaim", &uid, Some(true)));
    let (wanted, made) = (claim.spec.unwrap(), prime.spec.clone().unwrap());
    assert_eq!(made.access_modes, wanted.access_modes);
    assert_eq!(made.resources, wanted.resources);
    assert_eq!(made.volume_mode, wanted.volume_mode);
    assert_eq!(made.storage_class_name, wanted.storage_class_name);
    let source = made.data_source_ref.unwrap();
    assert_eq!((source.kind.as_str(), source.name.as_str()), ("VolumeSnapshot", "image-1"));
    let mark = format!("volsync.backube/volpop-pvc-{uid}");
    let holders = |snapshot: VolumeSnapshot| -> Vec<String> {
        snapshot.owner_references().iter().skip(1).map(|owner| owner.name.clone()).collect()
    };
    let image = stage.world.api::<VolumeSnapshot>().get("image-1").await.unwrap();
    assert_eq!(image.labels().get(&mark).map(String::as_str), Some("data"));
    assert_eq!(holders(image), ["data"], "the claim, as long as there was no prime");
    stage.pass().await;
    let image = stage.world.api::<VolumeSnapshot>().get("image-1").await.unwrap();
    assert_eq!(holders(image), [prime.name_any()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_with_a_name_over_63_characters_is_filled() {
    let name = format!("{}.{}", "x".repeat(200), "y".repeat(52));
    let stage = Stage::named(&name, &Mortal::immortal()).await;
    stage.claim(&json!({})).await;
    stage.with_image("image-1").await;
    stage.pass().await;
    let prime = stage.prime().await.unwrap();
    assert_eq!(prime.annotations()["volsync.backube/populator-pvc-for"], name, "the label is cut");
    stage.turns(ENOUGH).await;
    stage.assert_filled_from("image-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_smaller_than_the_image_says_both_sizes_and_is_filled_by_an_image_that_fits() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.claim(&json!({})).await;
    stage.destination().await;
    stage.snapshot("large", &ready("4Gi")).await;
    stage.publish("VolumeSnapshot", "large").await;
    stage.turns(3).await;
    let note = stage.note().await.unwrap();
    assert!(note.contains("1Gi is too small for VolumeSnapshot \"large\", which needs 4Gi"), "{note}");
    assert_eq!(stage.told().await, ["VolSyncPopulatorError"]);
    assert!(stage.prime().await.is_none(), "no claim is left that could never be bound");
    stage.assert_nothing_held().await;
    stage.with_image("small").await;
    stage.turns(ENOUGH).await;
    stage.assert_filled_from("small").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_never_filled_from_an_image_that_cannot_be_used() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.claim(&json!({})).await;
    stage.destination().await;
    let unready = json!({"boundVolumeSnapshotContentName": "c", "readyToUse": false});
    let absent = json!({"boundVolumeSnapshotContentName": "c"});
    stage.snapshot("unready", &unready).await;
    stage.snapshot("unknown", &absent).await;
    let table = [
        ("VolumeSnapshot", "unready", "waiting until VolumeSnapshot unready is ready to use"),
        ("VolumeSnapshot", "unknown", "waiting until VolumeSnapshot unknown is ready to use"),
        ("VolumeSnapshot", "gone", "VolumeSnapshot \"gone\", the image of ReplicationDestination \"rd\", was deleted"),
        (
            "PersistentVolumeClaim",
            "live",
            "is PersistentVolumeClaim/live, and claims are filled from VolumeSnapshots only",
        ),
    ];
    for (kind, name, expected) in table {
        stage.publish(kind, name).await;
        stage.turns(2).await;
        let note = stage.note().await.unwrap();
        assert!(note.contains(expected), "{note}");
        assert!(stage.prime().await.is_none(), "{kind} {name}");
    }
    stage.publish("VolumeSnapshot", "unready").await;
    let api = stage.world.api::<VolumeSnapshot>();
    let patch = json!({"status": ready("1Gi")});
    api.patch_status("unready", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    stage.turns(ENOUGH).await;
    stage.assert_filled_from("unready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_claim_of_the_primes_name_is_neither_used_nor_changed() {
    let stage = Stage::new(&Mortal::immortal()).await;
    let uid = stage.claim(&json!({})).await.uid().unwrap();
    stage.with_image("image-1").await;
    let name = format!("vs-prime-{uid}");
    stage.world.create_claim(&name).await;
    let before = stage.world.api::<PersistentVolumeClaim>().get(&name).await.unwrap();
    stage.turns(3).await;
    let note = stage.note().await.unwrap();
    assert!(note.contains("exists but was not made for this claim (it belongs to nobody)"), "{note}");
    assert_eq!(stage.told().await, ["VolSyncPopulatorError"]);
    let after = stage.world.api::<PersistentVolumeClaim>().get(&name).await.unwrap();
    assert_eq!((before.metadata.uid, before.metadata.labels), (after.metadata.uid, after.metadata.labels));
    assert!(stage.get().await.unwrap().spec.unwrap().volume_name.is_none());
    stage.world.delete::<PersistentVolumeClaim>(&name).await;
    stage.turns(ENOUGH).await;
    stage.assert_filled_from("image-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_went_to_another_claim_is_not_taken_from_it() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.claim(&json!({})).await;
    stage.with_image("image-1").await;
    stage.turns(1).await;
    let volumes = stage.storage().volumes().await;
    let name = volumes[0].name_any();
    let other = json!({"spec": {"claimRef": {"name": "other", "uid": "7e57ab1e-0000-4000-8000-000000000000"}}});
    let api = Api::<PersistentVolume>::all(stage.world.client.clone());
    api.patch(&name, &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
    stage.pass().await;
    assert_eq!(claim_of(&api.get(&name).await.unwrap())["name"], "other");
    let note = stage.note().await.unwrap();
    assert!(note.contains("belongs to PersistentVolumeClaim \"other\""), "{note}");
    // The volume controller takes it back, as of a claim that there is not, and the prime loses it.
    stage.turns(ENOUGH).await;
    stage.assert_filled_from("image-1").await;
}

async fn create_class(stage: &Stage, provisioner: &str, binding: &str) -> String {
    let name = format!("class-{}", stage.world.namespace);
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner, "volumeBindingMode": binding});
    let class: StorageClass = serde_json::from_value(class).unwrap();
    Api::all(stage.world.client.clone()).create(&PostParams::default(), &class).await.unwrap();
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_waits_for_its_first_pod_is_filled_on_that_pods_node() {
    let stage = Stage::new(&Mortal::immortal()).await;
    let class = create_class(&stage, "test", "WaitForFirstConsumer").await;
    stage.claim(&json!({"storageClassName": class})).await;
    stage.with_image("image-1").await;
    stage.turns(3).await;
    assert!(stage.prime().await.is_none(), "its node is not known");
    assert_eq!(stage.note().await, None, "Kubernetes itself says that it waits for a pod");
    stage.storage().select_node("data", "n1").await;
    stage.pass().await;
    let node = |claim: &PersistentVolumeClaim| claim.annotations()["volume.kubernetes.io/selected-node"].clone();
    assert_eq!(node(&stage.prime().await.unwrap()), "n1");
    stage.storage().select_node("data", "n2").await;
    stage.pass().await;
    assert_eq!(node(&stage.prime().await.unwrap()), "n2", "there was no room on the first one");
    stage.turns(ENOUGH).await;
    stage.assert_filled_from("image-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_is_missing_or_makes_no_volumes_from_snapshots_is_named() {
    let stage = Stage::new(&Mortal::immortal()).await;
    let name = format!("class-{}", stage.world.namespace);
    stage.claim(&json!({"storageClassName": name})).await;
    stage.with_image("image-1").await;
    stage.turns(2).await;
    let note = stage.note().await.unwrap();
    assert!(note.contains(&format!("StorageClass {name:?} does not exist")), "{note}");
    create_class(&stage, "kubernetes.io/no-provisioner", "Immediate").await;
    let action = stage.pass().await;
    assert_ne!(action, Action::await_change(), "it may be passed on to a driver within the next seconds");
    assert!(stage.prime().await.is_none());
    let migrated = json!({"metadata": {"annotations": {"pv.kubernetes.io/migrated-to": "test"}}});
    let api = stage.world.api::<PersistentVolumeClaim>();
    api.patch("data", &PatchParams::default(), &Patch::Merge(migrated)).await.unwrap();
    stage.turns(ENOUGH).await;
    stage.assert_filled_from("image-1").await;
}

/// Whether what matters to this test has happened.
async fn is_filled(stage: &Stage) -> bool {
    let claim = stage.get().await;
    let is_bound = claim.is_some_and(|claim| claim.spec.unwrap().volume_name.is_some());
    is_bound && stage.prime().await.is_none()
}

/// Fills a claim by an operator with this fate and, if it dies, its successor. `meanwhile` is what happens when it is dead.
async fn fill(fate: &Mortal, meanwhile: &impl AsyncFn(&Stage)) -> Stage {
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
const WRITES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_filled_once_also_by_who_crashes_after_every_write() {
    let immortal = Mortal::immortal();
    fill(&immortal, &async |_: &Stage| {}).await.assert_filled_from("image-1").await;
    assert_eq!(immortal.writes(), WRITES);
    for last in 0..WRITES {
        let fate = Mortal::after(last);
        let stage = fill(&fate, &async |_: &Stage| {}).await;
        assert!(fate.is_dead(), "it was to die after write {last}");
        stage.assert_filled_from("image-1").await;
        assert_eq!(stage.snapshot_names().await, ["image-1"], "after a crash behind write {last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_crashed_finds_a_newer_image_and_leaves_nothing_of_either() {
    for last in 0..WRITES {
        let newer = async |stage: &Stage| {
            stage.with_image("image-2").await;
            // The former image is of no more use to its ReplicationDestination.
            stage.disown("image-1").await;
            stage.storage().act().await;
        };
        let stage = fill(&Mortal::after(last), &newer).await;
        let held = stage.storage().volumes().await[0].spec.clone().unwrap().csi.unwrap().volume_handle;
        stage.assert_filled_from(&held).await;
        assert_eq!(stage.snapshot_names().await, ["image-2"], "after a crash behind write {last}, filled from {held}");
    }
}

/// What a user deletes.
async fn delete(stage: &Stage, what: &str) {
    match what {
        "claim" => stage.world.delete::<PersistentVolumeClaim>("data").await,
        "destination" => stage.world.delete::<ReplicationDestination>("rd").await,
        "snapshot" => stage.world.delete::<VolumeSnapshot>("image-1").await,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_deleted_in_the_middle_in_whatever_order_nothing_is_left_over() {
    let orders: [&[&str]; 5] =
        [&["claim"], &["destination"], &["snapshot"], &["claim", "destination"], &["destination", "claim"]];
    for order in orders {
        // From the mark to the prime's end.
        for last in 2..WRITES {
            let disturb = async |stage: &Stage| {
                for what in order {
                    if *what == "snapshot" && stage.snapshot_names().await.is_empty() {
                        continue;
                    }
                    delete(stage, what).await;
                    stage.storage().act().await;
                }
                if *order == ["snapshot"] {
                    stage.with_image("image-2").await;
                }
            };
            let stage = fill(&Mortal::after(last), &disturb).await;
            let place = format!("{order:?} after write {last}");
            if order.contains(&"claim") {
                assert!(stage.storage().claims().await.is_empty(), "{place}");
                assert!(stage.storage().volumes().await.is_empty(), "{place}");
            } else {
                assert!(is_filled(&stage).await, "{place}: {:?}", stage.note().await);
                stage.assert_nothing_held().await;
            }
            if order.contains(&"destination") {
                assert!(stage.snapshot_names().await.is_empty(), "{place}: {:?}", stage.snapshot_names().await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_a_user_keeps_survives_whatever_was_filled_from_it() {
    for delete_claim in [false, true] {
        let stage = Stage::new(&Mortal::immortal()).await;
        stage.claim(&json!({})).await;
        stage.with_image("image-1").await;
        stage.pass().await;
        stage.pass().await;
        let keep = json!({"metadata": {"labels": {"volsync.backube/do-not-delete": "yes"}}});
        let api = stage.world.api::<VolumeSnapshot>();
        api.patch("image-1", &PatchParams::default(), &Patch::Merge(keep)).await.unwrap();
        stage.pass().await;
        stage.disown("image-1").await;
        if delete_claim {
            delete(&stage, "claim").await;
            stage.storage().act().await;
        } else {
            stage.turns(ENOUGH).await;
            stage.assert_filled_from("image-1").await;
        }
        assert_eq!(stage.snapshot_names().await, ["image-1"]);
        let kept = api.get("image-1").await.unwrap();
        assert!(kept.owner_references().is_empty(), "{kept:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_claims_filled_from_one_image_do_not_take_it_from_each_other() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.claim(&json!({})).await;
    stage.with_image("image-1").await;
    let other = Stage { world: stage.world.clone(), claim: "other".to_owned(), operator: stage.operator.clone() };
    other.claim(&json!({})).await;
    other.pass().await;
    stage.pass().await;
    stage.pass().await;
    other.pass().await;
    stage.disown("image-1").await;
    stage.turns(ENOUGH).await;
    assert!(is_bound(&stage).await);
    assert_eq!(stage.snapshot_names().await, ["image-1"], "the other one's prime holds it");
    other.turns(ENOUGH).await;
    assert!(is_bound(&stage).await && is_bound(&other).await);
    assert!(stage.snapshot_names().await.is_empty(), "nobody wants it any more");
    assert_eq!(stage.storage().claims().await.len(), 2);
}

async fn is_bound(stage: &Stage) -> bool {
    stage.get().await.unwrap().status.unwrap().phase.as_deref() == Some("Bound")
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_others_at_the_same_moment_are_not_lost_and_not_overwritten() {
    let mut stage = Stage::new(&Mortal::immortal()).await;
    let meddler = Meddler::new(stage.world.client.clone());
    stage.operator = stage.world.populator_with(meddler.client(stage.world.config.clone()));
    stage.claim(&json!({})).await;
    stage.with_image("image-1").await;
    stage.turns(3 * ENOUGH).await;
    stage.assert_filled_from("image-1").await;
    assert!(meddler.conflicts() >= 4, "only {} conflicts: the test would prove little", meddler.conflicts());
    let image = stage.world.api::<VolumeSnapshot>().get("image-1").await.unwrap();
    assert!(image.annotations().contains_key("meddled"), "what others wrote is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prime_that_a_quota_forbids_is_told_once_and_made_when_there_is_room() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.claim(&json!({})).await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"},
        "spec": {"hard": {"persistentvolumeclaims": "1"}}});
    stage.world.create::<ResourceQuota>(quota).await;
    let used = json!({"status": {"hard": {"persistentvolumeclaims": "1"}, "used": {"persistentvolumeclaims": "1"}}});
    let quotas = stage.world.api::<ResourceQuota>();
    quotas.patch_status("few", &PatchParams::default(), &Patch::Merge(used)).await.unwrap();
    stage.with_image("image-1").await;
    // The admission plugin's cache learns of the quota a moment later.
    let told = stage.until_noted("exceeded quota: few").await;
    assert!(told.starts_with("create PersistentVolumeClaim vs-prime-"), "{told}");
    stage.turns(2).await;
    let errors = stage.told().await.into_iter().filter(|reason| reason == "VolSyncPopulatorPVCCreationError").count();
    assert_eq!(errors, 1);
    stage.world.delete::<ResourceQuota>("few").await;
    stage.until_filled().await;
    stage.assert_filled_from("image-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_told_that_destinations_fill_claims_once_it_can_be_told() {
    let world = World::new().await;
    let definitions = Api::<CustomResourceDefinition>::all(world.client.clone());
    let populators = Api::<DynamicObject>::all_with(world.client.clone(), &populator::resource());
    assert!(definitions.get_opt(populator::CRD).await.unwrap().is_none(), "left over by another test");
    let selected = ListParams::default().fields(offer::definition().field_selector.as_deref().unwrap());
    assert!(definitions.list(&selected).await.unwrap().items.is_empty());
    let crd: CustomResourceDefinition = serde_json::from_value(populator_definition()).unwrap();
    let unestablished = definitions.create(&PostParams::default(), &crd).await.unwrap();
    let client = Arc::new(world.client.clone());
    let action = offer::reconcile(Arc::new(unestablished), client.clone()).await.unwrap();
    assert_eq!(action, Action::await_change(), "its being established is a change");
    let object = loop {
        let found = definitions.list(&selected).await.unwrap().items;
        offer::reconcile(Arc::new(found[0].clone()), client.clone()).await.unwrap();
        if let Ok(object) = populators.get("volsync-replicationdestination").await {
            break object;
        }
    };
    let expected = json!({"group": "volsync.backube", "kind": "ReplicationDestination"});
    assert_eq!(object.data["sourceKind"], expected);
    assert_eq!(object.labels()["app.kubernetes.io/created-by"], "volsync");
    definitions.delete(populator::CRD, &Default::default()).await.unwrap();
}

/// As volume-data-source-validator installs it, without its descriptions.
fn populator_definition() -> Value {
    let kind = json!({"type": "object", "required": ["group", "kind"],
        "properties": {"group": {"type": "string"}, "kind": {"type": "string"}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": populator::CRD,
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/2934"}},
        "spec": {"group": "populator.storage.k8s.io", "scope": "Cluster",
            "names": {"kind": "VolumePopulator", "plural": "volumepopulators", "singular": "volumepopulator",
                "listKind": "VolumePopulatorList"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "required": ["sourceKind"], "properties": {"apiVersion": {"type": "string"},
                    "kind": {"type": "string"}, "metadata": {"type": "object"}, "sourceKind": kind}}}}]}})
}

async fn synchronize(stage: &mut Stage, manual: &str) -> String {
    let operator = stage.world.operator(&Mortal::immortal());
    if stage.world.api::<ReplicationDestination>().get_opt("rd").await.unwrap().is_none() {
        let spec = json!({"trigger": {"manual": manual}, "rsyncTLS": {"copyMethod": "Snapshot", "capacity": "1Gi",
            "accessModes": ["ReadWriteOnce"]}});
        stage.world.create_object::<ReplicationDestination>(spec).await;
    }
    stage.world.set_manual::<ReplicationDestination>(manual).await;
    let is_idle = |object: &ReplicationDestination| {
        let status = object.status();
        status.last_manual.as_deref() == Some(manual)
            && status.condition.is_some_and(|condition| condition.message == "Waiting for manual trigger")
    };
    match stage.world.until(&operator, is_idle).await.status().image {
        Some(Image::Snapshot(name)) => name,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_a_claim_is_filled_from_outlives_the_next_and_goes_when_it_is_filled() {
    let mut stage = Stage::new(&Mortal::immortal()).await;
    let first = synchronize(&mut stage, "one").await;
    stage.claim(&json!({})).await;
    stage.pass().await;
    stage.pass().await;
    let second = synchronize(&mut stage, "two").await;
    let names = stage.snapshot_names().await;
    assert!(names.contains(&first) && names.contains(&second), "{names:?}");
    stage.turns(ENOUGH).await;
    assert_eq!(stage.storage().volumes().await[0].spec.clone().unwrap().csi.unwrap().volume_handle, first);
    assert_eq!(stage.snapshot_names().await, [second]);
    stage.assert_nothing_held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_of_a_claim_that_is_gone_keeps_no_image_and_that_of_one_that_waits_does() {
    for is_gone in [true, false] {
        let mut stage = Stage::new(&Mortal::immortal()).await;
        let first = synchronize(&mut stage, "one").await;
        let uid = stage.claim(&json!({})).await.uid().unwrap();
        // As VolSync leaves it when it dies before it has made a prime.
        let mark = json!({"metadata": {"labels": {format!("volsync.backube/volpop-pvc-{uid}"): "data"}}});
        let api = stage.world.api::<VolumeSnapshot>();
        api.patch(&first, &PatchParams::default(), &Patch::Merge(mark)).await.unwrap();
        if is_gone {
            stage.world.delete::<PersistentVolumeClaim>("data").await;
            stage.storage().act().await;
        }
        let second = synchronize(&mut stage, "two").await;
        let names = stage.snapshot_names().await;
        assert_eq!(names.contains(&first), !is_gone, "{names:?}");
        if !is_gone {
            let owners = api.get(&first).await.unwrap().owner_references().len();
            assert_eq!(owners, 1, "without its ReplicationDestination nobody would delete it");
            stage.turns(ENOUGH).await;
            synchronize(&mut stage, "three").await;
            let names = stage.snapshot_names().await;
            assert!(!names.contains(&first) && !names.contains(&second), "{names:?}");
        }
        stage.assert_nothing_held().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_claims_filled_from_one_image_at_a_time_do_not_stand_in_each_others_way() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.with_image("image-1").await;
    let claims: Vec<Stage> = (0..50)
        .map(|n| Stage { world: stage.world.clone(), claim: format!("c{n}"), operator: stage.operator.clone() })
        .collect();
    for claim in &claims {
        claim.claim(&json!({})).await;
    }
    // Prime made; held and handed over; finished.
    for _ in 0..3 {
        let passes = claims.iter().map(Stage::pass);
        for action in futures::future::join_all(passes).await {
            assert_ne!(action, Action::requeue(Duration::from_millis(250)), "a pass was not finished");
        }
        stage.storage().act().await;
        stage.storage().act().await;
    }
    assert_eq!(stage.storage().claims().await.len(), claims.len(), "no prime is left");
    for claim in &claims {
        assert!(is_bound(claim).await, "{}", claim.claim);
    }
    assert_eq!(stage.snapshot_names().await, ["image-1"]);
    stage.assert_nothing_held().await;
}
