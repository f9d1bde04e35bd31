//! Images that synchronizations publish while claims are filled from them, and who is told that they can be.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::model::replication::Image;
use doppel::population::offer;
use doppel::replication::interpret::Kind;
use doppel::resources::populator;
use doppel::resources::snapshot::VolumeSnapshot;

use super::stage::{ENOUGH, Stage, is_bound};
use crate::controller::faults::Mortal;
use crate::controller::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_told_that_destinations_fill_claims_once_it_can_be_told() {
    let world = World::new().await;
    let definitions = Api::<CustomResourceDefinition>::all(world.client.clone());
    let populators = Api::<DynamicObject>::all_with(world.client.clone(), &populator::resource());
    assert!(definitions.get_opt(populator::CRD).await.unwrap().is_none(), "left over by another test");
    let selected = ListParams::default().fields(offer::definition().field_selector.as_deref().unwrap());
    assert!(definitions.list(&selected).await.unwrap().items.is_empty());
    let crd: CustomResourceDefinition = serde_json::from_value(populator_definition()).unwrap();
    let unestablished = definitions.create(&PostParams::default(), &crd).await.unwrap();
    let client = Arc::new(world.client.clone());
    let action = offer::reconcile(Arc::new(unestablished), client.clone()).await.unwrap();
    assert_eq!(action, Action::await_change(), "its being established is a change");
    let object = loop {
        let found = definitions.list(&selected).await.unwrap().items;
        offer::reconcile(Arc::new(found[0].clone()), client.clone()).await.unwrap();
        if let Ok(object) = populators.get("volsync-replicationdestination").await {
            break object;
        }
    };
    let expected = json!({"group": "volsync.backube", "kind": "ReplicationDestination"});
    assert_eq!(object.data["sourceKind"], expected);
    assert_eq!(object.labels()["app.kubernetes.io/created-by"], "volsync");
    definitions.delete(populator::CRD, &Default::default()).await.unwrap();
}

/// As volume-data-source-validator installs it, without its descriptions.
fn populator_definition() -> Value {
    let kind = json!({"type": "object", "required": ["group", "kind"],
        "properties": {"group": {"type": "string"}, "kind": {"type": "string"}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": populator::CRD,
            "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/2934"}},
        "spec": {"group": "populator.storage.k8s.io", "scope": "Cluster",
            "names": {"kind": "VolumePopulator", "plural": "volumepopulators", "singular": "volumepopulator",
                "listKind": "VolumePopulatorList"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "required": ["sourceKind"], "properties": {"apiVersion": {"type": "string"},
                    "kind": {"type": "string"}, "metadata": {"type": "object"}, "sourceKind": kind}}}}]}})
}

async fn synchronize(stage: &mut Stage, manual: &str) -> String {
    let operator = stage.world.operator(&Mortal::immortal());
    if stage.world.api::<ReplicationDestination>().get_opt("rd").await.unwrap().is_none() {
        let spec = json!({"trigger": {"manual": manual}, "rsyncTLS": {"copyMethod": "Snapshot", "capacity": "1Gi",
            "accessModes": ["ReadWriteOnce"]}});
        stage.world.create_object::<ReplicationDestination>(spec).await;
    }
    stage.world.set_manual::<ReplicationDestination>(manual).await;
    let is_idle = |object: &ReplicationDestination| {
        let status = object.status();
        status.last_manual.as_deref() == Some(manual)
            && status.condition.is_some_and(|condition| condition.message == "Waiting for manual trigger")
    };
    match stage.world.until(&operator, is_idle).await.status().image {
        Some(Image::Snapshot(name)) => name,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_a_claim_is_filled_from_outlives_the_next_and_goes_when_it_is_filled() {
    let mut stage = Stage::new(&Mortal::immortal()).await;
    let first = synchronize(&mut stage, "one").await;
    stage.claim(&json!({})).await;
    stage.pass().await;
    stage.pass().await;
    let second = synchronize(&mut stage, "two").await;
    let names = stage.snapshot_names().await;
    assert!(names.contains(&first) && names.contains(&second), "{names:?}");
    stage.turns(ENOUGH).await;
    assert_eq!(stage.storage().volumes().await[0].spec.clone().unwrap().csi.unwrap().volume_handle, first);
    assert_eq!(stage.snapshot_names().await, [second]);
    stage.assert_nothing_held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_of_a_claim_that_is_gone_keeps_no_image_and_that_of_one_that_waits_does() {
    for is_gone in [true, false] {
        let mut stage = Stage::new(&Mortal::immortal()).await;
        let first = synchronize(&mut stage, "one").await;
        let uid = stage.claim(&json!({})).await.uid().unwrap();
        // As VolSync leaves it when it dies before it has made a prime.
        let mark = json!({"metadata": {"labels": {format!("volsync.backube/volpop-pvc-{uid}"): "data"}}});
        let api = stage.world.api::<VolumeSnapshot>();
        api.patch(&first, &PatchParams::default(), &Patch::Merge(mark)).await.unwrap();
        if is_gone {
            stage.world.delete::<PersistentVolumeClaim>("data").await;
            stage.storage().act().await;
        }
        let second = synchronize(&mut stage, "two").await;
        let names = stage.snapshot_names().await;
        assert_eq!(names.contains(&first), !is_gone, "{names:?}");
        if !is_gone {
            let owners = api.get(&first).await.unwrap().owner_references().len();
            assert_eq!(owners, 1, "without its ReplicationDestination nobody would delete it");
            stage.turns(ENOUGH).await;
            synchronize(&mut stage, "three").await;
            let names = stage.snapshot_names().await;
            assert!(!names.contains(&first) && !names.contains(&second), "{names:?}");
        }
        stage.assert_nothing_held().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_claims_filled_from_one_image_at_a_time_do_not_stand_in_each_others_way() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.with_image("image-1").await;
    let claims: Vec<Stage> = (0..50)
        .map(|n| Stage { world: stage.world.clone(), claim: format!("c{n}"), operator: stage.operator.clone() })
        .collect();
    for claim in &claims {
        claim.claim(&json!({})).await;
    }
    // Prime made; held and handed over; finished.
    for _ in 0..3 {
        let passes = claims.iter().map(Stage::pass);
        for action in futures::future::join_all(passes).await {
            assert_ne!(action, Action::requeue(Duration::from_millis(250)), "a pass was not finished");
        }
        stage.storage().act().await;
        stage.storage().act().await;
    }
    assert_eq!(stage.storage().claims().await.len(), claims.len(), "no prime is left");
    for claim in &claims {
        assert!(is_bound(claim).await, "{}", claim.claim);
    }
    assert_eq!(stage.snapshot_names().await, ["image-1"]);
    stage.assert_nothing_held().await;
}
