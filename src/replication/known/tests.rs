//! Of what watches tell, whom it concerns.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

use super::*;
use crate::api::destination::ReplicationDestination;
use crate::api::source::ReplicationSource;
use crate::replication::interpret::{Interpretation, Kind};

/// Whatever is watched: only its metadata is looked at.
fn child(name: &str, changes: &Value) -> PersistentVolumeClaim {
    let owner = json!({"apiVersion": "v1", "kind": "x", "name": "x", "uid": "u", "controller": true});
    let mut metadata = json!({"name": name, "namespace": "shop", "ownerReferences": [owner]});
    metadata.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

fn wish<K: Kind>(spec: &Value, status: &Value) -> Replication {
    let object = json!({"metadata": {"name": "x", "namespace": "shop", "uid": "u"}, "spec": spec, "status": status});
    match serde_json::from_value::<K>(object).unwrap().interpret() {
        Interpretation::Wish(wish) => *wish,
        other => panic!("{other:?}"),
    }
}

fn source() -> Replication {
    wish::<ReplicationSource>(
        &json!({"sourcePVC": "data", "rsyncTLS": {"copyMethod": "Snapshot", "address": "192.0.2.1"}}),
        &json!({}),
    )
}

fn destination() -> Replication {
    let image = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "image"});
    let rsync = json!({"copyMethod": "Snapshot", "capacity": "1Gi", "accessModes": ["ReadWriteOnce"]});
    wish::<ReplicationDestination>(&json!({"rsyncTLS": rsync}), &json!({"latestImage": image}))
}

fn told() -> Known {
    let known = Known::default();
    for watched in [Watched::Jobs, Watched::Snapshots, Watched::Claims] {
        known.note::<PersistentVolumeClaim>(watched, &Ok(Event::Init));
        known.note::<PersistentVolumeClaim>(watched, &Ok(Event::InitDone));
    }
    known
}

fn fails() -> watcher::Result<Event<PersistentVolumeClaim>> {
    Err(watcher::Error::NoResourceVersion)
}

#[test]
fn nothing_is_clean_before_every_watch_has_told_of_all() {
    let known = Known::default();
    assert!(!known.is_clean(&source()));
    known.note(Watched::Snapshots, &fails());
    for watched in [Watched::Jobs, Watched::Claims] {
        known.note::<PersistentVolumeClaim>(watched, &Ok(Event::Init));
        assert!(!known.is_clean(&source()));
        known.note::<PersistentVolumeClaim>(watched, &Ok(Event::InitDone));
    }
    assert!(!known.is_clean(&source()), "of snapshots nothing is known");
    known.note::<PersistentVolumeClaim>(Watched::Snapshots, &Ok(Event::InitDone));
    assert!(known.is_clean(&source()));
    known.note(Watched::Jobs, &fails());
    assert!(known.is_clean(&source()), "the watch goes on from where it was");
}

#[test]
fn an_object_is_clean_until_it_has_a_child_that_cleanup_is_about() {
    let ours = json!({});
    let kept = json!({"labels": {name::DO_NOT_DELETE_LABEL: "yes"}});
    let foreign = json!({"ownerReferences": [{"apiVersion": "v1", "kind": "x", "name": "x", "uid": "other", "controller": true}]});
    let noted = json!({"ownerReferences": [], "annotations": {name::NOTED_IMAGE_ANNOTATION: "x"}});
    for (watched, name, changes, of_source, of_destination) in [
        (Watched::Jobs, "job", &ours, false, false),
        (Watched::Jobs, "job", &foreign, true, true),
        (Watched::Claims, "volsync-x-src", &ours, false, true),
        (Watched::Claims, "volsync-x-dst", &noted, true, false),
        (Watched::Snapshots, "image", &ours, false, true),
        (Watched::Snapshots, "image", &kept, false, false),
        (Watched::Snapshots, "former", &ours, false, false),
    ] {
        let known = told();
        known.note(watched, &Ok(Event::Apply(child(name, changes))));
        let clean = (known.is_clean(&source()), known.is_clean(&destination()));
        assert_eq!(clean, (of_source, of_destination), "{watched:?} {name} {changes}");
        known.note(watched, &Ok(Event::Delete(child(name, changes))));
        assert!(known.is_clean(&source()) && known.is_clean(&destination()), "{watched:?} {name} is gone");
    }
}

#[test]
fn a_child_that_was_given_up_or_went_away_unseen_is_no_child_any_more() {
    let known = told();
    known.note(Watched::Jobs, &Ok(Event::Apply(child("job", &json!({})))));
    known.note(Watched::Jobs, &Ok(Event::Apply(child("job", &json!({"ownerReferences": []})))));
    assert!(known.is_clean(&source()));
    known.note(Watched::Jobs, &Ok(Event::Apply(child("job", &json!({})))));
    known.note(Watched::Claims, &Ok(Event::Apply(child("volsync-x-src", &json!({})))));
    for watched in [Watched::Jobs, Watched::Claims] {
        assert!(!known.is_clean(&source()));
        known.note::<PersistentVolumeClaim>(watched, &Ok(Event::Init));
        known.note::<PersistentVolumeClaim>(watched, &Ok(Event::InitDone));
    }
    assert!(known.is_clean(&source()));
}

#[test]
fn a_claim_concerns_those_that_name_it_now() {
    let known = told();
    let object = |name: &str| ("shop".to_owned(), name.to_owned());
    known.names(object("a"), &["data", "cache"]);
    known.names(object("b"), &["data"]);
    assert_eq!(known.users("shop", "data"), ["a", "b"]);
    known.names(object("a"), &["other"]);
    assert_eq!((known.users("shop", "data"), known.users("shop", "cache")), (vec!["b".to_owned()], vec![]));
    known.names(object("b"), &[]);
    assert!(known.users("shop", "data").is_empty() && known.users("bank", "other").is_empty());
}
