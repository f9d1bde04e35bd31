//! What one ReplicationSource or ReplicationDestination asks for, and where its iteration stands.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::mover::Mover;
use super::name;
use super::pod::Verbosity;
use super::policy::{Deadlines, Policy};
use super::schedule::Schedule;

/// A valid wish. `interpret` makes it from an object, or says why it cannot.
#[derive(Debug, Clone)]
pub struct Replication {
    /// Whose wish it is.
    pub owner: Owner,
    /// Which of its owner's specs it is.
    pub generation: Option<i64>,
    /// Which way the data goes, and through which volumes.
    pub direction: Direction,
    /// When to synchronize.
    pub trigger: Trigger,
    /// What moves the data.
    pub mover: Mover,
    /// Whether the mover may run now.
    pub pace: Pace,
    /// How much the mover logs.
    pub verbosity: Verbosity,
    /// Where the iteration stands, as the object's status remembers it.
    pub phase: Phase,
    /// The image that the status names.
    pub image: Option<Image>,
    /// How long its parts may take.
    pub deadlines: Deadlines,
}

impl Replication {
    /// The same, held to what the operator says about all.
    #[must_use]
    pub fn under(self, policy: &Policy) -> Self {
        let trigger = match self.trigger {
            Trigger::Schedule(schedule) => Trigger::Schedule(schedule.late_by(policy.jitter.of(&self.owner.uid))),
            trigger @ (Trigger::Manual(_) | Trigger::Continuous) => trigger,
        };
        Self { trigger, deadlines: policy.deadlines, ..self }
    }

    /// The iteration that is under way.
    #[must_use]
    pub fn iteration(&self) -> Option<IterationId> {
        match &self.phase {
            Phase::Running(iteration) => Some(iteration.id()),
            Phase::Never | Phase::Idle { .. } => None,
        }
    }

    /// The name of the snapshot that becomes this iteration's image: never that of the image which is published already.
    /// For an iteration that VolSync began, `noted` is what VolSync wrote on the claim.
    #[must_use]
    pub fn image_name(&self, running: &Iteration, claim: &str, noted: Option<&String>) -> String {
        let published = |name: &String| matches!(&self.image, Some(Image::Snapshot(image)) if image == name);
        match (running.begun_by, noted) {
            (Beginner::VolSync, Some(noted)) if !published(noted) => noted.clone(),
            (Beginner::VolSync | Beginner::Doppel, _) => {
                let name = name::image(claim, running.since);
                // Names tell seconds apart, and the last iteration may have begun in this one.
                let later = running.since.checked_add(SignedDuration::from_secs(1)).unwrap_or(running.since);
                if published(&name) { name::image(claim, later) } else { name }
            }
        }
    }
}

/// A published point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// The destination claim itself.
    Claim(String),
    /// A VolumeSnapshot.
    Snapshot(String),
}

/// The object that a child belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// Its kind.
    pub role: Role,
    /// Its namespace; children are never anywhere else.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// The two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Role {
    /// ReplicationSource.
    Source,
    /// ReplicationDestination.
    Destination,
}

impl Role {
    /// The kind as the API spells it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Source => "ReplicationSource",
            Self::Destination => "ReplicationDestination",
        }
    }
}

/// Which way the data goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direction {
    /// Out of a claim.
    Source {
        /// The claim to be copied.
        claim: String,
        /// How a point in time of it is had.
        copy: SourceCopy,
    },
    /// Into a claim.
    Destination {
        /// The claim that receives the data.
        target: Target,
        /// How a point in time of it is published.
        publish: Publish,
    },
}

impl Direction {
    /// Whether the mover is given a claim that others may be using: no copy of its own, and no claim that is known to
    /// nobody else.
    #[must_use]
    pub fn shares_claim(&self) -> bool {
        match self {
            Self::Source { copy, .. } => *copy == SourceCopy::Direct,
            Self::Destination { target: Target::Existing { claim: _, mode: _ }, .. } => true,
            Self::Destination { publish, .. } => *publish == Publish::Direct,
        }
    }
}

