//! Volumes that others use, and what is agreed about them: pods, copy triggers, labels and notes on a real API server.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::model::replication::Image;
use doppel::replication::interpret::Kind;
use doppel::replication::{Context, reconcile};
use doppel::resources::snapshot::VolumeSnapshot;

use super::faults::Mortal;
use super::world::{COMPLETE, World};

const JOB: &str = "volsync-rsync-tls-src-x";

fn source(copy_method: &str) -> Value {
    json!({"sourcePVC": "data", "trigger": {"manual": "one"},
        "rsyncTLS": {"copyMethod": copy_method, "address": "192.0.2.1"}})
}

fn destination(manual: &str) -> Value {
    json!({"trigger": {"manual": manual}, "rsyncTLS": {"copyMethod": "Snapshot", "capacity": "1Gi",
        "accessModes": ["ReadWriteOnce"]}})
}

fn message<K: Kind>(object: &K) -> String {
    object.status().condition.map(|condition| condition.message).unwrap_or_default()
}

fn is_idle<K: Kind>(object: &K) -> bool {
    message(object) == "Waiting for manual trigger"
}

/// Passes of the operator, while everything else stands still.
async fn passes<K: Kind>(world: &World, operator: &Arc<Context>, count: usize) -> K {
    for _ in 0..count {
        let _ = reconcile(Arc::new(world.object::<K>().await), operator.clone()).await;
    }
    world.object::<K>().await
}

/// A running pod that uses the claim `data` on a node.
async fn create_user(world: &World, node: &str) {
    world
        .create::<Pod>(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0"}, "spec": {
            "nodeName": node, "containers": [{"name": "web", "image": "web:1"}],
            "tolerations": [{"key": "storage", "operator": "Exists"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }}))
        .await;
    let running = json!({"status": {"phase": "Running"}});
    world.api::<Pod>().patch_status("web-0", &PatchParams::default(), &Patch::Merge(running)).await.unwrap();
}

async fn delete_user(world: &World) {
    world.api::<Pod>().delete("web-0", &DeleteParams::default().grace_period(0)).await.unwrap();
}

fn node_of(job: &Job) -> Option<String> {
    let spec = job.spec.as_ref()?.template.spec.as_ref()?;
    let required =
        spec.affinity.as_ref()?.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()?;
    let field = required.node_selector_terms.first()?.match_fields.as_ref()?.first()?;
    assert_eq!((field.key.as_str(), field.operator.as_str()), ("metadata.name", "In"));
    field.values.as_ref()?.first().cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mover_starts_beside_the_pod_that_uses_its_volume_and_follows_it_until_it_runs() {
    let world = World::new().await;
    world.create_claim("data").await;
    create_user(&world, "n1").await;
    world.create_object::<ReplicationSource>(source("Direct")).await;
    let operator = world.operator(&Mortal::immortal());
    let object = passes::<ReplicationSource>(&world, &operator, 4).await;
    assert!(message(&object).contains("on node n1, where Pod web-0 uses its volume"), "{}", message(&object));
    let job = world.api::<Job>().get(JOB).await.unwrap();
    assert_eq!(node_of(&job).as_deref(), Some("n1"));
    let tolerations = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().tolerations.clone().unwrap();
    assert!(tolerations.iter().any(|toleration| toleration.key.as_deref() == Some("storage")), "{tolerations:?}");

    delete_user(&world).await;
    create_user(&world, "n2").await;
    passes::<ReplicationSource>(&world, &operator, 1).await;
    world.drop_job_finalizers(JOB).await;
    passes::<ReplicationSource>(&world, &operator, 1).await;
    let moved = world.api::<Job>().get(JOB).await.unwrap();
    assert_ne!(moved.uid(), job.uid());
    assert_eq!(node_of(&moved).as_deref(), Some("n2"));

    world.start_pod(&moved.uid().unwrap()).await;
    delete_user(&world).await;
    create_user(&world, "n3").await;
    passes::<ReplicationSource>(&world, &operator, 2).await;
    assert_eq!(world.api::<Job>().get(JOB).await.unwrap().uid(), moved.uid(), "a mover that runs has its volume");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_for_one_pod_is_waited_for() {
    let mut world = World::new().await;
    world
        .create::<PersistentVolumeClaim>(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOncePod"],
                "resources": {"requests": {"storage": "1Gi"}}}}))
        .await;
    create_user(&world, "n1").await;
    world.create_object::<ReplicationSource>(source("Direct")).await;
    let operator = world.operator(&Mortal::immortal());
    let object = passes::<ReplicationSource>(&world, &operator, 4).await;
    assert!(message(&object).contains("Pod web-0 uses it"), "{}", message(&object));
    assert!(world.api::<Job>().get_opt(JOB).await.unwrap().is_none());
    delete_user(&world).await;
    world.until(&operator, is_idle::<ReplicationSource>).await;
}

