//! What wakes a claim that is to be filled: itself, its prime, its ReplicationDestination, its StorageClass, and the snapshot
//! that it is filled from.
//!
//! Of all claims of a cluster only these and their primes are kept in memory, and one that is filled costs nothing more: it is
//! looked at only while its prime is there.

use std::collections::HashMap;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;

use crate::api::destination::ReplicationDestination;
use crate::model::name;
use crate::model::population::Named;
use crate::model::replication::Role;
use crate::population::interpret::{claim_of_prime, destination, is_unfilled};
use crate::population::observe::marks;
use crate::population::plan::MOST_AT_A_TIME;
use crate::resources::snapshot::VolumeSnapshot;

type Claim = PersistentVolumeClaim;

/// A controller of claims with all its watches.
pub(super) fn controller(client: &Client) -> Controller<Claim> {
    let (store, writer) = reflector::store();
    let claims = watch(Api::<Claim>::all(client.clone()), Config::default()).default_backoff();
    let kept = only_kept(claims).modify(strip).reflect(writer).touched_objects();
    let known = store.clone();
    let woken = kept.try_filter_map(move |claim| std::future::ready(Ok(to_be_looked_at(claim, &known))));
    let (key, value) = name::CREATED_BY;
    let ours = Config::default().labels(&format!("{key}={value}"));
    let snapshots = watch(Api::<VolumeSnapshot>::all(client.clone()), ours).default_backoff();
    let (of_destination, of_class, of_snapshot) = (store.clone(), store.clone(), store.clone());
    // No more are woken by one snapshot than may be filled from it. Who is not, for want of room, looks again by itself.
    let (turns, mut woken_turns) = mpsc::channel(MOST_AT_A_TIME);
    let in_line = store.clone();
    let let_go = move |snapshot: &VolumeSnapshot| {
        next_in_line(&in_line, snapshot).into_iter().for_each(|claim| drop(turns.try_send(claim)));
    };
    Controller::for_stream(woken, store)
        .reconcile_on(futures::stream::poll_fn(move |waker| woken_turns.poll_recv(waker)))
        .watches(Api::<ReplicationDestination>::all(client.clone()), Config::default(), move |destination| {
            waiting_for(&of_destination, &destination.namespace().unwrap_or_default(), &destination.name_any())
        })
        .watches(Api::<StorageClass>::all(client.clone()), Config::default(), move |class| {
            of_class_waiting(&of_class, &class.name_any())
        })
        .watches_stream(only_news(snapshots, let_go), move |snapshot| users(&of_snapshot, &snapshot))
}

/// Whether a claim has a `dataSourceRef` that is ours never changes, so what is dropped here is dropped for good.
fn only_kept<S>(events: S) -> impl Stream<Item = watcher::Result<Event<Claim>>>
where
    S: Stream<Item = watcher::Result<Event<Claim>>>,
{
    let is_kept = |claim: &Claim| destination(claim).is_some() || name::claim_of_prime(&claim.name_any()).is_some();
    events.filter(move |event| {
        std::future::ready(match event {
            Ok(Event::Apply(claim) | Event::InitApply(claim) | Event::Delete(claim)) => is_kept(claim),
            Ok(Event::Init | Event::InitDone) | Err(_) => true,
        })
    })
}

/// Keeps in memory what wakes a claim by; a pass reads it afresh.
fn strip(claim: &mut Claim) {
    claim.metadata.managed_fields = None;
    claim.metadata.annotations = None;
    claim.status = None;
}

/// The claim that is to be looked at when this one has changed: itself, or the one that has it for its prime or would have, if it
/// were not somebody else's.
fn to_be_looked_at(claim: Claim, known: &Store<Claim>) -> Option<Claim> {
    let namespace = claim.namespace().unwrap_or_default();
    if let Some(uid) = name::claim_of_prime(&claim.name_any()) {
        // Before the store is filled only the prime itself tells.
        let told = claim_of_prime(&claim).map(str::to_owned);
        let of_uid = |other: &Claim| other.metadata.uid.as_deref() == Some(uid) && is_unfilled(other);
        let name = told.or_else(|| known.find(of_uid).map(|claim| claim.name_any()))?;
        let mut woken = Claim::default();
        woken.metadata.namespace = Some(namespace);
        woken.metadata.name = Some(name);
        return Some(woken);
    }
    let prime = ObjectRef::new(&name::prime(&claim.uid().unwrap_or_default())).within(&namespace);
    let has_prime = || known.get(&prime).is_some_and(|prime| claim_of_prime(&prime).is_some());
    (is_unfilled(&claim) || has_prime()).then_some(claim)
}

