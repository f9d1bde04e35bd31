//! Places: how many synchronizations may cost something at the same time, and what one of them asks for. Who is next is for
//! `replication::queue` to say.
//!
//! A synchronization costs something while its copy is made and while its mover starts or runs. One that waits for anything
//! else needs no place and has none.

use std::num::NonZeroU32;

use jiff::Timestamp;

use super::mover::{Meeting, Mover};
use super::replication::{Replication, Role};

/// How many synchronizations may have a place at the same time; absent: as many as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// In the whole cluster.
    pub cluster: Option<NonZeroU32>,
    /// In one namespace.
    pub namespace: Option<NonZeroU32>,
    /// On one node.
    pub node: Option<NonZeroU32>,
    /// Of volumes of one StorageClass.
    pub storage_class: Option<NonZeroU32>,
}

impl Limits {
    /// Whether nothing is limited: then nobody waits, and no status tells of places.
    #[must_use]
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a synchronization takes a place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Whether it goes before others.
    pub urgency: Urgency,
    /// Its namespace.
    pub namespace: String,
    /// The StorageClass of the volume that is copied, if it has one.
    pub storage_class: Option<String>,
    /// The node that its mover runs on, or must run on, if that is known. The scheduler alone knows it of other movers, once
    /// they have a place.
    pub node: Option<String>,
}

/// Whether a synchronization goes before others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody waits for the data: a ReplicationDestination that fetches it.
    Restore,
    /// It goes its turn.
    Regular,
}

impl Urgency {
    /// None for what needs no place. A destination that listens costs next to nothing until its source calls, which may be
    /// long hence; with a place it would keep others from theirs, and its own source too: where both are in one cluster and
    /// one place is left, neither would ever end. What the two cost together while data moves is counted at the source.
    #[must_use]
    pub fn of(wish: &Replication) -> Option<Self> {
        let listens = match &wish.mover {
            Mover::RsyncTls(rsync) => matches!(rsync.meeting, Meeting::Listen(_)),
            Mover::Restic(_) => false,
        };
        match wish.owner.role {
            _ if listens => None,
            Role::Source => Some(Self::Regular),
            Role::Destination => Some(Self::Restore),
        }
    }
}

/// A limit that keeps a synchronization waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// That of the cluster.
    Cluster,
    /// That of this namespace.
    Namespace(String),
    /// That of this node.
    Node(String),
    /// That of this StorageClass.
    StorageClass(String),
}

impl Limit {
    /// Whether it concerns what asks for this.
    #[must_use]
    pub fn concerns(&self, demand: &Demand) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespace(name) => demand.namespace == *name,
            Self::Node(name) => demand.node.as_ref() == Some(name),
            Self::StorageClass(name) => demand.storage_class.as_ref() == Some(name),
        }
    }
}

/// A wait for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// How many wait before it for what is full, and one more.
    pub position: usize,
    /// How many wait before it for anything.
    pub before: usize,
    /// What is full, and how much that is.
    pub full: (Limit, NonZeroU32),
    /// Since when it waits.
    pub since: Timestamp,
}

/// A place that a synchronization has. Its status remembers it, so that no operator ever gives out too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Since when.
    pub since: Timestamp,
    /// The StorageClass that it counts for.
    pub storage_class: Option<String>,
    /// The node that it counts for.
    pub node: Option<String>,
}

/// What a status says about places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It waits for one.
    Waiting {
        /// Since when.
        since: Timestamp,
    },
    /// It has one.
    Place(Place),
}
