//! An API server that is there and says nothing, or stops in the middle: nobody waits for it for ever.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::{Client, Config, ResourceExt};
use serde_json::json;
use tokio::time::timeout;

use doppel::api::source::ReplicationSource;
use doppel::operator::client::{Patience, builder};
use doppel::replication::interpret::Kind;
use doppel::telemetry::metrics::Metrics;

use super::faults::{Deaf, Faulty};
use super::world::World;

const PATIENCE: Duration = Duration::from_millis(500);
/// What goes on for so long is not given up any more.
const FOR_EVER: Duration = Duration::from_secs(30);

/// Says these one after the other to whoever asks, each after a pause that is longer than anybody's patience, and keeps quiet then.
fn server(said: &'static [&'static str]) -> Api<ConfigMap> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let connections: Vec<_> = listener.incoming().map(|connection| say(connection.unwrap(), said)).collect();
        drop(connections);
    });
    let config = Config::new(format!("http://{address}").parse().unwrap());
    let client = builder(config).unwrap().with_layer(&Patience::of(PATIENCE)).build();
    Api::namespaced(client, "shop")
}

fn say(connection: TcpStream, said: &'static [&'static str]) -> std::thread::JoinHandle<TcpStream> {
    std::thread::spawn(move || {
        let mut asked = BufReader::new(connection.try_clone().unwrap()).lines();
        while asked.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        for (number, part) in said.iter().enumerate() {
            std::thread::sleep(if number == 0 { Duration::ZERO } else { PATIENCE * 2 });
            let _ = (&connection).write_all(part.as_bytes());
        }
        connection
    })
}

async fn complaint(api: &Api<ConfigMap>) -> String {
    timeout(FOR_EVER, api.get("x")).await.expect("it is still waited for").unwrap_err().to_string()
}

#[tokio::test]
async fn what_is_not_answered_is_given_up_and_named() {
    let told = complaint(&server(&[])).await;
    assert!(told.contains("did not answer within 500ms: GET /api/v1/namespaces/shop/configmaps/x"), "{told}");
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_given_up_too() {
    const BEGIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"kind\": ";
    let told = complaint(&server(&[BEGIN])).await;
    assert!(told.contains("did not answer within 500ms"), "{told}");
}

#[tokio::test]
async fn a_watch_may_be_silent_for_longer() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    const EVENT: &str = "5c\r\n{\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"late\"}}}\n\r\n";
    let api = server(&[HEAD, EVENT]);
    let begin = Instant::now();
    let mut events = Box::pin(api.watch(&WatchParams::default(), "0").await.unwrap());
    let Some(Ok(WatchEvent::Added(late))) = timeout(FOR_EVER, events.next()).await.unwrap() else { panic!() };
    assert_eq!(late.name_any(), "late");
    assert!(begin.elapsed() > PATIENCE, "it was late");
}

#[tokio::test]
async fn a_watch_that_does_not_begin_is_given_up() {
    let api = server(&[]);
    let began = timeout(FOR_EVER, api.watch(&WatchParams::default(), "0")).await.expect("it is still waited for");
    assert!(began.err().unwrap().to_string().contains("did not answer within 500ms"));
}

/// On the real API server.
#[tokio::test(flavor = "multi_thread")]
async fn a_synchronization_goes_through_although_some_requests_are_never_answered() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    world
        .create_object::<ReplicationSource>(json!({"sourcePVC": "data", "trigger": {"manual": "one"},
            "rsyncTLS": {"copyMethod": "Snapshot", "address": "192.0.2.1"}}))
        .await;
    let deaf = Deaf::to_one_in(17);
    let client: Client = builder(world.config.clone())
        .unwrap()
        .with_layer(&Faulty(deaf.clone()))
        .with_layer(&Patience::of(PATIENCE * 4))
        .build();
    let operator = world.operator_over(client, Metrics::default());
    let is_done = |object: &ReplicationSource| object.status().last_manual.as_deref() == Some("one");
    timeout(FOR_EVER * 4, world.until(&operator, is_done)).await.expect("a pass does not end");
    assert!(deaf.asked() > 34, "only {} requests: the test would prove little", deaf.asked());
}