/// Snapshots that have changed in what matters to those that are filled from them, or are gone. Marks and owners do not: each of a
/// thousand claims that are filled from one snapshot writes some, and would wake all others. Of one that has lost a mark `let_go`
/// is told.
fn only_news<S>(events: S, let_go: impl Fn(&VolumeSnapshot)) -> impl Stream<Item = watcher::Result<VolumeSnapshot>>
where
    S: Stream<Item = watcher::Result<Event<VolumeSnapshot>>>,
{
    let mut known = HashMap::new();
    events.try_filter_map(move |event| {
        std::future::ready(Ok(match event {
            Event::Init => {
                known.clear();
                None
            }
            Event::InitDone => None,
            Event::InitApply(snapshot) | Event::Apply(snapshot) => {
                let (digest, marks) = (digest(&snapshot), marks(&snapshot).count());
                let former = known.insert(ObjectRef::from_obj(&snapshot), (digest, marks));
                if former.is_some_and(|(_, former)| marks < former) {
                    let_go(&snapshot);
                }
                former.is_none_or(|(former, _)| digest != former).then_some(snapshot)
            }
            Event::Delete(snapshot) => {
                known.remove(&ObjectRef::from_obj(&snapshot));
                Some(snapshot)
            }
        }))
    })
}

fn digest(snapshot: &VolumeSnapshot) -> u64 {
    let is_kept = snapshot.labels().contains_key(name::DO_NOT_DELETE_LABEL);
    let is_deleted = snapshot.metadata.deletion_timestamp.is_some();
    // Plain structs always serialize.
    let json = serde_json::to_vec(&(&snapshot.metadata.uid, is_kept, is_deleted, &snapshot.status)).unwrap_or_default();
    xxhash_rust::xxh3::xxh3_64(&json)
}

/// Claims without a volume that name a ReplicationDestination.
fn waiting_for(claims: &Store<Claim>, namespace: &str, name: &str) -> Vec<ObjectRef<Claim>> {
    let named = Named::Here(name.to_owned());
    find(claims, |claim| {
        claim.namespace().as_deref() == Some(namespace)
            && is_unfilled(claim)
            && destination(claim).as_ref() == Some(&named)
    })
}

/// Claims without a volume of a StorageClass.
fn of_class_waiting(claims: &Store<Claim>, class: &str) -> Vec<ObjectRef<Claim>> {
    let class_of = |claim: &Claim| claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
    find(claims, |claim| is_unfilled(claim) && class_of(claim).as_deref() == Some(class))
}

/// Of the claims that wait for their turn to be filled from a snapshot those that were made first, as many as there is room for.
fn next_in_line(claims: &Store<Claim>, snapshot: &VolumeSnapshot) -> Vec<ObjectRef<Claim>> {
    let marked: Vec<&str> = marks(snapshot).collect();
    let namespace = snapshot.namespace();
    let names: Vec<_> = destinations_of(snapshot).map(|owner| Named::Here(owner.name.clone())).collect();
    let mut waiting = claims.state_filter(|claim| {
        claim.namespace() == namespace
            && is_unfilled(claim)
            && destination(claim).is_some_and(|named| names.contains(&named))
            && !marked.iter().any(|uid| claim.metadata.uid.as_deref() == Some(uid))
    });
    waiting.sort_by_key(|claim| (claim.metadata.creation_timestamp.as_ref().map(|time| time.0), claim.name_any()));
    let room = MOST_AT_A_TIME.saturating_sub(marked.len());
    waiting.iter().take(room).map(|claim| ObjectRef::from_obj(claim.as_ref())).collect()
}

fn destinations_of(snapshot: &VolumeSnapshot) -> impl Iterator<Item = &OwnerReference> {
    snapshot.owner_references().iter().filter(|owner| owner.kind == Role::Destination.kind())
}

/// Claims that are filled from a snapshot, by its marks, or may be, by the ReplicationDestination that it belongs to.
fn users(claims: &Store<Claim>, snapshot: &VolumeSnapshot) -> Vec<ObjectRef<Claim>> {
    let uids: Vec<&str> = marks(snapshot).collect();
    let mut users = match uids.is_empty() {
        true => Vec::new(),
        false => find(claims, |claim| claim.metadata.uid.as_deref().is_some_and(|uid| uids.contains(&uid))),
    };
    for owner in destinations_of(snapshot) {
        users.extend(waiting_for(claims, &snapshot.namespace().unwrap_or_default(), &owner.name));
    }
    users
}

