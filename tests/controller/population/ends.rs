//! Crashes behind every write, deletions in any order, and writes of others at the same moment.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use doppel::resources::snapshot::VolumeSnapshot;

use super::stage::{ENOUGH, Stage, WRITES, delete, fill, is_bound, is_filled};
use crate::controller::faults::{Fault, Meddler, Mortal};

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_filled_once_also_by_who_crashes_after_every_write() {
    let immortal = Mortal::immortal();
    fill(&immortal, &async |_: &Stage| {}).await.assert_filled_from("image-1").await;
    assert_eq!(immortal.writes(), WRITES);
    for last in 0..WRITES {
        let fate = Mortal::after(last);
        let stage = fill(&fate, &async |_: &Stage| {}).await;
        assert!(fate.is_dead(), "it was to die after write {last}");
        stage.assert_filled_from("image-1").await;
        assert_eq!(stage.snapshot_names().await, ["image-1"], "after a crash behind write {last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_crashed_finds_a_newer_image_and_leaves_nothing_of_either() {
    for last in 0..WRITES {
        let newer = async |stage: &Stage| {
            stage.with_image("image-2").await;
            // The former image is of no more use to its ReplicationDestination.
            stage.disown("image-1").await;
            stage.storage().act().await;
        };
        let stage = fill(&Mortal::after(last), &newer).await;
        let held = stage.storage().volumes().await[0].spec.clone().unwrap().csi.unwrap().volume_handle;
        stage.assert_filled_from(&held).await;
        assert_eq!(stage.snapshot_names().await, ["image-2"], "after a crash behind write {last}, filled from {held}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_deleted_in_the_middle_in_whatever_order_nothing_is_left_over() {
    let orders: [&[&str]; 5] =
        [&["claim"], &["destination"], &["snapshot"], &["claim", "destination"], &["destination", "claim"]];
    for order in orders {
        // From the mark to the prime's end.
        for last in 2..WRITES {
            let disturb = async |stage: &Stage| {
                for what in order {
                    if *what == "snapshot" && stage.snapshot_names().await.is_empty() {
                        continue;
                    }
                    delete(stage, what).await;
                    stage.storage().act().await;
                }
                if *order == ["snapshot"] {
                    stage.with_image("image-2").await;
                }
            };
            let stage = fill(&Mortal::after(last), &disturb).await;
            let place = format!("{order:?} after write {last}");
            if order.contains(&"claim") {
                assert!(stage.storage().claims().await.is_empty(), "{place}");
                assert!(stage.storage().volumes().await.is_empty(), "{place}");
            } else {
                assert!(is_filled(&stage).await, "{place}: {:?}", stage.note().await);
                stage.assert_nothing_held().await;
            }
            if order.contains(&"destination") {
                assert!(stage.snapshot_names().await.is_empty(), "{place}: {:?}", stage.snapshot_names().await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_a_user_keeps_survives_whatever_was_filled_from_it() {
    for delete_claim in [false, true] {
        let stage = Stage::new(&Mortal::immortal()).await;
        stage.claim(&json!({})).await;
        stage.with_image("image-1").await;
        stage.pass().await;
        stage.pass().await;
        let keep = json!({"metadata": {"labels": {"volsync.backube/do-not-delete": "yes"}}});
        let api = stage.world.api::<VolumeSnapshot>();
        api.patch("image-1", &PatchParams::default(), &Patch::Merge(keep)).await.unwrap();
        stage.pass().await;
        stage.disown("image-1").await;
        if delete_claim {
            delete(&stage, "claim").await;
            stage.storage().act().await;
        } else {
            stage.turns(ENOUGH).await;
            stage.assert_filled_from("image-1").await;
        }
        assert_eq!(stage.snapshot_names().await, ["image-1"]);
        let kept = api.get("image-1").await.unwrap();
        assert!(kept.owner_references().is_empty(), "{kept:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_claims_filled_from_one_image_do_not_take_it_from_each_other() {
    let stage = Stage::new(&Mortal::immortal()).await;
    stage.claim(&json!({})).await;
    stage.with_image("image-1").await;
    let other = Stage { world: stage.world.clone(), claim: "other".to_owned(), operator: stage.operator.clone() };
    other.claim(&json!({})).await;
    other.pass().await;
    stage.pass().await;
    stage.pass().await;
    other.pass().await;
    stage.disown("image-1").await;
    stage.turns(ENOUGH).await;
    assert!(is_bound(&stage).await);
    assert_eq!(stage.snapshot_names().await, ["image-1"], "the other one's prime holds it");
    other.turns(ENOUGH).await;
    assert!(is_bound(&stage).await && is_bound(&other).await);
    assert!(stage.snapshot_names().await.is_empty(), "nobody wants it any more");
    assert_eq!(stage.storage().claims().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_others_at_the_same_moment_are_not_lost_and_not_overwritten() {
    let mut stage = Stage::new(&Mortal::immortal()).await;
    let meddler = Meddler::new(stage.world.client.clone());
    stage.operator = stage.world.populator_with(meddler.client(stage.world.config.clone()));
    stage.claim(&json!({})).await;
    stage.with_image("image-1").await;
    stage.turns(3 * ENOUGH).await;
    stage.assert_filled_from("image-1").await;
    assert!(meddler.conflicts() >= 4, "only {} conflicts: the test would prove little", meddler.conflicts());
    let image = stage.world.api::<VolumeSnapshot>().get("image-1").await.unwrap();
    assert!(image.annotations().contains_key("meddled"), "what others wrote is there");
}
