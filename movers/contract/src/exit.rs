//! How a mover's process ends.

use crate::{Report, Retry, Verdict};

/// The exit code of `doppel-mover`, so that a run is understood even where its [`Report`] was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything that should have been moved was moved and is durable.
    Complete,
    /// The run ended in order, but some entries were left out; the report names them.
    Incomplete,
    /// The run failed and may succeed when it is tried again.
    FailedRetryLater,
    /// The run failed and will fail again until somebody changes something.
    FailedUntilChange,
    /// The command line or the [`crate::Request`] could not be understood.
    Usage,
}

impl ExitCode {
    /// The code as the operating system knows it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::FailedRetryLater => 10,
            Self::FailedUntilChange => 11,
        }
    }
}

impl From<&Report> for ExitCode {
    fn from(report: &Report) -> Self {
        match &report.verdict {
            Verdict::Complete => Self::Complete,
            Verdict::Incomplete(_) => Self::Incomplete,
            Verdict::Failed { retry: Retry::Later, .. } => Self::FailedRetryLater,
            Verdict::Failed { retry: Retry::AfterChange, .. } => Self::FailedUntilChange,
        }
    }
}
