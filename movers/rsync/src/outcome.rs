//! How a session ended that ended in order.

use doppel_contract::{LeftOut, Tally};

/// How a session ended that ended in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What was counted on the way.
    pub tally: Tally,
    /// What should have been moved and was not. Unless it is empty the session is no success.
    pub left_out: LeftOut,
    /// What could not be kept although no data is missing, and what vanished while it was read.
    pub remarks: LeftOut,
    /// Who was at the other end.
    pub peer: Peer,
    /// Both ends know that the run is complete with this session: they are Doppels, and nothing was left out. Otherwise the
    /// source says so in a session of its own.
    pub complete: bool,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Peer {
    /// A program that says nothing of itself: rsync, from VolSync for example.
    #[default]
    Rsync,
    /// A Doppel.
    Doppel,
}
