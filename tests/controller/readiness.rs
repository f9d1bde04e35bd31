//! `Ready` on the real API server: what tools that know kstatus wait for, and that it costs no writes of its own.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;
use doppel::replication::{Context, reconcile};

use super::faults::Mortal;
use super::world::World;

const JOB: &str = "volsync-rsync-tls-src-x";
const FAILED: &str = r#"{"verdict":{"result":"failed","fault":"network","retry":"later","message":"no route to host"},"tally":{},"elapsedMs":5}"#;
pub(super) const INCOMPLETE: &str = r#"{"verdict":{"result":"incomplete","count":7,"first":[{"path":"a","why":"b"}]},"tally":{"entries":3},"elapsedMs":5}"#;

fn source() -> Value {
    json!({"sourcePVC": "data", "trigger": {"manual": "one"},
        "rsyncTLS": {"copyMethod": "Direct", "address": "192.0.2.1"}})
}

async fn world() -> World {
    let world = World::new().await;
    world.create_claim("data").await;
    world.create_object::<ReplicationSource>(source()).await;
    world
}

/// The object's status as any other program reads it.
async fn status(world: &World) -> Value {
    serde_json::to_value(world.object::<ReplicationSource>().await.status).unwrap()
}

/// Status and reason of a condition, if there is one of this type.
fn condition(status: &Value, kind: &str) -> Option<(String, String)> {
    let found = status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    Some((text("status"), text("reason")))
}

fn is(status: &str, reason: &str) -> Option<(String, String)> {
    Some((status.to_owned(), reason.to_owned()))
}

async fn pass(world: &World, operator: &Arc<Context>) {
    let object = Arc::new(world.object::<ReplicationSource>().await);
    reconcile(object, operator.clone()).await.unwrap();
}

/// Passes until there is a Job of which no pod was made yet, and ends its mover like this.
pub(super) async fn end_mover(world: &mut World, operator: &Arc<Context>, code: i32, message: &str) {
    for _ in 0..10 {
        pass(world, operator).await;
        let Some(job) = world.api::<Job>().get_opt(JOB).await.unwrap() else { continue };
        if job.metadata.deletion_timestamp.is_some() {
            world.drop_job_finalizers(JOB).await;
        } else if world.jobs.insert(job.uid().unwrap()) {
            world.finish_pod(&job.uid().unwrap(), code, message).await;
            return pass(world, operator).await;
        }
    }
    panic!("no mover was started: {:#}", status(world).await);
}

