//! What a mover is doing, as its pod and its Job say.
//!
//! The container's end is in the pod's status at once; the Job says so about two seconds later (kubelet and Job
//! controller). So the pod is asked first, and the Job where there is no pod any more.

use doppel_contract::{Report, Verdict};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use crate::model::observed::{MoverEnd, MoverState};

/// The state of the newest of these pods, or of the Job.
pub(super) fn state(job: &Job, pods: &[Pod]) -> MoverState {
    let newest = pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    if let Some(end) = newest.and_then(container_end) {
        return MoverState::Ended(end);
    }
    if let Some(end) = job_end(job).or_else(|| newest.and_then(pod_end)) {
        return MoverState::Ended(end);
    }
    match newest {
        Some(pod) if is_running(pod) => MoverState::Running,
        Some(pod) => MoverState::Starting(obstacle(pod)),
        None => MoverState::Starting(None),
    }
}

fn container_end(pod: &Pod) -> Option<MoverEnd> {
    let terminated = first_container(pod)?.state.as_ref()?.terminated.as_ref()?;
    Some(to_end(terminated))
}

fn to_end(terminated: &ContainerStateTerminated) -> MoverEnd {
    let report = terminated.message.as_deref().and_then(|text| Report::from_termination_message(text).ok());
    // The exit code is part of the contract; a report that contradicts it is not a success.
    let contradicted = report.as_ref().is_some_and(|report| report.verdict != Verdict::Complete);
    MoverEnd {
        at: terminated.finished_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        success: terminated.exit_code == 0 && !contradicted,
        report: report.map(Box::new),
        reason: match terminated.reason.as_deref() {
            Some("Error") | None => format!("exit code {}", terminated.exit_code),
            Some(reason) => reason.to_owned(),
        },
    }
}

/// A Job whose pod is gone still says whether it succeeded.
fn job_end(job: &Job) -> Option<MoverEnd> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended = conditions
        .iter()
        .find(|condition| condition.status == "True" && matches!(condition.type_.as_str(), "Complete" | "Failed"))?;
    Some(MoverEnd {
        at: ended.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        success: ended.type_ == "Complete",
        report: None,
        reason: ended.reason.clone().unwrap_or_else(|| ended.type_.clone()),
    })
}

/// A pod that failed without its container, evicted or refused by the node.
fn pod_end(pod: &Pod) -> Option<MoverEnd> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let text = [status.reason.as_deref(), status.message.as_deref()];
    Some(MoverEnd {
        at: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        success: false,
        report: None,
        reason: text.into_iter().flatten().collect::<Vec<_>>().join(": "),
    })
}

fn is_running(pod: &Pod) -> bool {
    first_container(pod).and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some())
}

/// Why a pod does not run yet: the kubelet's reason if it is more than "in the making", else the scheduler's.
fn obstacle(pod: &Pod) -> Option<String> {
    let waiting = first_container(pod).and_then(|status| status.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting
        && let Some(reason) = &waiting.reason
        && !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing")
    {
        return Some(match &waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.clone(),
        });
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let unscheduled =
        conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    unscheduled.message.clone()
}

fn first_container(pod: &Pod) -> Option<&k8s_openapi::api::core::v1::ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(state: &serde_json::Value) -> Pod {
        let status = json!({"phase": "Pending", "containerStatuses": [
            {"name": "rsync-tls", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}
        ]});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    fn terminated(code: i32, reason: &str, message: &str) -> MoverState {
        let state = json!({"terminated": {"exitCode": code, "reason": reason, "message": message,
            "finishedAt": "2026-11-23T10:00:00Z"}});
        state_of(&pod(&state))
    }

    fn state_of(pod: &Pod) -> MoverState {
        state(&Job::default(), std::slice::from_ref(pod))
    }

    const COMPLETE: &str = r#"{"verdict":{"result":"complete"},"tally":{},"elapsedMs":5}"#;
    const INCOMPLETE: &str =
        r#"{"verdict":{"result":"incomplete","count":1,"first":[{"path":"a","why":"b"}]},"tally":{},"elapsedMs":5}"#;

    #[test]
    fn a_container_that_ended_well_is_a_success_before_the_job_says_so() {
        let MoverState::Ended(end) = terminated(0, "Completed", COMPLETE) else { panic!() };
        assert!(end.success && end.report.is_some());
    }

    #[test]
    fn an_exit_code_without_a_complete_report_is_no_success() {
        for state in [terminated(0, "Completed", INCOMPLETE), terminated(3, "Error", INCOMPLETE)] {
            let MoverState::Ended(end) = state else { panic!() };
            assert!(!end.success && end.report.is_some());
        }
        let MoverState::Ended(killed) = terminated(137, "OOMKilled", "") else { panic!() };
        assert_eq!((killed.success, killed.report, killed.reason.as_str()), (false, None, "OOMKilled"));
    }

    #[test]
    fn a_pod_that_cannot_start_says_why() {
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
        assert_eq!(state_of(&pod(&waiting)), MoverState::Starting(Some("ImagePullBackOff: no such image".to_owned())));
        assert_eq!(state_of(&pod(&json!({"waiting": {"reason": "ContainerCreating"}}))), MoverState::Starting(None));
        assert_eq!(state_of(&pod(&json!({"running": {}}))), MoverState::Running);
    }

    #[test]
    fn a_job_whose_pod_is_gone_still_tells_how_it_ended() {
        let job: Job = serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [
            {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "lastTransitionTime": "2026-11-23T10:00:00Z"}
        ]}}))
        .unwrap();
        let MoverState::Ended(end) = state(&job, &[]) else { panic!() };
        assert_eq!((end.success, end.reason.as_str()), (false, "DeadlineExceeded"));
    }
}
