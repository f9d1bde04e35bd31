//! The conditions `Ready`, `Reconciling` and `Stalled` of a pass: what is waited for, and what to do about it.

use std::time::Duration;

use doppel_contract::{Fault, Line, Retry, Verdict};
use jiff::{SignedDuration, Timestamp};

use super::wait::what;
use super::{failed_attempts, is_answered, logs, repository, to_seconds, too_long};
use crate::model::mover::Mover;
use crate::model::observed::MoverEnd;
use crate::model::readiness::{Blame, Failure, Readiness, ReadyReason, ReadyState};
use crate::model::reason::Reason;
use crate::model::replication::{Replication, Role, Trigger};
use crate::model::status::Status;
use crate::replication::plan::{Outcome, Plan, Wait};

/// After so many failed attempts in a row an object counts as stalled. A peer that restarts, or a node that is drained,
/// costs one or two; the pauses before the third are 30 s together.
const STALLED_AFTER: u32 = 3;

/// What a pass found; since when is for [`since`] to say.
struct Finding {
    state: ReadyState,
    reason: ReadyReason,
    message: String,
}

/// What to say of a plan whose steps were performed. `status` is the new one, but for this.
pub(super) fn of_plan(status: &Status, wish: &Replication, plan: &Plan, now: Timestamp) -> Readiness {
    let finding = match &plan.outcome {
        Outcome::BackingOff => failed(status, remembered_retry(status), None),
        Outcome::NotStarted { .. } => failed(status, Retry::Later, None),
        Outcome::AttemptFailed { end, .. } => failed(status, retry(end), None),
        Outcome::Blocked(reason) => blocked(reason),
        Outcome::Paused => Finding {
            state: if is_current(status, wish) { ReadyState::Ready } else { ReadyState::Held },
            reason: ReadyReason::Paused,
            message: "the mover is held; set spec.paused to false to let it go on".to_owned(),
        },
        outcome => {
            let (reason, message) = progress(outcome, status, wish, plan);
            match (failed_attempts(status), is_current(status, wish)) {
                (0, true) => Finding { state: ReadyState::Ready, reason, message },
                (0, false) => Finding { state: ReadyState::Reconciling, reason, message },
                (_, _) => failed(status, Retry::Later, Some(&message)),
            }
        }
    };
    since(status.readiness.as_ref(), finding, now)
}

/// What to say of an object whose wish cannot be carried out.
pub(super) fn of_refusal(old: &Status, reason: &Reason, now: Timestamp) -> Readiness {
    since(old.readiness.as_ref(), blocked(reason), now)
}

/// What to say when a step could not be performed: because of what the user wrote, which only a change mends, or because the
/// cluster did not do what was asked of it, which is asked again after a minute at most.
pub(super) fn of_error(old: &Status, blame: Blame, message: &str, now: Timestamp) -> Readiness {
    let finding = match blame {
        Blame::User => Finding {
            state: ReadyState::Stalled,
            reason: ReadyReason::SpecInvalid,
            message: format!("{message}; change it in the spec"),
        },
        _ => Finding {
            state: ReadyState::Reconciling,
            reason: ReadyReason::ClusterError,
            message: format!("{message}; it is tried again within a minute"),
        },
    };
    since(old.readiness.as_ref(), finding, now)
}

/// What is to be remembered of a failed attempt.
pub(super) fn failure(end: &MoverEnd) -> Failure {
    let verdict = end.report.as_ref().map(|report| &report.verdict);
    let blame = match verdict {
        None => Blame::Cluster,
        // The mover did all of it, and its program ended otherwise.
        Some(Verdict::Complete) => Blame::Doppel,
        Some(Verdict::Incomplete(_)) => Blame::Volume,
        Some(Verdict::Failed { fault, .. }) => match fault {
            Fault::User => Blame::User,
            Fault::Peer => Blame::Peer,
            Fault::Network => Blame::Network,
            Fault::Volume => Blame::Volume,
            Fault::Ours => Blame::Doppel,
        },
    };
    let left_out = match verdict {
        Some(Verdict::Incomplete(left_out)) => left_out.count,
        Some(Verdict::Complete | Verdict::Failed { .. }) | None => 0,
    };
    Failure { at: to_seconds(end.at), blame, message: logs::summary(end), left_out }
}