/// Lets the pause after a failed attempt last until then. Without this it is over at once: the world's movers end long ago.
async fn pause_until(world: &World, time: &str) {
    let pause = json!({"status": {"currentSync": {"nextAttemptTime": time}}});
    let api = world.api::<ReplicationSource>();
    api.patch_status("x", &PatchParams::default(), &Patch::Merge(pause)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_becomes_ready_with_its_first_copy_and_again_with_each_that_is_asked_for() {
    let mut world = world().await;
    let operator = world.operator(&Mortal::immortal());
    pass(&world, &operator).await;
    let begun = status(&world).await;
    assert_eq!(condition(&begun, "Ready"), is("False", "WaitingForMover"));
    assert_eq!(condition(&begun, "Reconciling"), is("True", "WaitingForMover"));
    let done =
        |tag: &'static str| move |object: &ReplicationSource| object.status().last_manual.as_deref() == Some(tag);
    world.until(&operator, done("one")).await;
    world.turn::<ReplicationSource>(&operator).await;
    world.turn::<ReplicationSource>(&operator).await;
    let first = status(&world).await;
    assert_eq!(condition(&first, "Ready"), is("True", "WaitingForManual"));
    assert_eq!((condition(&first, "Reconciling"), condition(&first, "Stalled")), (None, None));
    let generation = |status: &Value| status["observedGeneration"].as_i64().unwrap();

    world.set_manual::<ReplicationSource>("two").await;
    world.turn::<ReplicationSource>(&operator).await;
    let second = status(&world).await;
    assert_eq!(condition(&second, "Ready"), is("False", "WaitingForMover"), "the copy that is asked for is not there");
    assert_eq!(generation(&second), generation(&first) + 1);
    let ready = second["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Ready").unwrap();
    assert_eq!(ready["observedGeneration"], second["observedGeneration"], "kubectl wait reads this one");
    world.until(&operator, done("two")).await;
    assert_eq!(condition(&status(&world).await, "Ready"), is("True", "CleaningUp"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_with_whose_fault_they_are_until_a_success() {
    let mut world = world().await;
    let operator = world.operator(&Mortal::immortal());
    end_mover(&mut world, &operator, 4, FAILED).await;
    let first = status(&world).await;
    assert_eq!(condition(&first, "Reconciling"), is("True", "AttemptFailed"));
    let failure = &first["currentSync"]["lastFailure"];
    assert_eq!((&failure["fault"], &failure["message"]), (&json!("Network"), &json!("no route to host")));
    assert_eq!(first["currentSync"]["failedAttempts"], 1);
    assert!(first["currentSync"]["nextAttemptTime"].is_string());
    pause_until(&world, "2100-01-01T00:00:00Z").await;
    pass(&world, &operator).await;
    let pausing = status(&world).await;
    assert_eq!(condition(&pausing, "Reconciling"), is("True", "AttemptFailed"));
    pass(&world, &operator).await;
    assert_eq!(status(&world).await, pausing, "the pause writes nothing");

    pause_until(&world, "2026-11-23T10:00:00Z").await;
    for (attempts, message) in [(2, FAILED), (3, INCOMPLETE)] {
        end_mover(&mut world, &operator, 3, message).await;
        assert_eq!(status(&world).await["currentSync"]["failedAttempts"], attempts);
    }
    let third = status(&world).await;
    assert_eq!(condition(&third, "Ready"), is("False", "Incomplete"));
    assert_eq!(condition(&third, "Stalled"), is("True", "Incomplete"));
    assert_eq!(condition(&third, "Reconciling"), None);
    assert_eq!(third["currentSync"]["lastFailure"]["leftOut"], 7);

    let object = world.until(&operator, |object: &ReplicationSource| object.status().last_sync.is_some()).await;
    assert_eq!(object.status().current, None, "a success ends the row of failures");
    assert_eq!(condition(&status(&world).await, "Stalled"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_be_carried_out_is_stalled_until_it_is_corrected() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    world.create_object::<ReplicationSource>(json!({"sourcePVC": "data"})).await;
    let operator = world.operator(&Mortal::immortal());
    pass(&world, &operator).await;
    let refused = status(&world).await;
    assert_eq!(condition(&refused, "Stalled"), is("True", "SpecInvalid"));
    assert_eq!(condition(&refused, "Synchronizing"), is("False", "Error"));
    let patch = json!({"spec": source()});
    let api = world.api::<ReplicationSource>();
    api.patch("x", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    world.until(&operator, |object: &ReplicationSource| object.status().last_manual.is_some()).await;
    assert_eq!(condition(&status(&world).await, "Stalled"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_calls_invalid_is_for_the_user_to_change() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    let mut spec = source();
    spec["rsyncTLS"]["moverPodLabels"] = json!({"app": "not a label"});
    world.create_object::<ReplicationSource>(spec).await;
    let operator = world.operator(&Mortal::immortal());
    let told = async |world: &World| {
        for _ in 0..5 {
            pass(world, &operator).await;
        }
        status(world).await
    };
    let refused = told(&world).await;
    assert_eq!(condition(&refused, "Stalled"), is("True", "SpecInvalid"));
    let ready =
        refused["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Ready").unwrap();
    let message = ready["message"].as_str().unwrap();
    assert!(message.contains("not a label") && message.contains("change it in the spec"), "{message}");
    let patch = json!({"spec": {"rsyncTLS": {"moverPodLabels": null}}});
    world.api::<ReplicationSource>().patch("x", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    world.until(&operator, |object: &ReplicationSource| object.status().last_manual.is_some()).await;
    assert_eq!(condition(&status(&world).await, "Stalled"), None);
}

/// What waits longest must cost nothing: neither an idle object nor one that waits is written again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_nothing_happens() {
    let mut world = World::new().await;
    world.create_object::<ReplicationSource>(source()).await;
    let fate = Mortal::immortal();
    let operator = world.operator(&fate);
    for _ in 0..3 {
        pass(&world, &operator).await;
    }
    assert_eq!(condition(&status(&world).await, "Reconciling"), is("True", "ClaimMissing"));
    let waiting = fate.writes();
    pass(&world, &operator).await;
    assert_eq!(fate.writes(), waiting, "it waits for its claim");

    world.create_claim("data").await;
    world.until(&operator, |object: &ReplicationSource| object.status().last_manual.is_some()).await;
    for _ in 0..3 {
        world.turn::<ReplicationSource>(&operator).await;
    }
    let idle = fate.writes();
    pass(&world, &operator).await;
    assert_eq!(fate.writes(), idle, "it is idle");
}
