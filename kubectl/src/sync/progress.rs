//! PURE: how far a synchronization is that was asked for, from the object's status.

use doppel::api::common::SyncStatus;
use jiff::Timestamp;

use crate::object::Object;
use crate::state::{self, Server, Standing, State};
use crate::text;

/// What was asked for, and what the world was like then.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The value of spec.trigger.manual.
    pub(super) tag: String,
    /// How many failed attempts in a row are a failure.
    attempts: u32,
    /// The status before.
    before: SyncStatus,
}

/// How far it is. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The operator has not begun it.
    Asked,
    /// It is under way.
    Begun,
    Done,
    Failed,
}

impl Asked {
    pub(super) fn new(tag: String, object: &Object, attempts: u32) -> Self {
        Self { tag, attempts, before: object.sync() }
    }
}

/// What there is to be said of a synchronization that was done and moved nothing: those of repositories are, on first deployments.
pub(crate) fn nothing(status: &SyncStatus) -> Option<String> {
    Some(match status.repository.as_ref()?.nothing.as_deref()? {
        "EmptyVolume" => "nothing was backed up: the volume is empty".to_owned(),
        "NoRepository" => "nothing was restored: there is no repository".to_owned(),
        "NoSnapshot" => "nothing was restored: the repository has no snapshot".to_owned(),
        "NoneEligible" => "nothing was restored: no snapshot is as old as was asked for".to_owned(),
        other => format!("nothing was moved: {}", text::words(other)),
    })
}

/// How far it is, and a line that says so.
pub(super) fn of(asked: &Asked, former: Stage, object: &Object) -> (Stage, String) {
    let now = object.sync();
    let state = state::of(object);
    let stage = stage(asked, former, &now, state.server);
    if stage == Stage::Done {
        let took = now.last_sync_duration.as_deref().map(text::one_line).unwrap_or_default();
        let moved = nothing(&now).map_or_else(String::new, |nothing| format!("; {nothing}"));
        return (stage, format!("synchronized, in {took}{moved}"));
    }
    if has_failed(asked, &now) || is_refused(&state) {
        return (Stage::Failed, "failed".to_owned());
    }
    let doing = format!("{}: {}", text::words(&state.reason), state.message);
    let line = match (stage, former_run(asked, &now)) {
        (Stage::Asked, true) => format!("waits for the synchronization that is under way ({doing})"),
        (Stage::Asked, false) => "waits for the operator to begin".to_owned(),
        _ => doing,
    };
    (stage, line)
}

/// Why it failed, and what comes next.
pub(super) fn why(object: &Object, now: Timestamp) -> String {
    let state = state::of(object);
    let failure = match state::failure(object) {
        Some(failure) if !is_refused(&state) => failure,
        _ => return state.message,
    };
    let fault = failure.fault.map(|fault| format!(" (fault: {fault})")).unwrap_or_default();
    let current = object.sync().current_sync;
    let next = match current.and_then(|current| current.next_attempt_time) {
        Some(next) => format!("; the operator tries again at {}", text::moment(next.0, now)),
        None => "; the operator goes on trying".to_owned(),
    };
    format!("{}{fault}{next}", failure.message)
}

fn stage(asked: &Asked, former: Stage, now: &SyncStatus, server: Server) -> Stage {
    let ended = now.last_sync_time.is_some() && now.last_sync_time != asked.before.last_sync_time;
    if now.last_manual_sync.as_ref() == Some(&asked.tag)
        // VolSync forgets the value where it was taken back meanwhile; what began has ended all the same.
        || (former == Stage::Begun && ended && now.last_sync_start_time.is_none())
    {
        return Stage::Done;
    }
    let begun = match (server, &now.current_sync) {
        // Doppel says for which value it began.
        (Server::Doppel, Some(current)) => current.manual.as_ref() == Some(&asked.tag),
        (Server::Doppel, None) => false,
        // VolSync takes the value for answered by whatever is under way.
        _ => now.last_sync_start_time.is_some(),
    };
    if begun || former == Stage::Begun { Stage::Begun } else { Stage::Asked }
}

/// Whether what is under way began before.
fn former_run(asked: &Asked, now: &SyncStatus) -> bool {
    now.last_sync_start_time.is_some() && now.last_sync_start_time == asked.before.last_sync_start_time
}

/// Whether so many attempts failed since. Those of a synchronization that was under way count from then on.
fn has_failed(asked: &Asked, now: &SyncStatus) -> bool {
    let count = |status: &SyncStatus| {
        let counted = status.current_sync.as_ref().and_then(|current| current.failed_attempts);
        counted.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    };
    let before = if former_run(asked, now) { count(&asked.before) } else { 0 };
    if count(now).saturating_sub(before) >= asked.attempts {
        return true;
    }
    // VolSync does not count: a failure is seen when the mover's status changes to one.
    let is_failed = now.latest_mover_status.as_ref().is_some_and(|mover| mover.result.as_deref() == Some("Failed"));
    let is_counted = state_is_doppels(now);
    is_failed && !is_counted && now.latest_mover_status != asked.before.latest_mover_status
}

fn state_is_doppels(status: &SyncStatus) -> bool {
    state::condition(status, "Ready").is_some()
}

