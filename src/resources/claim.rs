//! PersistentVolumeClaims: a source's point-in-time copy, a destination's dynamic claim.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, TypedLocalObjectReference, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

use super::{metadata, note_reasons};
use crate::model::copy_trigger::{Answer, CopyStatus};
use crate::model::name;
use crate::model::replication::Owner;
use crate::model::step::{NewClaim, Origin};

/// A new claim.
#[must_use]
pub fn build(owner: &Owner, new: &NewClaim) -> PersistentVolumeClaim {
    let reference = |api_group: Option<&str>, kind: &str, name: &str| TypedLocalObjectReference {
        api_group: api_group.map(str::to_owned),
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    let mut metadata = metadata(owner, &new.name, new.lifetime);
    note_reasons(&mut metadata, new.iteration.as_ref(), new.answers.as_ref());
    PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(new.access_modes.clone()),
            storage_class_name: new.storage_class.clone(),
            volume_mode: Some(new.mode.name().to_owned()),
            resources: Some(requests(&new.capacity)),
            data_source: match &new.origin {
                Origin::Empty => None,
                Origin::Snapshot(name) => Some(reference(Some("snapshot.storage.k8s.io"), "VolumeSnapshot", name)),
                Origin::Claim(name) => Some(reference(None, "PersistentVolumeClaim", name)),
            },
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// Annotations that tell a claim's application where its copy stands, as a merge patch: null removes one.
#[must_use]
pub fn copy_answer(answer: &Answer) -> Value {
    let (status, trigger, since) = match answer {
        Answer::Waiting { since } => {
            (CopyStatus::Waiting, None, json!(since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
        }
        Answer::InProgress => (CopyStatus::InProgress, None, Value::Null),
        Answer::Completed { trigger } => (CopyStatus::Completed, Some(trigger), Value::Null),
    };
    let mut annotations = json!({
        name::LATEST_COPY_STATUS_ANNOTATION: status.as_str(),
        name::COPY_TRIGGER_SINCE_ANNOTATION: since,
    });
    if let (Some(trigger), Some(annotations)) = (trigger, annotations.as_object_mut()) {
        annotations.insert(name::LATEST_COPY_TRIGGER_ANNOTATION.to_owned(), json!(trigger));
    }
    json!({"metadata": {"annotations": annotations}})
}

/// A merge patch that removes VolSync's note of a snapshot.
#[must_use]
pub fn without_noted_image() -> Value {
    json!({"metadata": {"annotations": {name::NOTED_IMAGE_ANNOTATION: null}}})
}

fn requests(capacity: &str) -> VolumeResourceRequirements {
    VolumeResourceRequirements {
        requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(capacity.to_owned()))])),
        limits: None,
    }
}
