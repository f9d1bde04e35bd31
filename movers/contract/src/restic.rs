//! What only movers of restic repositories are asked, and tell.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Line;

/// Where a repository is, and how it is opened. Secrets are files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repository {
    /// A mounted Secret: a file for each of its keys. `RESTIC_REPOSITORY` and `RESTIC_PASSWORD` are there; the others are
    /// settings of restic, of the store, or of rclone (`RCLONE_...`).
    pub settings: PathBuf,
    /// Certificates to trust instead of the system's, as with restic's `--cacert`, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Where the cache is, in restic's own layout. Absent: none is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// In whose name the repository is locked. The operator runs one mover of an object at a time, so a lock in this
    /// name that a run finds when it begins is a dead one's, and is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_owner: Option<String>,
}

/// Back a tree up, then forget and prune.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResticBackup {
    /// Where to.
    pub repository: Repository,
    /// Which snapshots are kept.
    pub retain: Retain,
    /// Whether the repository is pruned afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prune: bool,
    /// Whether stale locks of others are removed before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlock: bool,
}

/// Which snapshots of the volume a repository keeps: as the options `--keep-...` of `restic forget`. Zero keeps none by that
/// rule. At least one rule is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retain {
    /// The newest.
    pub last: u32,
    /// The newest of each of so many hours.
    pub hourly: u32,
    /// Likewise.
    pub daily: u32,
    /// Likewise.
    pub weekly: u32,
    /// Likewise.
    pub monthly: u32,
    /// Likewise.
    pub yearly: u32,
    /// All made within this time before the newest, as restic writes durations: `2y5m7d3h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// Fill a tree from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResticRestore {
    /// Where from.
    pub repository: Repository,
    /// The newest snapshot made at this time or before; RFC 3339. Absent: the newest of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// How many of the newest of these are passed over.
    #[serde(default)]
    pub previous: u32,
    /// Whether entries of the tree that are not in the snapshot are deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
}

/// What was done with a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RepositoryReport {
    /// The snapshot that was stored, or restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// Why nothing was stored or restored although the run is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing: Option<Nothing>,
    /// Why the repository could not be used, of a run that failed for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// Whether the repository was pruned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pruned: bool,
    /// Whether stale locks were looked for and removed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unlocked: bool,
    /// Snapshots of the volume that are there now.
    pub snapshots: u64,
    /// The newest of them, newest first, at most [`RepositoryReport::LISTED`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub newest: Vec<Snapshot>,
}

impl RepositoryReport {
    /// How many snapshots are listed.
    pub const LISTED: usize = 10;
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The first eight hexadecimal digits of its identity, as restic shows it.
    pub id: Line,
    /// When it was made; RFC 3339.
    pub time: Line,
    /// Bytes of its files' content, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether entries were left out of it because they could not be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// Why a complete run has no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nothing {
    /// A backup of a volume without any entry: nothing was stored or forgotten.
    EmptyVolume,
    /// A restore from a place where there is no repository.
    NoRepository,
    /// A restore from a repository without a snapshot of a volume.
    NoSnapshot,
    /// A restore from a repository whose snapshots are all newer than the time that was asked for, or fewer than are to be
    /// passed over.
    NoneEligible,
}

/// Why a repository could not be used. What a user does about each of these is something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refused {
    /// A key of the Secret is missing or cannot be used.
    Misconfigured,
    /// The store does not answer.
    Unreachable,
    /// The store does not let this run in.
    Denied,
    /// The store answers, and does not do what it is asked: it is full, for example.
    StoreFailed,
    /// The password opens no key of the repository.
    WrongPassword,
    /// Somebody else works in the repository.
    Locked,
    /// What the repository holds is not what it should be, or is of a later version.
    Damaged,
}
