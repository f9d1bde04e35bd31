//! A VolSync beside the operator, as its Lease tells.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::timeout;

use doppel::telemetry::volsync::VolSync;

use super::world::World;

const LEASE: &str = "b95b3104.backube";

async fn held_by(world: &World, holder: &str) {
    let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 137,
        "renewTime": format!("{:.6}", Timestamp::now())});
    let patch =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE}, "spec": spec});
    let apply = PatchParams::apply("volsync").force();
    world.api::<Lease>().patch(LEASE, &apply, &Patch::Apply(patch)).await.unwrap();
}

#[tokio::test]
async fn an_operator_waits_until_volsync_has_ended_and_notices_when_it_is_back() {
    let world = World::new().await;
    let mut volsync = VolSync::new(world.client.clone());
    timeout(Duration::from_secs(10), volsync.gone()).await.unwrap().unwrap();

    held_by(&world, "volsync-0_1").await;
    let waiting = timeout(Duration::from_secs(5), volsync.gone()).await;
    assert!(waiting.is_err(), "did not wait for VolSync");
    // As it does when it ends.
    held_by(&world, "").await;
    timeout(Duration::from_secs(10), volsync.gone()).await.unwrap().unwrap();

    held_by(&world, "volsync-0_2").await;
    let found = timeout(Duration::from_secs(10), volsync.comes()).await.unwrap().unwrap();
    assert_eq!((found.namespace, found.holder), (world.namespace.clone(), "volsync-0_2".to_owned()));
    world.delete::<Lease>(LEASE).await;
}
