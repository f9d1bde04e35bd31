//! PURE: what an object is made of, each part as one line: Jobs, pods, Services, claims, snapshots; and warnings about them.

use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, PersistentVolumeClaim, Pod, PodStatus, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::text::one_line;

/// A part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) uid: String,
    /// What it is like.
    pub(super) state: String,
    /// Since when, where that tells something.
    pub(super) since: Option<Timestamp>,
    /// What keeps it from being as it should be.
    pub(super) trouble: Option<String>,
}

/// A warning about one of them, or about the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warning {
    pub(super) at: Option<Timestamp>,
    pub(super) reason: String,
    /// Kind and name.
    pub(super) about: String,
    pub(super) note: String,
    /// How often.
    pub(super) count: i32,
}

impl Warning {
    fn says_the_same_as(&self, other: &Self) -> bool {
        (&self.reason, &self.about, &self.note) == (&other.reason, &other.about, &other.note)
    }
}

impl Child {
    fn new(kind: &'static str, metadata: ObjectMeta, state: String) -> Self {
        let name = metadata.name.unwrap_or_default();
        Self { kind, name, uid: metadata.uid.unwrap_or_default(), state, since: None, trouble: None }
    }
}

impl From<Job> for Child {
    fn from(job: Job) -> Self {
        let status = job.status.unwrap_or_default();
        let is_held = job.spec.and_then(|spec| spec.parallelism) == Some(0);
        let state = match (status.succeeded, status.failed, status.active) {
            (Some(1..), _, _) => "succeeded",
            _ if is_held => "held, without a pod",
            (_, _, Some(1..)) => "active",
            (_, Some(1..), _) => "failed",
            _ => "has no pod yet",
        };
        let since = status.completion_time.or(status.start_time).map(|time| time.0);
        Self { since, ..Self::new("Job", job.metadata, state.to_owned()) }
    }
}

impl From<Pod> for Child {
    fn from(pod: Pod) -> Self {
        let status = pod.status.unwrap_or_default();
        let phase = status.phase.as_deref().map_or_else(|| "Unknown".to_owned(), one_line);
        let state = match pod.spec.and_then(|spec| spec.node_name) {
            Some(node) => format!("{phase} on node {node}"),
            None => format!("{phase}, on no node yet"),
        };
        let since = status.start_time.as_ref().or(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0);
        Self { since, trouble: pod_trouble(&status), ..Self::new("Pod", pod.metadata, state) }
    }
}

/// What the scheduler, the kubelet and the containers' ends say.
fn pod_trouble(status: &PodStatus) -> Option<String> {
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .find_map(|condition| condition.message.clone());
    let mut containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let evicted = status.reason.as_ref().map(|reason| said(reason, status.message.as_ref()));
    unscheduled.or_else(|| containers.find_map(container_trouble)).or(evicted).map(|text| one_line(&text))
}

fn container_trouble(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_ref()?;
        // What every container goes through.
        let is_usual = matches!(reason.as_str(), "ContainerCreating" | "PodInitializing");
        return (!is_usual).then(|| said(reason, waiting.message.as_ref()));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    // Its message is the mover's report, which the object's status tells in words.
    let reason = ended.reason.as_deref().unwrap_or("Error");
    Some(format!("ended with exit code {} ({reason})", ended.exit_code))
}

fn said(reason: &str, message: Option<&String>) -> String {
    message.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}"))
}

impl From<Service> for Child {
    fn from(service: Service) -> Self {
        let spec = service.spec.unwrap_or_default();
        let kind = spec.type_.unwrap_or_else(|| "ClusterIP".to_owned());
        let ports: Vec<String> = spec.ports.iter().flatten().map(|port| port.port.to_string()).collect();
        let ingress = service.status.and_then(|status| status.load_balancer?.ingress);
        let balanced = ingress.and_then(|ingress| ingress.into_iter().next());
        let address = match kind.as_str() {
            "LoadBalancer" => balanced.and_then(|ingress| ingress.hostname.or(ingress.ip)),
            _ => spec.cluster_ip.filter(|address| !address.is_empty() && address != "None"),
        };
        let (state, trouble) = match address {
            Some(address) => (format!("{kind} {address}, port {}", ports.join(", ")), None),
            None => (kind, Some("it has no address yet".to_owned())),
        };
        let since = trouble.as_ref().and(service.metadata.creation_timestamp.as_ref()).map(|time| time.0);
        Self { since, trouble, ..Self::new("Service", service.metadata, one_line(&state)) }
    }
}

