//! What a mover is doing, as its pod and its Job say.
//!
//! The container's end is in the pod's status at once; the Job says so about two seconds later (kubelet and Job
//! controller). So the pod is asked first, and the Job where there is no pod any more.

use doppel_contract::{Report, Verdict};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use crate::model::name;
use crate::model::observed::{MoverEnd, MoverState};

/// What VolSync runs in a destination's pod of rsync-tls.
const VOLSYNCS_RECEIVER: &str = "/mover-rsync-tls/server.sh";

/// The state of the newest of these pods, or of the Job.
pub(super) fn state(job: &Job, pods: &[Pod]) -> MoverState {
    let newest = newest(pods);
    let container = container_name(job);
    let status = newest.and_then(|pod| container_status(pod, container));
    if let Some(end) = volsyncs_receiver_end(job) {
        return MoverState::Ended(end);
    }
    if let Some(end) = status.and_then(container_end) {
        return MoverState::Ended(end);
    }
    if let Some(end) = job_end(job).or_else(|| newest.and_then(pod_end)) {
        return MoverState::Ended(end);
    }
    let is_running = status.and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some());
    match newest {
        Some(_) if is_running => MoverState::Running,
        Some(pod) => MoverState::Starting(obstacle(pod, status)),
        None => MoverState::Starting(None),
    }
}

/// The claim that a Job's mover reads or writes.
pub(super) fn claim(job: &Job) -> Option<String> {
    let volumes = job.spec.as_ref()?.template.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes.iter().find(|volume| volume.name == name::DATA_VOLUME)?;
    Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone())
}

/// The pod that counts.
pub(super) fn newest(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Whether a pod's mover may still read or write. Its container has ended before its phase says so.
pub(super) fn is_at_work(pod: &Pod, container: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = || container_status(pod, Some(container)).and_then(container_end).is_some();
    !matches!(phase, Some("Succeeded" | "Failed")) && !has_ended()
}

fn container_end(status: &ContainerStatus) -> Option<MoverEnd> {
    Some(to_end(status.state.as_ref()?.terminated.as_ref()?))
}

fn to_end(terminated: &ContainerStateTerminated) -> MoverEnd {
    let report = terminated.message.as_deref().and_then(|text| Report::from_termination_message(text).ok());
    // Both are part of the contract: neither an exit code alone nor a report that contradicts it is a success.
    let is_complete = report.as_ref().is_some_and(|report| report.verdict == Verdict::Complete);
    MoverEnd {
        at: terminated.finished_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        success: terminated.exit_code == 0 && is_complete,
        report: report.map(Box::new),
        reason: match terminated.reason.as_deref() {
            Some("Error") | None => format!("exit code {}", terminated.exit_code),
            Some(reason) => reason.to_owned(),
        },
    }
}

/// A destination's mover of VolSync's that has succeeded. It does so only when its source has told it that all is there, and
/// that source, which counts this as a success, does not come again: what was received is published on VolSync's word. A
/// source's mover is not believed: VolSync puts two exit codes into one byte, so that it may end with 0 after a failure.
/// Neither is one that was held for debugging, which ends with 0 whatever it did.
fn volsyncs_receiver_end(job: &Job) -> Option<MoverEnd> {
    let (spec, status) = (job.spec.as_ref()?, job.status.as_ref()?);
    let container = spec.template.spec.as_ref()?.containers.first()?;
    let is_receiver = container.command.as_ref()?.last()? == VOLSYNCS_RECEIVER;
    let is_held = container.env.iter().flatten().any(|variable| variable.name == "DEBUG_MOVER");
    if !is_receiver || is_held || status.succeeded.is_none_or(|pods| pods == 0) {
        return None;
    }
    let at = status.completion_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Some(MoverEnd { at, success: true, report: None, reason: "it was VolSync's, and had received all".to_owned() })
}

/// A Job whose pod is gone still says that it has ended. What its mover did is not known any more: that is no success.
fn job_end(job: &Job) -> Option<MoverEnd> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended = conditions
        .iter()
        .find(|condition| condition.status == "True" && matches!(condition.type_.as_str(), "Complete" | "Failed"))?;
    Some(MoverEnd {
        at: ended.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        success: false,
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

/// Why a pod does not run yet: the kubelet's reason if it is more than "in the making", else the scheduler's.
fn obstacle(pod: &Pod, status: Option<&ContainerStatus>) -> Option<String> {
    let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref());
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

/// The mover's container. Others may be beside it, put there by a service mesh.
fn container_name(job: &Job) -> Option<&str> {
    Some(job.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.name.as_str())
}

fn container_status<'a>(pod: &'a Pod, name: Option<&str>) -> Option<&'a ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
    statuses.iter().find(|status| Some(status.name.as_str()) == name)
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
        state(&job(), std::slice::from_ref(pod))
    }

    fn job() -> Job {
        let container = json!({"name": "rsync-tls", "image": "mover:1"});
        serde_json::from_value(json!({"metadata": {}, "spec": {"template": {"spec": {"containers": [container]}}}}))
            .unwrap()
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
        // So would a container end that somebody has held to look around in it.
        let MoverState::Ended(held) = terminated(0, "Completed", "") else { panic!() };
        assert!(!held.success && held.report.is_none());
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

    #[test]
    fn a_job_that_is_complete_without_a_pod_that_says_what_was_done_is_no_success() {
        let job: Job = serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [
            {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-23T10:00:00Z"}
        ]}}))
        .unwrap();
        let MoverState::Ended(end) = state(&job, &[]) else { panic!() };
        assert_eq!((end.success, end.reason.as_str()), (false, "Complete"));
    }

    #[test]
    fn of_volsyncs_movers_a_receiver_that_succeeded_is_believed_and_no_other() {
        let job = |script: &str, variable: &str, succeeded: i32| -> Job {
            let container = json!({"name": "rsync-tls", "command": ["/bin/bash", "-c", script],
                "env": [{"name": variable, "value": "1"}]});
            let status = json!({"succeeded": succeeded, "completionTime": "2026-11-23T10:00:00Z", "conditions": [
                {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-23T10:00:00Z"}]});
            let spec = json!({"template": {"spec": {"containers": [container]}}});
            serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
        };
        for (script, variable, succeeded, expected) in [
            ("/mover-rsync-tls/server.sh", "PRIVILEGED_MOVER", 1, true),
            ("/mover-rsync-tls/server.sh", "PRIVILEGED_MOVER", 0, false),
            ("/mover-rsync-tls/server.sh", "DEBUG_MOVER", 1, false),
            ("/mover-rsync-tls/client.sh", "PRIVILEGED_MOVER", 1, false),
        ] {
            let MoverState::Ended(end) = state(&job(script, variable, succeeded), &[]) else { panic!() };
            assert_eq!((end.success, end.report.is_none()), (expected, true), "{script} {variable} {succeeded}");
        }
    }

    #[test]
    fn containers_beside_the_mover_do_not_speak_for_it() {
        let mut pod = pod(&json!({"running": {}}));
        let statuses = pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap();
        let mut beside = statuses[0].clone();
        beside.name = "mesh".to_owned();
        beside.state = serde_json::from_value(json!({"terminated": {"exitCode": 0, "message": COMPLETE}})).unwrap();
        statuses.insert(0, beside);
        assert_eq!(state_of(&pod), MoverState::Running);
    }
}
