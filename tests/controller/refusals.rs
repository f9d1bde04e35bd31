//! What is wrong is said in the condition, and mends itself when it is put right; what is not ours is left alone.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service, ServiceAccount};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::json;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;
use doppel::replication::reconcile;

use super::faults::Mortal;
use super::world::World;

const GOOD_KEY: &str = "volsync:000102030405060708090a0b0c0d0e0f";

fn message<K: Kind>(object: &K) -> String {
    object.status().condition.map(|condition| condition.message).unwrap_or_default()
}

fn source() -> serde_json::Value {
    json!({"sourcePVC": "data", "trigger": {"manual": "one"},
        "rsyncTLS": {"copyMethod": "Direct", "address": "192.0.2.1", "keySecret": "key"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_named_and_a_right_one_goes_on() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    world.create_object::<ReplicationSource>(source()).await;
    let operator = world.operator(&Mortal::immortal());
    let missing = |object: &ReplicationSource| message(object).contains("Secret \"key\" does not exist");
    world.until(&operator, missing).await;

    let table = [
        ("no colon here", "line 1: has no colon"),
        ("volsync:0123", "line 1: the key has 4 digits"),
        ("volsync:0001020304050607080g", "not a hexadecimal digit"),
        ("", "it holds no key"),
    ];
    world.create_key("key", GOOD_KEY).await;
    for (text, expected) in table {
        let patch = json!({"stringData": {"psk.txt": text}});
        world.api::<Secret>().patch("key", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        let told = |object: &ReplicationSource| {
            let message = message(object);
            message.contains("Secret \"key\"") && message.contains("psk.txt") && message.contains(expected)
        };
        world.until(&operator, told).await;
    }
    assert!(world.jobs.is_empty(), "no mover starts with a malformed key");
    let other = json!({"stringData": {"other": "x"}, "data": {"psk.txt": null}});
    world.api::<Secret>().patch("key", &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
    world.until(&operator, |object: &ReplicationSource| message(object).contains("missing field: psk.txt")).await;

    let right = json!({"stringData": {"psk.txt": format!("{GOOD_KEY}\r\n")}});
    world.api::<Secret>().patch("key", &PatchParams::default(), &Patch::Merge(right)).await.unwrap();
    world.until(&operator, |object: &ReplicationSource| object.status().last_manual.as_deref() == Some("one")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_is_looked_for_again_although_secrets_are_not_watched() {
    let world = World::new().await;
    world.create_claim("data").await;
    world.create_object::<ReplicationSource>(source()).await;
    let operator = world.operator(&Mortal::immortal());
    for _ in 0..2 {
        let object = std::sync::Arc::new(world.object::<ReplicationSource>().await);
        let action = reconcile(object, operator.clone()).await.unwrap();
        if message(&world.object::<ReplicationSource>().await).contains("Secret") {
            assert_ne!(action, Action::await_change());
            return;
        }
    }
    panic!("the missing Secret was not reported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_appears_later_is_used() {
    let mut world = World::new().await;
    world.create_key("key", GOOD_KEY).await;
    world.create_object::<ReplicationSource>(source()).await;
    let operator = world.operator(&Mortal::immortal());
    world
        .until(&operator, |object: &ReplicationSource| message(object).contains("PersistentVolumeClaim \"data\""))
        .await;
    world.create_claim("data").await;
    world.until(&operator, |object: &ReplicationSource| object.status().last_manual.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_somebody_else_are_neither_used_nor_changed() {
    let mut world = World::new().await;
    world.create_claim("volsync-x-dst").await;
    let spec = json!({"rsyncTLS": {"copyMethod": "Direct", "capacity": "5Gi", "accessModes": ["ReadWriteOnce"]}});
    world.create_object::<ReplicationDestination>(spec).await;
    let before = world.api::<PersistentVolumeClaim>().get("volsync-x-dst").await.unwrap();
    let operator = world.operator(&Mortal::immortal());
    let told = |object: &ReplicationDestination| {
        message(object).contains("PersistentVolumeClaim \"volsync-x-dst\" exists but does not belong to this object")
    };
    world.until(&operator, told).await;
    world.turn::<ReplicationDestination>(&operator).await;
    let after = world.api::<PersistentVolumeClaim>().get("volsync-x-dst").await.unwrap();
    assert_eq!((before.metadata.labels, before.spec), (after.metadata.labels, after.spec));
    assert!(world.jobs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_groups_kind_and_name_owns_is_somebody_elses() {
    let mut world = World::new().await;
    world.create_claim("volsync-x-dst").await;
    let owner = json!({"apiVersion": "example.test/v1alpha1", "kind": "ReplicationDestination", "name": "x", "uid": "u", "controller": true});
    let owned = json!({"metadata": {"ownerReferences": [owner]}});
    let claims = world.api::<PersistentVolumeClaim>();
    claims.patch("volsync-x-dst", &PatchParams::default(), &Patch::Merge(&owned)).await.unwrap();
    let spec = json!({"rsyncTLS": {"copyMethod": "Direct", "capacity": "5Gi", "accessModes": ["ReadWriteOnce"]}});
    world.create_object::<ReplicationDestination>(spec).await;
    let operator = world.operator(&Mortal::immortal());
    let told = |object: &ReplicationDestination| message(object).contains("it belongs to ReplicationDestination/x");
    world.until(&operator, told).await;
}

/// There is no garbage collector here: this is it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_object_of_the_name_has_left_behind_is_waited_for() {
    let mut world = World::new().await;
    let spec = json!({"trigger": {"manual": "one"},
        "rsyncTLS": {"copyMethod": "Direct", "capacity": "5Gi", "accessModes": ["ReadWriteOnce"]}});
    let operator = world.operator(&Mortal::immortal());
    world.create_object::<ReplicationDestination>(spec.clone()).await;
    let is_done = |object: &ReplicationDestination| object.status().last_manual.is_some();
    world.until(&operator, is_done).await;
    let left_behind = world.children().await;
    world.delete::<ReplicationDestination>("x").await;

    world.create_object::<ReplicationDestination>(spec).await;
    world.until(&operator, |object: &ReplicationDestination| message(object).contains("until the former ")).await;
    assert_eq!(world.children().await, left_behind);
    world.delete::<PersistentVolumeClaim>("volsync-x-dst").await;
    world.delete::<Service>("volsync-rsync-tls-dst-x").await;
    world.delete::<Secret>("volsync-rsync-tls-x").await;
    world.delete::<ServiceAccount>("volsync-dst-x").await;
    world.delete::<Job>("volsync-rsync-tls-dst-x").await;
    world.until(&operator, is_done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_child_is_made_again() {
    let world = World::new().await;
    let spec = json!({"paused": true, "rsyncTLS": {"copyMethod": "Direct", "capacity": "1Gi",
        "accessModes": ["ReadWriteOnce"]}});
    world.create_object::<ReplicationDestination>(spec).await;
    let operator = world.operator(&Mortal::immortal());
    let service = "Service/volsync-rsync-tls-dst-x".to_owned();
    let job = "Job/volsync-rsync-tls-dst-x".to_owned();
    for _ in 0..3 {
        let object = std::sync::Arc::new(world.object::<ReplicationDestination>().await);
        let _ = reconcile(object, operator.clone()).await;
    }
    assert!(world.children().await.is_superset(&[service.clone(), job.clone()].into()));
    world.delete::<Service>("volsync-rsync-tls-dst-x").await;
    world.delete::<Job>("volsync-rsync-tls-dst-x").await;
    assert!(world.children().await.is_disjoint(&[service.clone(), job.clone()].into()));
    let object = std::sync::Arc::new(world.object::<ReplicationDestination>().await);
    let _ = reconcile(object, operator).await;
    assert!(world.children().await.is_superset(&[service, job].into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_not_written_over_somebody_elses_change() {
    let world = World::new().await;
    world.create_claim("data").await;
    let stale = world.create_object::<ReplicationSource>(source()).await;
    let touched = json!({"metadata": {"labels": {"touched": "yes"}}});
    world.api::<ReplicationSource>().patch("x", &PatchParams::default(), &Patch::Merge(touched)).await.unwrap();
    let mut status = stale.clone();
    status.set_status(doppel::model::status::Status::default());
    let error = world.api::<ReplicationSource>().replace_status("x", &Default::default(), &status).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 409), "a stale status is refused");
    // A pass that begins from the stale object reads it afresh and is not stopped by the conflict.
    let operator = world.operator(&Mortal::immortal());
    let _ = reconcile(std::sync::Arc::new(stale), operator).await;
    assert!(world.object::<ReplicationSource>().await.status().last_sync_start.is_some());
}