/// The same of one whose mover did not start.
pub(super) fn not_started(within: SignedDuration, reason: Option<&String>, now: Timestamp) -> Failure {
    let limit = super::go_duration(Duration::try_from(within).unwrap_or_default());
    let why = match reason {
        Some(reason) => Line::new(reason).to_string(),
        None => "nobody says why; see whether its namespace has quota for a pod".to_owned(),
    };
    let message = format!("the mover did not start within {limit} (--start-deadline of the operator): {why}");
    Failure { at: to_seconds(now), blame: Blame::Cluster, message, left_out: 0 }
}

fn retry(end: &MoverEnd) -> Retry {
    match end.report.as_ref().map(|report| &report.verdict) {
        Some(Verdict::Failed { retry, .. }) => *retry,
        Some(Verdict::Complete | Verdict::Incomplete(_)) | None => Retry::Later,
    }
}

/// While the next attempt is not due, the conditions alone remember whether it can help.
fn remembered_retry(status: &Status) -> Retry {
    match &status.readiness {
        Some(Readiness { state: ReadyState::Stalled, reason: ReadyReason::AttemptFailed, .. }) => Retry::AfterChange,
        _ => Retry::Later,
    }
}

/// Whether the copy that is asked for is there: no time plays a part, so it changes only with a pass that changes the
/// status anyway.
fn is_current(status: &Status, wish: &Replication) -> bool {
    status.last_sync.is_some() && failed_attempts(status) == 0 && is_answered(status, wish)
}

/// A failure, and what is being done meanwhile.
fn failed(status: &Status, retry: Retry, meanwhile: Option<&str>) -> Finding {
    let attempt = failed_attempts(status);
    let current = status.current.as_ref();
    let failure = current.and_then(|current| current.last_failure.as_ref());
    let what = match failure {
        Some(failure) => format!("attempt {attempt} failed (fault: {}): {}", failure.blame.as_str(), failure.message),
        None => format!("attempt {attempt} failed; why is in latestMoverStatus"),
    };
    let next = match (meanwhile, current.and_then(|current| current.next_attempt)) {
        (Some(meanwhile), _) => format!("; attempt {}: {meanwhile}", attempt.saturating_add(1)),
        (None, Some(time)) => format!("; the next attempt begins at {time}"),
        (None, None) => String::new(),
    };
    let is_incomplete = failure.is_some_and(|failure| failure.left_out > 0);
    let is_stalled = retry == Retry::AfterChange || attempt >= STALLED_AFTER;
    Finding {
        state: if is_stalled { ReadyState::Stalled } else { ReadyState::Reconciling },
        reason: if is_incomplete { ReadyReason::Incomplete } else { ReadyReason::AttemptFailed },
        message: format!("{what}{next}"),
    }
}

fn blocked(reason: &Reason) -> Finding {
    // What is missing may be on its way: it is waited for.
    let (state, why) = match reason {
        Reason::NoMover(_)
        | Reason::SeveralMovers(_)
        | Reason::MoverMissing { .. }
        | Reason::FieldMissing { .. }
        | Reason::FieldInvalid { .. }
        | Reason::Schedule(_)
        | Reason::CopyMethod { .. }
        | Reason::VolumeMode { .. } => (ReadyState::Stalled, ReadyReason::SpecInvalid),
        Reason::SecretMalformed(_) => (ReadyState::Stalled, ReadyReason::SecretMalformed),
        Reason::NotOurs { .. } => (ReadyState::Stalled, ReadyReason::NameTaken),
        Reason::ClaimMissing { .. } => (ReadyState::Reconciling, ReadyReason::ClaimMissing),
        Reason::SecretMissing { .. } => (ReadyState::Reconciling, ReadyReason::SecretMissing),
        Reason::ConfigMapMissing { .. } => (ReadyState::Reconciling, ReadyReason::ConfigMapMissing),
        Reason::AccountMissing { .. } => (ReadyState::Reconciling, ReadyReason::AccountMissing),
    };
    Finding { state, reason: why, message: reason.to_string() }
}

