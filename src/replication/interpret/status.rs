//! The part of a status that both kinds share, between the API's spelling and the model's.

use doppel_contract::{Line, Nothing, Snapshot};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as ApiCondition, Time};

use crate::api::common::{
    CurrentSync as ApiCurrentSync, LastFailure, MoverStatus as ApiMoverStatus, PlaceStatus, ProgressStatus,
    RepositoryStatus, SnapshotStatus, SyncStatus,
};
use crate::crd::MOST_INT64;
use crate::model::progress::Progress;
use crate::model::queue::{Place, Turn};
use crate::model::readiness::{Blame, Failure, Readiness, ReadyReason, ReadyState};
use crate::model::replication::Beginner;
use crate::model::status::{Catalogue, Condition, ConditionReason, CurrentSync, MoverResult, MoverStatus, Status};

const SYNCHRONIZING: &str = "Synchronizing";
const READY: &str = "Ready";
const RECONCILING: &str = "Reconciling";
const STALLED: &str = "Stalled";
/// Who began an iteration, where that was not Doppel.
const VOLSYNC: &str = "VolSync";

/// What the API's status says.
pub(super) fn read(sync: &SyncStatus) -> Status {
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let conditions = sync.conditions.as_deref().unwrap_or_default();
    Status {
        observed_generation: sync.observed_generation,
        last_sync_start: time(&sync.last_sync_start_time),
        last_sync: time(&sync.last_sync_time),
        last_duration: sync.last_sync_duration.clone(),
        next_sync: time(&sync.next_sync_time),
        last_manual: sync.last_manual_sync.clone().filter(|tag| !tag.is_empty()),
        latest_mover: sync.latest_mover_status.as_ref().map(read_mover).unwrap_or_default(),
        condition: find(conditions, SYNCHRONIZING).and_then(read_condition),
        readiness: read_readiness(conditions),
        current: sync.current_sync.as_ref().map(|current| CurrentSync {
            begun_by: match current.begun_by.as_deref() {
                Some(VOLSYNC) => Beginner::VolSync,
                _ => Beginner::Doppel,
            },
            manual: current.manual.clone(),
            failed_attempts: current.failed_attempts.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            next_attempt: time(&current.next_attempt_time),
            last_failure: current.last_failure.as_ref().and_then(read_failure),
            turn: read_turn(current),
            progress: current.progress.as_ref().and_then(read_progress),
        }),
        address: None,
        key_secret: None,
        image: None,
        last_pruned: None,
        last_unlocked: None,
        catalogue: sync.repository.as_ref().map(read_catalogue),
    }
}

/// Writes what both kinds share. Conditions of other types stay.
pub(super) fn write(sync: &mut SyncStatus, status: Status) {
    // Destructured, so that a new field cannot be forgotten.
    let Status {
        observed_generation,
        last_sync_start,
        last_sync,
        last_duration,
        next_sync,
        last_manual,
        latest_mover,
        condition,
        readiness,
        current,
        address: _,
        key_secret: _,
        image: _,
        last_pruned: _,
        last_unlocked: _,
        catalogue,
    } = status;
    sync.observed_generation = observed_generation;
    sync.last_sync_start_time = last_sync_start.map(Time);
    sync.last_sync_time = last_sync.map(Time);
    sync.last_sync_duration = last_duration;
    sync.next_sync_time = next_sync.map(Time);
    sync.last_manual_sync = last_manual;
    sync.latest_mover_status = Some(ApiMoverStatus {
        result: latest_mover.result.map(|result| {
            match result {
                MoverResult::Successful => "Successful",
                MoverResult::Failed => "Failed",
            }
            .to_owned()
        }),
        logs: latest_mover.logs,
    });
    sync.current_sync = current.map(write_current);
    sync.repository = catalogue.as_ref().map(write_catalogue);
    let mut conditions: Vec<_> = condition.map(write_condition).into_iter().collect();
    conditions.extend(readiness.into_iter().flat_map(|readiness| write_readiness(&readiness, observed_generation)));
    if !conditions.is_empty() {
        let others = sync.conditions.take().unwrap_or_default();
        let ours = [SYNCHRONIZING, READY, RECONCILING, STALLED];
        conditions.extend(others.into_iter().filter(|other| !ours.contains(&other.type_.as_str())));
        sync.conditions = Some(conditions);
    }
}

