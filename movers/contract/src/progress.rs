//! How far a run is.

use serde::{Deserialize, Serialize};

/// One line of a mover's standard output while it works, and what it answers at its progress port, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What the mover is doing.
    pub phase: Phase,
    /// Entries of the tree that are done.
    pub entries: u64,
    /// Entries of the whole tree, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries_total: Option<u64>,
    /// Bytes of file content that are done, whether they were sent or found unchanged.
    pub bytes: u64,
    /// Bytes of file content in the whole tree, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// Milliseconds since the run began.
    pub elapsed_ms: u64,
}

impl Progress {
    /// No line is longer: six numbers of at most 20 digits, their names, and a phase.
    pub const LONGEST_LINE: usize = 512;
}

/// What a mover is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A destination waits for its source to connect.
    Waiting,
    /// A source connects to its destination.
    Connecting,
    /// The tree is read.
    Walking,
    /// Entries are compared and sent.
    Transferring,
    /// Written data is made durable.
    Flushing,
}
