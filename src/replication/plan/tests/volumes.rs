//! Sizes, modes and lifetimes of volumes; waits that are too long.

use jiff::SignedDuration;

use super::world::{self, BEGAN, World, at, destination, iteration, source};
use super::{idle, names, now, running};
use crate::model::observed::{Claimed, MoverState, Ownership, Snapshot};
use crate::model::reason::Reason;
use crate::model::replication::{
    Beginner, CopyShape, Direction, Image, Iteration, Lifetime, Phase, Publish, Replication, SourceCopy, Target,
    Trigger,
};
use crate::model::step::{NewClaim, Step};
use crate::replication::plan::{Late, Outcome, Plan, Wait, plan};

const NOW: &str = "2026-11-23T10:00:30Z";

fn snapshots(shape: CopyShape) -> Replication {
    running(source(SourceCopy::Snapshot { class: None, shape }))
}

#[track_caller]
fn created(plan: &Plan) -> &NewClaim {
    plan.steps
        .iter()
        .find_map(|step| if let Step::CreateClaim(new) = step { Some(new) } else { None })
        .unwrap_or_else(|| panic!("{plan:?}"))
}

#[test]
fn a_copy_is_as_large_as_the_first_of_what_is_known() {
    let size = |size: &str| Some(size.to_owned()).filter(|size| !size.is_empty());
    // capacity in the spec, restoreSize, status.capacity, request: which one it is.
    let of_snapshot = [
        (("9Gi", "3Gi", "2Gi", "1Gi"), "9Gi"),
        (("", "3Gi", "2Gi", "1Gi"), "3Gi"),
        (("", "0", "2Gi", "1Gi"), "2Gi"),
        (("", "", "2Gi", "1Gi"), "2Gi"),
        (("", "", "", "1Gi"), "1Gi"),
    ];
    for ((capacity, restore, status, request), expected) in of_snapshot {
        let wish = snapshots(CopyShape { capacity: size(capacity), ..CopyShape::default() });
        let mut world = World::new().with_surroundings(&wish).with_copy_snapshot(true);
        world.0.copy_snapshot.as_mut().unwrap().restore_size = size(restore);
        let claim = world.0.claim.as_mut().unwrap();
        (claim.capacity, claim.request) = (size(status), size(request));
        assert_eq!(created(&plan(&wish, &world.0, now())).capacity, expected);
    }
    for ((capacity, status, request), expected) in
        [(("9Gi", "2Gi", "1Gi"), "9Gi"), (("", "2Gi", "1Gi"), "2Gi"), (("", "", "1Gi"), "1Gi")]
    {
        let shape = CopyShape { capacity: size(capacity), ..CopyShape::default() };
        let wish = running(source(SourceCopy::Clone(shape)));
        let mut world = World::new().with_surroundings(&wish);
        let claim = world.0.claim.as_mut().unwrap();
        (claim.capacity, claim.request) = (size(status), size(request));
        assert_eq!(created(&plan(&wish, &world.0, now())).capacity, expected);
    }
}

#[test]
fn a_capacity_that_cannot_hold_the_copy_is_refused_with_its_field() {
    let shape = CopyShape { capacity: Some("1Gi".to_owned()), ..CopyShape::default() };
    let copied = snapshots(shape.clone());
    let cloned = running(source(SourceCopy::Clone(shape)));
    for (wish, needed) in [(copied, "3Gi"), (cloned, "2Gi")] {
        let plan = plan(&wish, &World::new().with_surroundings(&wish).with_copy_snapshot(true).0, now());
        let Outcome::Blocked(reason @ Reason::FieldInvalid { .. }) = &plan.outcome else { panic!("{plan:?}") };
        let text = reason.to_string();
        assert!(text.starts_with("spec.rsyncTLS.capacity: 1Gi is less than the ") && text.contains(needed), "{text}");
        assert!(plan.steps.is_empty());
    }
}