/// What goes its way, or is done.
fn progress(outcome: &Outcome, status: &Status, wish: &Replication, plan: &Plan) -> (ReadyReason, String) {
    match outcome {
        Outcome::Begin { .. } => (ReadyReason::Starting, "a synchronization begins".to_owned()),
        Outcome::Waiting(wait) => {
            let remedy = remedy(wait, wish, status);
            let mut message = format!("{}{remedy}", what(wait, wish));
            for late in &plan.late {
                message = format!("{message}; {}", too_long(late).1);
            }
            (reason(wait), message)
        }
        Outcome::Restarting => {
            let message = "the spec was changed after a failure; the next attempt begins when the former mover is gone";
            (ReadyReason::WaitingForRemoval, message.to_owned())
        }
        Outcome::Idle { next_sync } => idle(status, wish, *next_sync),
        // The others were dealt with.
        Outcome::Completed { .. }
        | Outcome::CleaningUp
        | Outcome::Paused
        | Outcome::AttemptFailed { .. }
        | Outcome::NotStarted { .. }
        | Outcome::BackingOff
        | Outcome::Blocked(_) => {
            (ReadyReason::CleaningUp, "what the last synchronization left is being removed".to_owned())
        }
    }
}

fn idle(status: &Status, wish: &Replication, next_sync: Option<Timestamp>) -> (ReadyReason, String) {
    let nothing = repository::nothing(status).map_or_else(String::new, |nothing| format!(", and {nothing}"));
    let last = status.last_sync.map_or_else(String::new, |last| format!("synchronized at {last}{nothing}; "));
    match (&wish.trigger, next_sync) {
        (Trigger::Manual(_), _) => (
            ReadyReason::WaitingForManual,
            format!("{last}the next synchronization begins when spec.trigger.manual has a new value"),
        ),
        (_, Some(next)) => {
            (ReadyReason::WaitingForSchedule, format!("{last}the next synchronization begins at {next}"))
        }
        (_, None) => (ReadyReason::WaitingForSchedule, format!("{last}the schedule does not fire any more")),
    }
}

fn reason(wait: &Wait) -> ReadyReason {
    match wait {
        Wait::Queued(_) => ReadyReason::Queued,
        Wait::SnapshotReady { .. } => ReadyReason::WaitingForSnapshot,
        Wait::CopyTrigger { .. } => ReadyReason::WaitingForCopyTrigger,
        Wait::Gone { .. } | Wait::FormerMover { .. } => ReadyReason::WaitingForRemoval,
        Wait::MoverStart { .. } => ReadyReason::WaitingForMover,
        Wait::ClaimInUse { .. } | Wait::UserUnscheduled { .. } | Wait::ClaimsApart(_) => ReadyReason::WaitingForVolume,
        Wait::Mover { .. } => ReadyReason::MoverRunning,
    }
}

/// What a user can do about a wait, where the words for it do not say so already.
fn remedy(wait: &Wait, wish: &Replication, status: &Status) -> String {
    match wait {
        Wait::SnapshotReady { name, .. } => {
            format!("; if that takes long, kubectl describe volumesnapshot {name} shows why")
        }
        Wait::Queued(_) => "; it begins by itself when it is its turn".to_owned(),
        Wait::CopyTrigger { .. } | Wait::ClaimInUse { .. } | Wait::ClaimsApart(_) => String::new(),
        Wait::Gone { kind, name } => format!("; if that takes long, see what finalizers {kind} {name} has"),
        Wait::FormerMover { pod } => {
            format!("; if that takes long, kubectl describe pod {pod} shows why, and kubectl delete pod {pod} ends it")
        }
        Wait::MoverStart { job, .. } => {
            format!("; if that takes long, kubectl describe pod -l batch.kubernetes.io/job-name={job} shows why")
        }
        Wait::UserUnscheduled { pod, .. } => {
            format!("; if that takes long, kubectl describe pod {pod} shows why it has none")
        }
        Wait::Mover { .. } => match (&wish.mover, wish.owner.role, &status.address) {
            (Mover::Restic(_), _, _) | (Mover::RsyncTls(_), Role::Source, _) => String::new(),
            (Mover::RsyncTls(_), Role::Destination, Some(address)) => {
                format!("; its source must call {address} with the same key")
            }
            (Mover::RsyncTls(_), Role::Destination, None) => "; its Service has no address yet".to_owned(),
        },
    }
}

/// The time of the conditions changes with the state and with the reason, so that it tells how long a wait has lasted.
fn since(old: Option<&Readiness>, finding: Finding, now: Timestamp) -> Readiness {
    let Finding { state, reason, message } = finding;
    let since = match old {
        Some(old) if (old.state, old.reason) == (state, reason) => old.since,
        _ => to_seconds(now),
    };
    Readiness { state, reason, message, since }
}
