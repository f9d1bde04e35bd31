//! A mover that does not start in time.

use jiff::{SignedDuration, Timestamp};

use super::world::{BEGAN, World, at, claim, destination, iteration_after, source};
use super::{names, now, running};
use crate::model::observed::{MoverState, Observed, Ownership};
use crate::model::replication::{Pace, Phase, Publish, Replication, SourceCopy};
use crate::replication::plan::{Outcome, Wait, plan};

fn wish() -> Replication {
    running(source(SourceCopy::Direct))
}

fn after_failure(next_attempt: Timestamp) -> Replication {
    Replication { phase: Phase::Running(iteration_after(1, Some(next_attempt))), ..wish() }
}

fn unschedulable() -> World {
    let mover = MoverState::Starting(Some("0/3 nodes are available".to_owned()));
    World::new().with_surroundings(&wish()).with_mover(&wish(), mover)
}

/// The world's movers were made at `BEGAN`, and may take an hour.
fn deadline() -> Timestamp {
    at(BEGAN) + SignedDuration::from_hours(1)
}

#[test]
fn a_mover_that_does_not_start_in_time_has_failed_and_says_why() {
    let world = unschedulable();
    let before = plan(&wish(), &world.0, deadline() - SignedDuration::from_secs(1));
    assert!(matches!(before.outcome, Outcome::Waiting(Wait::MoverStart { .. })), "{before:?}");
    assert_eq!(before.wake_at, Some(deadline()));
    let late = plan(&wish(), &world.0, deadline());
    assert!(late.steps.is_empty(), "the failure is written down before anything is done about it");
    let next_attempt = deadline() + SignedDuration::from_secs(10);
    let reason = Some("0/3 nodes are available".to_owned());
    let within = SignedDuration::from_hours(1);
    assert_eq!(late.outcome, Outcome::NotStarted { attempt: 1, within, reason, next_attempt });
    assert_eq!(late.wake_at, Some(next_attempt));
}

#[test]
fn it_is_held_until_the_next_attempt_and_then_started_anew() {
    let next = deadline() + SignedDuration::from_secs(10);
    let mut world = unschedulable();
    let held = plan(&after_failure(next), &world.0, deadline());
    assert_eq!(
        (names(&held), held.outcome),
        (vec!["pause or resume Job volsync-rsync-tls-src-rs".to_owned()], Outcome::BackingOff)
    );
    world.0.job.as_mut().unwrap().parallelism = 0;
    let waits = plan(&after_failure(next), &world.0, deadline());
    assert_eq!((names(&waits), waits.outcome, waits.wake_at), (vec![], Outcome::BackingOff, Some(next)));
    let anew = plan(&after_failure(next), &world.0, next);
    assert_eq!(names(&anew), ["delete Job volsync-rsync-tls-src-rs"]);
    world.0.job = None;
    let started = plan(&after_failure(next), &world.0, next);
    assert_eq!(names(&started), ["create Job volsync-rsync-tls-src-rs"]);
}

#[test]
fn the_time_in_which_a_user_held_it_does_not_count() {
    let mut world = unschedulable();
    world.0.job.as_mut().unwrap().parallelism = 0;
    let paused = Replication { pace: Pace::Paused, ..wish() };
    assert_eq!(plan(&paused, &world.0, deadline()).outcome, Outcome::Paused);
    let resumed = plan(&wish(), &world.0, deadline());
    assert_eq!(names(&resumed), ["delete Job volsync-rsync-tls-src-rs"]);
    assert!(matches!(resumed.outcome, Outcome::Waiting(Wait::Gone { .. })), "no failure: {resumed:?}");
}

#[test]
fn a_mover_that_runs_is_not_asked_when_it_started_and_without_a_deadline_none_is() {
    let running_one = World::new().with_surroundings(&wish()).with_mover(&wish(), MoverState::Running);
    let outcome = plan(&wish(), &running_one.0, deadline()).outcome;
    assert!(matches!(outcome, Outcome::Waiting(Wait::Mover { .. })));
    let mut patient = wish();
    patient.deadlines.start = None;
    let outcome = plan(&patient, &unschedulable().0, deadline()).outcome;
    assert!(matches!(outcome, Outcome::Waiting(Wait::MoverStart { .. })));
}

#[test]
fn a_mover_whose_claim_is_deleted_before_it_runs_is_given_up_since_no_kubelet_starts_it() {
    type Delete = fn(&mut Observed);
    let clone = || source(SourceCopy::Clone(Default::default()));
    let copy = |seen: &mut Observed| seen.copy_claim.as_mut().unwrap().deleting = true;
    let volume = |seen: &mut Observed| seen.claim.as_mut().unwrap().deleting = true;
    let cache = |seen: &mut Observed| seen.cache_claim.as_mut().unwrap().deleting = true;
    let extra = |seen: &mut Observed| seen.extra_claims[0].deleting = true;
    let receiver = || destination(Publish::Direct);
    let all: [(Replication, Delete); 5] = [
        (clone(), copy),
        (clone(), cache),
        (source(SourceCopy::Direct), volume),
        (source(SourceCopy::Direct), extra),
        (receiver(), volume),
    ];
    for (wish, delete) in all {
        let wish = running(wish);
        let world = |state: MoverState| {
            let mut world = World::new().with_surroundings(&wish).with_copy_claim(Ownership::Ours);
            world.0.cache_claim = Some(claim("cache", Ownership::Ours));
            world.0.extra_claims.push(claim("extra", Ownership::Nobody));
            let mut world = world.with_mover(&wish, state);
            delete(&mut world.0);
            world
        };
        let stuck = plan(&wish, &world(MoverState::Starting(None)).0, now());
        assert_eq!(names(&stuck), ["delete Job volsync-rsync-tls-src-rs"], "{wish:?}");
        assert!(matches!(stuck.outcome, Outcome::Waiting(Wait::Gone { kind: "Job", .. })), "{stuck:?}");
        let works = plan(&wish, &world(MoverState::Running).0, now());
        assert!(works.steps.is_empty(), "its volume is there until it ends: {works:?}");
    }
    let copied = running(clone());
    let mut world = World::new().with_surroundings(&copied).with_copy_claim(Ownership::Ours);
    world = world.with_mover(&copied, MoverState::Starting(None));
    world.0.claim.as_mut().unwrap().deleting = true;
    assert!(plan(&copied, &world.0, now()).steps.is_empty(), "it reads the copy");
}