/// Whether an object is stalled for something else than attempts that failed, which are counted.
fn is_refused(state: &State) -> bool {
    state.standing == Standing::Stalled && !matches!(state.reason.as_str(), "AttemptFailed" | "Incomplete")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::fixtures;

    const TAG: &str = "kubectl-doppel-1";

    fn asked(before: &str, attempts: u32) -> Asked {
        Asked::new(TAG.to_owned(), &fixtures::object(before), attempts)
    }

    fn changed(fixture: &str, change: impl FnOnce(&mut SyncStatus)) -> Object {
        let mut object = fixtures::object(fixture);
        change(object.status.get_or_insert_default());
        object
    }

    fn time(text: &str) -> Option<Time> {
        Some(Time(text.parse().unwrap()))
    }

    #[test]
    fn it_has_begun_when_the_operator_says_for_which_value() {
        let object = changed("running", |status| {
            status.current_sync.get_or_insert_default().manual = Some(TAG.to_owned());
        });
        let (stage, line) = of(&asked("idle", 1), Stage::Asked, &object);
        assert_eq!(stage, Stage::Begun);
        assert!(line.starts_with("mover running: the mover of Job"), "{line}");
    }

    #[test]
    fn one_that_is_under_way_is_not_taken_for_the_one_that_was_asked_for() {
        let (stage, line) = of(&asked("running", 1), Stage::Asked, &fixtures::object("running"));
        assert_eq!(stage, Stage::Asked);
        assert!(line.starts_with("waits for the synchronization that is under way"), "{line}");
        // Its end is not the end of the other.
        let ended = changed("idle", |status| status.last_sync_time = time("2026-11-24T09:59:00Z"));
        assert_eq!(of(&asked("running", 1), Stage::Asked, &ended).0, Stage::Asked);
    }

    #[test]
    fn it_is_done_when_its_value_is_answered() {
        let object = changed("idle", |status| status.last_manual_sync = Some(TAG.to_owned()));
        let done = of(&asked("idle", 1), Stage::Asked, &object);
        assert_eq!(done, (Stage::Done, "synchronized, in 1m50.2s".to_owned()));
    }

    #[test]
    fn one_that_moved_nothing_says_so() {
        let object = changed("idle", |status| {
            status.last_manual_sync = Some(TAG.to_owned());
            status.repository = serde_json::from_value(serde_json::json!({"nothing": "EmptyVolume"})).unwrap();
        });
        let (_, line) = of(&asked("idle", 1), Stage::Asked, &object);
        assert_eq!(line, "synchronized, in 1m50.2s; nothing was backed up: the volume is empty");
    }

    #[test]
    fn volsyncs_end_counts_although_the_value_was_taken_back() {
        let object = changed("volsync-idle", |status| {
            status.last_manual_sync = None;
            status.last_sync_time = time("2026-11-24T09:59:00Z");
        });
        assert_eq!(of(&asked("volsync-running", 1), Stage::Begun, &object).0, Stage::Done);
        assert_eq!(
            of(&asked("volsync-running", 1), Stage::Asked, &fixtures::object("volsync-running")).0,
            Stage::Begun
        );
    }

    #[test]
    fn as_many_failed_attempts_as_were_allowed_are_a_failure() {
        let failed = |attempts: i32| {
            changed("failed", |status| {
                let current = status.current_sync.get_or_insert_default();
                current.manual = Some(TAG.to_owned());
                current.failed_attempts = Some(attempts);
            })
        };
        assert_eq!(of(&asked("idle", 1), Stage::Begun, &failed(1)).0, Stage::Failed);
        assert_eq!(of(&asked("idle", 3), Stage::Begun, &failed(2)).0, Stage::Begun);
        assert_eq!(of(&asked("idle", 3), Stage::Begun, &failed(3)).0, Stage::Failed);
        // Failures from before it was asked for are not held against it.
        assert_eq!(of(&asked("failed", 1), Stage::Asked, &fixtures::object("failed")).0, Stage::Asked);
        let why = why(&failed(1), fixtures::now());
        assert!(why.contains("no answer from 203.0.113.7") && why.contains("(fault: Network)"), "{why}");
        assert!(why.ends_with("tries again at 2026-11-24T10:04:00Z, in 4m"), "{why}");
    }

    #[test]
    fn a_failure_of_volsyncs_mover_is_seen_once_it_is_new() {
        assert_eq!(
            of(&asked("volsync-running", 1), Stage::Begun, &fixtures::object("volsync-failed")).0,
            Stage::Failed
        );
        assert_eq!(of(&asked("volsync-failed", 1), Stage::Begun, &fixtures::object("volsync-failed")).0, Stage::Begun);
    }

    #[test]
    fn what_is_wrong_with_the_spec_ends_the_wait() {
        let object = changed("failed", |status| {
            status.current_sync = None;
            for condition in status.conditions.iter_mut().flatten() {
                let reason = if condition.type_ == "Synchronizing" { "Error" } else { "SpecInvalid" };
                condition.reason = reason.to_owned();
                condition.message = "spec.rsyncTLS.capacity must be provided".to_owned();
            }
        });
        assert_eq!(of(&asked("idle", 9), Stage::Asked, &object).0, Stage::Failed);
        assert_eq!(why(&object, fixtures::now()), "spec.rsyncTLS.capacity must be provided", "nothing is tried again");
    }
}
