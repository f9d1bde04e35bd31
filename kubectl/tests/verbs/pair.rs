//! `pair` across two clusters. What the operator of the destination would write is written by the tests.

use serde_json::{Value, json};

use super::super::world::{Ended, Pair, Running, World, kubectl};

const PSK: &str = "volsync:0011223344556677";

#[test]
fn a_pair_is_made_and_made_again_without_a_change() {
    let pair = Pair::new("pair");
    pair.claim();
    let made = pair.make(&["--schedule", "0 3 * * *"], "203.0.113.7");
    assert_eq!(made.code, 0, "{made:?}");
    let destination = pair.east.read("replicationdestination", "data");
    assert_eq!(
        destination["spec"],
        json!({"rsyncTLS": {"copyMethod": "Snapshot", "capacity": "5Gi", "accessModes": ["ReadWriteOnce"], "serviceType": "LoadBalancer"}})
    );
    let source = pair.west.read("replicationsource", "data");
    assert_eq!(
        source["spec"],
        json!({"sourcePVC": "data", "trigger": {"schedule": "0 3 * * *"},
            "rsyncTLS": {"copyMethod": "Snapshot", "keySecret": "data-psk", "address": "203.0.113.7"}})
    );
    assert_eq!(pair.west.read("secret", "data-psk")["data"], pair.east.read("secret", "the-key")["data"]);
    assert!(made.out.contains("It synchronizes by schedule (0 3 * * *)"), "{made:?}");
    assert!(!made.out.contains("0011223344556677") && !made.err.contains("0011223344556677"), "{made:?}");

    let again = pair.run(&["--schedule", "0 3 * * *"]);
    assert_eq!((again.code, again.out.matches("is there already").count()), (0, 3), "{again:?}");
    assert_eq!(pair.west.read("replicationsource", "data")["metadata"], source["metadata"]);

    let other = pair.run(&["--manual", "--copy-method", "clone"]);
    assert!(
        other.code == 0 && other.out.contains("spec.rsyncTLS.copyMethod: \"Snapshot\" becomes \"Clone\""),
        "{other:?}"
    );
    let spec = &pair.west.read("replicationsource", "data")["spec"];
    assert_eq!((&spec["trigger"], &spec["rsyncTLS"]["copyMethod"]), (&json!({"manual": "first"}), &json!("Clone")));
}

#[test]
fn what_was_interrupted_goes_on_when_run_again() {
    let pair = Pair::new("again");
    pair.claim();
    let late = pair.run(&["--timeout", "1s"]);
    assert!(late.code == 4 && late.err.contains("no operator has looked at it"), "{late:?}");
    assert!(late.err.contains("it has no address and key after 1s"), "{late:?}");
    assert!(late.err.contains("Waiting for its address and key: an operator is to look at it\n"), "{late:?}");
    let made = pair.make(&[], "203.0.113.7");
    assert!(
        made.code == 0 && made.out.contains("It synchronizes for each new value of spec.trigger.manual"),
        "{made:?}"
    );
    assert!(made.out.contains("is there already"), "{made:?}");
}

#[test]
fn within_one_namespace_no_key_is_copied() {
    let pair = Pair::new("within");
    pair.claim();
    let target = format!("plugin/{}", pair.west.namespace);
    let spawned = pair.west.spawn(&["pair", "data", &target, "-n", &pair.west.namespace]);
    pair.listens(&pair.west, "10.0.0.7");
    let made = spawned.end();
    assert_eq!(made.code, 0, "{made:?}");
    let spec = &pair.west.read("replicationsource", "data")["spec"]["rsyncTLS"];
    assert_eq!((&spec["keySecret"], &spec["address"]), (&json!("the-key"), &json!("10.0.0.7")));
    let service = &pair.west.read("replicationdestination", "data")["spec"]["rsyncTLS"]["serviceType"];
    assert_eq!(service, "ClusterIP");
    assert!(!pair.west.is_there("secret", "data-psk"));
}

