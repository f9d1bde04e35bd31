//! Claims of cluster b that are filled by its ReplicationDestination: one that is there before the first synchronization, one that
//! waits for its first pod, and one that is too small.

use serde_json::{Value, json};

use super::clusters::{Cluster, until};
use super::pair::{self, Pair};

/// A claim that names the pair's ReplicationDestination.
fn claim(name: &str, class: &str, size: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}},
        "dataSourceRef": {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "x"}}})
}

fn get(pair: &Pair, claim: &str) -> Value {
    serde_json::from_str(&pair.kubectl(Cluster::B, &["get", "pvc", claim, "-o", "json"])).unwrap()
}

fn note(pair: &Pair, claim: &str) -> String {
    get(pair, claim)["metadata"]["annotations"]["doppel.backube/waits-for"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn await_note(pair: &Pair, claim: &str, expected: &str) {
    until(expected, 60, || {
        let note = note(pair, claim);
        if note.contains(expected) { Ok(()) } else { Err(note) }
    });
}

/// How often this was told about a claim.
fn told(pair: &Pair, claim: &str, reason: &str) -> usize {
    let selector = format!("involvedObject.name={claim},reason={reason}");
    let events = pair.kubectl(Cluster::B, &["get", "events", "--field-selector", &selector, "-o", "name"]);
    events.lines().count()
}

#[track_caller]
fn assert_holds_what_the_source_holds(pair: &Pair, pod: &str) {
    pair.wait_for_pod(Cluster::B, pod);
    let digest = include_str!("../support/digest.sh");
    assert_eq!(pair.shell(Cluster::A, "writer", digest), pair.shell(Cluster::B, pod, digest), "digests differ");
}

/// Waits until no prime is left, no snapshot has a mark, and the claims are told to be finished.
#[track_caller]
fn await_finished(pair: &Pair, claims: &[&str]) {
    until("nothing is left of the filling", 90, || {
        let primes = pair.kubectl(Cluster::B, &["get", "pvc", "-l", "volsync.backube/populator-pvc-for", "-o", "name"]);
        let snapshots =
            pair.kubectl(Cluster::B, &["get", "volumesnapshots", "-o", "jsonpath={.items[*].metadata.labels}"]);
        if primes.is_empty() && !snapshots.contains("volpop-pvc-") { Ok(()) } else { Err(primes + &snapshots) }
    });
    for claim in claims {
        until("the event", 30, || match told(pair, claim, "VolSyncPopulatorFinished") {
            1 => Ok(()),
            times => Err(format!("{claim} was told {times} times that it is finished")),
        });
        assert_eq!(note(pair, claim), "");
    }
}

#[test]
fn claims_made_before_the_first_synchronization_are_filled_by_it() {
    let pair = Pair::new("e2e-population");
    pair.shell(
        Cluster::A,
        "writer",
        "cd /data && echo one >file && mkdir -p a/b && ln -s ../file a/link && echo two >a/b/c",
    );
    let long = format!("early-{}", "x".repeat(70));
    pair.apply(
        Cluster::B,
        &json!([
            claim("early", "btrfs", "4Gi"),
            claim(&long, "btrfs", "4Gi"),
            claim("small", "btrfs", "1Gi"),
            claim("first-consumer", "btrfs-wffc", "4Gi"),
        ]),
    );
    await_note(&pair, "early", "ReplicationDestination \"x\" has no image yet");
    pair.create_source("first");
    pair.await_synchronized("first", 120);
    let image = pair.await_image(None);
    await_note(&pair, "small", &format!("1Gi is too small for VolumeSnapshot \"{image}\", which needs 4Gi"));
    assert_eq!(told(&pair, "early", "VolSyncPopulatorReplicationDestinationNoLatestImage"), 1);

    pair.apply(Cluster::B, &json!([pair::pod("early", "early"), pair::pod("long", &long)]));
    assert_holds_what_the_source_holds(&pair, "early");
    assert_holds_what_the_source_holds(&pair, "long");
    assert_eq!(get(&pair, "first-consumer")["status"]["phase"], "Pending", "it has no pod yet");
    pair.apply(Cluster::B, &json!([pair::pod("first-consumer", "first-consumer")]));
    assert_holds_what_the_source_holds(&pair, "first-consumer");
    await_finished(&pair, &["early", &long, "first-consumer"]);

    // The image that they were filled from goes as any other, and what was written since is in the next.
    pair.shell(Cluster::A, "writer", "echo three >/data/file");
    pair.trigger("second");
    pair.await_synchronized("second", 120);
    pair.await_image(Some(&image));
    until("the former image is gone", 60, || {
        let images = pair.kubectl(Cluster::B, &["get", "volumesnapshots", "-o", "name"]);
        if images.contains(&image) { Err(images) } else { Ok(()) }
    });
    pair.apply(Cluster::B, &json!([claim("late", "btrfs", "4Gi"), pair::pod("late", "late")]));
    assert_holds_what_the_source_holds(&pair, "late");
    await_finished(&pair, &["late"]);
    pair.discard();
}

#[test]
fn what_is_deleted_while_claims_are_filled_leaves_nothing_behind() {
    let pair = Pair::new("e2e-population-deleted");
    pair.shell(Cluster::A, "writer", "echo one >/data/file");
    // A provisioner that takes 5 s.
    let names: Vec<String> = (0..4).map(|n| format!("claim-{n}")).collect();
    let claims: Vec<Value> = names.iter().map(|name| claim(name, "btrfs-provision-slow", "4Gi")).collect();
    pair.apply(Cluster::B, &json!(claims));
    pair.create_source("first");
    pair.await_synchronized("first", 120);
    pair.await_image(None);
    until("a prime for each", 60, || {
        let created = names.iter().map(|name| told(&pair, name, "VolSyncPopulatorPVCCreated")).sum::<usize>();
        if created == names.len() { Ok(()) } else { Err(format!("{created} primes were made")) }
    });
    pair.kubectl(Cluster::B, &["delete", "pvc", "claim-0", "--wait=false"]);
    pair.kubectl(Cluster::B, &["delete", "replicationdestination", "x"]);
    pair.kubectl(Cluster::B, &["delete", "pvc", "claim-1", "--wait=false"]);
    // The others were promised the image, and get it.
    for name in ["claim-2", "claim-3"] {
        pair.apply(Cluster::B, &json!([pair::pod(name, name)]));
        assert_holds_what_the_source_holds(&pair, name);
    }
    until("nothing but both claims is left", 90, || {
        let left = pair.kubectl(Cluster::B, &["get", "pvc,volumesnapshots", "-o", "name"]);
        let expected = "persistentvolumeclaim/claim-2\npersistentvolumeclaim/claim-3\n";
        if left == expected { Ok(()) } else { Err(left) }
    });
    pair.discard();
}
