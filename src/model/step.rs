//! Everything that this operator can ever do to a cluster.
//!
//! `plan` chooses steps, `apply` performs them, in order, stopping at the first error. RBAC holds exactly the verbs that
//! these need. Each step is idempotent: a crash after any of them leaves a world from which the next plan goes on. Those of
//! populations are in [`fill`].

pub mod fill;
pub mod fingerprint;

use serde::Serialize;

use self::fingerprint::Fingerprint;
use super::copy_trigger::Answer;
use super::mover::{Certificates, Listen};
use super::observed::{Claimed, Privilege};
use super::pod::{Placement, PodSettings, Verbosity};
use super::replication::{IterationId, Pace, VolumeMode};
use doppel_contract::Request;

/// One thing to do to the cluster, always in the owner's namespace.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Create a Secret with a fresh pre-shared key. An existing one is never overwritten.
    CreateKey {
        /// The Secret's name.
        secret: String,
    },
    /// Copy a Secret for pulling the movers' image from the operator's namespace. The copy is never overwritten: one of
    /// other content has another name.
    CopyPullSecret {
        /// The Secret in the operator's namespace.
        original: String,
        /// Its copy.
        copy: String,
    },
    /// Create or correct the mover's ServiceAccount.
    EnsureAccount {
        /// Its name.
        name: String,
    },
    /// Create or correct a destination's Service.
    EnsureService(NewService),
    /// Create a claim.
    CreateClaim(NewClaim),
    /// Raise a claim's request.
    GrowClaim {
        /// The claim.
        name: String,
        /// Its new size, a Kubernetes quantity.
        capacity: String,
    },
    /// Take a snapshot of a claim.
    TakeSnapshot(NewSnapshot),
    /// Tell the application of a source's claim where the copy stands, by annotations that VolSync defines.
    AnswerCopyTrigger {
        /// The claim.
        claim: String,
        /// What to tell.
        answer: Answer,
    },
    /// Create the mover's Job.
    StartMover(Box<MoverRun>),
    /// Let an existing Job's mover run, or hold it.
    SetPace {
        /// The Job.
        job: String,
        /// Whether the mover may run.
        pace: Pace,
    },
    /// Delete a Job and its pods.
    StopMover {
        /// The Job.
        job: Doomed,
        /// Whether its pod may still be at work.
        ending: Ending,
    },
    /// Delete a temporary claim.
    DeleteClaim(Doomed),
    /// Remove VolSync's note of the snapshot that it was taking from a destination's claim.
    ForgetNotedImage {
        /// The claim.
        claim: String,
    },
    /// Delete a snapshot that is of no more use.
    DeleteSnapshot {
        /// The snapshot.
        snapshot: Doomed,
        /// Its resourceVersion as seen: nobody has laid claim to it since.
        resource_version: String,
    },
    /// Give a snapshot up without deleting it: somebody else wants it.
    ReleaseSnapshot {
        /// The snapshot.
        name: String,
        /// Its resourceVersion as seen.
        resource_version: String,
        /// Who else wants it.
        claimed: Claimed,
    },
}

impl Step {
    /// What is being done to which object, for error messages: "create Job x".
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::CreateKey { secret } => format!("create Secret {secret}"),
            Self::CopyPullSecret { original, copy } => {
                format!("copy Secret {original} of the operator to Secret {copy}")
            }
            Self::EnsureAccount { name } => format!("apply ServiceAccount {name}"),
            Self::EnsureService(new) => format!("apply Service {}", new.name),
            Self::CreateClaim(new) => format!("create PersistentVolumeClaim {}", new.name),
            Self::GrowClaim { name, .. } => format!("grow PersistentVolumeClaim {name}"),
            Self::TakeSnapshot(new) => format!("create VolumeSnapshot {}", new.name),
            Self::AnswerCopyTrigger { claim, .. } => {
                format!("annotate PersistentVolumeClaim {claim} about its copy trigger")
            }
            Self::StartMover(run) => format!("create Job {}", run.job),
            Self::SetPace { job, .. } => format!("pause or resume Job {job}"),
            Self::StopMover { job, .. } => format!("delete Job {}", job.name),
            Self::ForgetNotedImage { claim } => format!("remove an annotation from PersistentVolumeClaim {claim}"),
            Self::DeleteClaim(claim) => format!("delete PersistentVolumeClaim {}", claim.name),
            Self::DeleteSnapshot { snapshot, .. } => format!("delete VolumeSnapshot {}", snapshot.name),
            Self::ReleaseSnapshot { name, .. } => format!("release VolumeSnapshot {name}"),
        }
    }
}

impl Step {
    /// Whether something begins that must not begin twice.
    #[must_use]
    pub fn begins(&self) -> bool {
        matches!(self, Self::CreateClaim(_) | Self::TakeSnapshot(_) | Self::StartMover(_))
            || matches!(self, Self::SetPace { pace: Pace::Running, .. })
    }
}

/// What the API server must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// API group, empty for the core.
    pub group: &'static str,
    /// Resource, plural.
    pub resource: &'static str,
    /// Verb.
    pub verb: &'static str,
}

