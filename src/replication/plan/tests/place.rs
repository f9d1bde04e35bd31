//! What a plan costs, and what is left of it without a place.

use jiff::SignedDuration;

use super::world::{BEGAN, World, at, claim, destination, iteration_after, source};
use super::{names, now, running};
use crate::model::observed::{Key, MoverState, Ownership, PodState};
use crate::model::queue::{Demand, Limit, Queued, Urgency};
use crate::model::replication::{Pace, Phase, Publish, Replication, SourceCopy};
use crate::replication::plan::place::{Cost, cost, hold_back};
use crate::replication::plan::{Outcome, Plan, Wait, plan};

const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

fn cost_of(wish: &Replication, world: &World) -> (Cost, Plan) {
    let plan = plan(wish, &world.0, now());
    (cost((wish, &world.0), &plan, Some(PATIENCE), now()), plan)
}

fn demand(node: Option<&str>) -> Demand {
    Demand {
        urgency: Urgency::Regular,
        namespace: "ns".to_owned(),
        storage_class: Some("fast".to_owned()),
        node: node.map(str::to_owned),
    }
}

fn queued(before: usize) -> Queued {
    Queued { position: 1, before, full: (Limit::Cluster, std::num::NonZeroU32::MIN), since: at(BEGAN) }
}

fn snapshots() -> Replication {
    running(source(SourceCopy::Snapshot { class: None, shape: Default::default() }))
}

fn direct() -> Replication {
    running(source(SourceCopy::Direct))
}

#[test]
fn a_copy_a_clone_and_a_mover_need_a_place_before_they_are_begun() {
    for wish in [snapshots(), running(source(SourceCopy::Clone(Default::default()))), direct()] {
        assert_eq!(cost_of(&wish, &World::new()).0, Cost::Begins(demand(None)), "{:?}", wish.direction);
    }
    let beside = World::new().with_user("data", "web-0", Some("n1"), PodState::Running);
    assert_eq!(cost_of(&direct(), &beside).0, Cost::Begins(demand(Some("n1"))), "its node is known");
}

#[test]
fn a_mover_that_starts_or_runs_has_a_place_whatever_else_is_planned() {
    for mover in [MoverState::Starting(None), MoverState::Running] {
        let mut world = World::new().with_surroundings(&direct()).with_mover(&direct(), mover.clone());
        world.0.job.as_mut().unwrap().node = Some("n2".to_owned());
        assert_eq!(cost_of(&direct(), &world).0, Cost::Runs(demand(Some("n2"))), "{mover:?}");
        // The wish was changed: until the old mover is gone it works.
        world.0.job.as_mut().unwrap().fingerprint = "old".to_owned();
        assert_eq!(cost_of(&direct(), &world).0, Cost::Runs(demand(Some("n2"))), "{mover:?}");
        let mut theirs = world.clone();
        theirs.0.job.as_mut().unwrap().ownership = Ownership::Nobody;
        assert_eq!(cost_of(&direct(), &theirs).0, Cost::Nothing, "it is somebody else's");
    }
}

#[test]
fn a_copy_that_is_being_made_has_a_place_for_so_long_and_no_longer() {
    let wish = snapshots();
    let world = World::new().with_surroundings(&wish).with_copy_snapshot(false);
    let plan = plan(&wish, &world.0, now());
    let until = at(BEGAN) + PATIENCE;
    let at_time = |patience, time| cost((&wish, &world.0), &plan, patience, time);
    assert_eq!(at_time(Some(PATIENCE), now()), Cost::Copies(demand(None), Some(until)));
    assert_eq!(at_time(Some(PATIENCE), until), Cost::Nothing);
    assert_eq!(at_time(None, until), Cost::Copies(demand(None), None), "where waits have no bound");
}

#[test]
fn what_waits_for_somebody_else_or_for_a_time_costs_nothing() {
    let missing = World::new().without_claim();
    let in_use = {
        let mut world = World::new().with_user("data", "web-0", Some("n1"), PodState::Running);
        world.0.claim.as_mut().unwrap().access_modes = vec!["ReadWriteOncePod".to_owned()];
        world
    };
    let malformed = World::new().with_key(Key::Malformed("bad".to_owned()));
    for world in [missing, in_use, malformed] {
        let (cost, plan) = cost_of(&direct(), &world);
        assert_eq!(cost, Cost::Nothing, "{plan:?}");
    }
    let mut pausing = direct();
    pausing.phase = Phase::Running(iteration_after(1, Some(at("2026-11-23T11:00:00Z"))));
    let (cost, plan) = cost_of(&pausing, &World::new());
    assert_eq!((cost, plan.outcome), (Cost::Nothing, Outcome::BackingOff));
    assert_eq!(cost_of(&source(SourceCopy::Direct), &World::new()).0, Cost::Nothing, "it has not begun");
}

#[test]
fn one_that_is_paused_makes_its_copy_and_needs_a_place_to_go_on() {
    let paused = Replication { pace: Pace::Paused, ..direct() };
    let (cost, plan) = cost_of(&paused, &World::new());
    assert_eq!((cost, plan.outcome), (Cost::Nothing, Outcome::Paused));
    let mut held = World::new().with_surroundings(&direct()).with_mover(&direct(), MoverState::Starting(None));
    held.0.job.as_mut().unwrap().parallelism = 0;
    assert_eq!(cost_of(&paused, &held).0, Cost::Nothing);
    let (cost, plan) = cost_of(&direct(), &held);
    assert_eq!(cost, Cost::Begins(demand(None)));
    assert_eq!(names(&plan), ["pause or resume Job volsync-rsync-tls-src-rs"]);
    assert_eq!(names(&hold_back(plan, queued(0), now())), Vec::<String>::new());
}

/// See `Urgency::of`: it would keep its own source waiting.
#[test]
fn a_destination_that_listens_costs_nothing() {
    let wish = running(destination(Publish::Snapshot { class: None }));
    assert_eq!(cost_of(&wish, &World(Default::default())).0, Cost::Nothing);
    let world = World::new().with_surroundings(&wish).with_mover(&wish, MoverState::Running);
    assert_eq!(cost_of(&wish, &world).0, Cost::Nothing);
}

#[test]
fn without_a_place_there_is_what_costs_nothing_and_a_time_to_look_again() {
    let mut world = World::new();
    world.0.claim = Some(crate::model::observed::Claim {
        copy_trigger: Some(crate::model::copy_trigger::CopyTrigger {
            wanted: Some("new".to_owned()),
            ..Default::default()
        }),
        ..claim("data", Ownership::Nobody)
    });
    let full = plan(&snapshots(), &world.0, now());
    assert!(names(&full).contains(&"create VolumeSnapshot volsync-rs-src".to_owned()), "{full:?}");
    let left = hold_back(full, queued(2), now());
    // No application is told that its volume is being copied.
    assert_eq!(names(&left), ["create Secret volsync-rsync-tls-rs", "apply ServiceAccount volsync-src-rs"]);
    assert_eq!(left.outcome, Outcome::Waiting(Wait::Queued(queued(2))));
    assert_eq!(left.wake_at, Some(now() + SignedDuration::from_secs(45)));
    for (before, seconds) in [(0, 15), (239, 3600), (10_000, 3600), (usize::MAX, 3600)] {
        let look = hold_back(left.clone(), queued(before), now()).wake_at;
        assert_eq!(look, Some(now() + SignedDuration::from_secs(seconds)), "{before} before it");
    }
}
