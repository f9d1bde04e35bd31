//! How far a mover is, from what it says at its port to the status, on the real API server. The mover is a listener of the test.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::{Value, json};

use doppel::api::source::ReplicationSource;
use doppel::replication::{Context, reconcile};

use super::faults::Mortal;
use super::world::{COMPLETE, World};

const JOB: &str = "volsync-rsync-tls-src-x";

/// A mover on an address of its own, that says one thousand bytes more each time it is asked.
fn mover(address: &str) -> Arc<AtomicU64> {
    let listener = TcpListener::bind((address, 8001)).unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let times = counted.fetch_add(1, Ordering::SeqCst) + 1;
            let said = json!({"phase": "transferring", "entries": times, "entriesTotal": 100, "bytes": times * 1000,
                "bytesTotal": 100_000, "elapsedMs": times * 500});
            let _ = writeln!(connection.unwrap(), "{said}");
        }
    });
    asked
}

async fn status(world: &World) -> Value {
    serde_json::to_value(world.object::<ReplicationSource>().await.status).unwrap()
}

async fn pass(world: &World, operator: &Arc<Context>) {
    let object = Arc::new(world.object::<ReplicationSource>().await);
    reconcile(object, operator.clone()).await.unwrap();
}

/// A source with a mover that runs at this address.
async fn running(address: &str) -> (World, Arc<Context>, String) {
    let world = World::new().await;
    world.create_claim("data").await;
    world
        .create_object::<ReplicationSource>(json!({"sourcePVC": "data", "trigger": {"manual": "one"},
            "rsyncTLS": {"copyMethod": "Direct", "address": "192.0.2.1"}}))
        .await;
    let operator = world.operator(&Mortal::immortal());
    let job = loop {
        pass(&world, &operator).await;
        if let Some(job) = world.api::<Job>().get_opt(JOB).await.unwrap() {
            break job.uid().unwrap();
        }
    };
    world.start_pod(&job).await;
    world.address_pod(&job, address).await;
    pass(&world, &operator).await;
    (world, operator, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_mover_is_stands_in_the_status_while_it_runs() {
    let asked = mover("127.0.8.1");
    let (mut world, operator, job) = running("127.0.8.1").await;
    assert_eq!(
        status(&world).await["currentSync"]["progress"],
        Value::Null,
        "one that has only just begun is not asked"
    );
    let asking = operator.clone();
    let asking = tokio::spawn(async move { asking.ask_movers().await });
    let told = async |times: u64| {
        while asked.load(Ordering::SeqCst) < times {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for _ in 0..100 {
            pass(&world, &operator).await;
            let told = status(&world).await["currentSync"]["progress"].clone();
            if told["entries"] == times {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not in the status: {:#}", status(&world).await);
    };
    let first = told(1).await;
    assert_eq!(
        (&first["phase"], &first["bytes"], &first["bytesTotal"]),
        (&json!("Transferring"), &json!(1000), &json!(100_000))
    );
    assert_eq!((&first["bytesPerSecond"], &first["entriesTotal"]), (&Value::Null, &json!(100)));
    let second = told(2).await;
    assert_eq!((&second["bytesPerSecond"], &second["remainingSeconds"]), (&json!(2000), &json!(49)));

    // Another operator does not know it, and does not take it away.
    let successor = world.operator(&Mortal::immortal());
    pass(&world, &successor).await;
    assert_eq!(status(&world).await["currentSync"]["progress"], second);

    world.delete::<k8s_openapi::api::core::v1::Pod>(&format!("pod-{job}")).await;
    world.finish_pod(&job, 0, COMPLETE).await;
    world.jobs.insert(job);
    let is_done = |object: &ReplicationSource| {
        object.status.as_ref().is_some_and(|status| status.sync.last_manual_sync.as_deref() == Some("one"))
    };
    world.until(&operator, is_done).await;
    assert_eq!(status(&world).await["currentSync"], Value::Null);
    asking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mover_that_cannot_be_asked_or_says_nonsense_is_a_mover_without_progress() {
    let nonsense = TcpListener::bind(("127.0.8.2", 8001)).unwrap();
    let (world, operator, _) = running("127.0.8.2").await;
    let asking = operator.clone();
    let asking = tokio::spawn(async move { asking.ask_movers().await });
    let answered = tokio::task::spawn_blocking(move || {
        let (mut connection, _) = nonsense.accept().unwrap();
        // Far more than a line: it must not be read to its end.
        while connection.write_all(&[b'9'; 4096]).is_ok() {}
    });
    answered.await.unwrap();
    pass(&world, &operator).await;
    let told = status(&world).await;
    assert_eq!(
        (&told["currentSync"]["progress"], &told["conditions"][0]["reason"]),
        (&Value::Null, &json!("SyncInProgress"))
    );
    asking.abort();
}