impl Step {
    /// What this step needs to be allowed. The operator's ClusterRole holds exactly the union of these, and what reading
    /// and watching needs; a test compares them.
    #[must_use]
    pub fn access(&self) -> Vec<Access> {
        let (group, resource, verbs): (_, _, &[_]) = match self {
            Self::CreateKey { .. } => ("", "secrets", &["create"]),
            Self::CopyPullSecret { .. } => ("", "secrets", &["get", "create"]),
            // Server-side apply is a patch; one that creates its object must be allowed to create.
            Self::EnsureAccount { .. } => ("", "serviceaccounts", &["create", "patch"]),
            Self::EnsureService(_) => ("", "services", &["create", "patch"]),
            Self::CreateClaim(_) => ("", "persistentvolumeclaims", &["create"]),
            Self::GrowClaim { .. } | Self::AnswerCopyTrigger { .. } | Self::ForgetNotedImage { .. } => {
                ("", "persistentvolumeclaims", &["patch"])
            }
            Self::TakeSnapshot(_) => ("snapshot.storage.k8s.io", "volumesnapshots", &["create"]),
            Self::StartMover(_) => ("batch", "jobs", &["create"]),
            Self::SetPace { .. } => ("batch", "jobs", &["patch"]),
            Self::StopMover { .. } => ("batch", "jobs", &["delete"]),
            Self::DeleteClaim(_) => ("", "persistentvolumeclaims", &["delete"]),
            Self::DeleteSnapshot { .. } => ("snapshot.storage.k8s.io", "volumesnapshots", &["delete"]),
            Self::ReleaseSnapshot { .. } => ("snapshot.storage.k8s.io", "volumesnapshots", &["get", "patch"]),
        };
        verbs.iter().map(|verb| Access { group, resource, verb }).collect()
    }
}

/// Whether a Job's pod may still be at work when the Job is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It has ended: the Job may go at once.
    Finished,
    /// It may run: the Job stays until its pod is gone, so that no two movers ever write to one volume.
    Interrupted,
}

/// A Service for a destination's mover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewService {
    /// Its name.
    pub name: String,
    /// Labels of the pods behind it.
    pub selector: Vec<(String, String)>,
    /// Name and number of its port; the mover listens on the same number.
    pub port: (&'static str, u16),
    /// What the user says about it.
    pub listen: Listen,
}

/// A claim to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClaim {
    /// Its name.
    pub name: String,
    /// What it is filled from.
    pub origin: Origin,
    /// Its size, a Kubernetes quantity.
    pub capacity: String,
    /// Its StorageClass, or the cluster's default.
    pub storage_class: Option<String>,
    /// Its access modes.
    pub access_modes: Vec<String>,
    /// Files or blocks.
    pub mode: VolumeMode,
    /// Whether cleanup deletes it.
    pub lifetime: super::replication::Lifetime,
    /// Which iteration it is made for.
    pub iteration: Option<IterationId>,
    /// The value of the copy trigger that it is made for.
    pub answers: Option<String>,
}

/// What a claim is filled from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: it begins empty.
    Empty,
    /// A VolumeSnapshot.
    Snapshot(String),
    /// Another claim.
    Claim(String),
}

/// A snapshot to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// Its name.
    pub name: String,
    /// The claim.
    pub claim: String,
    /// VolumeSnapshotClass, or the cluster's default.
    pub class: Option<String>,
    /// Whether cleanup deletes it.
    pub lifetime: super::replication::Lifetime,
    /// Which iteration it is taken for.
    pub iteration: Option<IterationId>,
    /// The value of the copy trigger that it is made for.
    pub answers: Option<String>,
}

/// One attempt of a mover. Serializes for its fingerprint only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MoverRun {
    /// The Job's name.
    pub job: String,
    /// The mover's and the container's name.
    pub mover: &'static str,
    /// Labels of its pods.
    pub pod_labels: Vec<(String, String)>,
    /// The claim it works on.
    pub claim: String,
    /// How the claim is attached.
    pub mode: VolumeMode,
    /// Whether the claim is mounted read-only.
    pub read_only: bool,
    /// The Secret that opens the other side to it.
    pub secret: MountedSecret,
    /// Certificates that it trusts.
    pub certificates: Option<Certificates>,
    /// The claim of its cache.
    pub cache: Option<String>,
    /// Its ServiceAccount.
    pub account: String,
    /// How its pod looks.
    pub pod: PodSettings,
    /// Whether it runs as root with capabilities.
    pub privilege: Privilege,
    /// What it is told.
    pub request: Request,
    /// How much it logs.
    pub verbosity: Verbosity,
    /// Secrets of its namespace with which its image is pulled. Part of the start's fingerprint only.
    #[serde(skip)]
    pub pull_secrets: Vec<String>,
    /// Where it must run, if its volumes demand that. Part of the start's fingerprint only.
    #[serde(skip)]
    pub placement: Option<Placement>,
    /// Whether it may run yet.
    #[serde(skip)]
    pub pace: Pace,
    /// UID of the claim, if it is a destination's and is there already.
    #[serde(skip)]
    pub receiver: Option<String>,
    /// Which iteration it is for.
    #[serde(skip)]
    pub iteration: IterationId,
    /// Which attempt of the iteration it is, from 1.
    #[serde(skip)]
    pub attempt: u32,
    /// The generation of the object that asks for it.
    #[serde(skip)]
    pub generation: Option<i64>,
}

/// A Secret whose keys a mover finds as files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MountedSecret {
    /// Its name.
    pub name: String,
    /// The directory.
    pub path: &'static str,
}

impl MoverRun {
    /// A digest of everything that a running mover cannot be changed in. When it differs from a Job's, the wish changed.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        // Plain structs of strings, numbers and JSON values always serialize.
        let json = serde_json::to_vec(self).unwrap_or_default();
        Fingerprint::new(self.generation, self.privilege, &json)
    }

    /// A digest of what a mover that waits for its start depends on beyond that. Once it runs it has its volumes and its
    /// image.
    #[must_use]
    pub fn start_fingerprint(&self) -> String {
        let json = serde_json::to_vec(&(&self.placement, &self.pull_secrets)).unwrap_or_default();
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&json))
    }
}

/// Something to be deleted: exactly the object that was seen, not a later one of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Its name.
    pub name: String,
    /// Its UID as seen.
    pub uid: String,
}