#[test]
fn class_and_modes_of_a_copy_are_those_of_the_source_unless_the_user_says_otherwise() {
    let wish = snapshots(CopyShape::default());
    let world = World::new().with_surroundings(&wish).with_copy_snapshot(true);
    let as_source = plan(&wish, &world.0, now());
    let new = created(&as_source);
    assert_eq!(
        (new.storage_class.as_deref(), &new.access_modes[..]),
        (Some("fast"), &["ReadWriteOnce".to_owned()][..])
    );
    let modes = vec!["ReadOnlyMany".to_owned()];
    let shape = CopyShape { storage_class: Some("slow".to_owned()), access_modes: Some(modes.clone()), capacity: None };
    let wish = snapshots(shape);
    let otherwise = plan(&wish, &world.0, now());
    let new = created(&otherwise);
    assert_eq!((new.storage_class.as_deref(), &new.access_modes), (Some("slow"), &modes));
}

#[test]
fn a_source_that_nobody_can_write_to_is_mounted_read_only_and_a_destination_never_is() {
    let read_only = |wish: &Replication, modes: &[&str]| {
        let mut world = World::new().with_surroundings(wish).with_copy_claim(Ownership::Ours);
        for claim in [&mut world.0.claim, &mut world.0.copy_claim].into_iter().flatten() {
            claim.access_modes = modes.iter().map(|mode| (*mode).to_owned()).collect();
        }
        match plan(wish, &world.0, now()).steps.pop() {
            Some(Step::StartMover(run)) => run.read_only,
            other => panic!("{other:?}"),
        }
    };
    for wish in [running(source(SourceCopy::Direct)), running(source(SourceCopy::Clone(Default::default())))] {
        assert!(read_only(&wish, &["ReadOnlyMany"]));
        assert!(!read_only(&wish, &["ReadOnlyMany", "ReadWriteOnce"]));
        assert!(!read_only(&wish, &["ReadWriteOnce"]));
    }
    assert!(!read_only(&running(destination(Publish::Direct)), &["ReadOnlyMany"]));
}

#[test]
fn a_new_copy_that_nobody_can_write_to_is_mounted_read_only() {
    let shape = CopyShape { access_modes: Some(vec!["ReadOnlyMany".to_owned()]), ..CopyShape::default() };
    let wish = running(source(SourceCopy::Clone(shape)));
    let plan = plan(&wish, &World::new().with_surroundings(&wish).0, now());
    assert!(matches!(plan.steps.last(), Some(Step::StartMover(run)) if run.read_only), "{plan:?}");
}

#[test]
fn a_source_that_is_being_deleted_is_not_copied_any_more() {
    for copy in [SourceCopy::Direct, SourceCopy::Clone(Default::default())] {
        let wish = running(source(copy));
        let mut world = World::new().with_surroundings(&wish);
        world.0.claim.as_mut().unwrap().deleting = true;
        assert!(plan(&wish, &world.0, now()).steps.is_empty());
    }
    let wish = running(source(SourceCopy::Clone(Default::default())));
    let mut world = World::new().with_surroundings(&wish).with_copy_claim(Ownership::Ours);
    world.0.claim.as_mut().unwrap().deleting = true;
    let plan = plan(&wish, &world.0, now());
    assert!(matches!(plan.steps.last(), Some(Step::StartMover(_))), "what is copied is moved: {plan:?}");
}

#[test]
fn a_copy_that_was_to_be_made_of_a_snapshot_that_is_gone_is_made_anew() {
    let wish = snapshots(CopyShape::default());
    let mut world = World::new().with_surroundings(&wish).with_copy_claim(Ownership::Ours);
    assert!(matches!(plan(&wish, &world.0, now()).steps[..], [Step::StartMover(_)]), "it has its volume");
    world.0.copy_claim.as_mut().unwrap().phase = "Pending".to_owned();
    let stuck = plan(&wish, &world.0, now());
    assert_eq!(names(&stuck), ["delete PersistentVolumeClaim volsync-rs-src"]);
    let gone = Wait::Gone { kind: "PersistentVolumeClaim", name: "volsync-rs-src".to_owned() };
    assert_eq!(stuck.outcome, Outcome::Waiting(gone));
    world.0.copy_claim.as_mut().unwrap().deleting = true;
    assert!(plan(&wish, &world.0, now()).steps.is_empty());
    world.0.copy_claim.as_mut().unwrap().deleting = false;
    let waits = plan(&wish, &world.with_copy_snapshot(true).0, now());
    assert!(matches!(waits.steps[..], [Step::StartMover(_)]), "it may wait for its first consumer: {waits:?}");
}

