//! `snapshots` and `restore`. What an operator would write is written by the tests.

use serde_json::{Value, json};

use super::super::world::{World, kubectl};

fn world(name: &str) -> World {
    let world = World::new(name);
    let restic =
        json!({"repository": "data-restic", "copyMethod": "Snapshot", "moverSecurityContext": {"runAsUser": 1000}});
    world.create("ReplicationSource", "data", &json!({"sourcePVC": "data", "restic": restic}));
    world
}

fn claim(world: &World, name: &str) {
    world.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }));
}

fn restic(world: &World) -> Value {
    world.read("replicationdestination", "restore-data-restored")["spec"]["restic"].clone()
}

#[test]
fn a_claim_is_made_and_filled_and_a_second_time_the_same_object_does_it() {
    let world = world("restore");
    claim(&world, "data");
    let restore = |more: &[&str], generation: i64| {
        let running = world.spawn(&[&["restore", "data", "--timeout", "2m"], more].concat());
        world.await_object("replicationdestination", "restore-data-restored");
        let condition = format!("--for=jsonpath={{.metadata.generation}}={generation}");
        kubectl(
            &world,
            &["wait", "replicationdestination", "restore-data-restored", &condition, "--timeout=60s"],
            None,
        );
        let spec = world.read("replicationdestination", "restore-data-restored")["spec"].clone();
        let done = json!({"lastManualSync": spec["trigger"]["manual"], "lastSyncTime": "2026-11-24T10:01:00Z",
            "lastSyncDuration": "1m0s"});
        world.report("replicationdestination", "restore-data-restored", &done);
        running.end()
    };
    let ended = restore(&["--at", "2026-11-23T04:05:06+01:00", "--delete"], 1);
    assert!(ended.code == 0 && ended.out.contains("data-restored: created"), "{ended:?}");
    assert!(ended.out.contains("synchronized, in 1m0s") && ended.out.contains("The claim is filled"), "{ended:?}");
    let made = restic(&world);
    assert_eq!(made["restoreAsOf"], "2026-11-23T03:05:06Z");
    assert_eq!((&made["destinationPVC"], &made["enableFileDeletion"]), (&json!("data-restored"), &json!(true)));
    assert_eq!(
        (&made["repository"], &made["moverSecurityContext"]["runAsUser"]),
        (&json!("data-restic"), &json!(1000))
    );
    let new = world.read("pvc", "data-restored");
    assert_eq!(new["spec"]["resources"]["requests"]["storage"], "1Gi");

    let ended = world.run(&["restore", "data"]);
    assert!(
        ended.code == 1 && ended.err.contains("is there already; to restore into it, say --to data-restored"),
        "{ended:?}"
    );
    let ended = restore(&["--to", "data-restored"], 2);
    assert_eq!(ended.code, 0, "{ended:?}");
    let again = restic(&world);
    assert_eq!(
        (&again["restoreAsOf"], &again["enableFileDeletion"]),
        (&Value::Null, &Value::Null),
        "the newest, nothing deleted"
    );
}

#[test]
fn a_restore_that_found_nothing_to_restore_is_an_error_that_says_so() {
    let world = world("restore-nothing");
    claim(&world, "data");
    let running = world.spawn(&["restore", "data", "--at", "2020-01-01T00:00:00Z", "--timeout", "2m"]);
    world.await_object("replicationdestination", "restore-data-restored");
    let spec = world.read("replicationdestination", "restore-data-restored")["spec"].clone();
    let done = json!({"lastManualSync": spec["trigger"]["manual"], "lastSyncTime": "2026-11-24T10:01:00Z",
        "lastSyncDuration": "1s", "repository": {"nothing": "NoneEligible"}});
    world.report("replicationdestination", "restore-data-restored", &done);
    let ended = running.end();
    assert!(ended.code == 1 && !ended.out.contains("is filled"), "{ended:?}");
    for part in ["nothing was restored: no snapshot", "kubectl doppel snapshots data", "data-restored"] {
        assert!(ended.err.contains(part), "{part:?} is missing in {ended:?}");
    }
}

#[test]
fn a_dry_run_prints_both_manifests_and_writes_nothing() {
    let world = world("restore-dry");
    claim(&world, "data");
    let ended = world.run(&["restore", "data", "--to", "other", "--dry-run"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for part in ["kind: PersistentVolumeClaim", "name: other", "kind: ReplicationDestination", "name: restore-other"] {
        assert!(ended.out.contains(part), "{part:?} is missing in\n{}", ended.out);
    }
    assert!(!world.is_there("pvc", "other") && !world.is_there("replicationdestination", "restore-other"));
}

#[test]
fn what_cannot_be_restored_is_refused_and_what_is_somebody_elses_is_left_alone() {
    let world = world("restore-refused");
    let ended = world.run(&["restore", "data"]);
    assert!(ended.code == 1 && ended.err.contains("no claim that data-restored could be made like"), "{ended:?}");
    claim(&world, "data");
    world.create("ReplicationDestination", "restore-data-restored", &json!({"rsyncTLS": {}}));
    let ended = world.run(&["restore", "data"]);
    assert_eq!(ended.code, 7, "{ended:?}");
    assert!(restic(&world).is_null());
    world.create("ReplicationSource", "other", &json!({"sourcePVC": "data", "rsyncTLS": {}}));
    for verb in ["restore", "snapshots"] {
        let ended = world.run(&[verb, "other"]);
        assert!(ended.code == 1 && ended.err.contains("its method is rsync-tls"), "{ended:?}");
    }
}

#[test]
fn snapshots_are_those_that_the_latest_run_told() {
    let world = world("snapshots");
    let ended = world.run(&["snapshots", "data"]);
    assert!(ended.code == 0 && ended.out.contains("was not synchronized yet"), "{ended:?}");
    let newest = json!([{"id": "1a2b3c4d", "time": "2026-11-24T03:00:10Z", "bytes": 5_368_709_120_u64}]);
    let status = json!({"lastSyncTime": "2026-11-24T03:01:50Z", "repository": {"snapshots": 1, "newest": newest}});
    world.report("replicationsource", "data", &status);
    let ended = world.run(&["snapshots", "data"]);
    assert!(ended.out.contains("1a2b3c4d  2026-11-24T03:00:10Z") && ended.out.contains("5.00 GiB"), "{ended:?}");
    let ended = world.run(&["snapshots", "data", "-o", "json"]);
    let listed: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&listed["snapshots"], &listed["items"][0]["id"]), (&json!(1), &json!("1a2b3c4d")));
}
