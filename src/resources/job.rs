//! A mover's Job and its pod, hardened: fits Pod Security Standard "restricted" unless the namespace allows privilege.

mod extra;
mod placement;
mod pod;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{map, metadata};
use crate::model::name;
use crate::model::pod::MoverImage;
use crate::model::replication::{Lifetime, Owner, Pace};
use crate::model::step::MoverRun;

/// Seconds beyond the mover's own deadline after which Kubernetes ends it: the mover reports better, if it can.
const DEADLINE_GRACE_SECONDS: i64 = 600;

/// Why a Job cannot be rendered: a passthrough object of the user's is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{field} cannot be read: {source}")]
pub struct BuildError {
    field: &'static str,
    source: serde_json::Error,
}

/// The Job of one attempt.
///
/// # Errors
/// When a part of the pod that the user wrote cannot be read.
pub fn build(owner: &Owner, run: &MoverRun, image: &MoverImage) -> Result<Job, BuildError> {
    let owner_annotation = (name::OWNER_ANNOTATION.to_owned(), format!("{}/{}", owner.role.kind(), owner.name));
    let mut metadata = metadata(owner, &run.job, Lifetime::Temporary);
    let receiver = run.receiver.iter().map(|claim| (name::RECEIVER_ANNOTATION.to_owned(), claim.clone()));
    let annotations = BTreeMap::from([
        owner_annotation.clone(),
        (name::ITERATION_ANNOTATION.to_owned(), run.iteration.to_string()),
        (name::ATTEMPT_ANNOTATION.to_owned(), run.attempt.to_string()),
        (name::FINGERPRINT_ANNOTATION.to_owned(), run.fingerprint().to_string()),
        (name::START_ANNOTATION.to_owned(), run.start_fingerprint()),
    ]);
    metadata.annotations = Some(annotations.into_iter().chain(receiver).collect());
    let mut labels = map(&run.pod_labels);
    labels.insert(name::CREATED_BY.0.to_owned(), name::CREATED_BY.1.to_owned());
    labels.extend(map(&run.pod.labels));
    // A destination may wait for its source for as long as that takes.
    let waits = matches!(run.request.work, doppel_contract::Work::RsyncTlsDestination(_));
    Ok(Job {
        metadata,
        spec: Some(JobSpec {
            parallelism: Some(parallelism(run.pace)),
            // Retries are the operator's, with pauses: an attempt is one pod.
            backoff_limit: Some(0),
            active_deadline_seconds: run
                .request
                .deadline_seconds
                .filter(|_| !waits)
                .map(|seconds| i64::try_from(seconds.get()).unwrap_or(i64::MAX).saturating_add(DEADLINE_GRACE_SECONDS)),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(BTreeMap::from([owner_annotation])),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::build(run, image)?),
            },
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// `spec.parallelism` that lets a mover run or holds it.
#[must_use]
pub fn parallelism(pace: Pace) -> i32 {
    match pace {
        Pace::Running => 1,
        Pace::Paused => 0,
    }
}
