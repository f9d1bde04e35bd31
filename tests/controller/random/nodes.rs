//! The Job controller and the kubelet.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;

use super::cluster::{Cluster, unless_overtaken};
use super::state::{UID_LABEL, all, claim_of, is_alive, is_deleted, is_finished, place, uid};
use crate::controller::world::COMPLETE;

const FAILED: &str = r#"{"verdict":{"result":"failed","fault":"network","retry":"later","message":"no route to host"},"tally":{},"elapsedMs":5}"#;
/// Long ago, so that pauses between attempts are over at once.
const ENDED: &str = "2026-11-23T10:00:01Z";

impl Cluster {
    /// The Job controller. Of a Job whose only pod is gone it says that it has failed.
    pub(super) async fn run_jobs(&mut self) {
        let pods = all::<Pod>(&self.client).await;
        for job in all::<Job>(&self.client).await {
            if is_deleted(&job) || is_finished(&job) || !self.is_time() {
                continue;
            }
            let namespace = job.namespace().unwrap();
            let own: Vec<_> =
                pods.iter().filter(|pod| pod.labels().get(UID_LABEL) == job.metadata.uid.as_ref()).collect();
            match (job.spec.as_ref().unwrap().parallelism, own.is_empty(), self.ran.contains(&uid(&job))) {
                (Some(0), false, _) => {
                    for pod in own.into_iter().filter(|pod| is_alive(pod) && !is_deleted(*pod)) {
                        let pods = self.api::<Pod>(&namespace);
                        unless_overtaken(pods.delete(&pod.name_any(), &DeleteParams::default()).await);
                    }
                }
                (Some(0), true, _) => drop(self.ran.remove(&uid(&job))),
                (_, true, false) => self.make_pod(&namespace, &job).await,
                (_, true, true) => {
                    let condition = |kind: &str| {
                        json!({"type": kind, "status": "True", "reason": "BackoffLimitExceeded",
                        "message": "Job has reached the specified backoff limit", "lastProbeTime": ENDED,
                        "lastTransitionTime": ENDED})
                    };
                    let status = json!({"status": {"startTime": ENDED, "failed": 1, "ready": 0, "terminating": 0,
                        "conditions": [condition("FailureTarget"), condition("Failed")]}});
                    let jobs = self.api::<Job>(&namespace);
                    let failed =
                        jobs.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
                    unless_overtaken(failed);
                }
                (_, false, _) => {}
            }
        }
    }

    async fn make_pod(&mut self, namespace: &str, job: &Job) {
        let template = job.spec.as_ref().unwrap().template.clone();
        let mut pod = Pod { metadata: template.metadata.unwrap_or_default(), spec: template.spec, status: None };
        self.pods += 1;
        pod.metadata.name = Some(format!("{}-{}", job.name_any(), self.pods));
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(UID_LABEL.to_owned(), uid(job));
        labels.insert("batch.kubernetes.io/job-name".to_owned(), job.name_any());
        pod.metadata.owner_references = job.controller_owner_ref(&()).map(|owner| vec![owner]);
        // As the scheduler does. A pod with a node has its grace period when it is deleted.
        pod.spec.as_mut().unwrap().node_name = Some("n1".to_owned());
        let made = self.api::<Pod>(namespace).create(&PostParams::default(), &pod).await;
        if made.is_ok() {
            self.ran.insert(uid(job));
            let owner = job.owner_references().iter().find(|owner| owner.controller == Some(true)).unwrap();
            self.owners.insert(uid(job), owner.uid.clone());
        }
        unless_overtaken(made);
    }

    /// The kubelet: a pod runs when its volume is there, ends, and goes when it was deleted.
    pub(super) async fn run_pods(&mut self) {
        self.notice().await;
        let claims = all::<PersistentVolumeClaim>(&self.client).await;
        let synchronized = synchronized_in_this_second(&self.client).await;
        for pod in all::<Pod>(&self.client).await {
            if !self.is_time() {
                continue;
            }
            let namespace = pod.namespace().unwrap();
            if is_deleted(&pod) {
                self.remove(&self.api::<Pod>(&namespace), &pod).await;
                continue;
            }
            let name = format!("{namespace}/{}", claim_of(pod.spec.as_ref()).unwrap_or_default());
            let volume = claims.iter().find(|claim| place(*claim) == name);
            let volume = volume.and_then(|claim| claim.spec.as_ref()?.volume_name.clone());
            match (pod.status.as_ref().and_then(|status| status.phase.as_deref()), volume) {
                (Some("Pending"), Some(volume)) => self.let_run(&pod, &volume).await,
                (Some("Running"), volume) if self.owner(&pod).is_none_or(|owner| !synchronized.contains(owner)) => {
                    self.end(&pod, volume).await;
                }
                _ => {}
            }
        }
    }

    async fn let_run(&mut self, pod: &Pod, volume: &str) {
        self.set_state(pod, "Running", &json!({"running": {"startedAt": "2026-11-23T10:00:00Z"}})).await;
        if is_receiver(pod) {
            self.contents.insert(volume.to_owned(), 0);
        }
    }

    async fn end(&mut self, pod: &Pod, volume: Option<String>) {
        let succeeds = self.is_calm || !self.dice.one_in(4);
        let (code, message) = if succeeds { (0, COMPLETE) } else { (4, FAILED) };
        let ended = json!({"exitCode": code, "reason": "Completed", "message": message,
            "startedAt": "2026-11-23T10:00:00Z", "finishedAt": ENDED});
        if succeeds {
            self.number += 1;
            if let Some(volume) = volume.filter(|_| is_receiver(pod)) {
                self.contents.insert(volume, self.number);
            }
            let owner = self.owner(pod).cloned().unwrap();
            *self.successes.entry(owner).or_default() += 1;
        }
        self.set_state(pod, if succeeds { "Succeeded" } else { "Failed" }, &json!({"terminated": ended})).await;
    }

    fn owner(&self, pod: &Pod) -> Option<&String> {
        self.owners.get(pod.labels().get(UID_LABEL)?)
    }

    async fn set_state(&self, pod: &Pod, phase: &str, state: &Value) {
        let container = json!({"name": "rsync-tls", "image": "mover:1", "imageID": "", "ready": false,
            "restartCount": 0, "state": state});
        let status = json!({"status": {"phase": phase, "containerStatuses": [container]}});
        let pods = self.api::<Pod>(&pod.namespace().unwrap());
        let set = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
        unless_overtaken(set);
    }
}

/// UIDs. No kubelet is so fast that an object is synchronized twice in one second, and by their statuses, which tell whole seconds, the
/// second could not be known from the first.
async fn synchronized_in_this_second(client: &Client) -> BTreeSet<String> {
    let second = Timestamp::now().as_second();
    let (sources, destinations) = (all::<ReplicationSource>(client).await, all::<ReplicationDestination>(client).await);
    let sources = sources.iter().map(|one| (one.status().last_sync, uid(one)));
    let destinations = destinations.iter().map(|one| (one.status().last_sync, uid(one)));
    let both = sources.chain(destinations);
    both.filter(|(last_sync, _)| last_sync.is_some_and(|last| last.as_second() >= second)).map(|(_, uid)| uid).collect()
}

/// Whether a pod's mover writes to its volume.
fn is_receiver(pod: &Pod) -> bool {
    pod.annotations().get("doppel.backube/owner").is_some_and(|owner| owner.starts_with("ReplicationDestination"))
}
