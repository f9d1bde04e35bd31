//! The part of the list that fills claims from images. Each is about one user's claim, and all but the volume are in its
//! namespace.

use std::collections::BTreeSet;

use super::{Access, Doomed};
use crate::model::population::{ClaimShape, Holder, Standing};

/// One thing to do to fill a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum FillStep {
    /// Mark a snapshot as one that the claim is filled from, and let exactly these hold it.
    HoldImage {
        /// The snapshot.
        image: SeenImage,
        /// The only ones of the claim's own that hold it from now on.
        holders: BTreeSet<Holder>,
    },
    /// Take the mark and all that holds it off a snapshot.
    LetImageGo(SeenImage),
    /// Delete a snapshot that nobody else wants.
    DeleteImage {
        /// The snapshot.
        image: Doomed,
        /// Its resourceVersion as seen: nobody has laid claim to it since.
        resource_version: String,
    },
    /// Create the prime.
    CreatePrime(NewPrime),
    /// Have the prime's volume made for another node.
    PlacePrime {
        /// The prime.
        prime: Doomed,
        /// The node.
        node: String,
    },
    /// Give the prime's volume to the claim.
    HandOver {
        /// The volume.
        volume: Seen,
        /// The claim's resourceVersion.
        claim_version: String,
        /// The snapshot that the volume was made from.
        origin: String,
    },
    /// Delete the prime.
    DeletePrime(Doomed),
}

/// An object, at the version that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its resourceVersion. Whoever wrote to it since is not overwritten.
    pub resource_version: String,
}

/// A snapshot, as it stood with others when it was seen. Many claims may be filled from one at a time: that others of them have
/// written to it since does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenImage {
    /// Its name.
    pub name: String,
    /// How it stood.
    pub standing: Standing,
}

/// A prime to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPrime {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub shape: ClaimShape,
    /// The snapshot that it is made from.
    pub origin: String,
    /// The node that its volume is made for.
    pub node: Option<String>,
}

impl FillStep {
    /// What is being done to which object, for error messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::HoldImage { image, .. } => format!("mark VolumeSnapshot {}", image.name),
            Self::LetImageGo(image) => format!("remove the mark of VolumeSnapshot {}", image.name),
            Self::DeleteImage { image, .. } => format!("delete VolumeSnapshot {}", image.name),
            Self::CreatePrime(new) => format!("create PersistentVolumeClaim {}", new.name),
            Self::PlacePrime { prime, node } => format!("move PersistentVolumeClaim {} to node {node}", prime.name),
            Self::HandOver { volume, .. } => format!("hand over PersistentVolume {}", volume.name),
            Self::DeletePrime(prime) => format!("delete PersistentVolumeClaim {}", prime.name),
        }
    }

    /// What this step needs to be allowed.
    #[must_use]
    pub fn access(&self) -> Vec<Access> {
        let (group, resource, verbs): (_, _, &[_]) = match self {
            Self::HoldImage { .. } | Self::LetImageGo(_) => {
                ("snapshot.storage.k8s.io", "volumesnapshots", &["get", "patch"])
            }
            Self::DeleteImage { .. } => ("snapshot.storage.k8s.io", "volumesnapshots", &["delete"]),
            Self::CreatePrime(_) => ("", "persistentvolumeclaims", &["create"]),
            Self::PlacePrime { .. } => ("", "persistentvolumeclaims", &["patch"]),
            Self::HandOver { .. } => ("", "persistentvolumes", &["patch"]),
            Self::DeletePrime(_) => ("", "persistentvolumeclaims", &["delete"]),
        };
        verbs.iter().map(|verb| Access { group, resource, verb }).collect()
    }
}
