//! The table of what metrics learn.

use std::time::Duration;

use doppel_contract::{Fault, LeftOut, Line, Retry, Verdict};
use jiff::SignedDuration;

use super::{NOW, at, end, planned, running, wish};
use crate::model::measure::{AttemptResult, Measures, PhaseTimes, Standing};
use crate::model::observed::{MoverEnd, Observed};
use crate::model::readiness::Blame;
use crate::model::replication::Trigger;
use crate::model::schedule::Schedule;
use crate::model::status::Status;
use crate::replication::plan::Outcome;
use crate::replication::report::measures::standing;
use crate::replication::report::report;

fn hourly() -> Trigger {
    Trigger::Schedule(Schedule::parse("@hourly").unwrap())
}

fn measured(outcome: Outcome) -> (Measures, Status) {
    let reported = report(&running(), &wish(hourly()), &Observed::default(), &planned(outcome), at(NOW));
    (reported.measures, reported.status)
}

fn succeeded(outcome_end: MoverEnd) -> PhaseTimes {
    let (measures, _) = measured(Outcome::Completed { image: None, end: Some(outcome_end) });
    match measures.attempt.unwrap().result {
        AttemptResult::Succeeded(phases) => phases,
        other @ AttemptResult::Failed(_) => panic!("{other:?}"),
    }
}

#[test]
fn an_object_stands_as_its_status_says() {
    let never = standing(&Status::default(), Some(&hourly()));
    assert_eq!(never, Standing::default(), "nothing is due before the first success");
    let (measures, status) = measured(Outcome::Completed { image: None, end: None });
    let expected = Standing {
        ready: true,
        last_success: Some(at("2026-11-23T10:01:50Z")),
        next_due: Some(at("2026-11-23T11:00:00Z")),
        deadline: Some(at("2026-11-23T12:00:00Z")),
        ..Standing::default()
    };
    assert_eq!(measures.standing, expected);
    assert_eq!(standing(&status, Some(&hourly())), expected, "a new operator knows it at once");
    let unscheduled = standing(&status, Some(&Trigger::Continuous));
    assert_eq!((unscheduled.next_due, unscheduled.deadline), (None, None));
}

#[test]
fn failures_in_a_row_and_what_was_left_out_are_told_while_they_last() {
    let mut left_out = LeftOut::default();
    left_out.add(Line::new("a"), Line::new("b"));
    let failed = Outcome::AttemptFailed { attempt: 3, end: end(Verdict::Incomplete(left_out)), next_attempt: at(NOW) };
    let (measures, _) = measured(failed);
    let Standing { ready, stalled, consecutive_failures, failed_entries, .. } = measures.standing;
    assert_eq!((ready, stalled, consecutive_failures, failed_entries), (false, true, 3, 1));
    let (measures, _) = measured(Outcome::Completed { image: None, end: None });
    assert_eq!((measures.standing.consecutive_failures, measures.standing.failed_entries), (0, 0));
}

#[test]
fn an_attempt_is_counted_when_it_ends_and_not_while_it_is_waited_for() {
    let failed = Verdict::Failed { fault: Fault::Peer, retry: Retry::Later, message: Line::new("m") };
    let (measures, _) = measured(Outcome::AttemptFailed { attempt: 1, end: end(failed), next_attempt: at(NOW) });
    let attempt = measures.attempt.unwrap();
    assert_eq!(attempt.result, AttemptResult::Failed(Blame::Peer));
    assert_eq!(attempt.tally.unwrap().wire_sent, 1000);
    for outcome in [Outcome::BackingOff, Outcome::Restarting, Outcome::Idle { next_sync: None }] {
        assert_eq!(measured(outcome).0.attempt, None);
    }
}

#[test]
fn the_phases_of_a_synchronization_are_all_of_it() {
    let milliseconds = Duration::from_millis;
    // It began 110.25 s ago, and data moved for 2.4 s.
    let ended = |seconds| MoverEnd { at: at(NOW) - SignedDuration::from_secs(seconds), ..end(Verdict::Complete) };
    let phases = succeeded(ended(10));
    let expected =
        PhaseTimes { prepare: milliseconds(97_850), transfer: milliseconds(2400), publish: milliseconds(10_000) };
    assert_eq!(phases, expected);
    // Clocks that disagree make no phase longer than the whole.
    for seconds in [-30, 0, 109, 110, 500] {
        let PhaseTimes { prepare, transfer, publish } = succeeded(ended(seconds));
        assert_eq!(prepare + transfer + publish, milliseconds(110_250), "ended {seconds} s ago");
    }
}