/// How a source's point in time is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceCopy {
    /// The mover reads the claim itself.
    Direct,
    /// The mover reads a clone.
    Clone(CopyShape),
    /// The mover reads a claim that was made from a snapshot.
    Snapshot {
        /// VolumeSnapshotClass, or the cluster's default.
        class: Option<String>,
        /// The claim made from it.
        shape: CopyShape,
    },
}

/// What differs between a source and its point-in-time copy. Absent: as the source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyShape {
    /// Size, a Kubernetes quantity.
    pub capacity: Option<String>,
    /// StorageClass.
    pub storage_class: Option<String>,
    /// Access modes.
    pub access_modes: Option<Vec<String>>,
}

/// The claim that receives the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A claim of the user's.
    Existing {
        /// Its name.
        claim: String,
        /// What the user says that it is, if anything.
        mode: Option<VolumeMode>,
    },
    /// A claim that Doppel makes.
    Dynamic {
        /// Size, a Kubernetes quantity.
        capacity: String,
        /// StorageClass, or the cluster's default.
        storage_class: Option<String>,
        /// Access modes, at least one.
        access_modes: Vec<String>,
        /// Filesystem or Block.
        mode: VolumeMode,
        /// Whether it outlives the iteration.
        lifetime: Lifetime,
    },
}

/// Whether a dynamic claim outlives an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Lifetime {
    /// It stays for the next iteration.
    Kept,
    /// It is deleted in cleanup.
    Temporary,
}

/// Files or raw blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum VolumeMode {
    /// A file system.
    Filesystem,
    /// A block device.
    Block,
}

impl VolumeMode {
    /// As the API spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "Filesystem",
            Self::Block => "Block",
        }
    }
}

/// How a destination's point in time is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publish {
    /// The claim itself is the image.
    Direct,
    /// A snapshot of the claim.
    Snapshot {
        /// VolumeSnapshotClass, or the cluster's default.
        class: Option<String>,
    },
}

/// When to synchronize.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Once for each new value.
    Manual(String),
    /// At these times.
    Schedule(Schedule),
    /// One iteration after the other.
    Continuous,
}

/// Whether the mover may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Pace {
    /// It runs.
    Running,
    /// Everything around it is made, the mover itself waits.
    Paused,
}

/// Where the iteration stands. Derived from the status alone, so that any operator can go on from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was ever synchronized.
    Never,
    /// An iteration is under way.
    Running(Iteration),
    /// Nothing is under way.
    Idle {
        /// End of the last success.
        last_sync: Timestamp,
        /// The manual trigger's value that it answered.
        last_manual: Option<String>,
    },
}

/// Who began an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beginner {
    /// This operator.
    #[default]
    Doppel,
    /// VolSync, before this operator took over.
    VolSync,
}

/// An iteration that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iteration {
    /// Its begin.
    pub since: Timestamp,
    /// Who began it.
    pub begun_by: Beginner,
    /// The manual trigger's value when it began.
    pub manual: Option<String>,
    /// How many attempts of the mover failed.
    pub failed_attempts: u32,
    /// When the next attempt may begin.
    pub next_attempt: Option<Timestamp>,
    /// End of the last success, if there was one.
    pub last_sync: Option<Timestamp>,
}

impl Iteration {
    /// What tells it from all others of its object.
    #[must_use]
    pub fn id(&self) -> IterationId {
        IterationId { since: self.since, last_sync: self.last_sync }
    }
}

/// What tells an iteration from all others of its object, and is written on everything that is made for it. Of two that begin in one
/// second one has ended in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IterationId {
    since: Timestamp,
    last_sync: Option<Timestamp>,
}

impl IterationId {
    /// Whether it began when that success of its object was known. Both times are of the object's status: no clock is compared with
    /// another.
    #[must_use]
    pub fn is_after(&self, success: Timestamp) -> bool {
        self.last_sync.is_some_and(|last_sync| last_sync >= success)
    }
}

impl fmt::Display for IterationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.since)?;
        self.last_sync.map_or(Ok(()), |last_sync| write!(f, "{AFTER}{last_sync}"))
    }
}

impl FromStr for IterationId {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (since, last_sync) = match text.split_once(AFTER) {
            Some((since, last_sync)) => (since, Some(last_sync.parse()?)),
            None => (text, None),
        };
        Ok(Self { since: since.parse()?, last_sync })
    }
}

const AFTER: &str = " after ";
