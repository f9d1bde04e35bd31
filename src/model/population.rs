//! A claim that is to begin with the image of a ReplicationDestination, and the world around it.
//!
//! Kubernetes leaves such a claim alone: no provisioner knows what a ReplicationDestination is. So another claim, its
//! *prime*, is made from the image's VolumeSnapshot; a provisioner gives that one a volume, and the volume is then handed
//! over. The claim's name, UID and spec stay as its user wrote them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::observed::Ownership;
use super::replication::VolumeMode;

/// A claim to be filled, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// Which.
    pub claim: Claimant,
    /// Its resourceVersion.
    pub resource_version: String,
    /// The ReplicationDestination that it names.
    pub destination: Named,
    /// What is asked for beside the content.
    pub shape: ClaimShape,
    /// The node that the scheduler chose for it.
    pub node: Option<String>,
    /// Whether Kubernetes has passed its in-tree provisioner's work on to a CSI driver.
    pub migrated: bool,
    /// When it was created.
    pub created: Timestamp,
    /// Its volume: with one it is filled.
    pub volume: Option<String>,
    /// What its user was last told that it waits for.
    pub told: Option<String>,
}

/// A claim of a user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Its namespace; all but its volume is there.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// A ReplicationDestination as `dataSourceRef` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// In the claim's own namespace.
    Here(String),
    /// In another one, which nobody may reach into.
    Elsewhere {
        /// That namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// What a claim asks for, as its prime has to ask for it too.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimShape {
    /// `spec.resources`, carried through.
    pub resources: Value,
    /// `spec.resources.requests.storage`.
    pub request: Option<String>,
    /// Access modes.
    pub access_modes: Vec<String>,
    /// StorageClass.
    pub storage_class: Option<String>,
    /// VolumeAttributesClass.
    pub attributes_class: Option<String>,
    /// Files or blocks.
    pub mode: VolumeMode,
}

/// The world around a claim that is to be filled.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Surroundings {
    /// Its StorageClass.
    pub class: Class,
    /// What its ReplicationDestination has. Looked for while there is no prime, as is the image.
    pub destination: Published,
    /// The snapshot that the ReplicationDestination has published.
    pub image: Option<Image>,
    /// Its prime.
    pub prime: Option<Prime>,
    /// The volume of its prime.
    pub volume: Option<Volume>,
    /// Snapshots that carry this claim's mark.
    pub marked: Vec<Image>,
}

/// A StorageClass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Class {
    /// The claim names none, or it does not matter any more.
    #[default]
    Unasked,
    /// There is none of that name.
    Missing,
    /// Its volumes are made at once.
    Immediate {
        /// Who makes them.
        provisioner: String,
    },
    /// Its volumes are made when a pod wants them, on a node that suits the pod.
    FirstConsumer {
        /// Who makes them.
        provisioner: String,
    },
}

/// What a ReplicationDestination has published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Published {
    /// There is no such object.
    #[default]
    NoDestination,
    /// It has published nothing yet.
    Nothing,
    /// A snapshot of this name.
    Snapshot(String),
    /// Something that claims are not filled from; `kind/name`.
    Other(String),
}

/// A VolumeSnapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether a volume can be made from it.
    pub ready: bool,
    /// What its driver says.
    pub error: Option<String>,
    /// The least size of a volume made from it.
    pub restore_size: Option<String>,
    /// Whether it carries this claim's mark.
    pub marked: bool,
    /// How many claims are being filled from it, by their marks.
    pub marks: usize,
    /// Which of this claim's own hold it.
    pub holders: BTreeSet<Holder>,
    /// How it stands with others.
    pub standing: Standing,
    /// Whether another claim that is not filled yet has marked it.
    pub is_promised: bool,
}

impl Image {
    /// Whether anybody but the claim wants it.
    #[must_use]
    pub fn is_wanted_by_others(&self) -> bool {
        self.standing.has_other_owners || self.is_promised
    }
}

/// How a snapshot stands with others than a claim. What is decided about it holds as long as this does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its UID.
    pub uid: String,
    /// Who decides about its end.
    pub upkeep: Upkeep,
    /// Whether it has an owner that is not the claim's own.
    pub has_other_owners: bool,
}

/// Whose owner reference keeps a snapshot: with either it outlives its ReplicationDestination, and goes when the claim goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// The claim, until it has a prime.
    Claim,
    /// The prime.
    Prime,
}

/// Who decides about a snapshot's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// This operator, which took it.
    Ours,
    /// A user, by the label do-not-delete, or whoever else made it. An owner reference of ours would delete it one day.
    Theirs,
}

/// The claim that is filled in place of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prime {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whether the user's claim is its controller.
    pub ownership: Ownership,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// When it was created.
    pub created: Timestamp,
    /// Pending, Bound or Lost.
    pub phase: PrimePhase,
    /// The node that its volume is made for.
    pub node: Option<String>,
    /// Its volume.
    pub volume: Option<String>,
    /// The snapshot that it is made from.
    pub origin: String,
    /// Whether that snapshot is still there.
    pub origin_exists: bool,
}

/// `status.phase` of a prime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimePhase {
    /// It has no volume, or not yet wholly.
    Pending,
    /// It has its volume.
    Bound,
    /// Its volume went to another claim, or away.
    Lost,
}

/// A PersistentVolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// UID of the claim that it belongs to.
    pub claim_uid: Option<String>,
    /// That claim in words.
    pub claim: String,
}
