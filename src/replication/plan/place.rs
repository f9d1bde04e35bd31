//! Places: whether a plan is about to do what costs something, and what is left of it without a place.

use jiff::{SignedDuration, Timestamp};

use super::{Outcome, Plan, Wait};
use crate::model::copy_trigger::Answer;
use crate::model::observed::{Job, MoverState, Observed, Ownership};
use crate::model::queue::{Demand, Queued, Urgency};
use crate::model::replication::{Pace, Phase, Replication};
use crate::model::step::Step;

/// What a plan costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    /// Nothing worth a place: a place that it has is given up.
    Nothing,
    /// It goes on with what costs: it has a place, whether or not one was free.
    Runs(Demand),
    /// Its copy is being made: it has a place until then, and no longer, so that one that is never ready does not keep others
    /// waiting for ever.
    Copies(Demand, Option<Timestamp>),
    /// It is about to begin what costs, and has to ask for a place before.
    Begins(Demand),
}

/// What this plan costs. `patience` is how long a copy that is not ready is taken for being made.
#[must_use]
pub fn cost(
    (wish, seen): (&Replication, &Observed),
    plan: &Plan,
    patience: Option<SignedDuration>,
    now: Timestamp,
) -> Cost {
    let (Some(urgency), Phase::Running(_)) = (Urgency::of(wish), &wish.phase) else {
        return Cost::Nothing;
    };
    let demand = |node: Option<&String>| Demand {
        urgency,
        namespace: wish.owner.namespace.clone(),
        storage_class: seen.claim.as_ref().and_then(|claim| claim.storage_class.clone()),
        node: node.cloned(),
    };
    let mut begins = plan.steps.iter().filter(|step| begins_cost(step, wish.pace)).peekable();
    if begins.peek().is_some() {
        let job = seen.job.as_ref().and_then(|job| job.node.as_ref());
        return Cost::Begins(demand(begins.find_map(node).or(job)));
    }
    if let Some(job) = seen.job.as_ref().filter(|job| is_at_work(job)) {
        return Cost::Runs(demand(job.node.as_ref()));
    }
    match (&plan.outcome, &seen.copy_snapshot) {
        (Outcome::Waiting(Wait::SnapshotReady { .. }), Some(copy)) => {
            let until = patience.and_then(|patience| copy.created.checked_add(patience).ok());
            if until.is_some_and(|until| until <= now) { Cost::Nothing } else { Cost::Copies(demand(None), until) }
        }
        _ => Cost::Nothing,
    }
}

/// The same plan without what costs, as it waits for its place.
#[must_use]
pub fn hold_back(plan: Plan, queued: Queued, now: Timestamp) -> Plan {
    let look = now.checked_add(next_look(queued.before)).ok();
    let steps = plan.steps.into_iter().filter(|step| !is_held_back(step)).collect();
    Plan { steps, outcome: Outcome::Waiting(Wait::Queued(queued)), wake_at: look, late: Vec::new() }
}

/// When one that waits looks at its position again. It is woken when it is its turn; this shows it how far it has come, and is
/// there should that ever be missed. The farther behind, the seldomer: ten thousand that wait look three times a second
/// together (the sum of 1 / (15 s × position), and for those behind the 240th once an hour).
fn next_look(before: usize) -> SignedDuration {
    const STEP: i64 = 15;
    const LONGEST: i64 = 3600;
    let seconds = i64::try_from(before).unwrap_or(LONGEST).saturating_add(1).saturating_mul(STEP);
    SignedDuration::from_secs(seconds.clamp(STEP, LONGEST))
}

/// A paused iteration makes its copy, as VolSync's does, and needs a place when it goes on.
fn begins_cost(step: &Step, pace: Pace) -> bool {
    match step {
        Step::TakeSnapshot(_) | Step::CreateClaim(_) | Step::StartMover(_) => pace == Pace::Running,
        Step::SetPace { pace, .. } => *pace == Pace::Running,
        _ => false,
    }
}

/// What begins to cost, and what goes along with it. An application is told that its volume is being copied when it is.
fn is_held_back(step: &Step) -> bool {
    match step {
        Step::TakeSnapshot(_)
        | Step::CreateClaim(_)
        | Step::StartMover(_)
        | Step::CopyPullSecret { .. }
        | Step::AnswerCopyTrigger { answer: Answer::InProgress, .. } => true,
        Step::SetPace { pace, .. } => *pace == Pace::Running,
        Step::CreateKey { .. }
        | Step::EnsureAccount { .. }
        | Step::EnsureService(_)
        | Step::GrowClaim { .. }
        | Step::AnswerCopyTrigger { .. }
        | Step::StopMover { .. }
        | Step::DeleteClaim(_)
        | Step::ForgetNotedImage { .. }
        | Step::DeleteSnapshot { .. }
        | Step::ReleaseSnapshot { .. } => false,
    }
}

fn node(step: &Step) -> Option<&String> {
    match step {
        Step::StartMover(run) => run.placement.as_ref().map(|placement| &placement.node),
        _ => None,
    }
}

/// Whether a Job's mover runs, or is about to. One that is held may still be ending.
fn is_at_work(job: &Job) -> bool {
    let is_working = match &job.mover {
        MoverState::Running => true,
        MoverState::Starting(_) => job.parallelism > 0,
        MoverState::Ended(_) => false,
    };
    job.ownership == Ownership::Ours && is_working
}
