//! PURE: what a pass came to, as status, events and measurements.
//!
//! No text or time in here changes from pass to pass while nothing happens: a status that is written again wakes the
//! operator again.

mod logs;
pub(super) mod measures;
mod ready;
mod repository;
mod wait;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{Timestamp, Unit};

use self::measures::standing;
use self::wait::waiting;
use super::plan::{Late, Outcome, Plan};
use crate::model::copy_trigger::Answer;
use crate::model::event::{Event, EventReason};
use crate::model::measure::Measures;
use crate::model::mover::{KeySource, Mover};
use crate::model::observed::Observed;
use crate::model::readiness::{Blame, Failure};
use crate::model::reason::Reason;
use crate::model::replication::{Phase, Replication, Role, Trigger};
use crate::model::status::{Condition, ConditionReason, CurrentSync, MoverResult, MoverStatus, Status};
use crate::model::step::{Origin, Step};

/// What is to be told of a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// The object's status from now on.
    pub status: Status,
    /// What happened, for a user's eyes.
    pub events: Vec<Event>,
    /// What happened, for metrics.
    pub measures: Measures,
}

const IN_PROGRESS: &str = "Synchronization in-progress";

/// What to tell of a plan whose steps were performed.
#[must_use]
pub fn report(old: &Status, wish: &Replication, seen: &Observed, plan: &Plan, now: Timestamp) -> Reported {
    let mut status = old.clone();
    publish(&mut status, wish, seen);
    let mut events = events(old, &status, wish, plan);
    let mut completed = None;
    match &plan.outcome {
        Outcome::Begin { manual } => {
            status.last_sync_start = Some(to_seconds(now));
            status.current = Some(CurrentSync { manual: manual.clone(), ..CurrentSync::default() });
            set(&mut status, ConditionReason::SyncInProgress, IN_PROGRESS.to_owned(), now);
        }
        Outcome::Waiting(wait) => {
            if let Some(current) = &mut status.current {
                current.next_attempt = None;
            }
            let message = waiting(wait, wish, failed_attempts(&status));
            let message = complain(&mut status, &mut events, message, &plan.late);
            set(&mut status, ConditionReason::SyncInProgress, message, now);
        }
        Outcome::Paused => {
            let message = "Paused: the mover is held until spec.paused is false".to_owned();
            set(&mut status, ConditionReason::Paused, message, now);
        }
        Outcome::AttemptFailed { attempt, end, next_attempt } => {
            let told = (ready::failure(end), logs::failure(&wish.mover, end));
            events.push(fail(&mut status, wish, (*attempt, *next_attempt), told, now));
        }
        Outcome::NotStarted { attempt, within, reason, next_attempt } => {
            let failure = ready::not_started(*within, reason.as_ref(), now);
            let words = format!("error: {}", failure.message);
            events.push(fail(&mut status, wish, (*attempt, *next_attempt), (failure, words), now));
        }
        // The condition still tells of the failed attempt, and when the next one begins.
        Outcome::BackingOff => {}
        Outcome::Restarting => {
            if let Some(current) = &mut status.current {
                current.next_attempt = None;
            }
        }
        Outcome::Completed { image, end } => {
            completed = complete(&mut status, wish, now);
            if let Mover::Restic(restic) = &wish.mover {
                repository::complete(&mut status, restic, end.as_ref());
            }
            if image.is_some() {
                status.image.clone_from(image);
            }
            if let Some(end) = end {
                status.latest_mover =
                    MoverStatus { result: Some(MoverResult::Successful), logs: Some(logs::success(&wish.mover, end)) };
            }
            set(&mut status, ConditionReason::CleaningUp, "Cleaning up".to_owned(), now);
        }
        Outcome::CleaningUp => {
            status.next_sync = next_sync(wish, status.last_sync);
            set(&mut status, ConditionReason::CleaningUp, "Cleaning up".to_owned(), now);
        }
        Outcome::Idle { next_sync } => {
            status.next_sync = *next_sync;
            let (reason, message) = match wish.trigger {
                Trigger::Manual(_) => (ConditionReason::WaitingForManual, "Waiting for manual trigger"),
                Trigger::Schedule(_) | Trigger::Continuous => {
                    (ConditionReason::WaitingForSchedule, "Waiting for next scheduled synchronization")
                }
            };
            set(&mut status, reason, message.to_owned(), now);
        }
        Outcome::Blocked(reason) => set(&mut status, ConditionReason::Error, reason.to_string(), now),
    }
    status.readiness = Some(ready::of_plan(&status, wish, plan, now));
    let measures = Measures {
        out_of_sync: is_late(wish, status.last_sync, now),
        completed,
        missed_interval: completed.is_some() && old.last_sync.is_some() && is_late(wish, old.last_sync, now),
        standing: standing(&status, Some(&wish.trigger)),
        attempt: measures::attempt(&plan.outcome, completed, now),
    };
    Reported { status, events, measures }
}

