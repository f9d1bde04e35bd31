//! The agreement between an application and its copies: annotations of the claim say when a copy may be made, and where it
//! stands (VolSync's "PVC copy triggers").

use jiff::Timestamp;

/// What a claim's annotations say, where the application takes part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyTrigger {
    /// The application's value: the next copy may be made when it differs from `answered`.
    pub wanted: Option<String>,
    /// The value that the last copy was made for.
    pub answered: Option<String>,
    /// Where the copy stands.
    pub status: Option<CopyStatus>,
    /// Since when the operator waits for a new value.
    pub waiting_since: Option<Timestamp>,
}

/// Where a copy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyStatus {
    /// The application's word is awaited.
    Waiting,
    /// It is being made.
    InProgress,
    /// It is made: the application may go on.
    Completed,
}

impl CopyStatus {
    /// As the annotation spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WaitingForTrigger",
            Self::InProgress => "InProgress",
            Self::Completed => "Completed",
        }
    }

    /// Reads what [`CopyStatus::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Waiting, Self::InProgress, Self::Completed].into_iter().find(|status| status.as_str() == text)
    }
}

/// What to tell the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A new value is awaited.
    Waiting {
        /// Since when.
        since: Timestamp,
    },
    /// A new value was seen; the copy is being made.
    InProgress,
    /// The copy is made.
    Completed {
        /// The value that it was made for.
        trigger: String,
    },
}
