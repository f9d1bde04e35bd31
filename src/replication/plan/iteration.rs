//! An iteration that is under way.

use jiff::Timestamp;

use super::{Draft, Outcome, destination, mover, source, start};
use crate::model::observed::Observed;
use crate::model::replication::{Direction, Image, Iteration, Replication};

/// Takes an iteration one step further.
pub(super) fn go_on(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    running: &Iteration,
    now: Timestamp,
) -> Outcome {
    match advance(draft, wish, seen, running, now) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

/// The stages in their order; the first that has to wait ends the pass.
fn advance(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    running: &Iteration,
    now: Timestamp,
) -> Result<Outcome, Outcome> {
    // What does not depend on the volume goes first, so that it is there when the volume is, and so that no copy is made, and
    // grows old, for a mover that lacks its key.
    mover::surroundings(draft, wish, seen, now)?;
    start::require_alone(draft, seen)?;
    start::require_claims(draft, wish, seen)?;
    match &wish.direction {
        Direction::Source { claim, copy } => {
            let volume = source::point_in_time(draft, wish, seen, (claim, copy), now)?;
            let end = mover::run(draft, wish, seen, (&volume, running), now)?;
            Ok(Outcome::Completed { image: None, end: Some(end) })
        }
        Direction::Destination { target, publish } => {
            destination::require_receiver(draft, seen)?;
            let volume = destination::claim(draft, wish, seen, target, now)?;
            let end = if destination::image_is_begun(seen) {
                seen.job.as_ref().and_then(mover::end_of)
            } else {
                Some(mover::run(draft, wish, seen, (&volume, running), now)?)
            };
            let image: Image = destination::image(draft, wish, seen, (&volume.claim, publish, running), now)?;
            Ok(Outcome::Completed { image: Some(image), end })
        }
    }
}