impl From<PersistentVolumeClaim> for Child {
    fn from(claim: PersistentVolumeClaim) -> Self {
        let status = claim.status.unwrap_or_default();
        let spec = claim.spec.unwrap_or_default();
        let phase = status.phase.unwrap_or_else(|| "Pending".to_owned());
        let size = status.capacity.and_then(|capacity| capacity.get("storage").map(|size| size.0.clone()));
        let class = spec.storage_class_name.filter(|class| !class.is_empty());
        let parts = [Some(phase.clone()), size, class.map(|class| format!("class {class}"))];
        let state = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let trouble = match phase.as_str() {
            "Bound" => None,
            "Lost" => Some("its volume is gone".to_owned()),
            _ => Some("it has no volume yet".to_owned()),
        };
        let since = trouble.as_ref().and(claim.metadata.creation_timestamp.as_ref()).map(|time| time.0);
        Self { since, trouble, ..Self::new("PersistentVolumeClaim", claim.metadata, one_line(&state)) }
    }
}

/// A VolumeSnapshot, which is no part of Kubernetes itself.
pub(super) fn snapshot(snapshot: DynamicObject) -> Child {
    let status = snapshot.data.get("status");
    let field = |path: &str| status.and_then(|status| status.pointer(path));
    let is_ready = field("/readyToUse").and_then(Value::as_bool) == Some(true);
    let error = field("/error/message").and_then(Value::as_str).map(one_line);
    let size = field("/restoreSize").and_then(Value::as_str).map(|size| format!(", {}", one_line(size)));
    let state = if is_ready { "ready to use" } else { "not ready to use yet" };
    let since = snapshot.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let trouble = if is_ready { None } else { error };
    Child {
        since,
        trouble,
        ..Child::new("VolumeSnapshot", snapshot.metadata, format!("{state}{}", size.unwrap_or_default()))
    }
}

impl From<Event> for Warning {
    fn from(event: Event) -> Self {
        let series = event.series.as_ref();
        let observed = series.and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        let first = event.event_time.map(|time| time.0);
        let at = observed.or(event.last_timestamp.map(|Time(time)| time)).or(first);
        let count = series.and_then(|series| series.count).or(event.count).unwrap_or(1);
        let about = event.involved_object;
        let about = format!("{} {}", about.kind.unwrap_or_default(), about.name.unwrap_or_default());
        Self {
            at,
            reason: one_line(&event.reason.unwrap_or_default()),
            about: one_line(&about),
            note: one_line(&event.message.unwrap_or_default()),
            count,
        }
    }
}

