//! What claims wait for, and what their users are told meanwhile.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, ResourceQuota};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use serde_json::json;

use doppel::resources::snapshot::VolumeSnapshot;

use super::stage::{ENOUGH, Stage, ready};
use crate::controller::faults::Mortal;
use crate::controller::storage::claim_of;

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