#[test]
fn a_dry_run_prints_the_manifests_and_changes_nothing() {
    let pair = Pair::new("dry");
    pair.claim();
    let ended = pair.run(&["--dry-run", "--schedule", "@daily"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for line in [
        "# Context plugin3\n",
        "kind: ReplicationDestination",
        "# Context plugin\n",
        "kind: Secret",
        "name: data-psk",
        "schedule: '@daily'",
    ] {
        assert!(ended.out.contains(line), "{line:?} is missing in\n{}", ended.out);
    }
    pair.nothing_was_made();
}

#[test]
fn objects_of_others_are_left_alone_and_nothing_is_made_beside_them() {
    let pair = Pair::new("others");
    pair.claim();
    let spec = json!({"rsyncTLS": {}, "trigger": {"manual": "theirs"}});
    pair.east.create("ReplicationDestination", "data", &spec);
    let ended = pair.run(&[]);
    assert!(
        ended.code == 7 && ended.err.contains("ReplicationDestination") && ended.err.contains("did not make it"),
        "{ended:?}"
    );
    assert_eq!(pair.east.read("replicationdestination", "data")["spec"], spec);
    assert!(!pair.west.is_there("replicationsource", "data") && !pair.west.is_there("secret", "data-psk"));
    kubectl(&pair.east, &["delete", "replicationdestination", "data"], None);

    kubectl(&pair.west, &["create", "secret", "generic", "data-psk", "--from-literal=psk.txt=theirs"], None);
    let ended = pair.run(&[]);
    assert!(ended.code == 7 && ended.err.contains("Secret") && ended.err.contains("did not make it"), "{ended:?}");
    kubectl(&pair.west, &["delete", "secret", "data-psk"], None);

    pair.west.create("ReplicationSource", "data", &json!({"sourcePVC": "other", "rsyncTLS": {}}));
    let ended = pair.run(&[]);
    assert!(ended.code == 7 && ended.err.contains("ReplicationSource"), "{ended:?}");
    assert_eq!(pair.west.read("replicationsource", "data")["spec"]["sourcePVC"], "other");
    kubectl(&pair.west, &["delete", "replicationsource", "data"], None);
    pair.nothing_was_made();
}

#[test]
fn a_source_is_not_turned_to_another_destination_of_the_same_name() {
    let pair = Pair::new("turned");
    pair.claim();
    assert_eq!(pair.make(&[], "203.0.113.7").code, 0);
    kubectl(&pair.east, &["delete", "replicationdestination", "data"], None);
    let ended = pair.run(&[]);
    assert!(
        ended.code == 7 && ended.err.contains("ReplicationSource") && ended.err.contains("its other end is"),
        "{ended:?}"
    );
    assert!(!pair.east.is_there("replicationdestination", "data"));
}

#[test]
fn a_key_that_was_made_anew_is_copied_again() {
    let pair = Pair::new("rekeyed");
    pair.claim();
    assert_eq!(pair.make(&[], "203.0.113.7").code, 0);
    kubectl(&pair.east, &["delete", "secret", "the-key"], None);
    kubectl(&pair.east, &["create", "secret", "generic", "the-key", "--from-literal=psk.txt=volsync:ff"], None);
    let ended = pair.run(&[]);
    assert!(ended.code == 0 && ended.out.contains("has the destination's present key now"), "{ended:?}");
    assert_eq!(pair.west.read("secret", "data-psk")["data"], pair.east.read("secret", "the-key")["data"]);
}

#[test]
fn a_destination_that_nobody_gives_an_address_says_so_at_the_deadline() {
    let pair = Pair::new("noaddress");
    pair.claim();
    let spawned = pair.spawn(&["--timeout", "5s"]);
    pair.east.await_object("replicationdestination", "data");
    pair.east.report("replicationdestination", "data", &json!({
        "conditions": [condition("Ready", "False", "its Service has no address yet"), condition("Reconciling", "True", "m")],
    }));
    let uid = pair.east.uid("replicationdestination", "data");
    pair.east.apply(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "volsync-rsync-tls-dst-data", "namespace": pair.east.namespace,
            "labels": {"app.kubernetes.io/created-by": "volsync"},
            "ownerReferences": [{"apiVersion": "volsync.backube/v1alpha1", "kind": "ReplicationDestination", "name": "data", "uid": uid, "controller": true}],
        },
        "spec": {"type": "LoadBalancer", "ports": [{"port": 8000}]},
    }));
    let ended = spawned.end();
    assert_eq!(ended.code, 4, "{ended:?}");
    for says in [
        "it has no address and key after 5s",
        "its Service has no address yet",
        "something has to give Service volsync-rsync-tls-dst-data an address",
        "run it again",
    ] {
        assert!(ended.err.contains(says), "{says:?}: {ended:?}");
    }
    assert!(!pair.west.is_there("replicationsource", "data"));
}

