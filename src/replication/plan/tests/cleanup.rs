//! Which snapshots go, and which are given up.

use super::world::{World, destination};
use super::{NOW, idle, names, now};
use crate::model::observed::Claimed;
use crate::model::replication::{Image, Publish, Trigger};
use crate::replication::plan::{Outcome, plan};

#[test]
fn cleanup_removes_the_former_image_and_keeps_the_present_one() {
    let mut wish = idle(destination(Publish::Snapshot { class: None }), NOW, None);
    wish.trigger = Trigger::Manual("x".to_owned());
    wish.image = Some(Image::Snapshot("new".to_owned()));
    let world = World::new().with_snapshot("new", Claimed::Free).with_snapshot("old", Claimed::Free);
    let plan = plan(&wish, &world.0, now());
    assert_eq!(names(&plan), ["delete VolumeSnapshot old"]);
    assert_eq!(plan.outcome, Outcome::CleaningUp);
}

#[test]
fn a_snapshot_that_somebody_else_wants_is_released_and_not_deleted() {
    let mut wish = idle(destination(Publish::Snapshot { class: None }), NOW, None);
    wish.image = Some(Image::Snapshot("new".to_owned()));
    let world = World::new()
        .with_snapshot("new", Claimed::InUse)
        .with_snapshot("populating", Claimed::InUse)
        .with_snapshot("kept", Claimed::ByUser);
    assert_eq!(
        names(&plan(&wish, &world.0, now())),
        ["release VolumeSnapshot populating", "release VolumeSnapshot kept"]
    );
}

#[test]
fn a_snapshot_that_a_claim_is_yet_to_hold_is_neither_deleted_nor_given_up() {
    let mut wish = idle(destination(Publish::Snapshot { class: None }), NOW, None);
    wish.trigger = Trigger::Manual("x".to_owned());
    wish.image = Some(Image::Snapshot("new".to_owned()));
    let world = World::new().with_snapshot("new", Claimed::Promised).with_snapshot("old", Claimed::Promised);
    let plan = plan(&wish, &world.0, now());
    assert_eq!(names(&plan), [""; 0]);
    assert!(matches!(plan.outcome, Outcome::Begin { .. }), "it stops no synchronization: {:?}", plan.outcome);
}