/// What to tell of a wish that cannot be carried out: only the conditions change.
#[must_use]
pub fn report_refusal(old: &Status, reason: &Reason, now: Timestamp) -> Status {
    let mut status = Status { readiness: Some(ready::of_refusal(old, reason, now)), ..old.clone() };
    set(&mut status, ConditionReason::Error, reason.to_string(), now);
    status
}

/// What to tell when the world could not be seen, or a step could not be performed, and whose fault that is: only the
/// conditions change.
#[must_use]
pub fn report_error(old: &Status, blame: Blame, message: String, now: Timestamp) -> Status {
    let mut status = Status { readiness: Some(ready::of_error(old, blame, &message, now)), ..old.clone() };
    set(&mut status, ConditionReason::Error, message, now);
    status
}

/// Where the other side finds what it needs, as soon as that is known.
fn publish(status: &mut Status, wish: &Replication, seen: &Observed) {
    // Between iterations nobody looks at Service and Secret; what was published stays.
    if !matches!(wish.phase, Phase::Running(_)) {
        return;
    }
    let Mover::RsyncTls(rsync) = &wish.mover else {
        return;
    };
    if wish.owner.role == Role::Destination {
        status.address = seen.service.as_ref().and_then(|service| service.address.clone());
    }
    status.key_secret = match &rsync.key {
        KeySource::Generated(secret) if seen.key == crate::model::observed::Key::Valid => Some(secret.clone()),
        KeySource::Generated(_) | KeySource::Given(_) => None,
    };
}

/// Remembers a failed attempt.
fn fail(
    status: &mut Status,
    wish: &Replication,
    (attempt, next): (u32, Timestamp),
    (failure, words): (Failure, String),
    now: Timestamp,
) -> Event {
    let (next, why) = (to_seconds(next), failure.message.clone());
    let current = status.current.get_or_insert_with(|| CurrentSync::of(&wish.phase));
    current.failed_attempts = attempt;
    current.next_attempt = Some(next);
    current.last_failure = Some(failure);
    status.latest_mover = MoverStatus { result: Some(MoverResult::Failed), logs: Some(words) };
    let message = format!("attempt {attempt} failed: {why}; the next attempt begins at {next}");
    set(status, ConditionReason::Error, message, now);
    Event { reason: EventReason::TransferFailed, note: format!("attempt {attempt} failed: {why}") }
}

/// Ends the iteration in the status. Returns how long it took.
fn complete(status: &mut Status, wish: &Replication, now: Timestamp) -> Option<Duration> {
    let took = status.last_sync_start.and_then(|start| Duration::try_from(now.duration_since(start)).ok());
    status.last_duration = took.map(go_duration);
    status.last_sync = Some(to_seconds(now));
    status.next_sync = next_sync(wish, status.last_sync);
    status.last_manual = match &wish.phase {
        Phase::Running(running) => running.manual.clone(),
        Phase::Never | Phase::Idle { .. } => None,
    };
    status.last_sync_start = None;
    status.current = None;
    took
}

fn next_sync(wish: &Replication, last_sync: Option<Timestamp>) -> Option<Timestamp> {
    match &wish.trigger {
        Trigger::Schedule(schedule) => schedule.next_after(last_sync?),
        Trigger::Manual(_) | Trigger::Continuous => None,
    }
}

/// Never synchronized, or a whole interval of the schedule went by without a success.
fn is_late(wish: &Replication, last_sync: Option<Timestamp>, now: Timestamp) -> bool {
    let Some(last_sync) = last_sync else {
        return true;
    };
    let Trigger::Schedule(schedule) = &wish.trigger else {
        return false;
    };
    measures::deadline(schedule, last_sync).is_some_and(|deadline| deadline < now)
}

/// Adds to a message what takes too long. A user is told of each once: the condition remembers what was said.
fn complain(status: &mut Status, events: &mut Vec<Event>, mut message: String, late: &[Late]) -> String {
    for late in late {
        let (reason, note) = too_long(late);
        if matches!(late, Late::CopyTrigger(_)) {
            status.latest_mover = MoverStatus { result: Some(MoverResult::Failed), logs: Some(note.clone()) };
        }
        message = format!("{message}; {note}");
        if !status.condition.as_ref().is_some_and(|condition| condition.message.contains(&note)) {
            events.push(Event { reason, note });
        }
    }
    message
}

