//! What metrics are to learn of a pass.

use std::time::Duration;

use doppel_contract::Tally;
use jiff::Timestamp;

use super::readiness::Blame;

/// What a pass over a valid wish came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    /// Whether the copy is older than the schedule allows, or was never made.
    pub out_of_sync: bool,
    /// How long the synchronization took that has just ended.
    pub completed: Option<Duration>,
    /// Whether that one ended after the schedule had fired again.
    pub missed_interval: bool,
    /// How the object stands now.
    pub standing: Standing,
    /// The attempt that has just ended, if its mover can still be seen.
    pub attempt: Option<Attempt>,
}

/// How an object stands. All of it follows from its status and its schedule, so a new operator knows it at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether the copy that it asks for is there.
    pub ready: bool,
    /// Whether somebody should look at it.
    pub stalled: bool,
    /// End of the last success.
    pub last_success: Option<Timestamp>,
    /// When the schedule fires after that.
    pub next_due: Option<Timestamp>,
    /// When it fires once more: without a success before, the schedule is missed.
    pub deadline: Option<Timestamp>,
    /// How many attempts failed in a row.
    pub consecutive_failures: u32,
    /// How many entries the latest attempt left out, if it failed by that.
    pub failed_entries: u64,
}

/// An attempt of a mover that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What the mover counted, if it left a report.
    pub tally: Option<Tally>,
    /// How it ended.
    pub result: AttemptResult,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptResult {
    /// Everything was moved; how long that took the synchronization as a whole.
    Succeeded(PhaseTimes),
    /// It failed, by the fault of this one.
    Failed(Blame),
}

/// Where the time of a synchronization went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseTimes {
    /// From its begin until data moved: copies, failed attempts, the start of the mover, a wait for the other side.
    pub prepare: Duration,
    /// While data moved.
    pub transfer: Duration,
    /// From the mover's end until the copy was there: a destination's image.
    pub publish: Duration,
}

impl PhaseTimes {
    /// Each with its name, which is a label's value.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Duration); 3] {
        [("prepare", self.prepare), ("transfer", self.transfer), ("publish", self.publish)]
    }
}
