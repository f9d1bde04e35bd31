//! PURE: what an object does now, and what went wrong, read from its status as Doppel or VolSync wrote it.
//!
//! Reasons are passed on as they are: a reason that a later operator invents is shown, too.

use doppel::api::common::SyncStatus;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use crate::object::{Kind, Method, Object};
use crate::text::one_line;

/// What an object does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) standing: Standing,
    /// A word of the API.
    pub(crate) reason: String,
    /// In words, with what to do about it.
    pub(crate) message: String,
    /// Since when, as far as that is known.
    pub(crate) since: Option<Timestamp>,
    pub(crate) server: Server,
}

/// Whether the copy that is asked for is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Standing {
    /// It is.
    Ready,
    /// Not yet; nobody has to do anything.
    Reconciling,
    /// It is not, and somebody should look.
    Stalled,
    /// A user holds it.
    Held,
    /// Nobody said.
    Unknown,
}

/// Who wrote the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Doppel,
    /// VolSync, or a Doppel that does not know `Ready` yet.
    VolSync,
    /// A provider outside of both.
    Provider,
    /// Nobody wrote one.
    Nobody,
}

/// What went wrong last, as long as it is not mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<Timestamp>,
    /// Whose fault it seems to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    pub(crate) message: String,
    /// How many entries were left out of a copy that is otherwise there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<i64>,
}

/// What this object does now.
pub(crate) fn of(object: &Object) -> State {
    let Some(status) = &object.status else {
        return unseen(object);
    };
    match condition(status, "Ready") {
        Some(ready) => by_ready(object, status, ready),
        None => by_synchronizing(object, status),
    }
}

/// What went wrong last, if it is not mended.
pub(crate) fn failure(object: &Object) -> Option<Failure> {
    let status = object.status.as_ref()?;
    let remembered = status.current_sync.as_ref().and_then(|current| current.last_failure.as_ref());
    if let Some(failure) = remembered {
        return Some(Failure {
            time: failure.time.as_ref().map(|time| time.0),
            fault: failure.fault.as_deref().map(one_line),
            message: failure.message.as_deref().map(one_line).unwrap_or_default(),
            left_out: failure.left_out,
        });
    }
    let mover = status.latest_mover_status.as_ref().filter(|mover| mover.result.as_deref() == Some("Failed"));
    let synchronizing = condition(status, "Synchronizing");
    let error =
        synchronizing.filter(|condition| condition.reason == "Error").map(|condition| condition.message.as_str());
    // Doppel forgets a failure when a synchronization succeeds; VolSync's mover status is the latest, whatever came of it.
    let logs = mover.and_then(|mover| mover.logs.as_deref()).map(last_line);
    let message = error.or(logs).or_else(|| mover.map(|_| "the latest mover failed"))?;
    let time = synchronizing.filter(|_| error.is_some()).map(|condition| condition.last_transition_time.0);
    Some(Failure { time, fault: None, message: one_line(message), left_out: None })
}

/// How many attempts failed in a row; absent where nobody counts.
pub(crate) fn failures(object: &Object) -> Option<i32> {
    let status = object.status.as_ref()?;
    let counted = status.current_sync.as_ref().and_then(|current| current.failed_attempts);
    counted.or_else(|| condition(status, "Ready").map(|_| 0))
}

/// When the next synchronization, or attempt at one, begins.
pub(crate) fn next(object: &Object) -> Option<Timestamp> {
    let status = object.status.as_ref()?;
    let attempt = status.current_sync.as_ref().and_then(|current| current.next_attempt_time.as_ref());
    attempt.or(status.next_sync_time.as_ref()).map(|time| time.0)
}

/// A condition of this type.
pub(crate) fn condition<'a>(status: &'a SyncStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn is_true(status: &SyncStatus, kind: &str) -> bool {
    condition(status, kind).is_some_and(|condition| condition.status == "True")
}

fn unseen(object: &Object) -> State {
    let (server, reason, message) = match &object.method {
        Method::External(provider) => (
            Server::Provider,
            "External",
            format!("it is left to the provider {provider:?}, which has not reported anything"),
        ),
        Method::One(_) | Method::Unclear => (
            Server::Nobody,
            "NotSeen",
            "no operator has looked at it: see whether one runs (kubectl -n doppel-system get pods) and what it logs"
                .to_owned(),
        ),
    };
    State { standing: Standing::Unknown, reason: reason.to_owned(), message, since: None, server }
}

