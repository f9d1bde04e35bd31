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
    /// A snapshot has no content after a while.
    VolumeSnapshotNotBound,
    /// A claim has no volume after a while.
    PersistentVolumeClaimNotBound,
    /// A destination's Service has no address after a while.
    NoServiceAddressAssigned,
    /// An application's word is awaited before its volume is copied.
    SrcPVCWaitingForCopyTrigger,
    /// It did not come for a while.
    SrcPVCTimeoutWaitingForCopyTrigger,
    /// It came.
    SrcPVCCopyTriggerReceived,
    /// The copy is made; the application may go on.
    SrcPVCCopyUsingCopyTriggerCompleted,
    /// A claim has the volume that was made for it from an image.
    VolSyncPopulatorFinished,
    /// A claim's prime was created.
    VolSyncPopulatorPVCCreated,
    /// A claim's prime could not be created.
    VolSyncPopulatorPVCCreationError,
    /// A claim's ReplicationDestination does not exist.
    VolSyncPopulatorReplicationDestinationMissing,
    /// A claim's ReplicationDestination has no image that can be used yet.
    VolSyncPopulatorReplicationDestinationNoLatestImage,
    /// A claim waits until fewer others are filled from its image. Not one of VolSync's.
    PopulatorQueued,
    /// A claim cannot be filled as it, or what it names, is.
    VolSyncPopulatorError,
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
            Self::VolumeSnapshotNotBound => "VolumeSnapshotNotBound",
            Self::PersistentVolumeClaimNotBound => "PersistentVolumeClaimNotBound",
            Self::NoServiceAddressAssigned => "NoServiceAddressAssigned",
            Self::SrcPVCWaitingForCopyTrigger => "SrcPVCWaitingForCopyTrigger",
            Self::SrcPVCTimeoutWaitingForCopyTrigger => "SrcPVCTimeoutWaitingForCopyTrigger",
            Self::SrcPVCCopyTriggerReceived => "SrcPVCCopyTriggerReceived",
            Self::SrcPVCCopyUsingCopyTriggerCompleted => "SrcPVCCopyUsingCopyTriggerCompleted",
            Self::VolSyncPopulatorFinished => "VolSyncPopulatorFinished",
            Self::VolSyncPopulatorPVCCreated => "VolSyncPopulatorPVCCreated",
            Self::VolSyncPopulatorPVCCreationError => "VolSyncPopulatorPVCCreationError",
            Self::VolSyncPopulatorReplicationDestinationMissing => "VolSyncPopulatorReplicationDestinationMissing",
            Self::VolSyncPopulatorReplicationDestinationNoLatestImage => {
                "VolSyncPopulatorReplicationDestinationNoLatestImage"
            }
            Self::PopulatorQueued => "PopulatorQueued",
            Self::VolSyncPopulatorError => "VolSyncPopulatorError",
        }
    }

    /// What was being done. The API refuses events without an action.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::TransferStarted => "CreateMover",
            Self::TransferFailed => "DeleteMover",
            Self::VolumeSnapshotCreated | Self::VolumeSnapshotNotBound => "CreateVolumeSnapshot",
            Self::PersistentVolumeClaimCreated | Self::PersistentVolumeClaimNotBound => "CreatePersistentVolumeClaim",
            Self::ServiceAddressAssigned | Self::NoServiceAddressAssigned => "AssignServiceAddress",
            Self::SrcPVCWaitingForCopyTrigger
            | Self::SrcPVCTimeoutWaitingForCopyTrigger
            | Self::SrcPVCCopyTriggerReceived
            | Self::SrcPVCCopyUsingCopyTriggerCompleted => "CreateSrcCopyUsingCopyTrigger",
            Self::VolSyncPopulatorFinished
            | Self::VolSyncPopulatorPVCCreated
            | Self::VolSyncPopulatorPVCCreationError
            | Self::VolSyncPopulatorReplicationDestinationMissing
            | Self::VolSyncPopulatorReplicationDestinationNoLatestImage
            | Self::PopulatorQueued
            | Self::VolSyncPopulatorError => "Provision Volume",
        }
    }

    /// Whether it is a warning.
    #[must_use]
    pub fn is_warning(self) -> bool {
        match self {
            Self::TransferFailed
            | Self::VolumeSnapshotNotBound
            | Self::PersistentVolumeClaimNotBound
            | Self::NoServiceAddressAssigned
            | Self::SrcPVCTimeoutWaitingForCopyTrigger
            | Self::VolSyncPopulatorPVCCreationError
            | Self::VolSyncPopulatorReplicationDestinationMissing
            | Self::VolSyncPopulatorReplicationDestinationNoLatestImage
            | Self::VolSyncPopulatorError => true,
            Self::TransferStarted
            | Self::VolumeSnapshotCreated
            | Self::PersistentVolumeClaimCreated
            | Self::ServiceAddressAssigned
            | Self::SrcPVCWaitingForCopyTrigger
            | Self::SrcPVCCopyTriggerReceived
            | Self::SrcPVCCopyUsingCopyTriggerCompleted
            | Self::VolSyncPopulatorFinished
            | Self::VolSyncPopulatorPVCCreated
            | Self::PopulatorQueued => false,
        }
    }
}