fn find(claims: &Store<Claim>, wanted: impl Fn(&Claim) -> bool) -> Vec<ObjectRef<Claim>> {
    claims.state_filter(wanted).iter().map(|claim| ObjectRef::from_obj(claim.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use serde_json::{Value, json};

    fn object<K: serde::de::DeserializeOwned>(object: Value) -> K {
        serde_json::from_value(object).unwrap()
    }

    fn claim(name: &str, volume: Option<&str>) -> Claim {
        let source = json!({"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "rd"});
        object(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "managedFields": [{}],
                "annotations": {"large": "x"}},
            "spec": {"dataSourceRef": source, "storageClassName": "fast", "volumeName": volume},
            "status": {"phase": "Pending"},
        }))
    }

    fn prime(of: &str) -> Claim {
        let owner = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": of, "uid": format!("uid-{of}"),
            "controller": true});
        object(json!({"metadata": {"name": format!("vs-prime-uid-{of}"), "namespace": "shop", "uid": "p",
            "ownerReferences": [owner]}}))
    }

    fn store(claims: Vec<Claim>) -> Store<Claim> {
        let (store, mut writer) = reflector::store();
        for claim in claims {
            writer.apply_watcher_event(&Event::Apply(claim));
        }
        store
    }

    fn woken(claim: Claim, known: &Store<Claim>) -> Option<String> {
        to_be_looked_at(claim, known).map(|claim| claim.name_any())
    }

    #[test]
    fn a_filled_claim_is_looked_at_only_while_its_prime_is_there() {
        let settled = store(vec![claim("a", Some("pv"))]);
        assert_eq!(woken(claim("a", None), &settled).as_deref(), Some("a"));
        assert_eq!(woken(claim("a", Some("pv")), &settled), None);
        let unsettled = store(vec![claim("a", Some("pv")), prime("a")]);
        assert_eq!(woken(claim("a", Some("pv")), &unsettled).as_deref(), Some("a"));
        assert_eq!(woken(prime("a"), &settled).as_deref(), Some("a"), "its being gone wakes the claim too");
    }

    #[test]
    fn a_claim_that_waits_for_its_primes_name_is_woken_when_that_is_free() {
        let foreign =
            || Claim { metadata: ObjectMeta { owner_references: None, ..prime("a").metadata }, ..Claim::default() };
        assert_eq!(woken(foreign(), &store(vec![claim("a", None)])).as_deref(), Some("a"));
        let filled = store(vec![claim("a", Some("pv")), foreign()]);
        assert_eq!(woken(foreign(), &filled), None);
        assert_eq!(woken(claim("a", Some("pv")), &filled), None, "it is not the filled claim's");
    }

    #[tokio::test]
    async fn of_all_claims_only_those_to_be_filled_and_their_primes_are_kept() {
        let other: Claim = object(json!({"metadata": {"name": "other"}, "spec": {"volumeName": "pv"}}));
        let events = [claim("a", None), prime("a"), other].map(|claim| Ok(Event::InitApply(claim)));
        let kept: Vec<_> = only_kept(futures::stream::iter(events)).modify(strip).try_collect().await.unwrap();
        let claims: Vec<_> = kept
            .into_iter()
            .map(|event| match event {
                Event::InitApply(claim) => claim,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(claims.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["a", "vs-prime-uid-a"]);
        assert!(
            claims[0].managed_fields().is_empty() && claims[0].annotations().is_empty() && claims[0].status.is_none()
        );
        assert!(is_unfilled(&claims[0]) && claim_of_prime(&claims[1]).is_some(), "what they are is still known");
    }

    #[tokio::test]
    async fn a_snapshot_wakes_claims_by_what_matters_to_them_and_not_by_each_others_marks() {
        let snapshot = |changes: Value| {
            let mut snapshot =
                json!({"metadata": {"name": "i", "namespace": "shop", "uid": "u"}, "spec": {"source": {}}});
            for (pointer, value) in changes.as_object().unwrap() {
                snapshot["metadata"][pointer] = value.clone();
            }
            object::<VolumeSnapshot>(snapshot)
        };
        let ready = |mut snapshot: VolumeSnapshot| {
            snapshot.status = Some(object(json!({"readyToUse": true})));
            snapshot
        };
        let marked = || snapshot(json!({"labels": {"volsync.backube/volpop-pvc-a": "a"}, "resourceVersion": "2"}));
        let kept = || snapshot(json!({"labels": {name::DO_NOT_DELETE_LABEL: "yes"}}));
        let table = [
            (Event::Init, 0),
            (Event::InitApply(snapshot(json!({}))), 1),
            (Event::InitDone, 0),
            (Event::Apply(marked()), 0),
            (Event::Apply(ready(marked())), 1),
            (Event::Apply(ready(marked())), 0),
            (Event::Apply(ready(kept())), 1),
            (Event::Apply(ready(snapshot(json!({"deletionTimestamp": "2026-11-23T10:00:00Z"})))), 1),
            (Event::Delete(ready(snapshot(json!({"deletionTimestamp": "2026-11-23T10:00:00Z"})))), 1),
            (Event::Apply(ready(snapshot(json!({"uid": "other"})))), 1),
        ];
        for end in 0..=table.len() {
            let events = table.iter().take(end).map(|(event, _)| Ok(event.clone()));
            let woken = only_news(futures::stream::iter(events), |_| ()).count().await;
            assert_eq!(woken, table.iter().take(end).map(|(_, woken)| woken).sum::<usize>(), "after {end} events");
        }
    }

    #[test]
    fn a_destination_a_class_and_a_snapshot_wake_those_that_wait_for_them() {
        let claims = store(vec![claim("a", None), claim("b", Some("pv"))]);
        let names = |found: Vec<ObjectRef<Claim>>| found.into_iter().map(|found| found.name).collect::<Vec<_>>();
        assert_eq!(names(waiting_for(&claims, "shop", "rd")), ["a"]);
        assert!(waiting_for(&claims, "bank", "rd").is_empty() && waiting_for(&claims, "shop", "x").is_empty());
        assert_eq!(names(of_class_waiting(&claims, "fast")), ["a"]);
        assert!(of_class_waiting(&claims, "slow").is_empty());
        let snapshot = |labels: Value, owner: &str| -> VolumeSnapshot {
            let owner = json!({"apiVersion": "v1", "kind": owner, "name": "rd", "uid": "u"});
            object(json!({"metadata": {"name": "i", "namespace": "shop", "labels": labels, "ownerReferences": [owner]},
                "spec": {"source": {}}}))
        };
        let marked = snapshot(json!({"volsync.backube/volpop-pvc-uid-b": "b"}), "ReplicationSource");
        assert_eq!(names(users(&claims, &marked)), ["b"], "a mark on a filled claim's image is removed");
        let published = snapshot(json!({}), "ReplicationDestination");
        assert_eq!(names(users(&claims, &published)), ["a"], "it may have become ready");
    }

    #[tokio::test]
    async fn a_snapshot_that_loses_a_mark_tells_of_it_and_wakes_those_who_waited_longest() {
        let snapshot = |marked: usize| -> VolumeSnapshot {
            let labels: serde_json::Map<_, _> =
                (0..marked).map(|n| (format!("volsync.backube/volpop-pvc-{n}"), json!("x"))).collect();
            let owner = json!({"apiVersion": "v1", "kind": "ReplicationDestination", "name": "rd", "uid": "u"});
            object(json!({"metadata": {"name": "i", "namespace": "shop", "uid": "u", "labels": labels,
                "ownerReferences": [owner]}, "spec": {"source": {}}}))
        };
        let told = std::sync::Mutex::new(Vec::new());
        let events = [1, 2, 3, 2, 2, 1].map(|marked| Ok(Event::Apply(snapshot(marked))));
        let news =
            only_news(futures::stream::iter(events), |snapshot| told.lock().unwrap().push(marks(snapshot).count()));
        assert_eq!(news.count().await, 1, "marks are no news to all");
        assert_eq!(*told.lock().unwrap(), [2, 1]);

        let made = |name: &str, time: &str| {
            let mut claim = claim(name, None);
            claim.metadata.creation_timestamp = Some(serde_json::from_value(json!(time)).unwrap());
            claim
        };
        let claims = store(vec![
            made("late", "2026-11-23T10:00:02Z"),
            made("first", "2026-11-23T10:00:00Z"),
            made("second", "2026-11-23T10:00:01Z"),
            claim("filled", Some("pv")),
        ]);
        let names =
            |marked| next_in_line(&claims, &snapshot(marked)).into_iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names(MOST_AT_A_TIME), Vec::<String>::new());
        assert_eq!(names(MOST_AT_A_TIME - 2), ["first", "second"]);
        assert_eq!(names(0), ["first", "second", "late"]);
    }
}
