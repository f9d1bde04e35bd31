//! Raw block devices, from one cluster to the other. Their movers and the pods beside them run as root, in namespaces that
//! allow it: the clusters' container runtime gives a device to its owner on the node alone.

use serde_json::{Value, json};

use super::clusters::Cluster;
use super::pair::{Movers, Pair, object};

const MIB: u64 = 1 << 20;

#[test]
fn a_block_volume_becomes_a_block_volume_and_only_what_changes_is_sent_again() {
    let pair = pair("e2e-block", "64Mi");
    pair.shell(Cluster::A, "writer", &format!("{}; {}", write_noise(3, 10), write_noise(40, 1)));
    pair.apply(Cluster::A, &json!([source(&pair, "first")]));
    pair.await_synchronized("first", 120);
    let first = pair.await_image(None);
    assert_same_device(&pair, &first);
    let logs = pair.status(Cluster::A)["latestMoverStatus"]["logs"].as_str().unwrap().to_owned();
    assert!(logs.contains("diskrsync completed in"), "{logs}");

    pair.shell(Cluster::A, "writer", &format!("{}; {}", write_noise(41, 1), write_zeros(4, 2)));
    pair.trigger("second");
    pair.await_synchronized("second", 120);
    let second = pair.await_image(Some(&first));
    assert_same_device(&pair, &second);
    let logs = pair.status(Cluster::A)["latestMoverStatus"]["logs"].as_str().unwrap().to_owned();
    assert!(logs.contains(&format!("literal {MIB} bytes, zeroed {} bytes", 2 * MIB)), "{logs}");
    pair.assert_nothing_left_behind();
    pair.discard();
}

#[test]
fn a_claim_that_is_not_the_device_that_the_field_says_is_named_with_the_field() {
    let pair = Pair::namespaces("e2e-block-refusals", Movers::Privileged);
    let spec = json!({"rsyncTLS": {"copyMethod": "Direct", "destinationPVC": "files", "volumeMode": "Block"}});
    let files = claim("files", "Filesystem", &Value::Null);
    pair.apply(Cluster::B, &json!([files, object("ReplicationDestination", &spec)]));
    pair.await_message(Cluster::B, "spec.rsyncTLS.volumeMode: says Block, but PersistentVolumeClaim \"files\"", 60);
    pair.discard();
}

#[test]
fn a_destination_that_is_too_small_is_told_with_both_sizes() {
    let pair = pair("e2e-block-small", "32Mi");
    pair.shell(Cluster::A, "writer", &write_noise(0, 1));
    pair.apply(Cluster::A, &json!([source(&pair, "first")]));
    pair.await_message(Cluster::A, "has 33554432 bytes, fewer than the 67108864 of the source's", 120);
    assert_eq!(pair.image(), None);
    pair.discard();
}

/// A block volume of 64 MiB in a with a pod that may write to it, a destination in b, its key in a.
fn pair(namespace: &str, capacity: &str) -> Pair {
    let pair = Pair::namespaces(namespace, Movers::Privileged);
    pair.apply(Cluster::A, &json!([claim("data", "Block", &Value::Null), pod("writer", "data")]));
    pair.wait_for_pod(Cluster::A, "writer");
    pair.apply(Cluster::B, &json!([destination(capacity)]));
    pair.bring_the_key();
    pair
}

fn destination(capacity: &str) -> Value {
    let section = json!({"copyMethod": "Snapshot", "volumeMode": "Block", "capacity": capacity,
        "accessModes": ["ReadWriteOnce"], "serviceType": "LoadBalancer"});
    object("ReplicationDestination", &json!({"rsyncTLS": section}))
}

fn source(pair: &Pair, tag: &str) -> Value {
    let address = pair.status(Cluster::B)["rsyncTLS"]["address"].clone();
    let section = json!({"copyMethod": "Snapshot", "keySecret": "key", "address": address});
    object("ReplicationSource", &json!({"sourcePVC": "data", "trigger": {"manual": tag}, "rsyncTLS": section}))
}

/// Shell: so many MiB of random bytes from this MiB of the device on, and to the disk, for snapshots are taken of that.
fn write_noise(at: u64, count: u64) -> String {
    format!("dd if=/dev/urandom of=/dev/block bs=1048576 seek={at} count={count} conv=fsync,notrunc")
}

fn write_zeros(at: u64, count: u64) -> String {
    format!("dd if=/dev/zero of=/dev/block bs=1048576 seek={at} count={count} conv=fsync,notrunc")
}

/// Fails unless a claim made from the image holds what the source's volume holds.
#[track_caller]
fn assert_same_device(pair: &Pair, image: &str) {
    let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": image});
    pair.apply(Cluster::B, &json!([claim(image, "Block", &source), pod(image, image)]));
    pair.wait_for_pod(Cluster::B, image);
    let digest = "sha256sum /dev/block";
    assert_eq!(pair.shell(Cluster::A, "writer", digest), pair.shell(Cluster::B, image, digest), "digests differ");
    pair.kubectl(Cluster::B, &["delete", "pod,pvc", image, "--wait=false"]);
}

fn claim(name: &str, mode: &str, source: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "volumeMode": mode, "dataSourceRef": source,
        "resources": {"requests": {"storage": "64Mi"}}}})
}

fn pod(name: &str, claim: &str) -> Value {
    let container = json!({"name": "shell", "image": "doppel.test/busybox:1",
        "command": ["/bin/busybox", "sleep", "1000000"], "volumeDevices": [{"name": "data", "devicePath": "/dev/block"}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}})
}
