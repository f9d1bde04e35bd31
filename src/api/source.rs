//! ReplicationSource: a volume that is copied to somewhere else.

// Columns of a table share their type and format, and are attributes of their own all the same.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CopyMethod, CustomCa, External, MoverConfig, ResticCache, RsyncStatus, SyncStatus, Trigger};
use super::syncthing::{Syncthing, SyncthingStatus};

/// What is copied, when and how.
// The `attr` puts `serde(default)` on the generated kind, since VolSync's schema requires no spec and no metadata. kube
// refuses `serde` attributes there when they are written plainly, for fear of renamed fields; this one renames nothing.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "volsync.backube",
    version = "v1alpha1",
    kind = "ReplicationSource",
    plural = "replicationsources",
    doc = "A volume of this namespace that is copied to somewhere else.",
    namespaced,
    status = "ReplicationSourceStatus",
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.sourcePVC"),
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
pub struct ReplicationSourceSpec {
    /// The PersistentVolumeClaim of this namespace that is copied.
    #[serde(rename = "sourcePVC", skip_serializing_if = "Option::is_none")]
    pub source_pvc: Option<String>,

    /// When to synchronize. Without it, one synchronization follows the other without a pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,

    /// Copy with rsync over SSH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsync: Option<Box<SourceRsync>>,

    /// Copy with rsync over TLS.
    #[serde(rename = "rsyncTLS", skip_serializing_if = "Option::is_none")]
    pub rsync_tls: Option<Box<SourceRsyncTls>>,

    /// Copy to object storage with rclone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rclone: Option<Box<SourceRclone>>,

    /// Back up to a restic repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restic: Option<Box<SourceRestic>>,

    /// Keep in step, both ways and all the time, with other volumes by Syncthing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncthing: Option<Box<Syncthing>>,

    /// Leave the object to a provider outside of this operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,

    /// While true, no mover runs. A synchronization that is under way is held, and goes on when this becomes false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// How the point-in-time image of the source volume is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceVolumeOptions {
    /// How the image that is copied is made: Snapshot takes a snapshot of the volume, Clone clones it, Direct copies
    /// the volume while it is in use. None is an old name of Direct.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_method: Option<CopyMethod>,

    /// The size of the image's volume; when absent that of the source volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,

    /// The StorageClass of the image's volume; when absent that of the source volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,

    /// The access modes of the image's volume; when absent those of the source volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub access_modes: Option<Vec<String>>,

    /// The VolumeSnapshotClass for copyMethod Snapshot; when absent the default class of the volume's driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_class_name: Option<String>,
}

/// A source that copies with rsync over SSH.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceRsync {
    /// How the image is made.
    #[serde(flatten)]
    pub volume: SourceVolumeOptions,

    /// The Secret with the SSH keys; when absent keys are generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_keys: Option<String>,

    /// The type of the Service on this side, which is made when address is absent; ClusterIP when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,

    /// The host to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,

    /// The port to connect to; 22 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: Option<i32>,

    /// Accepted for compatibility and without effect: the destination decides where data goes.
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

/// A source that copies with rsync over TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceRsyncTls {
    /// How the image is made.
    #[serde(flatten)]
    pub volume: SourceVolumeOptions,

    /// The Secret whose psk.txt holds the key shared with the destination; when absent a key is generated, and
    /// status.rsyncTLS.keySecret names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_secret: Option<String>,

    /// The host to connect to: status.rsyncTLS.address of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,

    /// The port to connect to; 8000 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: Option<i32>,

    /// Whether an empty source may empty the destination. Unless this is true, an empty source never wipes a
    /// destination that has data. This field is Doppel's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_empty_source: Option<bool>,

    /// Settings of the mover's pod.
    #[serde(flatten)]
    pub mover: MoverConfig,
}

/// A source that copies to object storage with rclone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceRclone {
    /// How the image is made.
    #[serde(flatten)]
    pub volume: SourceVolumeOptions,

    /// The section of rclone.conf that describes the storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rclone_config_section: Option<String>,

    /// The bucket, or the path within a bucket, that data is copied to.
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

/// A source that is backed up to a restic repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceRestic {
    /// How the image is made.
    #[serde(flatten)]
    pub volume: SourceVolumeOptions,

    /// The Secret that says where the repository is and how to open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,

    /// Certificates to trust when connecting to the repository.
    #[serde(rename = "customCA", skip_serializing_if = "Option::is_none")]
    pub custom_ca: Option<CustomCa>,

    /// How many days pass between two prunes of the repository; 7 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune_interval_days: Option<i32>,

    /// Which backups are kept; when absent the latest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain: Option<ResticRetain>,

    /// Settings of restic's cache.
    #[serde(flatten)]
    pub cache: ResticCache,

    /// Any text. For each new value the repository is unlocked once, before the next backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlock: Option<String>,

    /// Settings of the mover's pod.
    #[serde(flatten)]
    pub mover: MoverConfig,
}

/// Which backups of a repository are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResticRetain {
    /// How many hourly backups are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly: Option<i32>,

    /// How many daily backups are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<i32>,

    /// How many weekly backups are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<i32>,

    /// How many monthly backups are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<i32>,

    /// How many yearly backups are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<i32>,

    /// All backups made within this time before the latest one are kept, for example 3y1m5d2h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,

    /// How many of the latest backups are kept, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// What is known about the synchronizations of a ReplicationSource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationSourceStatus {
    /// How far the synchronizations are.
    #[serde(flatten)]
    pub sync: SyncStatus,

    /// What the destination of an rsync over SSH needs to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsync: Option<RsyncStatus>,

    /// What the destination of an rsync over TLS needs to know.
    #[serde(rename = "rsyncTLS", skip_serializing_if = "Option::is_none")]
    pub rsync_tls: Option<SourceRsyncTlsStatus>,

    /// What was done to the restic repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restic: Option<SourceResticStatus>,

    /// What other Syncthing devices need to know of this one, and whether they are connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syncthing: Option<SyncthingStatus>,
}

/// What the destination of an rsync over TLS needs to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceRsyncTlsStatus {
    /// The Secret with the generated key. Absent when spec.rsyncTLS.keySecret is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_secret: Option<String>,
}

/// What was done to the restic repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceResticStatus {
    /// When the repository was last pruned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_pruned: Option<Time>,

    /// The value of spec.restic.unlock that the repository was last unlocked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_unlocked: Option<String>,
}
