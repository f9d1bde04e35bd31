//! What both kinds share: triggers, volumes, mover settings and the status of a synchronization.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, NFSVolumeSource, PersistentVolumeClaimVolumeSource, PodSecurityContext, ResourceRequirements,
    SecretVolumeSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When to synchronize. With neither field set, one synchronization follows the other without a pause.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// A cron schedule: minute, hour, day of month, month and day of week, or one of @hourly, @daily, @weekly,
    /// @monthly, @yearly and @annually. Times are UTC unless the schedule begins with a zone, as in
    /// "CRON_TZ=Europe/Berlin 0 3 * * *". Ignored while manual is set.
    // The pattern is VolSync's: `^` binds to its first alternative only and `$` to its second, and manifests rely on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = r"^(@(annually|yearly|monthly|weekly|daily|hourly))|((((\d+,)*\d+|(\d+(\/|-)\d+)|\*(\/\d+)?)\s?){5})$"
    ))]
    pub schedule: Option<String>,

    /// Any text. One synchronization is made for each new value; status.lastManualSync shows the value when it is
    /// done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manual: Option<String>,
}

/// A provider outside of this operator. An object that names one, and no mover, is left to that provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// The provider, written as domain/provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,

    /// Settings for the provider, handed to it as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, String>>,
}

/// How a point-in-time image of a volume is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
// Each field says what it means there; without this the text above would take the place of the fields' own.
#[schemars(transform = |schema: &mut schemars::Schema| drop(schema.remove("description")))]
pub enum CopyMethod {
    /// The volume itself, in use or not.
    Direct,
    /// An old name of Direct.
    None,
    /// A clone that the volume's driver makes.
    Clone,
    /// A snapshot that the volume's driver makes.
    Snapshot,
}

/// Settings of the pod that moves the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoverConfig {
    /// The security context of the mover's pod: the user, the groups and the like that it runs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_security_context: Option<PodSecurityContext>,

    /// A ServiceAccount of this namespace for the mover's pod, in place of one made for it. It must exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_service_account: Option<String>,

    /// Labels to add to the mover's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_pod_labels: Option<BTreeMap<String, String>>,

    /// Requests and limits of the mover's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_resources: Option<ResourceRequirements>,

    /// Where the mover's pod may be scheduled. A volume in use on a node demands that node as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_affinity: Option<Affinity>,

    /// Further volumes to mount into the mover's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mover_volumes: Option<Vec<MoverVolume>>,
}

/// A further volume in the mover's pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoverVolume {
    /// The directory under /mnt that the volume is mounted at.
    pub mount_path: String,

    /// What is mounted. Exactly one of the fields must be set.
    pub volume_source: MoverVolumeSource,
}

/// What a further volume in the mover's pod holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoverVolumeSource {
    /// A Secret of this namespace, mounted as files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolumeSource>,

    /// A directory of an NFS server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nfs: Option<NFSVolumeSource>,

    /// A PersistentVolumeClaim of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
}

/// Certificates to trust when connecting to a repository, from a Secret or from a ConfigMap of this namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomCa {
    /// The Secret that holds the certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,

    /// The ConfigMap that holds the certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_name: Option<String>,

    /// The key of the Secret or the ConfigMap that holds the certificates, in PEM form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Settings of the cache that restic works with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResticCache {
    /// The size of the cache's volume; 1Gi when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_capacity: Option<Quantity>,

    /// The StorageClass of the cache's volume; when absent storageClassName of this section, or else the cluster's
    /// default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_storage_class_name: Option<String>,

    /// The access modes of the cache's volume; when absent accessModes of this section, or else those of the volume
    /// that is copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_access_modes: Option<Vec<String>>,
}

