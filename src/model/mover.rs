//! What moves the data, and what each mover needs beside the volume.

use doppel_contract::{EmptySource, Retain};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::pod::PodSettings;
use super::replication::Lifetime;

/// What moves the data. A new mover is a variant here; the compiler then points at what is missing.
#[derive(Debug, Clone, PartialEq)]
pub enum Mover {
    /// rsync over TLS with a pre-shared key.
    RsyncTls(RsyncTls),
    /// Backups in a restic repository.
    Restic(Restic),
}

/// The section of a spec that chooses a mover, and holds what only that one needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section(&'static str);

impl Section {
    /// `spec.rsyncTLS`
    pub const RSYNC_TLS: Self = Self("spec.rsyncTLS");
    /// `spec.restic`
    pub const RESTIC: Self = Self("spec.restic");

    /// One of its fields, as messages name it: `spec.rsyncTLS.keySecret`.
    #[must_use]
    pub fn field(self, name: &str) -> String {
        format!("{}.{name}", self.0)
    }
}

impl Mover {
    /// The names of all movers.
    pub const NAMES: &[&str] = &["restic", "rsync-tls"];

    /// The section that it was chosen by.
    #[must_use]
    pub fn section(&self) -> Section {
        match self {
            Self::RsyncTls(_) => Section::RSYNC_TLS,
            Self::Restic(_) => Section::RESTIC,
        }
    }

    /// The mover's name in metrics and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RsyncTls(_) => "rsync-tls",
            Self::Restic(_) => "restic",
        }
    }

    /// How its pods look.
    #[must_use]
    pub fn pod(&self) -> &PodSettings {
        match self {
            Self::RsyncTls(rsync) => &rsync.pod,
            Self::Restic(restic) => &restic.pod,
        }
    }

    /// The Secret that opens the other side to it.
    #[must_use]
    pub fn secret(&self) -> &str {
        match self {
            Self::RsyncTls(rsync) => rsync.key.secret(),
            Self::Restic(restic) => &restic.repository,
        }
    }

    /// Its cache, if it keeps one.
    #[must_use]
    pub fn cache(&self) -> Option<&CacheShape> {
        match self {
            Self::RsyncTls(_) => None,
            Self::Restic(restic) => Some(&restic.cache),
        }
    }
}

/// What rsync over TLS needs beside the volume.
#[derive(Debug, Clone, PartialEq)]
pub struct RsyncTls {
    /// Where the pre-shared key is.
    pub key: KeySource,
    /// How the two sides meet.
    pub meeting: Meeting,
    /// What an empty source means.
    pub empty_source: EmptySource,
    /// How the pods look.
    pub pod: PodSettings,
}

/// The Secret of the pre-shared key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The user made it.
    Given(String),
    /// Doppel makes it when it is missing.
    Generated(String),
}

impl KeySource {
    /// The Secret's name.
    #[must_use]
    pub fn secret(&self) -> &str {
        match self {
            Self::Given(name) | Self::Generated(name) => name,
        }
    }
}

/// How source and destination meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meeting {
    /// A source calls this address.
    Call {
        /// Host name or IP address.
        address: String,
        /// TCP port.
        port: std::num::NonZeroU16,
    },
    /// A destination listens behind a Service.
    Listen(Listen),
}

/// The Service of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// ClusterIP, LoadBalancer or NodePort.
    pub service_type: String,
    /// Annotations that the Service must have.
    pub annotations: Vec<(String, String)>,
}

/// What a mover of a restic repository needs beside the volume.
#[derive(Debug, Clone, PartialEq)]
pub struct Restic {
    /// The Secret that says where the repository is and how it is opened.
    pub repository: String,
    /// Certificates to trust.
    pub certificates: Option<Certificates>,
    /// Its cache.
    pub cache: CacheShape,
    /// What is done.
    pub task: ResticTask,
    /// How the pods look.
    pub pod: PodSettings,
}

/// Where certificates are that a mover trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificates {
    /// What holds them.
    pub holder: Holder,
    /// The key in it, in PEM form.
    pub key: String,
}

/// An object that holds certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Holder {
    /// A Secret.
    Secret(String),
    /// A ConfigMap.
    ConfigMap(String),
}

/// The claim of a cache, where the user does not say otherwise as the claim whose data is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheShape {
    /// Size, a Kubernetes quantity.
    pub capacity: String,
    /// StorageClass.
    pub storage_class: Option<String>,
    /// Access modes.
    pub access_modes: Option<Vec<String>>,
    /// Whether it outlives an iteration.
    pub lifetime: Lifetime,
}

/// What is done with a restic repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResticTask {
    /// A volume is backed up.
    Backup(Backup),
    /// A volume is filled.
    Restore {
        /// The newest snapshot at this time or before, or the newest of all.
        as_of: Option<Timestamp>,
        /// How many of the newest of these are passed over.
        previous: u32,
        /// Whether files that are not in it are deleted.
        delete: bool,
    },
}

/// A backup, and what is done after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Which snapshots are kept.
    pub retain: Retain,
    /// When the repository was pruned last, or else when the object was created.
    pub pruned: Timestamp,
    /// How long after that it is pruned again.
    pub prune_interval: SignedDuration,
    /// For each new value the repository is unlocked once.
    pub unlock: Option<String>,
    /// The value that it was unlocked for last.
    pub unlocked: Option<String>,
}

impl Backup {
    /// Whether the repository is to be pruned in an iteration that began then: the answer is the same in all of its passes.
    #[must_use]
    pub fn prunes(&self, begin: Timestamp) -> bool {
        self.pruned.checked_add(self.prune_interval).is_ok_and(|due| due < begin)
    }

    /// Whether it is to be unlocked.
    #[must_use]
    pub fn unlocks(&self) -> bool {
        self.unlock.is_some() && self.unlock != self.unlocked
    }
}
