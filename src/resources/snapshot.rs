//! VolumeSnapshots: a source's point in time, a destination's image.
//!
//! `snapshot.storage.k8s.io/v1`, written by hand as far as it is used (its published crates lag behind kube).

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{metadata, note_reasons};
use crate::model::replication::Owner;
use crate::model::step::NewSnapshot;

/// The API group of snapshots.
pub const GROUP: &str = "snapshot.storage.k8s.io";
/// Their kind.
pub const KIND: &str = "VolumeSnapshot";

/// What is wanted of a snapshot.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "snapshot.storage.k8s.io", version = "v1", kind = "VolumeSnapshot", namespaced)]
#[kube(status = "VolumeSnapshotStatus")]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotSpec {
    /// VolumeSnapshotClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_class_name: Option<String>,
    /// What it is a snapshot of.
    pub source: VolumeSnapshotSource,
}

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotSource {
    /// A claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_name: Option<String>,
    /// Existing content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_content_name: Option<String>,
}

/// What the snapshot controller says about a snapshot.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotStatus {
    /// Its content, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_volume_snapshot_content_name: Option<String>,
    /// Whether a volume can be made from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_to_use: Option<bool>,
    /// The least size of a volume made from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_size: Option<String>,
    /// The driver's last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<VolumeSnapshotError>,
}

/// A driver's error.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct VolumeSnapshotError {
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A new snapshot.
#[must_use]
pub fn build(owner: &Owner, new: &NewSnapshot) -> VolumeSnapshot {
    let mut metadata = metadata(owner, &new.name, new.lifetime);
    note_reasons(&mut metadata, new.iteration.as_ref(), new.answers.as_ref());
    VolumeSnapshot {
        metadata,
        spec: VolumeSnapshotSpec {
            volume_snapshot_class_name: new.class.clone(),
            source: VolumeSnapshotSource {
                persistent_volume_claim_name: Some(new.claim.clone()),
                volume_snapshot_content_name: None,
            },
        },
        status: None,
    }
}
