//! The operator dies after its first write, its second, and so on, until a synchronization goes through: each time its
//! successor ends where an operator that never died would have ended.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::model::replication::Image;
use doppel::replication::interpret::Kind;

use super::faults::Mortal;
use super::world::World;

fn source(copy_method: &str) -> Value {
    json!({"sourcePVC": "data", "trigger": {"manual": "one"},
        "rsyncTLS": {"copyMethod": copy_method, "address": "192.0.2.1"}})
}

fn destination() -> Value {
    json!({"trigger": {"manual": "one"}, "rsyncTLS": {"copyMethod": "Snapshot", "capacity": "1Gi",
        "accessModes": ["ReadWriteOnce"]}})
}

fn is_done<K: Kind>(object: &K) -> bool {
    let status = object.status();
    status.last_manual.as_deref() == Some("one")
        && status.condition.is_some_and(|condition| condition.message == "Waiting for manual trigger")
}

/// One synchronization by an operator with this fate and, if it dies, its successor. Returns what is left.
async fn synchronize<K: Kind>(spec: &Value, claim: &Value, fate: &Mortal) -> (BTreeSet<String>, World) {
    let mut world = World::new().await;
    world.create_claim("data").await;
    world.create_repository("repository").await;
    let annotations = json!({"metadata": {"annotations": claim}});
    let api = world.api::<PersistentVolumeClaim>();
    api.patch("data", &PatchParams::default(), &Patch::Merge(annotations)).await.unwrap();
    world.create_object::<K>(spec.clone()).await;
    let operator = world.operator(fate);
    for _ in 0..40 {
        if fate.is_dead() || is_done(&world.object::<K>().await) {
            break;
        }
        world.turn::<K>(&operator).await;
    }
    let successor = world.operator(&Mortal::immortal());
    let object = world.until::<K>(&successor, is_done).await;
    world.act().await;
    let children = world.children().await;
    if let Some(Image::Snapshot(image)) = object.status().image {
        assert!(
            children.contains(&format!("VolumeSnapshot/{image}")),
            "{image} is published and not there: {children:?}"
        );
    }
    (children, world)
}

async fn dies_after_every_write<K: Kind>(spec: Value, kinds_left: &[&str]) -> Vec<World> {
    dies_after_every_write_beside::<K>(spec, json!({}), kinds_left).await
}

/// The same with these annotations on the source's claim. Returns every world in which the operator died.
async fn dies_after_every_write_beside<K: Kind>(spec: Value, claim: Value, kinds_left: &[&str]) -> Vec<World> {
    let immortal = Mortal::immortal();
    let (children, _) = synchronize::<K>(&spec, &claim, &immortal).await;
    let kinds = |children: &BTreeSet<String>| -> Vec<String> {
        children.iter().filter_map(|child| Some(child.split_once('/')?.0.to_owned())).collect()
    };
    assert_eq!(kinds(&children), kinds_left);
    let writes = immortal.writes();
    assert!(writes >= 5, "only {writes} writes: the test would prove little");
    let mut worlds = Vec::new();
    for last in 0..writes {
        let fate = Mortal::after(last);
        let (children, world) = synchronize::<K>(&spec, &claim, &fate).await;
        assert!(fate.is_dead(), "it was to die after write {last}");
        assert_eq!(kinds(&children), kinds_left, "after a crash behind write {last}");
        assert_eq!(world.jobs.len(), 1, "one synchronization is one mover, also after a crash behind write {last}");
        worlds.push(world);
    }
    worlds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_snapshots_survives_a_crash_after_every_write() {
    dies_after_every_write::<ReplicationSource>(source("Snapshot"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_clones_survives_a_crash_after_every_write() {
    dies_after_every_write::<ReplicationSource>(source("Clone"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_source_survives_a_crash_after_every_write() {
    dies_after_every_write::<ReplicationSource>(source("Direct"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_trigger_is_answered_also_by_who_crashes_after_every_write() {
    let claim = json!({"volsync.backube/use-copy-trigger": "", "volsync.backube/copy-trigger": "first"});
    for copy_method in ["Snapshot", "Clone"] {
        let spec = source(copy_method);
        for world in dies_after_every_write_beside::<ReplicationSource>(spec, claim.clone(), &[]).await {
            let claim = world.api::<PersistentVolumeClaim>().get("data").await.unwrap();
            let annotation = |key: &str| claim.annotations().get(key).cloned();
            assert_eq!(annotation("volsync.backube/latest-copy-trigger").as_deref(), Some("first"));
            assert_eq!(annotation("volsync.backube/latest-copy-status").as_deref(), Some("Completed"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_survives_a_crash_after_every_write() {
    let spec = json!({"sourcePVC": "data", "trigger": {"manual": "one"},
        "restic": {"copyMethod": "Snapshot", "repository": "repository"}});
    dies_after_every_write::<ReplicationSource>(spec, &["PersistentVolumeClaim"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_with_a_temporary_cache_survives_a_crash_after_every_write() {
    let spec = json!({"trigger": {"manual": "one"}, "restic": {"copyMethod": "Snapshot", "repository": "repository",
        "capacity": "1Gi", "accessModes": ["ReadWriteOnce"], "cleanupCachePVC": true}});
    dies_after_every_write::<ReplicationDestination>(spec, &["PersistentVolumeClaim", "VolumeSnapshot"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_with_a_temporary_claim_survives_a_crash_after_every_write() {
    let mut spec = destination();
    spec["rsyncTLS"]["cleanupTempPVC"] = json!(true);
    dies_after_every_write::<ReplicationDestination>(spec, &["Service", "VolumeSnapshot"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_survives_a_crash_after_every_write() {
    let left = ["PersistentVolumeClaim", "Service", "VolumeSnapshot"];
    dies_after_every_write::<ReplicationDestination>(destination(), &left).await;
}
