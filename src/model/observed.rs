//! What the cluster looked like at one moment, reduced to what decisions need.

use doppel_contract::Report;
use jiff::Timestamp;

use super::copy_trigger::CopyTrigger;
use super::replication::{IterationId, VolumeMode};

/// The world around one object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// The claim that the data comes from or goes to.
    pub claim: Option<Claim>,
    /// The claim made as a source's point-in-time copy.
    pub copy_claim: Option<Claim>,
    /// The snapshot made as a source's point in time.
    pub copy_snapshot: Option<Snapshot>,
    /// The snapshot that is to become this iteration's image.
    pub image: Option<Snapshot>,
    /// Every snapshot in the namespace that this object owns or has marked.
    pub snapshots: Vec<Snapshot>,
    /// The claim of the mover's cache.
    pub cache_claim: Option<Claim>,
    /// The Secret that opens the other side to the mover.
    pub key: Key,
    /// What holds the certificates that the mover is to trust, if it is to.
    pub certificates: Key,
    /// The Service of a destination.
    pub service: Option<Service>,
    /// The mover's ServiceAccount.
    pub account: Option<Account>,
    /// The mover's Job, with its newest pod.
    pub job: Option<Job>,
    /// Jobs of other movers, which the object asked for before.
    pub other_jobs: Vec<Job>,
    /// Pods of former Jobs of this name whose movers have not ended. Looked for during an iteration.
    pub former_pods: Vec<String>,
    /// Whether the namespace allows privileged movers.
    pub privilege: Privilege,
    /// Those claims of `moverVolumes` that exist. Looked for while a mover is yet to start, as what follows.
    pub extra_claims: Vec<Claim>,
    /// Those Secrets of `moverVolumes` that exist.
    pub extra_secrets: Vec<String>,
    /// The Secrets for pulling the movers' image.
    pub pull_secrets: Vec<PullSecret>,
    /// The pods, none of a mover's, that use a claim which the mover shares with them.
    pub users: Vec<ClaimUser>,
}

/// An object's child, as far as a watch has to tell of it for [`super::super::replication::plan`] to see that there is nothing to be
/// cleaned up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Child {
    /// A Job.
    Job,
    /// A claim.
    Claim {
        /// Its name.
        name: String,
    },
    /// A snapshot.
    Snapshot {
        /// Its name.
        name: String,
        /// Whether a user takes it away, by label.
        taken: bool,
    },
}

/// Whose child an existing object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// The object under reconciliation is its controller.
    Ours,
    /// Nothing controls it.
    Nobody,
    /// An object of the same kind and name controls it that is gone, and so will this be: the garbage collector is on its way.
    Former,
    /// Another object controls it; `kind/name`.
    Other(String),
}

/// A PersistentVolumeClaim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whose it is.
    pub ownership: Ownership,
    /// Whether it carries the label of this object's temporaries.
    pub temporary: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Pending, Bound or Lost, as the API spells it.
    pub phase: String,
    /// Files or blocks.
    pub mode: VolumeMode,
    /// Its StorageClass.
    pub storage_class: Option<String>,
    /// Its access modes: of the bound volume if known, else as requested.
    pub access_modes: Vec<String>,
    /// `status.capacity.storage`.
    pub capacity: Option<String>,
    /// `spec.resources.requests.storage`.
    pub request: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// The iteration that it was made for, where it says so.
    pub iteration: Option<IterationId>,
    /// What its application says about copies of it, if it does.
    pub copy_trigger: Option<CopyTrigger>,
    /// Of a copy: the value of the copy trigger that it was made for.
    pub answers: Option<String>,
    /// Of a destination's claim: the snapshot of an iteration that VolSync began, as it noted it.
    pub noted_image: Option<String>,
}

impl Claim {
    /// Whether nobody can write through it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.access_modes == ["ReadOnlyMany"]
    }

    /// Whether it has a volume.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.phase == "Bound"
    }

    /// Who can use it at one time.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        let has = |mode: &str| self.access_modes.iter().any(|other| other == mode);
        if has("ReadWriteMany") || self.is_read_only() {
            Sharing::AnyNode
        } else if has("ReadWriteOncePod") {
            Sharing::OnePod
        } else {
            Sharing::OneNode
        }
    }
}

/// Who can use a claim at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Pods on any node.
    AnyNode,
    /// Pods on one node.
    OneNode,
    /// One pod.
    OnePod,
}

/// A pod that uses a claim, or will as soon as it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimUser {
    /// The claim.
    pub claim: String,
    /// The pod.
    pub pod: String,
    /// Its node, once it has one.
    pub node: Option<String>,
    /// What it is doing.
    pub state: PodState,
    /// What it tolerates: a list of `Toleration`, as JSON.
    pub tolerations: Vec<serde_json::Value>,
}

