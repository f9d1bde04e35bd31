//! What metrics are to learn of a pass, beyond VolSync's three.

use std::time::Duration;

use jiff::Timestamp;

use super::ready;
use crate::model::measure::{Attempt, AttemptResult, PhaseTimes, Standing};
use crate::model::observed::MoverEnd;
use crate::model::readiness::{Blame, ReadyState};
use crate::model::replication::Trigger;
use crate::model::schedule::Schedule;
use crate::model::status::Status;
use crate::replication::plan::Outcome;

/// How an object stands by its status. Without a valid wish there is no schedule to hold it to.
pub(crate) fn standing(status: &Status, trigger: Option<&Trigger>) -> Standing {
    let state = status.readiness.as_ref().map(|readiness| readiness.state);
    let schedule = match trigger {
        Some(Trigger::Schedule(schedule)) => Some(schedule),
        Some(Trigger::Manual(_) | Trigger::Continuous) | None => None,
    };
    let scheduled = schedule.zip(status.last_sync);
    let current = status.current.as_ref();
    Standing {
        ready: state == Some(ReadyState::Ready),
        stalled: state == Some(ReadyState::Stalled),
        last_success: status.last_sync,
        next_due: scheduled.and_then(|(schedule, last)| schedule.next_after(last)),
        deadline: scheduled.and_then(|(schedule, last)| deadline(schedule, last)),
        consecutive_failures: current.map_or(0, |current| current.failed_attempts),
        failed_entries: current.and_then(|current| current.last_failure.as_ref()).map_or(0, |failure| failure.left_out),
    }
}

/// When a schedule is missed: a whole interval has gone by without a success.
pub(super) fn deadline(schedule: &Schedule, last_sync: Timestamp) -> Option<Timestamp> {
    schedule.next_after(last_sync).and_then(|next| schedule.next_after(next))
}

/// The attempt that this pass saw end. `completed` is how long the synchronization took.
pub(super) fn attempt(outcome: &Outcome, completed: Option<Duration>, now: Timestamp) -> Option<Attempt> {
    let (end, result) = match outcome {
        Outcome::AttemptFailed { end, .. } => (end, AttemptResult::Failed(ready::failure(end).blame)),
        Outcome::Completed { end: Some(end), .. } => (end, AttemptResult::Succeeded(phases(end, completed?, now))),
        Outcome::NotStarted { .. } => {
            return Some(Attempt { tally: None, result: AttemptResult::Failed(Blame::Cluster) });
        }
        _ => return None,
    };
    Some(Attempt { tally: end.report.as_ref().map(|report| report.tally), result })
}

/// The clocks of three machines meet here, so no part may become negative, nor more than the whole.
fn phases(end: &MoverEnd, total: Duration, now: Timestamp) -> PhaseTimes {
    let publish = Duration::try_from(now.duration_since(end.at)).unwrap_or_default().min(total);
    let moved = end.report.as_ref().map_or(Duration::ZERO, |report| Duration::from_millis(report.elapsed_ms));
    let transfer = moved.min(total.saturating_sub(publish));
    PhaseTimes { prepare: total.saturating_sub(publish).saturating_sub(transfer), transfer, publish }
}
