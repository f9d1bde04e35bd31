//! Objects that VolSync left, idle and in the middle of an iteration: they are taken over with every address, key, volume and
//! image, and nothing of them is left behind by the next synchronization.

mod left;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::model::policy::Policy;
use doppel::model::queue::Limits;
use doppel::model::replication::Lifetime;
use doppel::replication::Context;
use doppel::replication::interpret::Kind;

use self::left::{End, IMAGE, Left, NOTE, condition, identities, in_progress};
use super::faults::Mortal;
use super::readiness::end_mover;
use super::world::World;

const NOTED: &str = "volsync-x-dst-20261123100000";
const FAILED: &str = r#"{"verdict":{"result":"failed","fault":"network","retry":"later","message":"no route to host"},"tally":{},"elapsedMs":5}"#;

fn destination() -> Value {
    json!({"trigger": {"manual": "one"}, "rsyncTLS": {"copyMethod": "Snapshot", "capacity": "1Gi",
        "accessModes": ["ReadWriteOnce"]}})
}

fn source(tag: &str) -> Value {
    json!({"sourcePVC": "data", "trigger": {"manual": tag}, "rsyncTLS": {"copyMethod": "Snapshot", "keySecret": "key",
        "address": "192.0.2.1"}})
}

fn image(name: &str) -> Value {
    json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name})
}

fn succeeded() -> Value {
    json!({"result": "Successful", "logs": "sent 1,024 bytes  received 128 bytes\nrsync completed in 2s"})
}

/// The status as any other program reads it.
async fn status<K: Kind>(world: &World) -> Value {
    serde_json::to_value(world.object::<K>().await).unwrap()["status"].clone()
}

fn answers<K: Kind>(tag: &str) -> impl Fn(&K) -> bool {
    move |object| {
        let status = object.status();
        let is_idle = status.condition.is_some_and(|condition| condition.message == "Waiting for manual trigger");
        is_idle && status.last_manual.as_deref() == Some(tag)
    }
}

async fn turns<K: Kind>(world: &mut World, operator: &Arc<Context>, count: usize) {
    for _ in 0..count {
        world.turn::<K>(operator).await;
    }
}

/// Turns until this trigger is answered, in which nothing of these is replaced. Returns the children that were seen.
async fn keep_until_answered<K: Kind>(
    world: &mut World,
    operator: &Arc<Context>,
    (tag, kept): (&str, &[&str]),
) -> BTreeSet<(String, String)> {
    let before = identities(world).await;
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        world.turn::<K>(operator).await;
        let now = identities(world).await;
        for child in kept {
            assert!(before.contains_key(*child), "{child} is none of {before:?}");
            assert!(now.get(*child).is_none_or(|uid| *uid == before[*child]), "{child} was replaced");
        }
        let failed = &status::<K>(world).await["currentSync"]["failedAttempts"];
        assert!(failed.is_null(), "taking over is no failure");
        seen.extend(now);
        if answers::<K>(tag)(&world.object::<K>().await) {
            return seen;
        }
    }
    panic!("not answered after 40 turns: {:#}", status::<K>(world).await);
}

/// A destination in the middle of an iteration of VolSync's; the claim's note and the Job are the test's.
async fn destination_under_way(world: &World) -> Left {
    let left = Left::of::<ReplicationDestination>(world, destination()).await;
    let address = left.destination().await;
    left.status::<ReplicationDestination>(json!({
        "lastSyncTime": "2026-11-20T10:00:30Z", "lastSyncDuration": "30.5s", "lastSyncStartTime": "2026-11-23T09:59:00Z",
        "latestMoverStatus": succeeded(), "latestImage": image(IMAGE), "conditions": in_progress(),
        "rsyncTLS": {"address": address, "keySecret": "volsync-rsync-tls-x"},
    }))
    .await;
    left
}

