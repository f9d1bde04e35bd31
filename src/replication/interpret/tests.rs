//! Tables of interpretations: manifests as users write them.

use serde_json::{Value, json};

use super::{Interpretation, Kind};
use crate::api::destination::ReplicationDestination;
use crate::api::source::ReplicationSource;
use crate::model::mover::{KeySource, Meeting, Mover};
use crate::model::readiness::{Readiness, ReadyReason, ReadyState};
use crate::model::replication::{
    Beginner, Direction, Lifetime, Pace, Phase, Publish, Replication, SourceCopy, Target, Trigger, VolumeMode,
};
use crate::model::status::Status;

fn source_spec() -> Value {
    json!({"sourcePVC": "data", "rsyncTLS": {"copyMethod": "Snapshot", "address": "b.example"}})
}

fn destination_spec() -> Value {
    json!({"rsyncTLS": {"copyMethod": "Snapshot", "capacity": "1Gi", "accessModes": ["ReadWriteOnce"]}})
}

fn object<K: Kind>(spec: &Value, status: &Value) -> K {
    let (kind, metadata) = (K::ROLE.kind(), json!({"name": "x", "namespace": "ns", "uid": "u"}));
    let object = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": kind, "metadata": metadata,
        "spec": spec, "status": status});
    serde_json::from_value(object).unwrap()
}