fn by_ready(object: &Object, status: &SyncStatus, ready: &Condition) -> State {
    let standing = if is_true(status, "Ready") {
        Standing::Ready
    } else if is_true(status, "Stalled") {
        Standing::Stalled
    } else if is_true(status, "Reconciling") {
        Standing::Reconciling
    } else {
        Standing::Held
    };
    let observed = status.observed_generation;
    let mut message = one_line(&ready.message);
    if let (Some(observed), Some(generation)) = (observed, object.generation)
        && observed < generation
    {
        message = format!("the operator has not looked at the latest change of the spec yet; before that: {message}");
    }
    State {
        standing,
        reason: one_line(&ready.reason),
        message,
        since: Some(ready.last_transition_time.0),
        server: Server::Doppel,
    }
}

fn by_synchronizing(object: &Object, status: &SyncStatus) -> State {
    let Some(condition) = condition(status, "Synchronizing") else {
        return unseen(object);
    };
    let server = Server::VolSync;
    // While it is under way, its begin says more than the condition's time, which stays from one to the next.
    let begin = status.last_sync_start_time.as_ref().map(|time| time.0);
    let since = begin.unwrap_or(condition.last_transition_time.0);
    if object.paused && begin.is_some() {
        let message = "the mover is held; set spec.paused to false to let it go on".to_owned();
        return State { standing: Standing::Held, reason: "Paused".to_owned(), message, since: Some(since), server };
    }
    let mut message = one_line(&condition.message);
    if condition.reason == "SyncInProgress" {
        let what = match object.kind {
            Kind::Source => "a synchronization is under way",
            Kind::Destination => "a synchronization is under way: its mover waits for its source, or receives",
        };
        message = what.to_owned();
    }
    State { standing: Standing::Unknown, reason: one_line(&condition.reason), message, since: Some(since), server }
}

/// A mover's last words hold what ended it.
fn last_line(logs: &str) -> &str {
    logs.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("the latest mover failed and said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn every_standing_is_read_from_the_conditions() {
        for (fixture, standing, reason) in [
            ("idle", Standing::Ready, "WaitingForSchedule"),
            ("running", Standing::Reconciling, "MoverRunning"),
            ("failed", Standing::Stalled, "AttemptFailed"),
            ("paused", Standing::Held, "Paused"),
            ("queued", Standing::Reconciling, "Queued"),
            ("waiting", Standing::Reconciling, "WaitingForSnapshot"),
            ("never", Standing::Unknown, "NotSeen"),
            ("volsync-running", Standing::Unknown, "SyncInProgress"),
            ("volsync-error", Standing::Unknown, "Error"),
            ("external", Standing::Unknown, "External"),
        ] {
            let state = of(&fixtures::object(fixture));
            assert_eq!((state.standing, state.reason.as_str()), (standing, reason), "{fixture}");
        }
    }

    #[test]
    fn a_failure_is_told_with_whose_fault_it_is_until_it_is_mended() {
        let failed = failure(&fixtures::object("failed")).unwrap();
        assert_eq!(failed.fault.as_deref(), Some("Network"));
        assert!(failed.message.contains("no answer"), "{failed:?}");
        assert_eq!(failures(&fixtures::object("failed")), Some(4));
        for mended in ["idle", "running", "never"] {
            assert_eq!(failure(&fixtures::object(mended)), None, "{mended}");
        }
        assert_eq!(failures(&fixtures::object("idle")), Some(0));
    }

    #[test]
    fn of_an_object_of_volsync_the_movers_last_line_is_the_failure_and_nobody_counts() {
        let object = fixtures::object("volsync-failed");
        assert_eq!(failure(&object).unwrap().message, "rsync error: timeout in data send/receive (code 30)");
        assert_eq!(failures(&object), None);
        assert_eq!(failure(&fixtures::object("volsync-error")).unwrap().message, "capacity must be provided");
    }

    #[test]
    fn a_change_that_the_operator_has_not_seen_is_said_to_be_one() {
        let mut object = fixtures::object("idle");
        assert!(!of(&object).message.contains("has not looked"));
        object.generation = Some(9);
        assert!(of(&object).message.starts_with("the operator has not looked at the latest change"));
    }

    #[test]
    fn the_next_attempt_comes_before_the_next_synchronization() {
        let next = |fixture: &str| next(&fixtures::object(fixture)).map(|time| time.to_string());
        assert_eq!(next("failed").as_deref(), Some("2026-11-24T10:04:00Z"));
        assert_eq!(next("idle").as_deref(), Some("2026-11-25T03:00:00Z"));
        assert_eq!(next("paused"), None);
    }
}
