//! What the operator measures of real objects: from the first pass on, refused ones too, and no longer than they last.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use serde_json::json;

use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;
use doppel::replication::reconcile;
use doppel::telemetry::metrics::Metrics;

use super::faults::Mortal;
use super::world::World;

/// The series of a world's objects, without their labels: `doppel_ready 1`.
fn series(metrics: &Metrics, world: &World) -> Vec<String> {
    let of_world = format!(r#"obj_namespace="{}""#, world.namespace);
    let text = metrics.render();
    let lines = text.lines().filter(|line| line.contains(&of_world));
    lines.filter_map(|line| Some(format!("{} {}", line.split_once('{')?.0, line.rsplit_once(' ')?.1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_operator_knows_how_an_object_stands_and_forgets_it_when_it_is_deleted() {
    let mut world = World::new().await;
    world.create_claim("data").await;
    let spec = json!({"sourcePVC": "data", "trigger": {"schedule": "@yearly"},
        "rsyncTLS": {"copyMethod": "Direct", "address": "192.0.2.1"}});
    world.create_object::<ReplicationSource>(spec).await;
    let first = world.operator(&Mortal::immortal());
    world.until(&first, |object: &ReplicationSource| object.status().next_sync.is_some()).await;

    let metrics = Metrics::default();
    let second = world.operator_with(&Mortal::immortal(), metrics.clone());
    let object = Arc::new(world.object::<ReplicationSource>().await);
    reconcile(object.clone(), second.clone()).await.unwrap();
    let known = series(&metrics, &world);
    for expected in ["doppel_ready 1", "doppel_stalled 0", "doppel_consecutive_failures 0"] {
        assert!(known.contains(&expected.to_owned()), "{expected} is not in {known:?}");
    }
    for name in ["last_success", "next_due", "deadline"] {
        assert!(known.iter().any(|line| line.starts_with(&format!("doppel_{name}_timestamp_seconds "))), "{known:?}");
    }

    world.delete::<ReplicationSource>("x").await;
    reconcile(object, second).await.unwrap();
    assert_eq!(series(&metrics, &world), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_carried_out_is_measured_and_one_that_is_given_away_is_not() {
    let world = World::new().await;
    world.create_object::<ReplicationSource>(json!({"sourcePVC": "data"})).await;
    let metrics = Metrics::default();
    let operator = world.operator_with(&Mortal::immortal(), metrics.clone());
    let object = Arc::new(world.object::<ReplicationSource>().await);
    reconcile(object.clone(), operator.clone()).await.unwrap();
    let refused = series(&metrics, &world);
    for expected in ["doppel_ready 0", "doppel_stalled 1"] {
        assert!(refused.contains(&expected.to_owned()), "{expected} is not in {refused:?}");
    }
    let external = json!({"spec": {"external": {"provider": "example.com/other"}}});
    let api = world.api::<ReplicationSource>();
    api.patch("x", &PatchParams::default(), &Patch::Merge(external)).await.unwrap();
    reconcile(object, operator).await.unwrap();
    assert_eq!(series(&metrics, &world), Vec::<String>::new());
}