fn write_current(current: CurrentSync) -> ApiCurrentSync {
    let (queued_time, place) = match current.turn {
        None => (None, None),
        Some(Turn::Waiting { since }) => (Some(Time(since)), None),
        Some(Turn::Place(Place { since, storage_class, node })) => {
            (None, Some(PlaceStatus { time: Some(Time(since)), storage_class_name: storage_class, node_name: node }))
        }
    };
    ApiCurrentSync {
        begun_by: match current.begun_by {
            Beginner::VolSync => Some(VOLSYNC.to_owned()),
            Beginner::Doppel => None,
        },
        manual: current.manual,
        failed_attempts: (current.failed_attempts > 0)
            .then(|| i32::try_from(current.failed_attempts).unwrap_or(i32::MAX)),
        next_attempt_time: current.next_attempt.map(Time),
        last_failure: current.last_failure.map(|failure| LastFailure {
            time: Some(Time(failure.at)),
            fault: Some(failure.blame.as_str().to_owned()),
            message: Some(failure.message),
            left_out: (failure.left_out > 0).then(|| i64::try_from(failure.left_out).unwrap_or(i64::MAX)),
        }),
        queued_time,
        place,
        progress: current.progress.as_ref().map(write_progress),
    }
}

fn write_progress(progress: &Progress) -> ProgressStatus {
    let number = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX).min(MOST_INT64));
    let Progress { at, phase, entries, entries_total, bytes, bytes_total, rate } = *progress;
    ProgressStatus {
        time: Some(Time(at)),
        phase: Some(Progress::phase_name(phase).to_owned()),
        entries: number(entries),
        entries_total: entries_total.and_then(number),
        bytes: number(bytes),
        bytes_total: bytes_total.and_then(number),
        bytes_per_second: rate.and_then(number),
        remaining_seconds: progress.remaining().map(|remaining| remaining.as_secs()).and_then(number),
    }
}

fn read_progress(progress: &ProgressStatus) -> Option<Progress> {
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Some(Progress {
        at: progress.time.as_ref()?.0,
        phase: Progress::parse_phase(progress.phase.as_deref()?)?,
        entries: number(progress.entries)?,
        entries_total: number(progress.entries_total),
        bytes: number(progress.bytes)?,
        bytes_total: number(progress.bytes_total),
        rate: number(progress.bytes_per_second),
    })
}

fn read_turn(current: &ApiCurrentSync) -> Option<Turn> {
    if let Some(PlaceStatus { time, storage_class_name, node_name }) = &current.place {
        let since = time.as_ref()?.0;
        return Some(Turn::Place(Place { since, storage_class: storage_class_name.clone(), node: node_name.clone() }));
    }
    Some(Turn::Waiting { since: current.queued_time.as_ref()?.0 })
}

fn write_catalogue(catalogue: &Catalogue) -> RepositoryStatus {
    let Catalogue { snapshots, newest, nothing } = catalogue;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).min(MOST_INT64);
    let newest = newest.iter().map(|snapshot| SnapshotStatus {
        id: Some(snapshot.id.to_string()),
        time: snapshot.time.to_string().parse().ok().map(Time),
        bytes: snapshot.bytes.map(number),
        incomplete: snapshot.incomplete.then_some(true),
    });
    RepositoryStatus {
        // None that it knows of: a restore, and a run that could not forget, do not count them.
        snapshots: (*snapshots > 0).then(|| number(*snapshots)),
        newest: Some(newest.collect()),
        nothing: nothing.map(|nothing| nothing_name(nothing).to_owned()),
    }
}

