//! A mover that is yet to start: what has to be there, and where it goes.

use jiff::{SignedDuration, Timestamp};

use super::{Draft, Outcome, UNWATCHED_RECHECK, Wait, extra, gone, mover, placement};
use crate::model::observed::{Claim, Job, MoverState, Observed, Ownership, PullSecret};
use crate::model::pod::Placement;
use crate::model::replication::{Direction, Iteration, Pace, Replication, SourceCopy};
use crate::model::step::{MoverRun, Step};

/// How often the pods beside a mover are looked at again while it has not started: they may keep its volume from it.
const NEIGHBOURS_RECHECK: SignedDuration = SignedDuration::from_mins(1);

/// Ends the movers that the object asked for before it asked for this one: two would work on one volume.
pub(super) fn require_alone(draft: &mut Draft, seen: &Observed) -> Result<(), Outcome> {
    for job in seen.other_jobs.iter().filter(|job| !job.deleting) {
        draft.push(mover::stop(job));
    }
    seen.other_jobs.first().map_or(Ok(()), |job| Err(gone("Job", &job.name)))
}

/// Gives up a mover that does not run yet when a claim of it is being deleted: no kubelet starts its pod then, and the claim does
/// not go before that pod does (`kubernetes.io/pvc-protection`).
pub(super) fn require_claims(draft: &mut Draft, wish: &Replication, seen: &Observed) -> Result<(), Outcome> {
    let is_starting = |job: &&Job| job.ownership == Ownership::Ours && matches!(job.mover, MoverState::Starting(_));
    let Some(job) = seen.job.as_ref().filter(is_starting) else { return Ok(()) };
    if !mounted(wish, seen).any(|claim| claim.deleting) {
        return Ok(());
    }
    if !job.deleting {
        draft.push(mover::stop(job));
    }
    Err(gone("Job", &job.name))
}

/// The claims that are there of those that the mover mounts.
fn mounted<'a>(wish: &Replication, seen: &'a Observed) -> impl Iterator<Item = &'a Claim> {
    let volume = match &wish.direction {
        Direction::Source { copy: SourceCopy::Direct, .. } | Direction::Destination { .. } => &seen.claim,
        Direction::Source { .. } => &seen.copy_claim,
    };
    volume.iter().chain(&seen.cache_claim).chain(&seen.extra_claims)
}

/// Starts a mover, if it may start now.
pub(super) fn start(
    draft: &mut Draft,
    (wish, seen, running): (&Replication, &Observed, &Iteration),
    run: MoverRun,
    now: Timestamp,
) -> Outcome {
    if let Some(next) = running.next_attempt
        && now < next
    {
        draft.wake(next);
        return Outcome::BackingOff;
    }
    if let Some(pod) = seen.former_pods.first() {
        // One of VolSync's, or one whose labels a user chose, is not watched.
        draft.wake(now + UNWATCHED_RECHECK);
        return Outcome::Waiting(Wait::FormerMover { pod: pod.clone() });
    }
    let placement = match place(draft, wish, seen, now) {
        Ok(placement) => placement,
        Err(outcome) => return outcome,
    };
    copy_pull_secrets(draft, &run, seen);
    let outcome = match run.pace {
        Pace::Paused => Outcome::Paused,
        Pace::Running => {
            Outcome::Waiting(Wait::MoverStart { job: run.job.clone(), placement: placement.clone(), reason: None })
        }
    };
    draft.push(Step::StartMover(Box::new(MoverRun { placement, ..run })));
    outcome
}

/// A mover that does not run yet is started anew where its volume has moved, or its image is pulled otherwise.
pub(super) fn while_starting(
    draft: &mut Draft,
    (wish, seen, running): (&Replication, &Observed, &Iteration),
    (job, reason, run): (&Job, Option<&String>, MoverRun),
    now: Timestamp,
) -> Outcome {
    if run.fingerprint().outdates(&job.fingerprint) {
        draft.push(mover::stop(job));
        return gone("Job", &job.name);
    }
    if job.attempt <= running.failed_attempts {
        return after_deadline(draft, running, job, now);
    }
    if run.pace == Pace::Running
        && let Some(outcome) = past_deadline(draft, wish, (job, reason), now)
    {
        return outcome;
    }
    let placement = match place(draft, wish, seen, now) {
        Ok(placement) => placement,
        Err(outcome) => return outcome,
    };
    let run = MoverRun { placement, ..run };
    if run.pace == Pace::Running && job.start_fingerprint != run.start_fingerprint() {
        draft.push(mover::stop(job));
        return gone("Job", &job.name);
    }
    copy_pull_secrets(draft, &run, seen);
    mover::set_pace(draft, job, &run);
    match run.pace {
        Pace::Paused => Outcome::Paused,
        Pace::Running => {
            let placement = run.placement;
            Outcome::Waiting(Wait::MoverStart { job: job.name.clone(), placement, reason: reason.cloned() })
        }
    }
}

/// What follows if the mover has not started in time. Otherwise it is looked at again when it should have.
fn past_deadline(
    draft: &mut Draft,
    wish: &Replication,
    (job, reason): (&Job, Option<&String>),
    now: Timestamp,
) -> Option<Outcome> {
    let within = wish.deadlines.start?;
    let deadline = job.since.checked_add(within).ok()?;
    if now < deadline {
        draft.wake(deadline);
        return None;
    }
    if job.parallelism == 0 {
        // It was held for all that time: that is no failure, and its time begins anew.
        draft.push(mover::stop(job));
        return Some(gone("Job", &job.name));
    }
    let next_attempt = now + mover::usual_pause(job.attempt);
    draft.wake(next_attempt);
    Some(Outcome::NotStarted { attempt: job.attempt, within, reason: reason.cloned(), next_attempt })
}

/// A mover that did not start in time is held, so that it does not begin in the pause before the next attempt.
fn after_deadline(draft: &mut Draft, running: &Iteration, job: &Job, now: Timestamp) -> Outcome {
    match running.next_attempt {
        Some(next) if now < next => {
            if job.parallelism > 0 {
                draft.push(Step::SetPace { job: job.name.clone(), pace: Pace::Paused });
            }
            draft.wake(next);
            Outcome::BackingOff
        }
        _ => {
            draft.push(mover::stop(job));
            gone("Job", &job.name)
        }
    }
}

/// Where the mover is to start. Pods of others are not watched, so they are looked at again.
fn place(draft: &mut Draft, wish: &Replication, seen: &Observed, now: Timestamp) -> Result<Option<Placement>, Outcome> {
    extra::require(wish, seen)?;
    if wish.pace == Pace::Paused {
        // A mover that is held needs no place yet.
        return Ok(None);
    }
    if placement::matters(wish, seen) {
        draft.wake(now + NEIGHBOURS_RECHECK);
    }
    placement::find(wish, seen).map_err(|wait| {
        draft.wake(now + UNWATCHED_RECHECK);
        Outcome::Waiting(wait)
    })
}

/// A copy that is missing while the mover's image is being pulled is made again: the kubelet tries again too.
fn copy_pull_secrets(draft: &mut Draft, run: &MoverRun, seen: &Observed) {
    for PullSecret { original, copy, copied } in &seen.pull_secrets {
        if !copied && run.pull_secrets.contains(copy) {
            draft.push(Step::CopyPullSecret { original: original.clone(), copy: copy.clone() });
        }
    }
}
