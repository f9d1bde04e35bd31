//! Copies that an application allows one by one.

use jiff::{SignedDuration, Timestamp};

use super::world::{World, at, source};
use super::{names, now, running};
use crate::model::copy_trigger::{Answer, CopyStatus, CopyTrigger};
use crate::model::observed::Ownership;
use crate::model::replication::{Replication, SourceCopy};
use crate::model::step::Step;
use crate::replication::plan::{Late, Outcome, Plan, Wait, plan};

fn snapshots() -> Replication {
    running(source(SourceCopy::Snapshot { class: None, shape: Default::default() }))
}

fn clones() -> Replication {
    running(source(SourceCopy::Clone(Default::default())))
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

/// A world whose claim says this; empty for absent.
fn world(wish: &Replication, wanted: &str, answered: &str, status: Option<CopyStatus>) -> World {
    let mut world = World::new().with_surroundings(wish);
    world.0.claim.as_mut().unwrap().copy_trigger =
        Some(CopyTrigger { wanted: text(wanted), answered: text(answered), status, waiting_since: None });
    world
}

fn since(mut world: World, time: Timestamp) -> World {
    world.0.claim.as_mut().unwrap().copy_trigger.as_mut().unwrap().waiting_since = Some(time);
    world
}

fn answers(plan: &Plan) -> Vec<&Answer> {
    plan.steps
        .iter()
        .filter_map(|step| match step {
            Step::AnswerCopyTrigger { claim, answer } => {
                assert_eq!(claim, "data");
                Some(answer)
            }
            _ => None,
        })
        .collect()
}

#[test]
fn no_copy_is_made_before_the_application_gives_a_new_value() {
    for wish in [snapshots(), clones()] {
        for (wanted, answered) in [("", ""), ("one", "one"), ("", "one")] {
            let fresh = plan(&wish, &world(&wish, wanted, answered, None).0, now());
            assert_eq!(answers(&fresh), [&Answer::Waiting { since: now() }]);
            assert_eq!(fresh.steps.len(), 1, "{fresh:?}");
            assert_eq!(fresh.outcome, Outcome::Waiting(Wait::CopyTrigger { claim: "data".to_owned() }));
            let told = since(world(&wish, wanted, answered, Some(CopyStatus::Waiting)), now());
            assert!(plan(&wish, &told.0, now()).steps.is_empty(), "it is told once");
        }
    }
}

#[test]
fn a_wait_of_ten_minutes_is_too_long_and_goes_on() {
    let wish = snapshots();
    let waiting = since(world(&wish, "", "", Some(CopyStatus::Waiting)), now());
    let limit = now() + SignedDuration::from_mins(10);
    let before = plan(&wish, &waiting.0, limit - SignedDuration::from_secs(1));
    assert_eq!((before.late.len(), before.wake_at), (0, Some(limit)));
    let after = plan(&wish, &waiting.0, limit);
    assert_eq!(after.late, [Late::CopyTrigger("data".to_owned())]);
    assert!(matches!(after.outcome, Outcome::Waiting(Wait::CopyTrigger { .. })) && after.steps.is_empty());
}

#[test]
fn a_new_value_is_acknowledged_before_the_copy_is_made_and_noted_on_it() {
    for (wish, copy) in [(snapshots(), "VolumeSnapshot"), (clones(), "PersistentVolumeClaim")] {
        for answered in ["", "one"] {
            let world = since(world(&wish, "two", answered, Some(CopyStatus::Waiting)), now());
            let plan = plan(&wish, &world.0, now());
            assert_eq!(answers(&plan), [&Answer::InProgress]);
            let expected = [
                "annotate PersistentVolumeClaim data about its copy trigger".to_owned(),
                format!("create {copy} volsync-rs-src"),
            ];
            assert_eq!(names(&plan)[..2], expected);
            let noted = plan.steps.iter().find_map(|step| match step {
                Step::TakeSnapshot(new) => new.answers.as_deref(),
                Step::CreateClaim(new) => new.answers.as_deref(),
                _ => None,
            });
            assert_eq!(noted, Some("two"));
        }
    }
}

#[test]
fn a_crash_between_acknowledgement_and_copy_is_made_up_for() {
    let wish = snapshots();
    let plan = plan(&wish, &world(&wish, "two", "one", Some(CopyStatus::InProgress)).0, now());
    assert_eq!(names(&plan), ["create VolumeSnapshot volsync-rs-src"]);
}

#[test]
fn a_copy_that_is_made_answers_the_value_that_it_was_made_for() {
    let completed = Answer::Completed { trigger: "two".to_owned() };
    let begun = |wish| world(wish, "three", "one", Some(CopyStatus::InProgress));
    let wish = snapshots();
    for ready in [false, true] {
        let mut world = begun(&wish).with_copy_snapshot(ready);
        world.0.copy_snapshot.as_mut().unwrap().answers = text("two");
        let plan = plan(&wish, &world.0, now());
        assert_eq!(answers(&plan), if ready { vec![&completed] } else { vec![] }, "\"three\" came later");
    }
    let wish = clones();
    for phase in ["Pending", "Bound"] {
        let mut world = begun(&wish).with_copy_claim(Ownership::Ours);
        let copy = world.0.copy_claim.as_mut().unwrap();
        (copy.answers, copy.phase) = (text("two"), phase.to_owned());
        let plan = plan(&wish, &world.0, now());
        assert_eq!(answers(&plan), if phase == "Bound" { vec![&completed] } else { vec![] });
    }
}

#[test]
fn a_value_that_changes_during_an_iteration_is_answered_by_the_next_one() {
    let wish = snapshots();
    let mut under_way = world(&wish, "two", "one", Some(CopyStatus::Completed)).with_copy_snapshot(true);
    under_way.0.copy_snapshot.as_mut().unwrap().answers = text("one");
    assert!(answers(&plan(&wish, &under_way.0, now())).is_empty(), "\"two\" is not taken for answered");
    let next = world(&wish, "two", "one", Some(CopyStatus::Completed));
    assert_eq!(answers(&plan(&wish, &next.0, now())), [&Answer::InProgress]);
}

#[test]
fn a_copy_that_was_made_for_no_value_answers_none() {
    let wish = snapshots();
    let world = world(&wish, "one", "", None).with_copy_snapshot(true);
    assert!(answers(&plan(&wish, &world.0, now())).is_empty());
}

#[test]
fn a_copy_that_volsync_was_making_answers_the_present_value() {
    let wish = snapshots();
    for (status, expected) in [
        (CopyStatus::InProgress, vec![Answer::Completed { trigger: "two".to_owned() }]),
        (CopyStatus::Completed, vec![]),
    ] {
        let world = world(&wish, "two", "one", Some(status)).with_copy_snapshot(true);
        assert_eq!(answers(&plan(&wish, &world.0, now())), expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn an_application_that_takes_no_part_and_a_direct_copy_wait_for_nothing() {
    let wish = running(source(SourceCopy::Direct));
    let direct = plan(&wish, &world(&wish, "", "", None).0, now());
    assert!(matches!(direct.steps.last(), Some(Step::StartMover(_))), "{direct:?}");
    let wish = snapshots();
    let plan = plan(&wish, &World::new().with_surroundings(&wish).0, at("2026-11-23T10:00:30Z"));
    assert_eq!(names(&plan), ["create VolumeSnapshot volsync-rs-src"]);
}
