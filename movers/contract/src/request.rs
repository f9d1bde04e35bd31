//! What a mover is asked to do.

use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One run of a mover. Holds no secret: keys are mounted as files and named by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Where the volume is mounted.
    pub volume: PathBuf,
    /// What to do with it.
    pub work: Work,
    /// Seconds that the run may take. For a destination they begin when an authenticated source has connected: waiting
    /// for a source has no limit, because only the source knows when it will come. Absent means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<NonZeroU64>,
}

/// The engine to run, its direction, and what only that one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mover", rename_all = "kebab-case")]
pub enum Work {
    /// Send the volume to an rsync daemon behind TLS with a pre-shared key.
    RsyncTlsSource(RsyncTlsSource),
    /// Be that daemon and receive the volume.
    RsyncTlsDestination(RsyncTlsDestination),
}

/// A source of rsync over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RsyncTlsSource {
    /// Host name or IP address of the destination, without a port and without brackets.
    pub address: String,
    /// TCP port of the destination.
    pub port: NonZeroU16,
    /// The file with the pre-shared key, one line `identity:hexadecimal key`.
    pub key_file: PathBuf,
    /// What to do when the volume is empty.
    pub empty_source: EmptySource,
}

/// A destination of rsync over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RsyncTlsDestination {
    /// TCP port to listen on.
    pub port: NonZeroU16,
    /// The file with the pre-shared key, one line `identity:hexadecimal key`.
    pub key_file: PathBuf,
    /// What to do when the source turns out to be empty.
    pub empty_source: EmptySource,
}

/// What an empty source means for a destination that has data. A volume that was not mounted, or was lost, looks empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmptySource {
    /// The run is refused; nothing is deleted.
    #[default]
    Refuse,
    /// The destination becomes empty too.
    Accept,
}
