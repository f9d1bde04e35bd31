//! Whether an object is as it should be: the conditions `Ready`, `Reconciling` and `Stalled`, as kstatus
//! (sigs.k8s.io/cli-utils) and the tools built on it read them. VolSync's condition `Synchronizing` is
//! [`super::status::Condition`].
//!
//! An object is ready when the copy that it asks for is there: it was synchronized once, for the present manual trigger if it
//! has one, and no attempt has failed since. A later synchronization on schedule does not make it unready.

use jiff::Timestamp;

/// The three conditions, which say one thing together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Which of them is true.
    pub state: ReadyState,
    /// What the object waits for, or what keeps it from being ready.
    pub reason: ReadyReason,
    /// In words, with what to do about it.
    pub message: String,
    /// Since when state and reason are these.
    pub since: Timestamp,
}

/// Which of the conditions is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyState {
    /// `Ready`.
    Ready,
    /// `Reconciling`: it is not ready, and will be without anybody's help as far as can be seen.
    Reconciling,
    /// `Stalled`: it is not ready, and somebody should look at it.
    Stalled,
    /// None: it is not ready because a user holds it.
    Held,
}

/// Why; the closed set of the conditions' reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyReason {
    /// A synchronization begins.
    Starting,
    /// Others have all the places there are.
    Queued,
    /// A VolumeSnapshot is not ready to use.
    WaitingForSnapshot,
    /// The claim's application has not said that it may be copied.
    WaitingForCopyTrigger,
    /// An object of a former iteration or attempt still goes away.
    WaitingForRemoval,
    /// Pods that use the volume keep the mover from it.
    WaitingForVolume,
    /// The mover's pod does not run yet.
    WaitingForMover,
    /// The mover runs.
    MoverRunning,
    /// What the last iteration left is being removed.
    CleaningUp,
    /// Nothing to do before the schedule fires.
    WaitingForSchedule,
    /// Nothing to do before the manual trigger changes.
    WaitingForManual,
    /// A user holds the mover.
    Paused,
    /// The latest attempt failed.
    AttemptFailed,
    /// The latest attempt left something out.
    Incomplete,
    /// The spec cannot be carried out as it is.
    SpecInvalid,
    /// A claim of the user's is not there.
    ClaimMissing,
    /// A Secret of the user's is not there.
    SecretMissing,
    /// A ConfigMap of the user's is not there.
    ConfigMapMissing,
    /// A Secret or a ConfigMap does not hold what it must.
    SecretMalformed,
    /// A ServiceAccount of the user's is not there.
    AccountMissing,
    /// An object of a needed name belongs to somebody else.
    NameTaken,
    /// The API server could not be read, or refused something.
    ClusterError,
}

impl ReadyReason {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Starting,
        Self::Queued,
        Self::WaitingForSnapshot,
        Self::WaitingForCopyTrigger,
        Self::WaitingForRemoval,
        Self::WaitingForVolume,
        Self::WaitingForMover,
        Self::MoverRunning,
        Self::CleaningUp,
        Self::WaitingForSchedule,
        Self::WaitingForManual,
        Self::Paused,
        Self::AttemptFailed,
        Self::Incomplete,
        Self::SpecInvalid,
        Self::ClaimMissing,
        Self::SecretMissing,
        Self::ConfigMapMissing,
        Self::SecretMalformed,
        Self::AccountMissing,
        Self::NameTaken,
        Self::ClusterError,
    ];

    /// As the API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Queued => "Queued",
            Self::WaitingForSnapshot => "WaitingForSnapshot",
            Self::WaitingForCopyTrigger => "WaitingForCopyTrigger",
            Self::WaitingForRemoval => "WaitingForRemoval",
            Self::WaitingForVolume => "WaitingForVolume",
            Self::WaitingForMover => "WaitingForMover",
            Self::MoverRunning => "MoverRunning",
            Self::CleaningUp => "CleaningUp",
            Self::WaitingForSchedule => "WaitingForSchedule",
            Self::WaitingForManual => "WaitingForManual",
            Self::Paused => "Paused",
            Self::AttemptFailed => "AttemptFailed",
            Self::Incomplete => "Incomplete",
            Self::SpecInvalid => "SpecInvalid",
            Self::ClaimMissing => "ClaimMissing",
            Self::SecretMissing => "SecretMissing",
            Self::ConfigMapMissing => "ConfigMapMissing",
            Self::SecretMalformed => "SecretMalformed",
            Self::AccountMissing => "AccountMissing",
            Self::NameTaken => "NameTaken",
            Self::ClusterError => "ClusterError",
        }
    }

    /// Reads what [`ReadyReason::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When it ended.
    pub at: Timestamp,
    /// Whose fault it seems to be.
    pub blame: Blame,
    /// What happened, and what to do.
    pub message: String,
    /// How many entries were left out of a copy that is otherwise there.
    pub left_out: u64,
}

/// Whose fault a failure seems to be. A closed set: it is a label of a metric too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    /// What a user wrote.
    User,
    /// The other side.
    Peer,
    /// The way to the other side.
    Network,
    /// The volume.
    Volume,
    /// The cluster: it ended the mover.
    Cluster,
    /// A defect of Doppel.
    Doppel,
}

impl Blame {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::User, Self::Peer, Self::Network, Self::Volume, Self::Cluster, Self::Doppel];

    /// As the API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Peer => "Peer",
            Self::Network => "Network",
            Self::Volume => "Volume",
            Self::Cluster => "Cluster",
            Self::Doppel => "Doppel",
        }
    }

    /// Reads what [`Blame::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|blame| blame.as_str() == text)
    }
}
