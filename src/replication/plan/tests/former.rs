//! What movers of Jobs that somebody deleted may still do, and claims that are not those that a mover wrote to.

use doppel_contract::Verdict;
use jiff::SignedDuration;

use super::world::{BEGAN, World, claim, destination, iteration, source};
use super::{NOW, idle, names, now, running};
use crate::model::observed::{Claimed, Job, MoverState, Ownership};
use crate::model::replication::{
    Direction, Image, Iteration, IterationId, Lifetime, Pace, Publish, SourceCopy, Target,
};
use crate::model::step::Step;
use crate::replication::plan::{Outcome, Wait, plan};

fn publishing() -> Publish {
    Publish::Snapshot { class: None }
}

#[test]
fn no_mover_is_started_beside_the_pod_of_a_job_that_was_deleted() {
    for (wish, pace) in [
        (running(source(SourceCopy::Direct)), Pace::Running),
        (running(source(SourceCopy::Direct)), Pace::Paused),
        (running(destination(publishing())), Pace::Running),
    ] {
        let mut wish = wish;
        wish.pace = pace;
        let world = World::new().with_surroundings(&wish);
        let waits = plan(&wish, &world.clone().with_former_pod("mover-abcde").0, now());
        assert_eq!(waits.outcome, Outcome::Waiting(Wait::FormerMover { pod: "mover-abcde".to_owned() }));
        assert!(waits.steps.is_empty(), "{:?}", names(&waits));
        assert_eq!(waits.wake_at, Some(now() + SignedDuration::from_secs(15)), "not every pod is watched");
        let starts = plan(&wish, &world.0, now());
        assert!(matches!(starts.steps.last(), Some(Step::StartMover(_))), "{:?}", names(&starts));
    }
}

#[test]
fn a_mover_goes_on_beside_the_pod_of_a_former_job_that_is_seen_late() {
    let wish = running(source(SourceCopy::Direct));
    let world = World::new().with_surroundings(&wish).with_mover(&wish, MoverState::Running);
    let goes_on = plan(&wish, &world.with_former_pod("mover-abcde").0, now());
    assert!(matches!(goes_on.outcome, Outcome::Waiting(Wait::Mover { .. })), "{:?}", goes_on.outcome);
}

#[test]
fn what_a_mover_received_in_a_claim_that_is_gone_or_was_made_again_is_received_anew() {
    let wish = running(destination(publishing()));
    let world = World::new().with_surroundings(&wish).with_ended(&wish, 1, Verdict::Complete);
    assert_eq!(names(&plan(&wish, &world.0, now())), ["create VolumeSnapshot volsync-rd-dst-20261123100000"]);
    // In the same second.
    let mut made_again = world.clone();
    made_again.0.claim.as_mut().unwrap().uid = "another".to_owned();
    // The Job does not say into which it has received: VolSync's, or that of an older version.
    let mut with_claim_made = world.clone().with_claim_made(NOW);
    with_claim_made.0.job.as_mut().unwrap().receiver = None;
    for changed in [world.clone().without_claim(), made_again.clone(), with_claim_made] {
        let again = plan(&wish, &changed.0, now());
        assert_eq!(names(&again), ["delete Job volsync-rsync-tls-src-rs"]);
        assert!(matches!(again.outcome, Outcome::Waiting(Wait::Gone { kind: "Job", .. })), "{:?}", again.outcome);
    }
    // Its snapshot was taken before: that is what was received.
    let begun = made_again.with_image(true);
    assert!(matches!(plan(&wish, &begun.0, now()).outcome, Outcome::Completed { .. }));
}

#[test]
fn what_a_mover_received_in_another_claim_than_the_one_that_is_wished_for_now_is_received_anew() {
    for publish in [publishing(), Publish::Direct] {
        let mut wish = running(destination(publish));
        let mut world = World::new().with_surroundings(&wish).with_ended(&wish, 1, Verdict::Complete);
        let Direction::Destination { target, .. } = &mut wish.direction else { panic!() };
        *target = Target::Existing { claim: "other".to_owned(), mode: None };
        world.0.claim = Some(claim("other", Ownership::Nobody));
        let again = plan(&wish, &world.0, now());
        assert_eq!(names(&again), ["delete Job volsync-rsync-tls-src-rs"]);
        assert!(matches!(again.outcome, Outcome::Waiting(Wait::Gone { kind: "Job", .. })), "{:?}", again.outcome);
    }
}