/// What a pod is doing that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    /// It is to run.
    Pending,
    /// It runs.
    Running,
    /// It is being deleted.
    Ending,
}

/// A VolumeSnapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion, for deletion of exactly what was seen.
    pub resource_version: String,
    /// Whose it is.
    pub ownership: Ownership,
    /// Whether it carries the label of this object's temporaries.
    pub temporary: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether `boundVolumeSnapshotContentName` is set and `readyToUse` is true.
    pub ready: bool,
    /// `status.error.message`.
    pub error: Option<String>,
    /// `status.restoreSize`.
    pub restore_size: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// The iteration that it was taken for, where it says so.
    pub iteration: Option<IterationId>,
    /// Of a copy: the value of the copy trigger that it was made for.
    pub answers: Option<String>,
    /// Whether something else wants it: another owner, the populator, or a user's do-not-delete label.
    pub claimed: Claimed,
}

/// Who else wants a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody.
    Free,
    /// Another owner, the prime of a claim that is filled from it for example.
    InUse,
    /// A claim that is to be filled from it, and does not hold it yet: without us it would have no owner, and stay for ever.
    Promised,
    /// A user, by label: Doppel gives it up.
    ByUser,
}

/// A Secret that a mover is given, or a ConfigMap. Never its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Key {
    /// There is no such object.
    #[default]
    Absent,
    /// It exists and holds what it must.
    Valid,
    /// It exists and cannot be used; the text names it, the key and the rule.
    Malformed(String),
}

/// A Secret for pulling the movers' image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSecret {
    /// Its name in the operator's namespace.
    pub original: String,
    /// The name of a copy of its present content.
    pub copy: String,
    /// Whether that copy is there.
    pub copied: bool,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Whose it is.
    pub ownership: Ownership,
    /// Its type as the API spells it.
    pub service_type: String,
    /// Its annotations.
    pub annotations: Vec<(String, String)>,
    /// Its selector.
    pub selector: Vec<(String, String)>,
    /// The TCP ports it exposes, with their target ports.
    pub ports: Vec<(i32, i32)>,
    /// Where it can be reached, once that is known.
    pub address: Option<String>,
    /// When it was created.
    pub created: Timestamp,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub ownership: Ownership,
}

/// A Job and its newest pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whose it is.
    pub ownership: Ownership,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The iteration that it was made for, where it says so.
    pub iteration: Option<IterationId>,
    /// Which attempt of the iteration it is, from 1.
    pub attempt: u32,
    /// The claim that its mover reads or writes.
    pub claim: Option<String>,
    /// UID of the claim that a destination's mover writes to, where it says so.
    pub receiver: Option<String>,
    /// The fingerprint of the run it was made for.
    pub fingerprint: String,
    /// The fingerprint of how it was to start.
    pub start_fingerprint: String,
    /// `spec.parallelism`, 0 when paused.
    pub parallelism: i32,
    /// When its newest pod was created, or it, while it has none.
    pub since: Timestamp,
    /// The node of its pod, once that has one.
    pub node: Option<String>,
    /// The address of its pod, once that has one.
    pub address: Option<std::net::IpAddr>,
    /// What its mover is doing.
    pub mover: MoverState,
}

impl Job {
    /// Whether VolSync made it: Doppel's say what they were made for.
    #[must_use]
    pub fn is_volsyncs(&self) -> bool {
        self.fingerprint.is_empty()
    }
}

/// What a mover is doing, as its pod and its Job say.
#[derive(Debug, Clone, PartialEq)]
pub enum MoverState {
    /// No container runs yet; the text is the kubelet's or the scheduler's reason.
    Starting(Option<String>),
    /// The container runs.
    Running,
    /// It has ended.
    Ended(MoverEnd),
}

/// How a mover ended.
#[derive(Debug, Clone, PartialEq)]
pub struct MoverEnd {
    /// When.
    pub at: Timestamp,
    /// Whether it ended with exit code 0 and reported that it is complete.
    pub success: bool,
    /// Its report, when it left one.
    pub report: Option<Box<Report>>,
    /// Why it ended as the kubelet or the Job controller says: `OOMKilled`, `Error`, `DeadlineExceeded`.
    pub reason: String,
}

/// Whether movers of a namespace may run as root with capabilities, and who says as whom they run otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub enum Privilege {
    /// They may not.
    #[default]
    Unprivileged,
    /// They may not, and the cluster lets them run only as a user and a group that it chooses itself (OpenShift).
    Assigned,
    /// The namespace's annotation allows it.
    Privileged,
}
