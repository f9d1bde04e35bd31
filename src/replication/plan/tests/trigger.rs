//! When a synchronization begins.

use std::collections::BTreeSet;

use super::world::{World, at, source};
use super::{NOW, idle, now};
use crate::model::policy::{Jitter, Policy};
use crate::model::replication::{Replication, SourceCopy, Trigger};
use crate::model::schedule::Schedule;
use crate::replication::plan::{Outcome, Plan, plan};

#[test]
fn the_first_synchronization_begins_at_once_under_every_trigger() {
    let schedule = Trigger::Schedule(Schedule::parse("0 0 1 1 *").unwrap());
    for (trigger, manual) in
        [(schedule, None), (Trigger::Continuous, None), (Trigger::Manual("one".to_owned()), Some("one".to_owned()))]
    {
        let wish = Replication { trigger, ..source(SourceCopy::Direct) };
        let plan = plan(&wish, &World::new().0, now());
        assert_eq!(plan, Plan { steps: vec![], outcome: Outcome::Begin { manual }, wake_at: None, late: vec![] });
    }
}

#[test]
fn a_manual_trigger_fires_once_for_each_value() {
    let wish = Replication { trigger: Trigger::Manual("two".to_owned()), ..source(SourceCopy::Direct) };
    let seen = World::new().0;
    let same = plan(&idle(wish.clone(), NOW, Some("two")), &seen, now());
    assert_eq!(same.outcome, Outcome::Idle { next_sync: None });
    let new = plan(&idle(wish, NOW, Some("one")), &seen, now());
    assert_eq!(new.outcome, Outcome::Begin { manual: Some("two".to_owned()) });
}

#[test]
fn a_schedule_counts_from_the_last_success_and_wakes_the_operator() {
    let trigger = Trigger::Schedule(Schedule::parse("*/5 * * * *").unwrap());
    let wish = idle(Replication { trigger, ..source(SourceCopy::Direct) }, "2026-11-23T09:58:00Z", None);
    let before = plan(&wish, &World::new().0, at("2026-11-23T09:59:59Z"));
    let due = at("2026-11-23T10:00:00Z");
    assert_eq!(before.outcome, Outcome::Idle { next_sync: Some(due) });
    assert_eq!(before.wake_at, Some(due));
    assert_eq!(plan(&wish, &World::new().0, due).outcome, Outcome::Begin { manual: None });
}

#[test]
fn firings_that_were_missed_are_caught_up_once() {
    let trigger = Trigger::Schedule(Schedule::parse("*/5 * * * *").unwrap());
    let wish = Replication { trigger, ..source(SourceCopy::Direct) };
    let long_ago = idle(wish.clone(), "2026-11-23T07:00:00Z", None);
    assert_eq!(plan(&long_ago, &World::new().0, now()).outcome, Outcome::Begin { manual: None });
    // It ended now: the 36 firings of three hours are answered together.
    let caught_up = idle(wish, NOW, None);
    let next_sync = Some(at("2026-11-23T10:05:00Z"));
    assert_eq!(plan(&caught_up, &World::new().0, now()).outcome, Outcome::Idle { next_sync });
}

#[test]
fn a_schedule_that_is_spread_is_so_in_all_that_is_said_of_it() {
    let policy = Policy { jitter: Jitter::new(50).unwrap(), ..Policy::default() };
    let trigger = Trigger::Schedule(Schedule::parse("0 * * * *").unwrap());
    let mut late = BTreeSet::new();
    for uid in ["a", "b", "c", "d"] {
        let mut wish = Replication { trigger: trigger.clone(), ..source(SourceCopy::Direct) };
        wish.owner.uid = uid.to_owned();
        let wish = idle(wish.under(&policy), NOW, None);
        let Outcome::Idle { next_sync: Some(next) } = plan(&wish, &World::new().0, now()).outcome else { panic!() };
        assert_eq!(plan(&wish, &World::new().0, next).outcome, Outcome::Begin { manual: None });
        let after = next.duration_since(at("2026-11-23T11:00:00Z")).as_secs();
        // This hour's firing may be yet to come.
        assert!((0..1800).contains(&after.rem_euclid(3600)), "{uid}: {next}");
        late.insert(next);
    }
    assert_eq!(late.len(), 4, "not all at the same time: {late:?}");
}