#[test]
fn what_the_job_of_another_iteration_has_done_is_not_believed() {
    for wish in [running(source(SourceCopy::Direct)), running(destination(publishing()))] {
        let mut world = World::new().with_surroundings(&wish).with_ended(&wish, 1, Verdict::Complete);
        assert_eq!(world.0.job.as_ref().unwrap().iteration, Some(BEGAN.parse().unwrap()));
        world.0.job.as_mut().unwrap().iteration = Some("2026-11-23T09:59:59Z".parse().unwrap());
        let again = plan(&wish, &world.0, now());
        assert_eq!(names(&again), ["delete Job volsync-rsync-tls-src-rs"]);
        assert!(matches!(again.outcome, Outcome::Waiting(Wait::Gone { kind: "Job", .. })), "{:?}", again.outcome);
    }
    let begun = iteration();
    assert_ne!(begun.id(), Iteration { last_sync: Some(begun.since), ..begun.clone() }.id(), "both in one second");
}

#[test]
fn a_mover_that_was_asked_for_before_ends_before_another_begins_and_goes_with_the_iteration() {
    let wish = running(destination(publishing()));
    let mut world = World::new().with_surroundings(&wish);
    let job = world.clone().with_job(Ownership::Ours, 1, MoverState::Running).0.job;
    world.0.other_jobs = job.map(|job| Job { name: "volsync-dst-rd".to_owned(), ..job }).into_iter().collect();
    let wait = Outcome::Waiting(Wait::Gone { kind: "Job", name: "volsync-dst-rd".to_owned() });
    let before = plan(&wish, &world.0, now());
    assert_eq!((names(&before), &before.outcome), (vec!["delete Job volsync-dst-rd".to_owned()], &wait));
    let left = plan(&idle(destination(publishing()), NOW, None), &world.0, now());
    assert!(names(&left).contains(&"delete Job volsync-dst-rd".to_owned()), "{left:?}");
    world.0.other_jobs[0].deleting = true;
    let going = plan(&wish, &world.0, now());
    assert_eq!((names(&going), going.outcome), (vec![], wait));
    world.0.other_jobs.clear();
    assert!(matches!(plan(&wish, &world.0, now()).steps[..], [Step::StartMover(_)]));
}

#[test]
fn a_job_that_is_not_ours_is_left_alone_though_the_claim_is_gone() {
    let wish = running(destination(publishing()));
    let world = World::new().with_surroundings(&wish).with_job(Ownership::Nobody, 1, MoverState::Running);
    assert!(
        plan(&wish, &world.without_claim().0, now()).steps.iter().all(|step| !matches!(step, Step::StopMover { .. }))
    );
}

/// It was held up after it had read the object, and another operator has synchronized since then.
#[test]
fn a_pass_that_knows_nothing_of_the_last_synchronization_removes_nothing_of_it() {
    let mut wish = destination(publishing());
    let Direction::Destination { target: Target::Dynamic { lifetime, .. }, .. } = &mut wish.direction else { panic!() };
    *lifetime = Lifetime::Temporary;
    wish.image = Some(Image::Snapshot("former".to_owned()));
    let world = World::new().with_claim_of(Ownership::Ours).with_snapshot("latest", Claimed::Free).with_job(
        Ownership::Ours,
        1,
        MoverState::Running,
    );
    let cleaned = |world: &World, last_sync: &str| names(&plan(&idle(wish.clone(), last_sync, None), &world.0, now()));
    // What VolSync made does not say what for.
    assert_eq!(cleaned(&world, BEGAN).len(), 3, "of what was made before it, as always");
    assert_eq!(cleaned(&world, "2026-11-23T09:59:59Z"), ["delete Job volsync-rsync-tls-src-rs"]);
    // What an operator made whose clock is ahead of the API server's.
    let later: IterationId = "2026-11-23T10:05:03Z after 2026-11-23T10:05:00Z".parse().unwrap();
    let mut world = world;
    world.0.claim.as_mut().unwrap().iteration = Some(later.clone());
    world.0.snapshots[0].iteration = Some(later.clone());
    world.0.job.as_mut().unwrap().iteration = Some(later);
    assert_eq!(
        cleaned(&world, "2026-11-23T10:05:00Z"),
        ["delete Job volsync-rsync-tls-src-rs"],
        "its claim and its image"
    );
    assert_eq!(cleaned(&world, "2026-11-23T10:05:20Z").len(), 3);
}

#[test]
fn an_iteration_is_read_back_as_it_was_written() {
    for id in [iteration().id(), Iteration { last_sync: Some(now()), ..iteration() }.id()] {
        assert_eq!(id.to_string().parse::<IterationId>().unwrap(), id);
    }
    for text in ["", "after", "2026-11-23T10:05:03Z after ", " after 2026-11-23T10:05:00Z"] {
        assert!(text.parse::<IterationId>().is_err(), "{text}");
    }
}
