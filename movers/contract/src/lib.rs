//! What the operator and a mover say to each other, and nothing else.
//!
//! The operator writes a [`Request`] into the environment variable [`REQUEST_ENV`] of a mover's container. The mover
//! prints [`Progress`] as JSON lines on standard output, writes one [`Report`] to its termination message
//! ([`TERMINATION_MESSAGE_PATH`]) and ends with an [`ExitCode`]. No secret is ever part of any of them: keys are files.
//!
//! Both planes compile against these types, so a change here does not build until both agree on it.

mod exit;
mod line;
mod progress;
pub mod psk;
mod report;
mod request;
mod restic;

pub use exit::ExitCode;
pub use line::Line;
pub use progress::{Phase, Progress};
pub use report::{Fault, LeftOut, Problem, Report, Retry, Tally, Verdict};
pub use request::{
    DeviceVolume, EmptySource, Request, RsyncTlsDestination, RsyncTlsSource, Verification, Volume, Work,
};
pub use restic::{Nothing, Refused, Repository, RepositoryReport, ResticBackup, ResticRestore, Retain, Snapshot};

/// The environment variable that holds the JSON of a [`Request`].
pub const REQUEST_ENV: &str = "DOPPEL_REQUEST";

/// The environment variable that, set to anything, lets a mover log all it does.
pub const DEBUG_ENV: &str = "DEBUG_MOVER";

/// Where the kubelet reads a container's termination message
/// (Kubernetes: "Determine the Reason for Pod Failure", default of `terminationMessagePath`).
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// The kubelet cuts a container's termination message off at this many bytes.
pub const TERMINATION_MESSAGE_LIMIT: usize = 4096;
