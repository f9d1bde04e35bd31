//! `explain`, with what an operator, a kubelet and a user would have left.

use serde_json::{Value, json};

use super::super::world::{World, kubectl};

const PSK: &str = "volsync:0011223344556677";

#[test]
fn a_failure_is_told_with_all_that_the_object_is_made_of_but_the_key() {
    let world = World::new("explain");
    let uid = failed(&world);
    kubectl(&world, &["create", "secret", "generic", "data-psk", &format!("--from-literal=psk.txt={PSK}")], None);
    claim(&world);
    let pod = mover(&world, &uid);
    event(&world, "Pod", "mover-1", &pod, "the node was low on memory");
    event(&world, "ReplicationSource", "data", "uid-of-a-former-one", "not about this one");
    let ended = world.run(&["explain", "data"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for line in [
        "rsync-tls, served by Doppel",
        "Doing       attempt failed, since 2026-11-24T08:00:00Z",
        "4 in a row, the latest 2026-11-24T09:59:00Z",
        "(fault: Network)",
        "no answer from 203.0.113.7:8000 within 30 s",
        "next attempt 2026-11-24T10:04:00Z",
        "Connects to 203.0.113.7",
        "Key         Secret data-psk\n",
        "Copies      PersistentVolumeClaim data: Pending",
        "Mover       Job volsync-rsync-tls-src-data: ",
        "Mover       Pod mover-1: Pending, on no node yet",
        "Copy        PersistentVolumeClaim volsync-data-src: Pending",
        "Warning     Evicted of Pod mover-1",
        "the node was low on memory",
        "To do       see whether 203.0.113.7 is still the address",
    ] {
        assert!(ended.out.contains(line), "{line:?} is missing in\n{}", ended.out);
    }
    let secret = kubectl(&world, &["get", "secret", "data-psk", "-o", "jsonpath={.data.psk\\.txt}"], None);
    for hidden in [PSK, secret.as_str(), "not about this one"] {
        assert!(!hidden.is_empty() && !ended.out.contains(hidden), "{hidden:?} is in\n{}", ended.out);
    }
}

#[test]
fn a_destination_without_an_address_says_what_has_to_give_one() {
    let world = World::new("pending");
    world.create("ReplicationDestination", "data", &json!({"rsyncTLS": {"serviceType": "LoadBalancer"}}));
    let uid = world.uid("replicationdestination", "data");
    world.report("replicationdestination", "data", &json!({"conditions": [
        {"type": "Ready", "status": "False", "reason": "MoverRunning", "message": "its Service has no address yet", "lastTransitionTime": "2026-11-24T10:00:00Z"},
        {"type": "Reconciling", "status": "True", "reason": "MoverRunning", "message": "m", "lastTransitionTime": "2026-11-24T10:00:00Z"},
    ]}));
    world.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": owned(&world, "volsync-rsync-tls-dst-data", "ReplicationDestination", "data", &uid),
        "spec": {"type": "LoadBalancer", "ports": [{"port": 8000}]},
    }));
    let ended = world.run(&["explain", "data"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for line in [
        "Address     none yet",
        "it has no address yet",
        "To do       something has to give Service volsync-rsync-tls-dst-data an address",
    ] {
        assert!(ended.out.contains(line), "{line:?} is missing in\n{}", ended.out);
    }
}

#[test]
fn an_object_that_volsync_serves_is_said_to_be_one() {
    let world = World::new("volsync");
    world.create("ReplicationSource", "data", &json!({"sourcePVC": "data", "rsyncTLS": {}}));
    world.report(
        "replicationsource",
        "data",
        &json!({
            "lastSyncStartTime": "2026-11-24T03:00:00Z",
            "latestMoverStatus": {"result": "Failed", "logs": "a\nrsync error: timeout (code 30)\n"},
            "conditions": [{"type": "Synchronizing", "status": "True", "reason": "SyncInProgress", "message": "m", "lastTransitionTime": "2026-11-24T03:00:00Z"}],
        }),
    );
    let ended = world.run(&["explain", "data"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for line in ["served by VolSync", "rsync error: timeout (code 30)", "To do       create PersistentVolumeClaim data"]
    {
        assert!(ended.out.contains(line), "{line:?} is missing in\n{}", ended.out);
    }
}

#[test]
fn what_may_not_be_read_is_said_to_be_left_out() {
    let world = World::new("half-blind");
    world.create("ReplicationSource", "data", &json!({"sourcePVC": "data", "rsyncTLS": {"keySecret": "data-psk"}}));
    let verbs = "--verb=get,list,watch";
    let resources = "--resource=replicationsources.volsync.backube,replicationdestinations.volsync.backube,pods";
    kubectl(&world, &["create", "role", "viewer", verbs, resources], None);
    kubectl(&world, &["create", "rolebinding", "viewer", "--role=viewer", "--user=viewer"], None);
    let ended = world.impersonating("viewer").run(&["explain", "data"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for line in [
        "served by nobody so far",
        "Not read    you may not list jobs in namespace",
        "Not read    you may not get secrets in namespace",
        "Key         Secret data-psk, not looked at",
        "Not read    you may not list events in namespace",
        "To do       no operator has looked at it",
    ] {
        assert!(ended.out.contains(line), "{line:?} is missing in\n{}", ended.out);
    }
    assert_eq!(ended.out.matches("list events").count(), 1, "{}", ended.out);
}

#[test]
fn what_cannot_be_explained_is_an_error_that_says_why() {
    let world = World::new("unexplained");
    world.create("ReplicationSource", "both", &json!({"sourcePVC": "data", "rsyncTLS": {}}));
    world.create("ReplicationDestination", "both", &json!({"rsyncTLS": {}}));
    for (arguments, code, says) in [
        (&["explain", "nobody"][..], 5, "there is no ReplicationSource or ReplicationDestination \"nobody\""),
        (&["explain", "both"], 2, "--kind source or --kind destination"),
        (&["explain", "both", "--context", "mars"], 2, "there is no context \"mars\""),
        (&["explain"], 2, "<NAME>"),
    ] {
        let ended = world.run(arguments);
        assert!(ended.code == code && ended.err.contains(says) && ended.out.is_empty(), "{arguments:?}: {ended:?}");
    }
    let ended = world.run(&["explain", "both", "--kind", "destination"]);
    assert!(ended.code == 0 && ended.out.starts_with("ReplicationDestination "), "{ended:?}");
    let stranger = world.impersonating("stranger").run(&["explain", "both"]);
    assert!(stranger.code == 6 && stranger.err.contains("you may not get replicationsources"), "{stranger:?}");
    let bare = World::bare().run(&["explain", "both"]);
    assert!(bare.code == 5 && bare.err.contains("neither Doppel nor VolSync is installed"), "{bare:?}");
}

/// A source whose attempts fail. Returns its UID.
fn failed(world: &World) -> String {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/failed.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(fixture).unwrap()).unwrap();
    world.create("ReplicationSource", "data", &fixture["spec"]);
    world.report("replicationsource", "data", &fixture["status"]);
    world.uid("replicationsource", "data")
}

fn claim(world: &World) {
    world.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": world.namespace},
        "spec": claim_spec(),
    }));
}

fn claim_spec() -> Value {
    json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}, "storageClassName": "none"})
}

