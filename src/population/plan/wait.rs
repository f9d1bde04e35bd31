//! What a claim that is to be filled waits for.

/// What a claim waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// It names a ReplicationDestination of another namespace.
    Elsewhere {
        /// That namespace.
        namespace: String,
        /// The ReplicationDestination.
        name: String,
    },
    /// There is no such ReplicationDestination.
    Destination(String),
    /// Nothing was published yet.
    FirstImage {
        /// The ReplicationDestination.
        destination: String,
    },
    /// What was published is no snapshot.
    OtherImage {
        /// The ReplicationDestination.
        destination: String,
        /// What it published; `kind/name`.
        image: String,
    },
    /// The published snapshot is gone, or going.
    ImageGone {
        /// The ReplicationDestination.
        destination: String,
        /// The snapshot.
        image: String,
    },
    /// No volume can be made from the snapshot yet; with the driver's error if there is one.
    ImageReady {
        /// The snapshot.
        image: String,
        /// `status.error.message`.
        error: Option<String>,
    },
    /// As many claims as may be are being filled from the image.
    Turn {
        /// The image.
        image: String,
    },
    /// The claim is smaller than any volume made from the image.
    Larger {
        /// The image.
        image: String,
        /// What the claim asks for.
        request: String,
        /// What the image needs.
        needed: String,
    },
    /// There is no such StorageClass.
    Class(String),
    /// The StorageClass makes no volumes from snapshots.
    OtherClass {
        /// The StorageClass.
        class: String,
        /// Its provisioner.
        provisioner: String,
    },
    /// The prime has had no volume for too long.
    Provisioner {
        /// The prime.
        prime: String,
    },
    /// What has the prime's name was not made for the claim.
    NotOurs {
        /// The prime's name.
        prime: String,
        /// Whose it is.
        owner: String,
    },
    /// The prime's volume belongs to another claim.
    VolumeOfOther {
        /// The volume.
        volume: String,
        /// That claim in words.
        claim: String,
    },
}