fn read_catalogue(repository: &RepositoryStatus) -> Catalogue {
    let number = |number: i64| u64::try_from(number).ok();
    let newest = repository.newest.iter().flatten().map(|snapshot| Snapshot {
        id: Line::new(snapshot.id.as_deref().unwrap_or_default()),
        time: Line::new(snapshot.time.as_ref().map_or_else(String::new, |time| time.0.to_string())),
        bytes: snapshot.bytes.and_then(number),
        incomplete: snapshot.incomplete == Some(true),
    });
    let named = |nothing: &Nothing| Some(nothing_name(*nothing)) == repository.nothing.as_deref();
    Catalogue {
        snapshots: repository.snapshots.and_then(number).unwrap_or(0),
        newest: newest.collect(),
        nothing: [Nothing::EmptyVolume, Nothing::NoRepository, Nothing::NoSnapshot, Nothing::NoneEligible]
            .into_iter()
            .find(named),
    }
}

fn nothing_name(nothing: Nothing) -> &'static str {
    match nothing {
        Nothing::EmptyVolume => "EmptyVolume",
        Nothing::NoRepository => "NoRepository",
        Nothing::NoSnapshot => "NoSnapshot",
        Nothing::NoneEligible => "NoneEligible",
    }
}

fn find<'a>(conditions: &'a [ApiCondition], kind: &str) -> Option<&'a ApiCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn read_failure(failure: &LastFailure) -> Option<Failure> {
    Some(Failure {
        at: failure.time.as_ref()?.0,
        blame: Blame::parse(failure.fault.as_deref()?)?,
        message: failure.message.clone().unwrap_or_default(),
        left_out: failure.left_out.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
    })
}

fn read_readiness(conditions: &[ApiCondition]) -> Option<Readiness> {
    let ready = find(conditions, READY)?;
    let is_true = |kind| find(conditions, kind).is_some_and(|condition| condition.status == "True");
    let state = match (is_true(READY), is_true(RECONCILING), is_true(STALLED)) {
        (true, _, _) => ReadyState::Ready,
        (false, _, true) => ReadyState::Stalled,
        (false, true, false) => ReadyState::Reconciling,
        (false, false, false) => ReadyState::Held,
    };
    Some(Readiness {
        state,
        reason: ReadyReason::parse(&ready.reason)?,
        message: ready.message.clone(),
        since: ready.last_transition_time.0,
    })
}

/// `Reconciling` and `Stalled` are there only while they are true: kstatus takes an object without them for settled.
fn write_readiness(readiness: &Readiness, observed_generation: Option<i64>) -> Vec<ApiCondition> {
    let condition = |kind: &str, status: &str| ApiCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: readiness.reason.as_str().to_owned(),
        message: readiness.message.clone(),
        last_transition_time: Time(readiness.since),
        observed_generation,
    };
    match readiness.state {
        ReadyState::Ready => vec![condition(READY, "True")],
        ReadyState::Reconciling => vec![condition(READY, "False"), condition(RECONCILING, "True")],
        ReadyState::Stalled => vec![condition(READY, "False"), condition(STALLED, "True")],
        ReadyState::Held => vec![condition(READY, "False")],
    }
}

fn read_mover(mover: &ApiMoverStatus) -> MoverStatus {
    MoverStatus {
        result: match mover.result.as_deref() {
            Some("Successful") => Some(MoverResult::Successful),
            Some("Failed") => Some(MoverResult::Failed),
            _ => None,
        },
        logs: mover.logs.clone(),
    }
}

fn read_condition(condition: &ApiCondition) -> Option<Condition> {
    Some(Condition {
        reason: ConditionReason::parse(&condition.reason)?,
        message: condition.message.clone(),
        since: condition.last_transition_time.0,
    })
}

fn write_condition(condition: Condition) -> ApiCondition {
    ApiCondition {
        type_: SYNCHRONIZING.to_owned(),
        status: if condition.reason.is_synchronizing() { "True" } else { "False" }.to_owned(),
        reason: condition.reason.as_str().to_owned(),
        message: condition.message,
        last_transition_time: Time(condition.since),
        observed_generation: None,
    }
}
