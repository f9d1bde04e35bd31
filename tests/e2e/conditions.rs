//! What a user is told when something is wrong, on real clusters; and that nothing is harmed meanwhile.

use serde_json::json;

use super::clusters::{Cluster, until};
use super::pair::Pair;

#[test]
fn a_wrong_key_is_told_from_a_network_that_fails_and_the_right_one_goes_on() {
    let pair = Pair::new("e2e-wrong-key");
    pair.shell(Cluster::A, "writer", "echo data >/data/file");
    let right = pair.kubectl(Cluster::A, &["get", "secret", "key", "-o", "jsonpath={.data}"]);
    let wrong = json!({"stringData": {"psk.txt": format!("volsync:{}", "0f".repeat(64))}}).to_string();
    pair.kubectl(Cluster::A, &["patch", "secret", "key", "--type=merge", "-p", &wrong]);
    pair.create_source("first");
    pair.await_message(Cluster::A, "attempt 1 failed", 120);
    until("what the destination's mover says of itself", 60, || {
        let status = pair.status(Cluster::B);
        let phase = &status["currentSync"]["progress"]["phase"];
        if phase == "Waiting" { Ok(()) } else { Err(status.to_string()) }
    });
    let message = pair.message(Cluster::A);
    assert!(message.contains("key") && message.contains("next attempt begins at"), "{message}");
    assert_eq!(pair.status(Cluster::A)["latestMoverStatus"]["result"], "Failed");
    let right = format!("{{\"data\": {right}}}");
    pair.kubectl(Cluster::A, &["patch", "secret", "key", "--type=merge", "-p", &right]);
    // Any change of the wish begins the next attempt at once.
    let touch = json!({"spec": {"rsyncTLS": {"moverPodLabels": {"again": "yes"}}}}).to_string();
    pair.kubectl(Cluster::A, &["patch", "replicationsource", "x", "--type=merge", "-p", &touch]);
    pair.await_synchronized("first", 120);
    pair.discard();
}

#[test]
fn an_empty_source_does_not_wipe_its_double() {
    let pair = Pair::new("e2e-empty-source");
    pair.shell(Cluster::A, "writer", "echo data >/data/file");
    pair.create_source("first");
    pair.await_synchronized("first", 120);
    let image = pair.await_image(None);
    pair.shell(Cluster::A, "writer", "rm /data/file");
    pair.trigger("second");
    pair.await_message(Cluster::A, "attempt 1 failed", 120);
    let message = pair.message(Cluster::A);
    assert!(message.contains("empty"), "{message}");
    assert_eq!(pair.image().as_deref(), Some(image.as_str()), "the double stays published");
    let accept = json!({"spec": {"rsyncTLS": {"allowEmptySource": true}}}).to_string();
    pair.kubectl(Cluster::B, &["patch", "replicationdestination", "x", "--type=merge", "-p", &accept]);
    pair.kubectl(Cluster::A, &["patch", "replicationsource", "x", "--type=merge", "-p", &accept]);
    pair.await_synchronized("second", 120);
    let empty = pair.await_image(Some(&image));
    pair.assert_equal(&empty);
    pair.discard();
}

#[test]
fn what_cannot_work_is_said_with_object_and_field() {
    let pair = Pair::new("e2e-refusals");
    let with = |changes: serde_json::Value| {
        let mut source = pair.source("first");
        for (pointer, value) in changes.as_object().unwrap() {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            source.pointer_mut(parent).unwrap()[field] = value.clone();
        }
        source
    };
    let table = [
        (json!({"/spec/sourcePVC": "absent"}), "spec.sourcePVC: PersistentVolumeClaim \"absent\" does not exist"),
        (json!({"/spec/rsyncTLS/keySecret": "absent"}), "spec.rsyncTLS.keySecret: Secret \"absent\" does not exist"),
        (json!({"/spec/rsyncTLS/address": "host:8000"}), "spec.rsyncTLS.address"),
        (json!({"/spec/trigger": {"schedule": "0 0 30 2 *"}}), "never comes"),
        (json!({"/spec/restic": {}}), "spec.rsyncTLS and spec.restic"),
        (
            json!({"/spec/rsyncTLS/volumeSnapshotClassName": "absent"}),
            "waiting until VolumeSnapshot volsync-x-src is ready to use: ",
        ),
        (json!({"/spec/rsyncTLS/moverServiceAccount": "absent"}), "ServiceAccount \"absent\" does not exist"),
        (json!({"/spec/rsyncTLS/address": "no-such-host.invalid"}), "attempt 1 failed"),
    ];
    for (changes, expected) in table {
        pair.apply(Cluster::A, &json!([with(changes)]));
        pair.await_message(Cluster::A, expected, 90);
        pair.kubectl(Cluster::A, &["delete", "replicationsource", "x"]);
    }
    pair.discard();
}

#[test]
fn a_paused_pair_says_so_and_goes_on_when_it_may() {
    let pair = Pair::new("e2e-paused");
    pair.shell(Cluster::A, "writer", "echo data >/data/file");
    let mut source = pair.source("first");
    source["spec"]["paused"] = json!(true);
    pair.apply(Cluster::A, &json!([source]));
    pair.await_message(Cluster::A, "Paused", 60);
    let pods = pair.kubectl(Cluster::A, &["get", "pods", "-l", "app.kubernetes.io/created-by=volsync", "-o", "name"]);
    assert_eq!(pods, "", "a paused mover has no pod");
    let resume = json!({"spec": {"paused": false}}).to_string();
    pair.kubectl(Cluster::A, &["patch", "replicationsource", "x", "--type=merge", "-p", &resume]);
    pair.await_synchronized("first", 120);
    pair.discard();
}
