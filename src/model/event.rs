//! Events about an object, for a user's eyes. Reasons and actions are VolSync's.

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What, as one of a closed set.
    pub reason: EventReason,
    /// In words.
    pub note: String,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventReason {
    /// A mover's Job was created.
    TransferStarted,
    /// A mover failed.
    TransferFailed,
    /// A snapshot was created.
    VolumeSnapshotCreated,
    /// A claim was created.
    PersistentVolumeClaimCreated,
    /// A destination can be reached.
    ServiceAddressAssigned,
}

impl EventReason {
    /// As the API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransferStarted => "TransferStarted",
            Self::TransferFailed => "TransferFailed",
            Self::VolumeSnapshotCreated => "VolumeSnapshotCreated",
            Self::PersistentVolumeClaimCreated => "PersistentVolumeClaimCreated",
            Self::ServiceAddressAssigned => "ServiceAddressAssigned",
        }
    }

    /// What was being done. The API refuses events without an action.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::TransferStarted => "CreateMover",
            Self::TransferFailed => "DeleteMover",
            Self::VolumeSnapshotCreated => "CreateVolumeSnapshot",
            Self::PersistentVolumeClaimCreated => "CreatePersistentVolumeClaim",
            Self::ServiceAddressAssigned => "AssignServiceAddress",
        }
    }

    /// Whether it is a warning.
    #[must_use]
    pub fn is_warning(self) -> bool {
        self == Self::TransferFailed
    }
}