/// The parts of a run that is under way. Returns the pod's UID.
fn mover(world: &World, uid: &str) -> String {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "mover", "image": "mover"}]});
    world.apply(&json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": owned(world, "volsync-rsync-tls-src-data", "ReplicationSource", "data", uid),
        "spec": {"template": {"spec": pod}},
    }));
    world.apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": claim_spec(),
        "metadata": owned(world, "volsync-data-src", "ReplicationSource", "data", uid),
    }));
    world.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": world.namespace}}));
    let job = world.uid("job", "volsync-rsync-tls-src-data");
    let mut metadata = owned(world, "mover-1", "Job", "volsync-rsync-tls-src-data", &job);
    metadata["labels"]["job-name"] = json!("volsync-rsync-tls-src-data");
    metadata["ownerReferences"][0]["apiVersion"] = json!("batch/v1");
    world.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}));
    world.uid("pod", "mover-1")
}

fn event(world: &World, kind: &str, name: &str, uid: &str, note: &str) {
    world.apply(&json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{name}.{}", note.len()), "namespace": world.namespace},
        "involvedObject": {"kind": kind, "name": name, "namespace": world.namespace, "uid": uid},
        "type": "Warning", "reason": "Evicted", "message": note, "count": 2, "lastTimestamp": "2026-11-24T09:58:00Z",
        "source": {"component": "test"},
    }));
}

fn owned(world: &World, name: &str, kind: &str, owner: &str, uid: &str) -> Value {
    json!({
        "name": name, "namespace": world.namespace, "labels": {"app.kubernetes.io/created-by": "volsync"},
        "ownerReferences": [{"apiVersion": "volsync.backube/v1alpha1", "kind": kind, "name": owner, "uid": uid, "controller": true}],
    })
}