/// How far the synchronizations of an object are; the same for both kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// The generation of the object that this status is about. This field is Doppel's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When the latest successful synchronization ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_time: Option<Time>,

    /// When the synchronization that is under way began. Absent between synchronizations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_start_time: Option<Time>,

    /// How long the latest successful synchronization took, retries included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sync_duration: Option<String>,

    /// When the next synchronization is due. Present only while a schedule is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_sync_time: Option<Time>,

    /// The value of spec.trigger.manual that the latest successful synchronization was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_manual_sync: Option<String>,

    /// How the latest run of the mover ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_mover_status: Option<MoverStatus>,

    /// The synchronization that is under way. Absent between synchronizations. This field is Doppel's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_sync: Option<CurrentSync>,

    /// What the repository held at the end of the latest successful synchronization. This field is Doppel's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryStatus>,

    /// What the object is doing, or waiting for, or held up by. Synchronizing is VolSync's. Ready, and Reconciling or Stalled
    /// while it is not ready, are Doppel's own: Ready is true when the copy that the spec asks for is there; each says
    /// what is waited for, since when (lastTransitionTime changes with the reason too), and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,

    /// What an external provider reports. This operator never writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<BTreeMap<String, String>>,
}

/// What a repository holds of the object's volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// How many snapshots there are. Absent where the run did not count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<i64>,

    /// The newest of them, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Vec<SnapshotStatus>>,

    /// Why nothing was stored or restored, where that was so: EmptyVolume, NoRepository, NoSnapshot, or NoneEligible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing: Option<String>,
}

/// A snapshot of a repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStatus {
    /// The first eight digits of its identity, as restic shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,

    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,

    /// Bytes of its files' content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// Whether files were left out of it because they could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<bool>,
}

/// How a run of a mover ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoverStatus {
    /// Successful or Failed.
    // A plain string, as in VolSync's schema: whoever may write a status may write any text here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,

    /// What the mover had to say, cut down to its essential lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
}

/// A synchronization that is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentSync {
    /// VolSync, if this synchronization was begun by it and then taken over: the snapshot that it noted on the
    /// destination's claim becomes the image. Absent otherwise.
    // A plain string, as `MoverStatus::result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun_by: Option<String>,

    /// The value of spec.trigger.manual when this synchronization began. It is this value that status.lastManualSync
    /// takes on at the end, so a value set in the meantime starts a synchronization of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manual: Option<String>,

    /// How often the mover failed in this synchronization, which is how often in a row: a synchronization ends only with
    /// a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_attempts: Option<i32>,

    /// When the mover is started again after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,

    /// The latest failure of the mover in this synchronization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,

    /// Since when this synchronization waits for a place among those that may cost something at the same time. Absent once
    /// it has one, and where the operator limits nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_time: Option<Time>,

    /// The place that this synchronization has among those that may cost something at the same time. Absent where the
    /// operator limits nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceStatus>,

    /// How far the mover is. It is asked every ten seconds while it runs; absent before that, and where a NetworkPolicy keeps
    /// the operator from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,
}

/// How far a mover is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgressStatus {
    /// When the mover said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,

    /// What it is doing: Waiting for its source, Connecting, Walking through the volume, Transferring, or Flushing to disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,

    /// Files, directories and other entries that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<i64>,

    /// All entries, once they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries_total: Option<i64>,

    /// Bytes of content that are done, whether they were sent or found unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// Bytes of all content, once they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<i64>,

    /// Bytes a second, of late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<i64>,

    /// How many seconds the rest takes at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<i64>,
}

/// A place among the synchronizations that may cost something at the same time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaceStatus {
    /// When it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,

    /// The StorageClass that it counts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,

    /// The node that it counts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
}

/// A failure of a mover.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// When the mover ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,

    /// Whose fault it seems to be: User (something in this namespace is to be corrected), Peer (the other side), Network,
    /// Volume, Cluster (it ended the mover) or Doppel.
    // A plain string, as `MoverStatus::result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,

    /// What happened, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// How many files, directories and the like could not be copied, where the rest was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<i64>,
}

/// What the other side of an rsync over SSH needs to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RsyncStatus {
    /// The Secret with the keys for the other side. Present when the keys were generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_keys: Option<String>,

    /// The address that this side listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,

    /// The port that this side listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}
