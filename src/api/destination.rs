//! ReplicationDestination: a volume that receives data from somewhere else.

// Columns of a table share their type and format, and are attributes of their own all the same.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, TypedLocalObjectReference};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CopyMethod, CustomCa, External, MoverConfig, ResticCache, RsyncStatus, SyncStatus, Trigger};

/// What is received, when and how.
// The `attr` puts `serde(default)` on the generated kind, since VolSync's schema requires no spec and no metadata. kube
// refuses `serde` attributes there when they are written plainly, for fear of renamed fields; this one renames nothing.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "volsync.backube",
    version = "v1alpha1",
    kind = "ReplicationDestination",
    plural = "replicationdestinations",
    doc = "A volume of this namespace that receives data from somewhere else.",
    namespaced,
    status = "ReplicationDestinationStatus",
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    printcolumn(name = "Last sync", type_ = "string", format = "date-time", json_path = ".status.lastSyncTime"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.lastSyncDuration"),
    printcolumn(name = "Next sync", type_ = "string", format = "date-time", json_path = ".status.nextSyncTime"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.conditions[?(@.type=='Synchronizing')].reason"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Synchronizing')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationDestinationSpec {
    /// When to synchronize. Without it, one synchronization follows the other without a pause; one that waits for a
    /// source to connect waits until it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,

    /// Receive with rsync over SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsync: Option<Box<DestinationRsync>>,

    /// Receive with rsync over TLS.
    #[serde(rename = "rsyncTLS", skip_serializing_if = "Option::is_none")]
    pub rsync_tls: Option<Box<DestinationRsyncTls>>,

    /// Copy from object storage with rclone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rclone: Option<Box<DestinationRclone>>,

    /// Restore from a restic repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restic: Option<Box<DestinationRestic>>,

    /// Leave the object to a provider outside of this operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,

    /// While true, no mover runs. A synchronization that is under way is held, and goes on when this becomes false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// The volume that receives the data, and how an image of it is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationVolumeOptions {
    /// How status.latestImage is made after a synchronization: Snapshot takes a snapshot of the volume, Direct is the
    /// volume itself. None is an old name of Direct. Clone is not possible for a destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_method: Option<CopyMethod>,

    /// The size of the volume that is made; needed unless destinationPVC is set. It may be raised later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,

    /// The StorageClass of the volume that is made; when absent the cluster's default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,

    /// The access modes of the volume that is made; needed unless destinationPVC is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub access_modes: Option<Vec<String>>,

    /// The VolumeSnapshotClass for copyMethod Snapshot; when absent the default class of the volume's driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_class_name: Option<String>,

    /// A PersistentVolumeClaim of this namespace to receive the data, in place of one that is made.
    #[serde(rename = "destinationPVC", skip_serializing_if = "Option::is_none")]
    pub destination_pvc: Option<String>,

    /// Whether the volume that was made is deleted after each synchronization, once its image exists. Without effect
    /// on destinationPVC.
    #[serde(rename = "cleanupTempPVC", skip_serializing_if = "Option::is_none")]
    pub cleanup_temp_pvc: Option<bool>,
}

/// A destination that receives with rsync over SSH.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRsync {
    /// The volume, and how its image is made.
    #[serde(flatten)]
    pub volume: DestinationVolumeOptions,

    /// The mode of the volume that is made, Filesystem or Block; Filesystem when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_mode: Option<String>,

    /// The Secret with the SSH keys; when absent keys are generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_keys: Option<String>,

    /// The type of the Service that the source connects to; ClusterIP when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,

    /// Annotations of the Service that the source connects to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_annotations: Option<BTreeMap<String, String>>,

    /// The host to connect to, if this side is the one that connects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,

    /// The port of the Service; 22 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: Option<i32>,

    /// Accepted for compatibility and without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,

    /// Accepted for compatibility and without effect: the user is root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_user: Option<String>,

    /// A ServiceAccount of this namespace for the mover's pod, in place of one made for it. It must exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_service_account: Option<String>,

    /// Labels to add to the mover's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_pod_labels: Option<BTreeMap<String, String>>,

    /// Requests and limits of the mover's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_resources: Option<ResourceRequirements>,
}

