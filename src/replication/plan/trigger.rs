//! When a synchronization begins.

use jiff::Timestamp;

use super::{Draft, Outcome};
use crate::model::replication::{Replication, Trigger};

/// The begin of a synchronization.
pub(super) fn begin(wish: &Replication) -> Outcome {
    let manual = match &wish.trigger {
        Trigger::Manual(tag) => Some(tag.clone()),
        Trigger::Schedule(_) | Trigger::Continuous => None,
    };
    Outcome::Begin { manual }
}

/// Whether an idle object's next synchronization is due. `last` is the end of the last success and the manual trigger's
/// value that it answered.
pub(super) fn decide(
    draft: &mut Draft,
    wish: &Replication,
    last: (Timestamp, Option<&str>),
    now: Timestamp,
) -> Outcome {
    let (last_sync, last_manual) = last;
    match &wish.trigger {
        Trigger::Continuous => begin(wish),
        Trigger::Manual(tag) if last_manual == Some(tag) => Outcome::Idle { next_sync: None },
        Trigger::Manual(_) => begin(wish),
        Trigger::Schedule(schedule) => match schedule.next_after(last_sync) {
            Some(next) if next <= now => begin(wish),
            next_sync => {
                if let Some(next) = next_sync {
                    draft.wake(next);
                }
                Outcome::Idle { next_sync }
            }
        },
    }
}