/// The same of a source, which answers the tag "two". The claim that it copies has these annotations.
async fn source_under_way(world: &World, annotations: &Value) -> Left {
    world.create_claim("data").await;
    let patch = json!({"metadata": {"annotations": annotations}});
    let api = world.api::<PersistentVolumeClaim>();
    api.patch("data", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    world.create_key("key", &format!("volsync:{}", "5a".repeat(64))).await;
    let left = Left::of::<ReplicationSource>(world, source("two")).await;
    left.account().await;
    left.status::<ReplicationSource>(json!({
        "lastSyncTime": "2026-11-20T10:00:30Z", "lastSyncDuration": "1m50.25s", "lastManualSync": "one",
        "lastSyncStartTime": "2026-11-23T09:59:00Z", "latestMoverStatus": succeeded(), "conditions": in_progress(),
    }))
    .await;
    left
}

/// What a source has between iterations: VolSync's Role and RoleBinding go with their object.
const SOURCE_AT_REST: [&str; 3] = ["Role/volsync-src-x", "RoleBinding/volsync-src-x", "ServiceAccount/volsync-src-x"];

async fn assert_source_at_rest(world: &World) {
    let children: Vec<String> = identities(world).await.into_keys().collect();
    assert_eq!(children, SOURCE_AT_REST);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_destination_keeps_address_key_volume_and_image_until_its_next_image() {
    let mut world = World::new().await;
    let left = Left::of::<ReplicationDestination>(&world, destination()).await;
    let address = left.destination().await;
    let key = world.api::<Secret>().get("volsync-rsync-tls-x").await.unwrap().data;
    left.status::<ReplicationDestination>(json!({
        "lastSyncTime": "2026-11-20T10:00:30Z", "lastSyncDuration": "30.5s", "lastManualSync": "one",
        "latestMoverStatus": succeeded(), "latestImage": image(IMAGE),
        "rsyncTLS": {"address": address, "keySecret": "volsync-rsync-tls-x"},
        "conditions": condition("False", "WaitingForManual", "Waiting for manual trigger"),
    }))
    .await;
    let before = identities(&world).await;
    let operator = world.operator(&Mortal::immortal());
    turns::<ReplicationDestination>(&mut world, &operator, 4).await;
    assert_eq!(identities(&world).await, before, "an idle object is left as it is");
    let idle = status::<ReplicationDestination>(&world).await;
    assert_eq!((&idle["latestImage"], &idle["lastManualSync"]), (&image(IMAGE), &json!("one")));
    assert_eq!(idle["rsyncTLS"], json!({"address": address, "keySecret": "volsync-rsync-tls-x"}));
    assert_eq!((&idle["lastSyncDuration"], &idle["latestMoverStatus"]), (&json!("30.5s"), &succeeded()));

    world.set_manual::<ReplicationDestination>("two").await;
    world.until(&operator, answers::<ReplicationDestination>("two")).await;
    let after = identities(&world).await;
    let gone: Vec<_> = before.keys().filter(|child| !after.contains_key(*child)).collect();
    assert_eq!(gone, [&format!("VolumeSnapshot/{IMAGE}")]);
    for (child, uid) in before.iter().filter(|(child, _)| after.contains_key(*child)) {
        assert_eq!(after[child], *uid, "{child} was replaced");
    }
    let done = status::<ReplicationDestination>(&world).await;
    let new: Vec<_> = after.keys().filter(|child| !before.contains_key(*child)).collect();
    assert_eq!(new, [&format!("VolumeSnapshot/{}", done["latestImage"]["name"].as_str().unwrap())]);
    assert_eq!(done["rsyncTLS"], idle["rsyncTLS"]);
    let service = world.api::<Service>().get("volsync-rsync-tls-dst-x").await.unwrap();
    assert_eq!(service.spec.unwrap().cluster_ip, Some(address));
    assert_eq!(world.api::<Secret>().get("volsync-rsync-tls-x").await.unwrap().data, key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_volsync_had_not_cleaned_up_is_cleaned_up() {
    let mut world = World::new().await;
    let left = source_under_way(&world, &json!({})).await;
    left.copy().await;
    let job = left.job().await;
    world.jobs.insert(job.clone());
    left.end_job(&job, End::Succeeded).await;
    left.status::<ReplicationSource>(json!({"lastSyncStartTime": null, "lastManualSync": "two",
        "conditions": condition("False", "CleaningUp", "Cleaning up")}))
        .await;
    let operator = world.operator(&Mortal::immortal());
    world.until(&operator, answers::<ReplicationSource>("two")).await;
    world.act().await;
    assert_source_at_rest(&world).await;
    assert_eq!(world.jobs.len(), 1, "nothing was synchronized again");
    world.set_manual::<ReplicationSource>("three").await;
    world.until(&operator, answers::<ReplicationSource>("three")).await;
    world.act().await;
    assert_source_at_rest(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_under_way_goes_on_with_volsyncs_copy_and_a_mover_of_its_own() {
    // VolSync's mover runs, or has ended: what it says of its end is not believed.
    for end in [None, Some(End::Succeeded), Some(End::Failed)] {
        let mut world = World::new().await;
        let left = source_under_way(&world, &json!({})).await;
        left.copy().await;
        let job = left.job().await;
        world.jobs.insert(job.clone());
        match end {
            None => world.start_pod(&job).await,
            Some(end) => left.end_job(&job, end).await,
        }
        let operator = world.operator(&Mortal::immortal());
        let kept = ["PersistentVolumeClaim/volsync-x-src", "VolumeSnapshot/volsync-x-src"];
        keep_until_answered::<ReplicationSource>(&mut world, &operator, ("two", &kept)).await;
        world.act().await;
        assert_eq!(world.jobs.len(), 2, "{end:?}: VolSync's and one of Doppel's");
        assert_source_at_rest(&world).await;
        let done = status::<ReplicationSource>(&world).await;
        assert_eq!(done["latestMoverStatus"]["result"], "Successful");
        assert_eq!((&done["lastSyncStartTime"], &done["currentSync"]), (&Value::Null, &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_waits_for_its_source_waits_on_at_the_same_address() {
    let mut world = World::new().await;
    let left = destination_under_way(&world).await;
    let job = left.job().await;
    world.jobs.insert(job.clone());
    world.start_pod(&job).await;
    let operator = world.operator(&Mortal::immortal());
    let kept = ["Service/volsync-rsync-tls-dst-x", "Secret/volsync-rsync-tls-x", "PersistentVolumeClaim/volsync-x-dst"];
    let seen = keep_until_answered::<ReplicationDestination>(&mut world, &operator, ("one", &kept)).await;
    assert_eq!(world.jobs.len(), 2, "VolSync's and one of Doppel's");
    let images = seen.iter().filter(|(child, _)| child.starts_with("VolumeSnapshot/")).count();
    assert_eq!(images, 2, "VolSync's image and the next: {seen:?}");
    let left: Vec<String> = identities(&world).await.into_keys().collect();
    let image = status::<ReplicationDestination>(&world).await["latestImage"]["name"].as_str().unwrap().to_owned();
    assert_ne!(image, IMAGE);
    let expected = [
        "PersistentVolumeClaim/volsync-x-dst",
        "Role/volsync-dst-x",
        "RoleBinding/volsync-dst-x",
        "Secret/volsync-rsync-tls-x",
        "Service/volsync-rsync-tls-dst-x",
        "ServiceAccount/volsync-dst-x",
        &format!("VolumeSnapshot/{image}"),
    ];
    assert_eq!(left, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_volsyncs_mover_had_received_is_published_since_its_source_does_not_come_again() {
    // Once with a limit: then there is something to remember of the iteration, and its image must not get another name.
    for limited in [None, std::num::NonZeroU32::new(1)] {
        let mut world = World::new().await;
        world.policy = Policy { limits: Limits { storage_class: limited, ..Limits::default() }, ..Policy::default() };
        let left = destination_under_way(&world).await;
        let job = left.job().await;
        world.jobs.insert(job.clone());
        left.end_job(&job, End::Succeeded).await;
        left.note(NOTED).await;
        let operator = world.operator(&Mortal::immortal());
        let seen = keep_until_answered::<ReplicationDestination>(&mut world, &operator, ("one", &[])).await;
        assert_eq!(world.jobs.len(), 1, "nobody was asked to send it again");
        let done = status::<ReplicationDestination>(&world).await;
        assert_eq!(done["latestImage"], image(NOTED));
        assert_eq!(done["latestMoverStatus"]["result"], "Successful");
        let images: BTreeSet<_> = seen.iter().filter(|(child, _)| child.starts_with("VolumeSnapshot/")).collect();
        assert_eq!(images.len(), 2, "the former image and this one: {images:?}");
        let claim = world.api::<PersistentVolumeClaim>().get("volsync-x-dst").await.unwrap();
        assert!(!claim.annotations().contains_key(NOTE), "the next iteration takes a snapshot of its own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destinations_mover_of_volsyncs_that_failed_is_followed_by_one_of_doppels() {
    let mut world = World::new().await;
    let left = destination_under_way(&world).await;
    let job = left.job().await;
    world.jobs.insert(job.clone());
    left.end_job(&job, End::Failed).await;
    let operator = world.operator(&Mortal::immortal());
    let kept = ["PersistentVolumeClaim/volsync-x-dst", "Service/volsync-rsync-tls-dst-x"];
    keep_until_answered::<ReplicationDestination>(&mut world, &operator, ("one", &kept)).await;
    assert_eq!(world.jobs.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_volsync_was_taking_is_published_when_it_is_ready_and_not_taken_again() {
    let mut world = World::new().await;
    let left = destination_under_way(&world).await;
    left.note(NOTED).await;
    left.snapshot(NOTED, ("volsync-x-dst", Lifetime::Kept), false).await;
    let operator = world.operator(&Mortal::immortal());
    turns::<ReplicationDestination>(&mut world, &operator, 3).await;
    let waiting = status::<ReplicationDestination>(&world).await;
    assert_eq!(waiting["latestImage"], image(IMAGE), "VolSync's former image stays until the next can be used");
    left.set_ready(NOTED, true).await;
    let kept = format!("VolumeSnapshot/{NOTED}");
    keep_until_answered::<ReplicationDestination>(&mut world, &operator, ("one", &[&kept])).await;
    assert!(world.jobs.is_empty(), "its mover had done its work");
    assert_eq!(status::<ReplicationDestination>(&world).await["latestImage"], image(NOTED));
    assert!(!identities(&world).await.contains_key(&format!("VolumeSnapshot/{IMAGE}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_of_volsyncs_iteration_is_answered_once_although_an_attempt_fails() {
    let mut world = World::new().await;
    let left = source_under_way(&world, &json!({})).await;
    left.copy().await;
    let operator = world.operator(&Mortal::immortal());
    end_mover(&mut world, &operator, 4, FAILED).await;
    let failed = status::<ReplicationSource>(&world).await;
    let current = &failed["currentSync"];
    assert_eq!((&current["failedAttempts"], &current["manual"]), (&json!(1), &json!("two")));
    world.until(&operator, answers::<ReplicationSource>("two")).await;
    turns::<ReplicationSource>(&mut world, &operator, 3).await;
    assert_eq!(world.jobs.len(), 2, "the attempt that failed, and the next");
    assert_source_at_rest(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_volsync_was_making_answers_its_copy_trigger() {
    let key = |name: &str| format!("volsync.backube/{name}");
    let mut world = World::new().await;
    let annotations = json!({key("use-copy-trigger"): "", key("copy-trigger"): "first",
        key("latest-copy-status"): "InProgress"});
    let left = source_under_way(&world, &annotations).await;
    left.snapshot("volsync-x-src", ("data", Lifetime::Temporary), true).await;
    let operator = world.operator(&Mortal::immortal());
    world.until(&operator, answers::<ReplicationSource>("two")).await;
    let claim = world.api::<PersistentVolumeClaim>().get("data").await.unwrap();
    assert_eq!(claim.annotations().get(&key("latest-copy-status")).unwrap(), "Completed");
    assert_eq!(claim.annotations().get(&key("latest-copy-trigger")).unwrap(), "first");

    world.set_manual::<ReplicationSource>("three").await;
    turns::<ReplicationSource>(&mut world, &operator, 4).await;
    assert_source_at_rest(&world).await;
    let claim = world.api::<PersistentVolumeClaim>().get("data").await.unwrap();
    assert_eq!(claim.annotations().get(&key("latest-copy-status")).unwrap(), "WaitingForTrigger");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_mover_is_not_there_yet_keeps_all_that_volsync_left() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    let spec = json!({"sourcePVC": "data", "rclone": {"rcloneConfig": "repository", "copyMethod": "Snapshot"}});
    let left = Left::of::<ReplicationSource>(&world, spec).await;
    left.account().await;
    left.copy().await;
    let job = left.job().await;
    world.jobs.insert(job.clone());
    world.start_pod(&job).await;
    let began = "2026-11-23T09:59:00Z";
    left.status::<ReplicationSource>(json!({"lastSyncTime": "2026-11-20T10:00:30Z", "lastSyncStartTime": began,
        "latestMoverStatus": succeeded(), "conditions": in_progress(), "restic": {"lastPruned": began}}))
        .await;
    let before = identities(&world).await;
    let operator = world.operator(&Mortal::immortal());
    turns::<ReplicationSource>(&mut world, &operator, 3).await;
    assert_eq!(identities(&world).await, before);
    let after = status::<ReplicationSource>(&world).await;
    assert_eq!(after["conditions"][0]["reason"], "Error");
    let kept = [("lastSyncStartTime", json!(began)), ("latestMoverStatus", succeeded())];
    for (field, value) in kept.into_iter().chain([("restic", json!({"lastPruned": began}))]) {
        assert_eq!(after[field], value, "VolSync goes on with it if it comes back");
    }
}