/// A destination that receives with rsync over TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRsyncTls {
    /// The volume, and how its image is made.
    #[serde(flatten)]
    pub volume: DestinationVolumeOptions,

    /// The mode of the volume that is made, Filesystem or Block; Filesystem when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_mode: Option<String>,

    /// The Secret whose psk.txt holds the key shared with the source; when absent a key is generated, and
    /// status.rsyncTLS.keySecret names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_secret: Option<String>,

    /// The type of the Service that the source connects to; ClusterIP when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,

    /// Annotations of the Service that the source connects to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_annotations: Option<BTreeMap<String, String>>,

    /// Whether an empty source may empty the destination. Unless this is true, an empty source never wipes a
    /// destination that has data. This field is Doppel's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_empty_source: Option<bool>,

    /// Settings of the mover's pod.
    #[serde(flatten)]
    pub mover: MoverConfig,
}

/// A destination that copies from object storage with rclone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRclone {
    /// The volume, and how its image is made.
    #[serde(flatten)]
    pub volume: DestinationVolumeOptions,

    /// The section of rclone.conf that describes the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rclone_config_section: Option<String>,

    /// The bucket, or the path within a bucket, that data is copied from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rclone_dest_path: Option<String>,

    /// The Secret that holds rclone.conf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rclone_config: Option<String>,

    /// Certificates to trust when connecting to the storage.
    #[serde(rename = "customCA", skip_serializing_if = "Option::is_none")]
    pub custom_ca: Option<CustomCa>,

    /// Settings of the mover's pod.
    #[serde(flatten)]
    pub mover: MoverConfig,
}

/// A destination that is restored from a restic repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRestic {
    /// The volume, and how its image is made.
    #[serde(flatten)]
    pub volume: DestinationVolumeOptions,

    /// The Secret that says where the repository is and how to open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,

    /// Certificates to trust when connecting to the repository.
    #[serde(rename = "customCA", skip_serializing_if = "Option::is_none")]
    pub custom_ca: Option<CustomCa>,

    /// Settings of restic's cache.
    #[serde(flatten)]
    pub cache: ResticCache,

    /// Whether the cache's volume is deleted after each synchronization.
    #[serde(rename = "cleanupCachePVC", skip_serializing_if = "Option::is_none")]
    pub cleanup_cache_pvc: Option<bool>,

    /// How many of the newest backups to pass over; 0, the newest one itself, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<i32>,

    /// Restore the newest backup made at this time or before, for example 2026-11-23T04:05:06Z.
    // Text, not a time: the schema's format lets forms through that are no RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub restore_as_of: Option<String>,

    /// Whether files that are in the volume and not in the backup are deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_file_deletion: Option<bool>,

    /// Settings of the mover's pod.
    #[serde(flatten)]
    pub mover: MoverConfig,
}

/// What is known about the synchronizations of a ReplicationDestination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationDestinationStatus {
    /// How far the synchronizations are.
    #[serde(flatten)]
    pub sync: SyncStatus,

    /// The latest image: what to name in dataSource, or in dataSourceRef, of a PersistentVolumeClaim that is to begin
    /// with the received data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_image: Option<TypedLocalObjectReference>,

    /// What the source of an rsync over SSH needs to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsync: Option<RsyncStatus>,

    /// What the source of an rsync over TLS needs to know.
    #[serde(rename = "rsyncTLS", skip_serializing_if = "Option::is_none")]
    pub rsync_tls: Option<DestinationRsyncTlsStatus>,
}

/// What the source of an rsync over TLS needs to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRsyncTlsStatus {
    /// The Secret with the generated key. Absent when spec.rsyncTLS.keySecret is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_secret: Option<String>,

    /// The address that this side listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,

    /// The port that this side listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}