async fn annotate(world: &World, key: &str, value: &str) {
    let patch = json!({"metadata": {"annotations": {format!("volsync.backube/{key}"): value}}});
    let api = world.api::<PersistentVolumeClaim>();
    api.patch("data", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn annotation(world: &World, key: &str) -> Option<String> {
    let claim = world.api::<PersistentVolumeClaim>().get("data").await.unwrap();
    claim.annotations().get(&format!("volsync.backube/{key}")).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_waits_for_its_trigger_and_answers_the_value_it_was_made_for() {
    for copy_method in ["Snapshot", "Clone"] {
        let mut world = World::new().await;
        world.create_claim("data").await;
        annotate(&world, "use-copy-trigger", "").await;
        world.create_object::<ReplicationSource>(source(copy_method)).await;
        let operator = world.operator(&Mortal::immortal());
        let waits = |object: &ReplicationSource| message(object).contains("annotation volsync.backube/copy-trigger");
        world.until(&operator, waits).await;
        assert_eq!(annotation(&world, "latest-copy-status").await.as_deref(), Some("WaitingForTrigger"));
        let since = annotation(&world, "latest-copy-trigger-waiting-since").await.unwrap();
        for _ in 0..3 {
            world.turn::<ReplicationSource>(&operator).await;
        }
        assert_eq!(annotation(&world, "latest-copy-trigger-waiting-since").await, Some(since));
        assert!(world.children().await.is_empty(), "{:?}", world.children().await);

        annotate(&world, "copy-trigger", "first").await;
        passes::<ReplicationSource>(&world, &operator, 1).await;
        assert_eq!(annotation(&world, "latest-copy-status").await.as_deref(), Some("InProgress"));
        assert_eq!(annotation(&world, "latest-copy-trigger-waiting-since").await, None);
        assert!(!world.children().await.is_empty(), "the copy is made");
        annotate(&world, "copy-trigger", "second").await;
        world.until(&operator, is_idle::<ReplicationSource>).await;
        assert_eq!(annotation(&world, "latest-copy-status").await.as_deref(), Some("Completed"));
        assert_eq!(annotation(&world, "latest-copy-trigger").await.as_deref(), Some("first"));

        world.set_manual::<ReplicationSource>("two").await;
        let done = |object: &ReplicationSource| object.status().last_manual.as_deref() == Some("two");
        world.until(&operator, done).await;
        assert_eq!(annotation(&world, "latest-copy-trigger").await.as_deref(), Some("second"), "it was not swallowed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mover_mounts_is_waited_for_and_named() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    let mut spec = source("Direct");
    spec["rsyncTLS"]["moverVolumes"] = json!([
        {"mountPath": "certificates", "volumeSource": {"secret": {"secretName": "certificates"}}},
        {"mountPath": "a/b", "volumeSource": {"persistentVolumeClaim": {"claimName": "scratch"}}},
        {"mountPath": "a-b", "volumeSource": {"nfs": {"server": "192.0.2.9", "path": "/x"}}},
    ]);
    world.create_object::<ReplicationSource>(spec).await;
    let operator = world.operator(&Mortal::immortal());
    let missing = |field: &'static str| move |object: &ReplicationSource| message(object).starts_with(field);
    world.until(&operator, missing("spec.rsyncTLS.moverVolumes[0].volumeSource.secret.secretName: Secret")).await;
    world.create_key("certificates", "x").await;
    let claim = "spec.rsyncTLS.moverVolumes[1].volumeSource.persistentVolumeClaim.claimName: PersistentVolumeClaim";
    world.until(&operator, missing(claim)).await;
    assert!(world.jobs.is_empty());
    world.create_claim("scratch").await;
    passes::<ReplicationSource>(&world, &operator, 1).await;
    let job = world.api::<Job>().get(JOB).await.unwrap();
    let mounts = job.spec.unwrap().template.spec.unwrap().containers[0].volume_mounts.clone().unwrap();
    let paths: Vec<_> = mounts.iter().map(|mount| mount.mount_path.as_str()).collect();
    for path in ["/data", "/keys", "/mnt/certificates", "/mnt/a/b", "/mnt/a-b"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    world.until(&operator, is_idle::<ReplicationSource>).await;
}

async fn keep(world: &World, snapshot: &str) {
    let label = json!({"metadata": {"labels": {"volsync.backube/do-not-delete": "yes"}}});
    world.api::<VolumeSnapshot>().patch(snapshot, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
}

fn image(object: &ReplicationDestination) -> String {
    match object.status().image {
        Some(Image::Snapshot(name)) => name,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_a_user_keeps_is_given_up_whether_idle_or_not() {
    let mut world = World::new().await;
    world.create_object::<ReplicationDestination>(destination("one")).await;
    let operator = world.operator(&Mortal::immortal());
    let first = image(&world.until(&operator, is_idle::<ReplicationDestination>).await);
    world.set_manual::<ReplicationDestination>("two").await;
    passes::<ReplicationDestination>(&world, &operator, 2).await;
    keep(&world, &first).await;
    let object = passes::<ReplicationDestination>(&world, &operator, 1).await;
    assert!(object.status().last_sync_start.is_some(), "the iteration is under way");
    let kept = world.api::<VolumeSnapshot>().get(&first).await.unwrap();
    assert!(kept.owner_references().is_empty(), "it would go with the ReplicationDestination");
    assert!(!kept.labels().contains_key("app.kubernetes.io/created-by"));

    let second = image(&world.until(&operator, is_idle::<ReplicationDestination>).await);
    assert_ne!(first, second);
    assert!(world.api::<VolumeSnapshot>().get_opt(&first).await.unwrap().is_some());
    keep(&world, &second).await;
    passes::<ReplicationDestination>(&world, &operator, 1).await;
    assert!(world.api::<VolumeSnapshot>().get(&second).await.unwrap().owner_references().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_somebody_else_that_has_the_name_of_an_image_is_named_and_left_alone() {
    let mut world = World::new().await;
    world.create_object::<ReplicationDestination>(destination("one")).await;
    let operator = world.operator(&Mortal::immortal());
    let begun = passes::<ReplicationDestination>(&world, &operator, 3).await.status().last_sync_start.unwrap();
    let taken = doppel::model::name::image("volsync-x-dst", begun);
    let spec = json!({"source": {"persistentVolumeClaimName": "volsync-x-dst"}});
    world.create::<VolumeSnapshot>(json!({"metadata": {"name": taken}, "spec": spec})).await;
    let told = format!("VolumeSnapshot \"{taken}\" exists but does not belong to this object");
    world.until(&operator, |object: &ReplicationDestination| message(object).contains(&told)).await;
    assert!(world.api::<VolumeSnapshot>().get(&taken).await.unwrap().owner_references().is_empty());

    world.delete::<VolumeSnapshot>(&taken).await;
    assert_eq!(image(&world.until(&operator, is_idle::<ReplicationDestination>).await), taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_a_user_keeps_does_not_go_with_the_claim_that_is_being_filled_from_it() {
    let mut world = World::new().await;
    world.create_object::<ReplicationDestination>(destination("one")).await;
    let operator = world.operator(&Mortal::immortal());
    let kept = image(&world.until(&operator, is_idle::<ReplicationDestination>).await);
    world.create_claim("vs-prime-1").await;
    let prime = world.api::<PersistentVolumeClaim>().get("vs-prime-1").await.unwrap();
    let mut owners = world.api::<VolumeSnapshot>().get(&kept).await.unwrap().owner_references().to_vec();
    owners.extend(prime.owner_ref(&()));
    let held = Patch::Merge(json!({"metadata": {"ownerReferences": owners}}));
    world.api::<VolumeSnapshot>().patch(&kept, &PatchParams::default(), &held).await.unwrap();
    keep(&world, &kept).await;
    passes::<ReplicationDestination>(&world, &operator, 1).await;
    let kept = world.api::<VolumeSnapshot>().get(&kept).await.unwrap();
    assert!(kept.owner_references().is_empty(), "it would go with its last owner: {:?}", kept.owner_references());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iteration_of_volsync_is_finished_under_the_name_that_it_noted() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    annotate(&world, "snapname", "data-20261123100000").await;
    let spec = json!({"trigger": {"manual": "one"}, "rsyncTLS": {"copyMethod": "Snapshot", "destinationPVC": "data"}});
    world.create_object::<ReplicationDestination>(spec).await;
    let status = json!({"status": {"lastSyncStartTime": "2026-11-23T09:59:00Z", "latestMoverStatus": {}}});
    let api = world.api::<ReplicationDestination>();
    api.patch_status("x", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let operator = world.operator(&Mortal::immortal());
    let object = world.until(&operator, is_idle::<ReplicationDestination>).await;
    assert_eq!(image(&object), "data-20261123100000");
    assert_eq!(annotation(&world, "snapname").await, None, "the next iteration takes one of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_253_characters_is_replicated_both_ways() {
    let name = format!("{}.{}", "x".repeat(200), "y".repeat(52));
    let mut source_world = World::named(&name).await;
    source_world.create_claim("data").await;
    source_world.create_object::<ReplicationSource>(source("Snapshot")).await;
    let operator = source_world.operator(&Mortal::immortal());
    source_world.until(&operator, is_idle::<ReplicationSource>).await;
    let mut world = World::named(&name).await;
    world.create_object::<ReplicationDestination>(destination("one")).await;
    let operator = world.operator(&Mortal::immortal());
    world.until(&operator, is_idle::<ReplicationDestination>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mover_is_started_beside_the_pod_of_a_job_that_somebody_deleted() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    world.create_object::<ReplicationSource>(source("Direct")).await;
    let operator = world.operator(&Mortal::immortal());
    passes::<ReplicationSource>(&world, &operator, 3).await;
    let former = world.api::<Job>().get(JOB).await.unwrap().uid().unwrap();
    world.start_pod(&former).await;
    passes::<ReplicationSource>(&world, &operator, 1).await;

    // The Job is gone at once, its pod has its grace period.
    world.delete::<Job>(JOB).await;
    let object = passes::<ReplicationSource>(&world, &operator, 3).await;
    assert!(world.api::<Job>().get_opt(JOB).await.unwrap().is_none(), "two movers would read one volume");
    let expected = format!("Pod pod-{former} of a Job that was deleted still uses the volume");
    assert!(message(&object).contains(&expected), "{}", message(&object));

    world.delete::<Pod>(&format!("pod-{former}")).await;
    world.until(&operator, is_idle::<ReplicationSource>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_image_is_taken_of_a_claim_that_was_deleted_while_its_mover_received() {
    let mut world = World::new().await;
    world.create_object::<ReplicationDestination>(destination("one")).await;
    let operator = world.operator(&Mortal::immortal());
    passes::<ReplicationDestination>(&world, &operator, 3).await;
    let job = world.api::<Job>().get("volsync-rsync-tls-dst-x").await.unwrap();
    world.finish_pod(&job.uid().unwrap(), 0, COMPLETE).await;
    world.delete::<PersistentVolumeClaim>("volsync-x-dst").await;
    world.drop_finalizers(&world.api::<PersistentVolumeClaim>(), "volsync-x-dst").await;
    passes::<ReplicationDestination>(&world, &operator, 1).await;
    assert_eq!(world.children().await, BTreeSet::from(["Service/volsync-rsync-tls-dst-x".to_owned()]));

    let object = world.until(&operator, is_idle::<ReplicationDestination>).await;
    assert_eq!(world.jobs.len(), 1, "another mover received all of it once more");
    image(&object);
}