fn too_long(late: &Late) -> (EventReason, String) {
    match late {
        Late::Snapshot(name) => (
            EventReason::VolumeSnapshotNotBound,
            format!("VolumeSnapshot/{name} is not ready after 30 s; kubectl describe shows what its driver says"),
        ),
        Late::Claim(name) => (
            EventReason::PersistentVolumeClaimNotBound,
            format!(
                "PersistentVolumeClaim/{name} is not bound after 2 min; kubectl describe shows what its provisioner says"
            ),
        ),
        Late::Address(name) => (
            EventReason::NoServiceAddressAssigned,
            format!("Service/{name} has no address after 15 s; it is given one by the cluster's load balancer"),
        ),
        Late::CopyTrigger(claim) => (
            EventReason::SrcPVCTimeoutWaitingForCopyTrigger,
            format!("Timed out waiting for copy-trigger to be modified for pvc {claim}"),
        ),
    }
}

/// Whether the last success was for the present manual trigger, if there is one.
fn is_answered(status: &Status, wish: &Replication) -> bool {
    match &wish.trigger {
        Trigger::Manual(tag) => status.last_manual.as_ref() == Some(tag),
        Trigger::Schedule(_) | Trigger::Continuous => true,
    }
}

fn failed_attempts(status: &Status) -> u32 {
    status.current.as_ref().map_or(0, |current| current.failed_attempts)
}

fn events(old: &Status, new: &Status, wish: &Replication, plan: &Plan) -> Vec<Event> {
    let mut events: Vec<Event> = plan.steps.iter().filter_map(|step| event(step, wish)).collect();
    if let Some(address) = &new.address
        && old.address != new.address
    {
        let note = format!("listening on address {address} for incoming connections");
        events.push(Event { reason: EventReason::ServiceAddressAssigned, note });
    }
    events
}

fn event(step: &Step, wish: &Replication) -> Option<Event> {
    let (reason, note) = match step {
        Step::StartMover(run) => {
            let verb = match wish.owner.role {
                Role::Source => "transmit",
                Role::Destination => "receive",
            };
            (EventReason::TransferStarted, format!("starting Job/{} to {verb} data", run.job))
        }
        Step::TakeSnapshot(new) => (
            EventReason::VolumeSnapshotCreated,
            format!("created VolumeSnapshot/{} from PersistentVolumeClaim/{}", new.name, new.claim),
        ),
        Step::CreateClaim(new) => {
            let origin = match &new.origin {
                Origin::Empty => "to receive incoming data".to_owned(),
                Origin::Snapshot(snapshot) => format!("from VolumeSnapshot/{snapshot}"),
                Origin::Claim(claim) => format!("as a clone of PersistentVolumeClaim/{claim}"),
            };
            let note = format!("created PersistentVolumeClaim/{} {origin}", new.name);
            (EventReason::PersistentVolumeClaimCreated, note)
        }
        Step::AnswerCopyTrigger { claim, answer } => match answer {
            Answer::Waiting { .. } => (
                EventReason::SrcPVCWaitingForCopyTrigger,
                format!("waiting for copy-trigger of PersistentVolumeClaim/{claim} to be modified"),
            ),
            Answer::InProgress => (
                EventReason::SrcPVCCopyTriggerReceived,
                format!("copy-trigger of PersistentVolumeClaim/{claim} was modified, it is being copied"),
            ),
            Answer::Completed { trigger } => (
                EventReason::SrcPVCCopyUsingCopyTriggerCompleted,
                format!("PersistentVolumeClaim/{claim} was copied for copy-trigger {trigger:?}"),
            ),
        },
        _ => return None,
    };
    Some(Event { reason, note })
}

/// Sets the condition; its time changes only with its truth.
fn set(status: &mut Status, reason: ConditionReason, message: String, now: Timestamp) {
    let since = match &status.condition {
        Some(condition) if condition.reason.is_synchronizing() == reason.is_synchronizing() => condition.since,
        _ => to_seconds(now),
    };
    status.condition = Some(Condition { reason, message, since });
}

/// The API keeps whole seconds.
pub(super) fn to_seconds(time: Timestamp) -> Timestamp {
    time.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc)).unwrap_or(time)
}

/// A duration as Go's `time.Duration.String` writes it: `28.5s`, `1m50.2s`, `1h0m5s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let fraction = format!("{:09}", duration.subsec_nanos());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let small = format!("{rest}{point}{fraction}s");
    match (hours, minutes) {
        (0, 0) => small,
        (0, minutes) => format!("{minutes}m{small}"),
        (hours, minutes) => format!("{hours}h{minutes}m{small}"),
    }
}
