//! The part of a status that both kinds share, between the API's spelling and the model's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as ApiCondition, Time};

use crate::api::common::{CurrentSync as ApiCurrentSync, MoverStatus as ApiMoverStatus, SyncStatus};
use crate::model::status::{Condition, ConditionReason, CurrentSync, MoverResult, MoverStatus, Status};

const SYNCHRONIZING: &str = "Synchronizing";

/// What the API's status says.
pub(super) fn read(sync: &SyncStatus) -> Status {
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let conditions = sync.conditions.iter().flatten();
    Status {
        last_sync_start: time(&sync.last_sync_start_time),
        last_sync: time(&sync.last_sync_time),
        last_duration: sync.last_sync_duration.clone(),
        next_sync: time(&sync.next_sync_time),
        last_manual: sync.last_manual_sync.clone().filter(|tag| !tag.is_empty()),
        latest_mover: sync.latest_mover_status.as_ref().map(read_mover).unwrap_or_default(),
        condition: conditions.into_iter().find(|condition| condition.type_ == SYNCHRONIZING).and_then(read_condition),
        current: sync.current_sync.as_ref().map(|current| CurrentSync {
            manual: current.manual.clone(),
            failed_attempts: current.failed_attempts.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            next_attempt: time(&current.next_attempt_time),
        }),
        address: None,
        key_secret: None,
        image: None,
    }
}

/// Writes what both kinds share. Conditions of other types stay.
pub(super) fn write(sync: &mut SyncStatus, status: Status) {
    // Destructured, so that a new field cannot be forgotten.
    let Status {
        last_sync_start,
        last_sync,
        last_duration,
        next_sync,
        last_manual,
        latest_mover,
        condition,
        current,
        address: _,
        key_secret: _,
        image: _,
    } = status;
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
    sync.current_sync = current.map(|current| ApiCurrentSync {
        manual: current.manual,
        failed_attempts: (current.failed_attempts > 0)
            .then(|| i32::try_from(current.failed_attempts).unwrap_or(i32::MAX)),
        next_attempt_time: current.next_attempt.map(Time),
    });
    if let Some(condition) = condition {
        let conditions = sync.conditions.get_or_insert_default();
        conditions.retain(|other| other.type_ != SYNCHRONIZING);
        conditions.insert(0, write_condition(condition));
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
