//! What a synchronization costs the API server, by the operator as it runs in a cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;

use super::faults::{Fault, Listener};
use super::rest::Operator;
use super::server::Alone;
use super::world::World;

/// Of both ends of one synchronization with snapshots that is not the first. VolSync makes 80 to 97.
const REQUESTS: [(&str, usize); 11] = [
    // Secrets are not watched: one look before a copy is made, one before a mover starts.
    ("GET secrets", 3),
    // Asked for once more: that a mover is alone, and that an image is made of what was received.
    ("GET pods", 2),
    ("GET persistentvolumeclaims", 1),
    ("POST volumesnapshots", 2),
    ("POST persistentvolumeclaims", 1),
    ("POST jobs", 2),
    // It begins and copies; it moves; it has moved; it is cleaned up.
    ("PUT replicationsources/status", 4),
    // It begins and moves; it has moved; its image is ready; it is cleaned up.
    ("PUT replicationdestinations/status", 4),
    ("DELETE jobs", 2),
    ("DELETE persistentvolumeclaims", 1),
    // The source's copy, and the image before.
    ("DELETE volumesnapshots", 2),
];
const EVENTS: usize = 5;

fn is_done<K: Kind>(object: &K, tag: &str) -> bool {
    let status = object.status();
    let is_idle = status.condition.is_some_and(|condition| condition.message == "Waiting for manual trigger");
    is_idle && status.last_manual.as_deref() == Some(tag)
}

async fn until_done(world: &mut World, tag: &str) {
    let begin = Instant::now();
    loop {
        world.act().await;
        let (source, destination) =
            (world.object::<ReplicationSource>().await, world.object::<ReplicationDestination>().await);
        if is_done(&source, tag) && is_done(&destination, tag) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{:#?} {:#?}", source.status, destination.status);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// `PUT replicationsources/status`: method, resource and subresource.
fn kind(request: &str) -> Option<String> {
    let (method, path) = request.split_once(' ')?;
    let (_, path) = path.split_once("/namespaces/")?;
    let parts: Vec<_> = path.split('/').collect();
    let subresource = parts.get(3).map(|name| format!("/{name}")).unwrap_or_default();
    Some(format!("{method} {}{subresource}", parts.get(1)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronization_of_both_ends_costs_no_more_requests_than_it_must() {
    let server = Alone::up("requests");
    let mut world = World::on(server.config().await, "x").await;
    world.create_claim("data").await;
    world.create_key("key", "volsync:000102030405060708090a0b0c0d0e0f").await;
    let rsync = json!({"copyMethod": "Snapshot", "keySecret": "key", "address": "192.0.2.1"});
    let source = json!({"sourcePVC": "data", "trigger": {"manual": "one"}, "rsyncTLS": rsync});
    world.create_object::<ReplicationSource>(source).await;
    let rsync =
        json!({"copyMethod": "Snapshot", "keySecret": "key", "capacity": "1Gi", "accessModes": ["ReadWriteOnce"]});
    world.create_object::<ReplicationDestination>(json!({"trigger": {"manual": "one"}, "rsyncTLS": rsync})).await;
    let listener = Listener::default();
    let operator = Operator::start(listener.client(server.config().await));
    until_done(&mut world, "one").await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let before = listener.heard().len();
    world.set_manual::<ReplicationSource>("two").await;
    world.set_manual::<ReplicationDestination>("two").await;
    until_done(&mut world, "two").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let heard = listener.heard().split_off(before);
    operator.end().await;

    let mut counts = BTreeMap::<String, usize>::new();
    for request in &heard {
        *counts.entry(kind(request).unwrap()).or_default() += 1;
    }
    // One of the same reason as before is counted on.
    let events: usize = ["POST events", "PATCH events"].iter().filter_map(|kind| counts.remove(*kind)).sum();
    let expected: BTreeMap<_, _> = REQUESTS.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
    assert_eq!((counts, events), (expected, EVENTS), "{heard:#?}");
}
