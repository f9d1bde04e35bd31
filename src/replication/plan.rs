//! PURE: from a wish and the world as it is, what to do now.
//!
//! A plan is level-based: it sees only the present, so it goes on from wherever a crash left the cluster. Stages push
//! steps to a [`Draft`] and end the pass early with an [`Outcome`] when they have to wait.

pub mod cleanup;
mod copy_trigger;
mod destination;
mod extra;
mod iteration;
pub(super) mod mover;
pub mod place;
mod placement;
mod repository;
mod snapshot;
mod source;
mod start;
mod trigger;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use crate::model::observed::{MoverEnd, Observed, Ownership};
use crate::model::pod::Placement;
use crate::model::queue::Queued;
use crate::model::reason::Reason;
use crate::model::replication::{Image, Phase, Replication};
use crate::model::step::Step;

/// What to do now, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// Where that leaves the iteration, provided the steps succeed.
    pub outcome: Outcome,
    /// When to look again although nothing has changed.
    pub wake_at: Option<Timestamp>,
    /// What takes longer than it usually does.
    pub late: Vec<Late>,
}

/// A wait that has become longer than its usual bound. Waiting goes on; a user is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Late {
    /// A snapshot without content.
    Snapshot(String),
    /// A claim without a volume.
    Claim(String),
    /// A Service without an address.
    Address(String),
    /// A claim whose application has not said that it may be copied.
    CopyTrigger(String),
}

/// Where a pass leaves the iteration.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A synchronization begins.
    Begin {
        /// The manual trigger's value that it answers.
        manual: Option<String>,
    },
    /// The iteration waits for something.
    Waiting(Wait),
    /// The mover is held by `spec.paused`.
    Paused,
    /// An attempt of the mover has just failed.
    AttemptFailed {
        /// Which, from 1.
        attempt: u32,
        /// How it ended.
        end: MoverEnd,
        /// When the next one begins.
        next_attempt: Timestamp,
    },
    /// An attempt's mover did not start in time.
    NotStarted {
        /// Which, from 1.
        attempt: u32,
        /// How long that may take.
        within: SignedDuration,
        /// Why it does not start, as the kubelet or the scheduler says.
        reason: Option<String>,
        /// When the next one begins.
        next_attempt: Timestamp,
    },
    /// The last attempt failed; the next one is not due yet.
    BackingOff,
    /// After a failure the user changed the wish: the next attempt begins as soon as the old Job is gone.
    Restarting,
    /// Everything was moved, and the image is ready.
    Completed {
        /// The new image of a destination.
        image: Option<Image>,
        /// How the mover ended, if that can still be seen.
        end: Option<MoverEnd>,
    },
    /// What the last iteration left is being removed.
    CleaningUp,
    /// Nothing to do.
    Idle {
        /// When the schedule fires next.
        next_sync: Option<Timestamp>,
    },
    /// Somebody has to change something first.
    Blocked(Reason),
}

/// What an iteration waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Others have all the places there are.
    Queued(Queued),
    /// A snapshot is not ready; with the driver's error if there is one.
    SnapshotReady {
        /// The snapshot.
        name: String,
        /// `status.error.message`.
        error: Option<String>,
    },
    /// The claim's application has not said yet that it may be copied.
    CopyTrigger {
        /// The claim.
        claim: String,
    },
    /// An object of a former iteration or attempt still goes away.
    Gone {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A pod of a Job that was deleted still uses the volume.
    FormerMover {
        /// The pod.
        pod: String,
    },
    /// The mover's container does not run yet; with the kubelet's or scheduler's reason if there is one.
    MoverStart {
        /// The Job.
        job: String,
        /// Where it must run.
        placement: Option<Placement>,
        /// Why.
        reason: Option<String>,
    },
    /// A pod holds a claim that only one pod at a time can use.
    ClaimInUse {
        /// The claim.
        claim: String,
        /// The pod.
        pod: String,
    },
    /// A pod that uses a claim of one node has no node yet.
    UserUnscheduled {
        /// The claim.
        claim: String,
        /// The pod.
        pod: String,
    },
    /// Two claims that the mover needs are in use on different nodes. Each with its pod and node.
    ClaimsApart(Box<[(String, String, String); 2]>),
    /// The mover works.
    Mover {
        /// The Job.
        job: String,
    },
}

/// What to do now.
#[must_use]
pub fn plan(wish: &Replication, seen: &Observed, now: Timestamp) -> Plan {
    let mut draft = Draft::default();
    let outcome = match &wish.phase {
        Phase::Never => trigger::begin(wish),
        Phase::Running(running) => {
            cleanup::release_kept(&mut draft, wish, seen);
            iteration::go_on(&mut draft, wish, seen, running, now)
        }
        Phase::Idle { last_sync, last_manual } => {
            cleanup::steps(&mut draft, wish, seen);
            if draft.steps.is_empty() {
                trigger::decide(&mut draft, wish, (*last_sync, last_manual.as_deref()), now)
            } else {
                Outcome::CleaningUp
            }
        }
    };
    if let Outcome::Blocked(reason) = &outcome
        && reason.is_unwatched()
    {
        draft.wake(now + UNWATCHED_RECHECK);
    }
    Plan { steps: draft.steps, outcome, wake_at: draft.wake_at, late: draft.late }
}

/// How often something is looked at again that cannot be watched: a Secret that is missing or malformed, a pod of
/// somebody else that holds a volume. Reading it every quarter of a minute is little, and a user who has just put it
/// right does not wait long.
const UNWATCHED_RECHECK: SignedDuration = SignedDuration::from_secs(15);

/// A plan in the making.
#[derive(Debug, Default)]
struct Draft {
    steps: Vec<Step>,
    wake_at: Option<Timestamp>,
    late: Vec<Late>,
}

impl Draft {
    fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Notes that something has been awaited for too long, or comes back when it has.
    fn limit(&mut self, (since, bound): (Timestamp, SignedDuration), now: Timestamp, late: Late) {
        match since.checked_add(bound) {
            Ok(end) if now < end => self.wake(end),
            _ => self.late.push(late),
        }
    }
}

/// Refuses what exists under a needed name and is not ours; waits for what a former object of our name has left behind.
fn require_ours(kind: &'static str, name: &str, ownership: &Ownership) -> Result<(), Outcome> {
    let owner = match ownership {
        Ownership::Ours => return Ok(()),
        Ownership::Former => return Err(gone(kind, name)),
        Ownership::Nobody => "nobody".to_owned(),
        Ownership::Other(owner) => owner.clone(),
    };
    Err(Outcome::Blocked(Reason::NotOurs { kind, name: name.to_owned(), owner }))
}

/// Refuses what is not ours, and waits for what is going away.
fn require_usable(kind: &'static str, name: &str, ownership: &Ownership, deleting: bool) -> Result<(), Outcome> {
    require_ours(kind, name, ownership)?;
    if deleting { Err(gone(kind, name)) } else { Ok(()) }
}

/// A wait until something is gone.
fn gone(kind: &'static str, name: &str) -> Outcome {
    Outcome::Waiting(Wait::Gone { kind, name: name.to_owned() })
}