fn temporary(publish: Publish, lifetime: Lifetime) -> Replication {
    let mut wish = idle(destination(publish), NOW, None);
    wish.trigger = Trigger::Manual("x".to_owned());
    let Direction::Destination { target: Target::Dynamic { lifetime: of_target, .. }, .. } = &mut wish.direction else {
        panic!()
    };
    *of_target = lifetime;
    wish
}

#[test]
fn a_destination_claim_goes_with_the_iteration_if_the_user_says_so_now() {
    let publish = || Publish::Snapshot { class: None };
    for (lifetime, label, expected) in [
        (Lifetime::Temporary, true, &["delete PersistentVolumeClaim volsync-rd-dst"][..]),
        (Lifetime::Temporary, false, &["delete PersistentVolumeClaim volsync-rd-dst"]),
        (Lifetime::Kept, true, &[]),
        (Lifetime::Kept, false, &[]),
    ] {
        let mut wish = temporary(publish(), lifetime);
        wish.image = Some(Image::Snapshot("new".to_owned()));
        let mut world = World::new().with_claim_of(Ownership::Ours).with_snapshot("new", Claimed::Free);
        world.0.claim.as_mut().unwrap().temporary = label;
        assert_eq!(names(&plan(&wish, &world.0, now())), expected, "{lifetime:?}, labelled: {label}");
    }
}

#[test]
fn a_destination_claim_that_is_published_or_somebody_elses_stays() {
    let mut direct = temporary(Publish::Direct, Lifetime::Temporary);
    direct.image = Some(Image::Claim("volsync-rd-dst".to_owned()));
    assert!(plan(&direct, &World::new().with_claim_of(Ownership::Ours).0, now()).steps.is_empty());
    let wish = temporary(Publish::Snapshot { class: None }, Lifetime::Temporary);
    assert!(plan(&wish, &World::new().with_claim_of(Ownership::Nobody).0, now()).steps.is_empty());
}

#[test]
fn a_snapshot_that_a_user_keeps_is_given_up_during_an_iteration_too() {
    let mut wish = running(destination(Publish::Snapshot { class: None }));
    wish.image = Some(Image::Snapshot("current".to_owned()));
    let world = World::new()
        .with_surroundings(&wish)
        .with_mover(&wish, MoverState::Running)
        .with_snapshot("current", Claimed::ByUser)
        .with_snapshot("former", Claimed::ByUser)
        .with_snapshot("free", Claimed::Free);
    let released = ["release VolumeSnapshot current", "release VolumeSnapshot former"];
    assert_eq!(names(&plan(&wish, &world.0, now())), released);
}

#[test]
fn a_snapshot_that_a_user_keeps_is_given_up_when_the_iteration_is_done_with_it() {
    let mut wish = running(destination(Publish::Snapshot { class: None }));
    let mut world = World::new().with_surroundings(&wish).with_image(false);
    let kept = Snapshot { claimed: Claimed::ByUser, ..world.0.image.clone().unwrap() };
    (world.0.image, world.0.snapshots) = (Some(kept.clone()), vec![kept]);
    assert!(plan(&wish, &world.0, now()).steps.is_empty(), "it would be taken once more");
    // The user asks for another claim meanwhile, and may ask for the former one again.
    world.0.image = None;
    world.0.snapshots[0].iteration = Some(iteration().id());
    assert!(matches!(plan(&wish, &world.0, now()).steps[..], [Step::StartMover(_)]), "its name would be taken");
    let next = Iteration { last_sync: Some(now()), ..iteration() };
    wish.phase = Phase::Running(next);
    assert!(matches!(plan(&wish, &world.0, now()).steps[0], Step::ReleaseSnapshot { .. }));
}

#[test]
fn a_deletion_names_the_version_that_was_seen() {
    let mut wish = idle(destination(Publish::Snapshot { class: None }), NOW, None);
    wish.image = Some(Image::Snapshot("new".to_owned()));
    let world = World::new().with_snapshot("new", Claimed::Free).with_snapshot("old", Claimed::Free);
    let plan = plan(&wish, &world.0, now());
    let [Step::DeleteSnapshot { snapshot, resource_version }] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!((snapshot.uid.as_str(), resource_version.as_str()), ("old-uid", "1"), "a label set since then saves it");
}