/// The latest first. What several Events say in the same words is one warning.
pub(super) fn merged(mut warnings: Vec<Warning>) -> Vec<Warning> {
    warnings.sort_by_key(|warning| Reverse(warning.at));
    let mut merged: Vec<Warning> = Vec::new();
    for warning in warnings {
        match merged.iter_mut().find(|said| said.says_the_same_as(&warning)) {
            Some(said) => said.count = said.count.saturating_add(warning.count),
            None => merged.push(warning),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn child<K: DeserializeOwned + Into<Child>>(mut object: Value) -> (String, Option<String>) {
        object["metadata"] = json!({"name": "x"});
        let child: Child = serde_json::from_value::<K>(object).unwrap().into();
        (child.state, child.trouble)
    }

    fn check<K: DeserializeOwned + Into<Child>>(object: Value, state: &str, trouble: Option<&str>) {
        assert_eq!(child::<K>(object), (state.to_owned(), trouble.map(str::to_owned)));
    }

    #[test]
    fn a_job_is_told_by_its_pods_and_a_held_one_as_such() {
        check::<Job>(json!({}), "has no pod yet", None);
        check::<Job>(json!({"status": {"active": 1}}), "active", None);
        check::<Job>(json!({"status": {"failed": 1, "active": 0}}), "failed", None);
        check::<Job>(json!({"status": {"failed": 1, "succeeded": 1}}), "succeeded", None);
        check::<Job>(json!({"spec": {"parallelism": 0, "template": {}}}), "held, without a pod", None);
    }

    #[test]
    fn a_pod_says_what_the_scheduler_or_the_kubelet_cannot_do() {
        let unscheduled = json!({"type": "PodScheduled", "status": "False", "message": "0/3 nodes\nare available"});
        check::<Pod>(
            json!({"status": {"phase": "Pending", "conditions": [unscheduled]}}),
            "Pending, on no node yet",
            Some("0/3 nodes are available"),
        );
        let pod = |state: Value| {
            let container =
                json!({"name": "m", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
            json!({"spec": {"nodeName": "n1", "containers": []}, "status": {"phase": "Pending", "containerStatuses": [container]}})
        };
        for (state, trouble) in [
            (json!({"waiting": {"reason": "ContainerCreating"}}), None),
            (json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}), Some("ErrImagePull: not found")),
            (json!({"running": {}}), None),
            (json!({"terminated": {"exitCode": 0}}), None),
            (
                json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "{}"}}),
                Some("ended with exit code 137 (OOMKilled)"),
            ),
        ] {
            check::<Pod>(pod(state), "Pending on node n1", trouble);
        }
        check::<Pod>(
            json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}}),
            "Failed, on no node yet",
            Some("Evicted: low on memory"),
        );
    }

    #[test]
    fn a_service_without_an_address_is_trouble() {
        let balanced = |status: Value| json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "ports": [{"port": 8000}]}, "status": status});
        check::<Service>(balanced(json!({})), "LoadBalancer", Some("it has no address yet"));
        check::<Service>(
            balanced(json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}})),
            "LoadBalancer 203.0.113.7, port 8000",
            None,
        );
        let inner = json!({"spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 8000}]}});
        check::<Service>(inner, "ClusterIP 10.0.0.1, port 8000", None);
    }

    #[test]
    fn a_claim_says_how_large_it_is_and_whether_it_has_a_volume() {
        check::<PersistentVolumeClaim>(
            json!({"spec": {"storageClassName": "fast"}, "status": {"phase": "Bound", "capacity": {"storage": "5Gi"}}}),
            "Bound, 5Gi, class fast",
            None,
        );
        check::<PersistentVolumeClaim>(json!({}), "Pending", Some("it has no volume yet"));
        check::<PersistentVolumeClaim>(json!({"status": {"phase": "Lost"}}), "Lost", Some("its volume is gone"));
    }

    #[test]
    fn a_snapshot_says_what_its_driver_says() {
        for (status, state, trouble) in [
            (
                json!({"readyToUse": true, "restoreSize": "5Gi", "error": {"message": "once"}}),
                "ready to use, 5Gi",
                None,
            ),
            (json!({"readyToUse": false, "error": {"message": "no\nspace"}}), "not ready to use yet", Some("no space")),
            (json!({}), "not ready to use yet", None),
        ] {
            let object = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                "metadata": {"name": "x"}, "status": status});
            let child = snapshot(serde_json::from_value(object).unwrap());
            assert_eq!((child.state.as_str(), child.trouble.as_deref()), (state, trouble));
        }
    }

    #[test]
    fn a_warning_is_dated_by_when_it_was_last_seen() {
        let event = |more: Value| {
            let mut event = json!({"metadata": {}, "involvedObject": {"kind": "Pod", "name": "p"}, "reason": "Evicted",
                "message": "low\u{1b}[2J", "eventTime": "2026-11-24T09:00:00.000000Z"});
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Warning::from(serde_json::from_value::<Event>(event).unwrap())
        };
        let once = event(json!({}));
        assert_eq!((once.count, once.about.as_str(), once.note.as_str()), (1, "Pod p", "low [2J"));
        let counted = event(json!({"count": 3, "lastTimestamp": "2026-11-24T09:30:00Z"}));
        assert_eq!((counted.count, counted.at), (3, "2026-11-24T09:30:00Z".parse().ok()));
        let series = event(json!({"series": {"count": 4, "lastObservedTime": "2026-11-24T09:40:00.000000Z"}}));
        assert_eq!((series.count, series.at), (4, "2026-11-24T09:40:00Z".parse().ok()));
    }

    #[test]
    fn what_several_events_say_in_the_same_words_is_one_warning() {
        let warning = |minute: i8, note: &str, count| Warning {
            at: format!("2026-11-24T09:{minute:02}:00Z").parse().ok(),
            reason: "FailedScheduling".to_owned(),
            about: "Pod p".to_owned(),
            note: note.to_owned(),
            count,
        };
        let said = vec![warning(1, "no room", 2), warning(5, "no node", 1), warning(9, "no room", 3)];
        assert_eq!(merged(said), [warning(9, "no room", 5), warning(5, "no node", 1)]);
        let other = |reason: &str, about: &str| Warning {
            reason: reason.to_owned(),
            about: about.to_owned(),
            ..warning(1, "no room", 1)
        };
        let said =
            vec![other("FailedScheduling", "Pod p"), other("FailedScheduling", "Pod q"), other("Evicted", "Pod p")];
        assert_eq!(merged(said.clone()), said);
    }
}