#[test]
fn a_destination_that_cannot_be_served_ends_the_wait_at_once() {
    let pair = Pair::new("stalled");
    pair.claim();
    let spawned = pair.spawn(&[]);
    pair.east.await_object("replicationdestination", "data");
    pair.east.report(
        "replicationdestination",
        "data",
        &json!({
            "conditions": [condition("Ready", "False", "no StorageClass \"fast\""), condition("Stalled", "True", "m")],
        }),
    );
    let ended = spawned.end();
    assert!(ended.code == 1 && ended.err.contains("no StorageClass \"fast\""), "{ended:?}");
}

#[test]
fn what_is_missing_is_named_before_anything_is_made() {
    let pair = Pair::new("lacking");
    let source = pair.source();
    let target = pair.target();
    let nowhere = format!("{}/nowhere", pair.east.context());
    for (arguments, code, says) in [
        (&[source.as_str(), target.as_str()][..], 5, "there is no PersistentVolumeClaim \"data\""),
        (&["mars/shop/data", &target], 2, "there is no context \"mars\""),
        (&[&source, "mars/shop"], 2, "there is no context \"mars\""),
        (&["plugin/nowhere/data", &target], 5, "there is no namespace \"nowhere\" (context \"plugin\")"),
        (&[&source, "shop"], 2, "CONTEXT/NAMESPACE/NAME"),
        (&[&source, &target, "--schedule", "@daily", "--manual"], 2, "cannot be used with"),
        (&[&source, &target, "--timeout", "5"], 2, "90s, 10m or 2h"),
    ] {
        let ended = pair.west.run(&[&["pair"][..], arguments].concat());
        assert!(ended.code == code && ended.err.contains(says), "{arguments:?}: {ended:?}");
    }
    pair.claim();
    for (arguments, code, says) in [
        (&[source.as_str(), nowhere.as_str()][..], 5, "there is no namespace \"nowhere\" (context \"plugin3\")"),
        (&[&source, &target, "--schedule", "nonsense"], 1, "spec.trigger.schedule"),
        (&[&source, &target, "--capacity", "much"], 1, "capacity"),
    ] {
        let ended = pair.west.run(&[&["pair"][..], arguments].concat());
        assert!(ended.code == code && ended.err.contains(says), "{arguments:?}: {ended:?}");
    }
    let bare = pair.with_bare().run(&["pair", &source, "plugin2/default"]);
    assert!(bare.code == 5 && bare.err.contains("context \"plugin2\" has no ReplicationDestination"), "{bare:?}");
    let stranger = pair.west.impersonating("stranger").run(&["pair", &source, &target]);
    assert!(stranger.code == 6 && stranger.err.contains("you may not get persistentvolumeclaims"), "{stranger:?}");
    pair.nothing_was_made();
}

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "MoverRunning", "message": message, "lastTransitionTime": "2026-11-24T10:00:00Z"})
}

impl Pair {
    fn source(&self) -> String {
        format!("{}/{}/data", self.west.context(), self.west.namespace)
    }

    fn target(&self) -> String {
        format!("{}/{}", self.east.context(), self.east.namespace)
    }

    fn run(&self, more: &[&str]) -> Ended {
        self.spawn(more).end()
    }

    fn spawn(&self, more: &[&str]) -> Running {
        let (source, target) = (self.source(), self.target());
        self.west.spawn(&[&["pair", &source, &target][..], more].concat())
    }

    /// Runs it beside a destination that listens.
    fn make(&self, more: &[&str], address: &str) -> Ended {
        let spawned = self.spawn(more);
        self.listens(&self.east, address);
        spawned.end()
    }

    /// What an operator does when there is a destination.
    fn listens(&self, world: &World, address: &str) {
        world.await_object("replicationdestination", "data");
        kubectl(world, &["create", "secret", "generic", "the-key", &format!("--from-literal=psk.txt={PSK}")], None);
        let status = json!({"rsyncTLS": {"address": address, "keySecret": "the-key"}});
        world.report("replicationdestination", "data", &status);
    }

    fn claim(&self) {
        self.west.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": self.west.namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}, "storageClassName": "none"},
        }));
    }

    fn nothing_was_made(&self) {
        assert!(!self.east.is_there("replicationdestination", "data"));
        for kind in ["replicationsource", "secret"] {
            let left = kubectl(&self.west, &["get", kind, "-o", "name"], None);
            assert_eq!(left, "", "{kind}");
        }
    }
}