#[track_caller]
fn wish<K: Kind>(spec: &Value) -> Replication {
    match object::<K>(spec, &json!({})).interpret() {
        Interpretation::Wish(wish) => *wish,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refusal<K: Kind>(spec: &Value) -> String {
    match object::<K>(spec, &json!({})).interpret() {
        Interpretation::Refused(reason) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The spec with one field, by JSON pointer, set or (null) removed.
fn with(mut spec: Value, field: &str, value: Value) -> Value {
    let (parent, name) = field.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value);
    }
    spec
}

#[test]
fn a_source_is_read_with_the_defaults_of_volsync() {
    let wish = wish::<ReplicationSource>(&source_spec());
    let Direction::Source { claim, copy: SourceCopy::Snapshot { class: None, .. } } = &wish.direction else {
        panic!("{wish:?}")
    };
    let Mover::RsyncTls(rsync) = &wish.mover else { panic!() };
    assert_eq!(claim, "data");
    assert_eq!(rsync.key, KeySource::Generated("volsync-rsync-tls-x".to_owned()));
    assert!(matches!(&rsync.meeting, Meeting::Call { address, port } if address == "b.example" && port.get() == 8000));
    assert_eq!((wish.trigger, wish.pace, wish.phase), (Trigger::Continuous, Pace::Running, Phase::Never));
}

#[test]
fn a_destination_is_read_with_the_defaults_of_volsync() {
    let wish = wish::<ReplicationDestination>(&destination_spec());
    let Direction::Destination { target: Target::Dynamic { lifetime, .. }, publish: Publish::Snapshot { .. } } =
        &wish.direction
    else {
        panic!("{wish:?}")
    };
    assert_eq!(*lifetime, Lifetime::Kept);
    let Mover::RsyncTls(rsync) = &wish.mover else { panic!() };
    let Meeting::Listen(listen) = &rsync.meeting else { panic!("{rsync:?}") };
    assert_eq!(listen.service_type, "ClusterIP");
    assert_eq!(listen.annotations.len(), 1, "the load balancer's annotation is the default");
    let bare = with(destination_spec(), "/rsyncTLS/serviceAnnotations", json!({}));
    let Mover::RsyncTls(rsync) = self::wish::<ReplicationDestination>(&bare).mover else { panic!() };
    assert!(matches!(rsync.meeting, Meeting::Listen(listen) if listen.annotations.is_empty()));
}

#[test]
fn every_section_without_a_mover_is_named() {
    for section in ["rsync", "rclone", "syncthing"] {
        let text = refusal::<ReplicationSource>(&json!({"sourcePVC": "data", section: {}}));
        assert!(text.contains(&format!("spec.{section}:")), "{text}");
    }
    for section in ["rsync", "rclone"] {
        let text = refusal::<ReplicationDestination>(&json!({section: {}}));
        assert!(text.contains(&format!("spec.{section}:")), "{text}");
    }
}

#[test]
fn no_section_and_two_sections_are_refused_with_the_fields() {
    let none = refusal::<ReplicationSource>(&json!({"sourcePVC": "data"}));
    assert!(none.starts_with("a replication method must be specified") && none.contains("spec.rsyncTLS"), "{none}");
    let two = refusal::<ReplicationSource>(&with(source_spec(), "/restic", json!({})));
    assert!(two.starts_with("only one replication method can be supplied"), "{two}");
    assert!(two.contains("spec.rsyncTLS") && two.contains("spec.restic"), "{two}");
    let external = refusal::<ReplicationSource>(&with(source_spec(), "/external", json!({})));
    assert!(external.starts_with("only one replication method can be supplied"), "{external}");
}

#[test]
fn an_object_of_another_operator_is_left_alone() {
    let object = object::<ReplicationSource>(&json!({"external": {"provider": "example.com/x"}}), &json!({}));
    assert!(matches!(object.interpret(), Interpretation::External));
}

#[test]
fn what_is_wrong_with_a_source_is_said_with_its_field() {
    let table = [
        ("/sourcePVC", Value::Null, "spec.sourcePVC must be provided"),
        ("/rsyncTLS/copyMethod", Value::Null, "spec.rsyncTLS.copyMethod must be provided"),
        ("/rsyncTLS/address", Value::Null, "spec.rsyncTLS.address must be provided"),
        ("/rsyncTLS/address", json!("host:8000"), "spec.rsyncTLS.address: \"host:8000\""),
        ("/rsyncTLS/address", json!("https://host"), "spec.rsyncTLS.address: "),
        ("/rsyncTLS/address", json!("[::1"), "spec.rsyncTLS.address: "),
        ("/rsyncTLS/address", json!("a b"), "spec.rsyncTLS.address: "),
        ("/rsyncTLS/port", json!(0), "spec.rsyncTLS.port: 0"),
        ("/rsyncTLS/port", json!(70000), "spec.rsyncTLS.port: 70000"),
        ("/trigger", json!({"schedule": "12345"}), "spec.trigger.schedule: expected 5 fields"),
        ("/trigger", json!({"schedule": "0 0 30 2 *"}), "spec.trigger.schedule: \"0 0 30 2 *\" never comes"),
    ];
    for (field, value, expected) in table {
        let text = refusal::<ReplicationSource>(&with(source_spec(), field, value));
        assert!(text.starts_with(expected), "{field}: {text}");
    }
}

#[test]
fn the_mode_of_a_destinations_volume_is_the_users() {
    let made = [
        (Value::Null, VolumeMode::Filesystem),
        (json!("Filesystem"), VolumeMode::Filesystem),
        (json!("Block"), VolumeMode::Block),
    ];
    for (written, expected) in made {
        let wish = wish::<ReplicationDestination>(&with(destination_spec(), "/rsyncTLS/volumeMode", written));
        let Direction::Destination { target: Target::Dynamic { mode, .. }, .. } = wish.direction else { panic!() };
        assert_eq!(mode, expected);
    }
    let existing = [(Value::Null, None), (json!("Block"), Some(VolumeMode::Block))];
    for (written, expected) in existing {
        let spec = with(destination_spec(), "/rsyncTLS/destinationPVC", json!("data"));
        let wish = wish::<ReplicationDestination>(&with(spec, "/rsyncTLS/volumeMode", written));
        let Direction::Destination { target, .. } = wish.direction else { panic!() };
        assert_eq!(target, Target::Existing { claim: "data".to_owned(), mode: expected });
    }
}

#[test]
fn what_is_wrong_with_a_destination_is_said_with_its_field() {
    let table = [
        ("/rsyncTLS/volumeMode", json!("block"), "spec.rsyncTLS.volumeMode: \"block\" is no volume mode"),
        ("/rsyncTLS/capacity", Value::Null, "capacity must be provided when destinationPVC is not"),
        ("/rsyncTLS/accessModes", Value::Null, "accessModes must be provided when destinationPVC is not"),
        ("/rsyncTLS/copyMethod", Value::Null, "spec.rsyncTLS.copyMethod must be provided"),
        ("/rsyncTLS/copyMethod", json!("Clone"), "unsupported copyMethod: Clone -- must be Direct, None, or Snapshot"),
        ("/rsyncTLS/serviceType", json!("ExternalName"), "spec.rsyncTLS.serviceType: \"ExternalName\""),
    ];
    for (field, value, expected) in table {
        let text = refusal::<ReplicationDestination>(&with(destination_spec(), field, value));
        assert!(text.starts_with(expected), "{field}: {text}");
    }
}

#[test]
fn an_ipv6_address_may_stand_in_brackets() {
    for address in ["[2001:db8::1]", "2001:db8::1"] {
        let wish = wish::<ReplicationSource>(&with(source_spec(), "/rsyncTLS/address", json!(address)));
        let Mover::RsyncTls(rsync) = wish.mover else { panic!() };
        assert!(matches!(rsync.meeting, Meeting::Call { address, .. } if address == "2001:db8::1"));
    }
}

#[test]
fn a_manual_trigger_goes_before_a_schedule() {
    let spec = with(source_spec(), "/trigger", json!({"manual": "one", "schedule": "* * * * *"}));
    assert_eq!(wish::<ReplicationSource>(&spec).trigger, Trigger::Manual("one".to_owned()));
    let spec = with(source_spec(), "/trigger", json!({"manual": "", "schedule": "* * * * *"}));
    assert!(matches!(wish::<ReplicationSource>(&spec).trigger, Trigger::Schedule(_)));
}

#[test]
fn an_iteration_that_volsync_began_goes_on() {
    let spec = with(source_spec(), "/trigger", json!({"manual": "one"}));
    // What is remembered of it later says that it was VolSync's; what it answers is what was asked for then.
    for (current, begun_by, manual) in [
        (Value::Null, Beginner::VolSync, "one"),
        (json!({"begunBy": "VolSync", "manual": "zero", "failedAttempts": 1}), Beginner::VolSync, "zero"),
        (json!({"manual": "zero"}), Beginner::Doppel, "zero"),
    ] {
        let begun = "2026-11-23T10:00:00Z";
        let status = json!({"lastSyncStartTime": begun, "latestMoverStatus": {}, "currentSync": current});
        let Interpretation::Wish(wish) = object::<ReplicationSource>(&spec, &status).interpret() else { panic!() };
        let Phase::Running(running) = wish.phase else { panic!("{:?}", wish.phase) };
        assert_eq!((running.begun_by, running.manual.as_deref()), (begun_by, Some(manual)));
    }
}

#[test]
fn a_status_is_read_as_it_was_written() {
    let status = json!({
        "observedGeneration": 7,
        "lastSyncTime": "2026-11-23T10:00:00Z", "lastSyncStartTime": "2026-11-23T10:01:00Z",
        "lastSyncDuration": "2.5s", "nextSyncTime": "2026-11-23T10:05:00Z", "lastManualSync": "one",
        "latestMoverStatus": {"result": "Failed", "logs": "error"},
        "currentSync": {"begunBy": "VolSync", "manual": "two", "failedAttempts": 3, "nextAttemptTime": "2026-11-23T10:02:00Z",
            "lastFailure": {"time": "2026-11-23T10:01:50Z", "fault": "Volume", "message": "m", "leftOut": 2}},
        "conditions": [
            {"type": "Synchronizing", "status": "False", "reason": "Error", "message": "m",
                "lastTransitionTime": "2026-11-23T10:01:30Z"},
            {"type": "Other", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-11-23T10:01:30Z"}
        ],
        "latestImage": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"},
        "rsyncTLS": {"keySecret": "k", "address": "a"}
    });
    let read: ReplicationDestination = object(&destination_spec(), &status);
    let mut written: ReplicationDestination = object(&destination_spec(), &json!({}));
    written.set_status(Status::default());
    written.set_status(read.status());
    let conditions = written.status.as_mut().unwrap().sync.conditions.as_mut().unwrap();
    assert_eq!(conditions.len(), 1);
    let other = read.status.as_ref().unwrap().sync.conditions.as_ref().unwrap()[1].clone();
    conditions.push(other);
    assert_eq!(written.status, read.status);
}

/// What a script may read of `Synchronizing` is what VolSync writes, whatever stands beside it.
#[test]
fn the_conditions_of_kstatus_stand_behind_volsyncs_and_those_of_others_stay() {
    let time = "2026-11-23T10:01:30Z";
    let synchronizing = json!({"type": "Synchronizing", "status": "True", "reason": "SyncInProgress",
        "message": "Synchronization in-progress", "lastTransitionTime": time});
    let other = json!({"type": "Other", "status": "True", "reason": "R", "message": "", "lastTransitionTime": time});
    for (state, expected) in [
        (ReadyState::Ready, &[("Ready", "True")][..]),
        (ReadyState::Reconciling, &[("Ready", "False"), ("Reconciling", "True")]),
        (ReadyState::Stalled, &[("Ready", "False"), ("Stalled", "True")]),
        (ReadyState::Held, &[("Ready", "False")]),
    ] {
        let status = json!({"observedGeneration": 7, "conditions": [other, synchronizing]});
        let mut source: ReplicationSource = object(&source_spec(), &status);
        for reason in ReadyReason::ALL {
            let since = time.parse().unwrap();
            let readiness = Some(Readiness { state, reason, message: "m".to_owned(), since });
            let status = Status { readiness, ..source.status() };
            source.set_status(status.clone());
            assert_eq!(source.status(), status, "read as it was written");
            let written = serde_json::to_value(&source.status.as_ref().unwrap().sync.conditions).unwrap();
            let condition = |(kind, status): &(&str, &str)| {
                json!({"type": kind, "status": status, "reason": reason.as_str(), "message": "m",
                    "lastTransitionTime": time, "observedGeneration": 7})
            };
            let ours = expected.iter().map(condition);
            let all: Vec<_> = [synchronizing.clone()].into_iter().chain(ours).chain([other.clone()]).collect();
            assert_eq!(written, json!(all));
        }
    }
}