#[test]
fn the_snapshot_that_volsync_was_taking_is_the_image_of_its_iteration() {
    let noted = Some("volsync-rd-dst-20261123095959".to_owned());
    let mut wish = running(destination(Publish::Snapshot { class: None }));
    let mut world = World::new().with_surroundings(&wish).with_ended(&wish, 1, doppel_contract::Verdict::Complete);
    world.0.claim.as_mut().unwrap().noted_image.clone_from(&noted);
    let image = |wish: &Replication| match plan(wish, &world.0, now()).steps.pop() {
        Some(Step::TakeSnapshot(new)) => new.name,
        other => panic!("{other:?}"),
    };
    assert_eq!(image(&wish), "volsync-rd-dst-20261123100000", "a note of a former iteration says nothing");
    let Phase::Running(iteration) = &mut wish.phase else { panic!() };
    iteration.begun_by = Beginner::VolSync;
    assert_eq!(Some(image(&wish)), noted);
    wish.image = noted.map(Image::Snapshot);
    assert_eq!(image(&wish), "volsync-rd-dst-20261123100000", "what is published is not this iteration's");
}

#[test]
fn two_iterations_that_begin_in_one_second_have_two_images() {
    let mut wish = running(destination(Publish::Snapshot { class: None }));
    wish.image = Some(Image::Snapshot("volsync-rd-dst-20261123100000".to_owned()));
    let world = World::new().with_surroundings(&wish).with_ended(&wish, 1, doppel_contract::Verdict::Complete);
    assert_eq!(names(&plan(&wish, &world.0, now())), ["create VolumeSnapshot volsync-rd-dst-20261123100001"]);
}

#[test]
fn a_note_of_volsync_is_removed_before_the_next_iteration() {
    let wish = idle(destination(Publish::Snapshot { class: None }), NOW, None);
    let mut world = World::new().with_claim_of(Ownership::Ours);
    world.0.claim.as_mut().unwrap().noted_image = Some("s".to_owned());
    let plan = plan(&wish, &world.0, now());
    assert_eq!(names(&plan), ["remove an annotation from PersistentVolumeClaim volsync-rd-dst"]);
    assert_eq!(plan.outcome, Outcome::CleaningUp);
}

#[test]
fn what_takes_too_long_is_noticed_in_time_and_not_before() {
    let pending = |mut world: World| {
        for claim in [&mut world.0.claim, &mut world.0.copy_claim].into_iter().flatten() {
            claim.phase = "Pending".to_owned();
        }
        world
    };
    let snapshots = snapshots(CopyShape::default());
    let clones = running(source(SourceCopy::Clone(Default::default())));
    let receiving = running(destination(Publish::Direct));
    let with_image = running(destination(Publish::Snapshot { class: None }));
    let mut unreachable = World::new().with_surroundings(&receiving).with_mover(&receiving, MoverState::Running);
    unreachable.0.service.as_mut().unwrap().address = None;
    let ready = |wish: &Replication| World::new().with_surroundings(wish);
    let table = [
        (&snapshots, ready(&snapshots).with_copy_snapshot(false), 30, Late::Snapshot("volsync-rs-src".to_owned())),
        (
            &with_image,
            ready(&with_image).with_image(false),
            30,
            Late::Snapshot("volsync-rd-dst-20261123100000".to_owned()),
        ),
        (
            &clones,
            pending(ready(&clones).with_copy_claim(Ownership::Ours)),
            120,
            Late::Claim("volsync-rs-src".to_owned()),
        ),
        (&receiving, pending(ready(&receiving)), 120, Late::Claim("volsync-rd-dst".to_owned())),
        (&receiving, unreachable, 15, Late::Address("volsync-rsync-tls-dst-rd".to_owned())),
    ];
    for (wish, world, seconds, late) in table {
        let limit = at(BEGAN) + SignedDuration::from_secs(seconds);
        let before = plan(wish, &world.0, limit - SignedDuration::from_secs(1));
        assert!(before.late.is_empty(), "{before:?}");
        assert_eq!(before.wake_at, Some(limit), "{late:?}");
        assert_eq!(plan(wish, &world.0, limit).late, [late]);
    }
    let bound = world::claim("volsync-rs-src", Ownership::Ours);
    assert!(bound.is_bound());
}
