//! The handshake, as client and as server: from the first line to the first frame.

pub(crate) mod client;
pub(crate) mod server;

use crate::proto::checksum::Algorithm;
use crate::proto::extras::Extras;
use crate::proto::greeting::Protocol;
use crate::proto::negotiate::{Compatibility, Compression};

/// What the two ends agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    pub(crate) protocol: Protocol,
    pub(crate) compatibility: Compatibility,
    pub(crate) checksum: Algorithm,
    pub(crate) packing: Packing,
    /// The server tells the checksum of everything before the last phase.
    pub(crate) verifies: bool,
    /// Goes into the checksums of blocks.
    pub(crate) seed: i32,
}

/// How the content of files is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As rsync does it: all or nothing.
    Stock(Compression),
    /// As Doppels do it: piece by piece, as the sender likes.
    Mixed,
}

impl Packing {
    /// What follows from what was agreed on. Whoever asked for compression wants rsync's.
    pub(crate) fn agreed(compression: Compression, doppel: Option<Extras>) -> Self {
        let mixed = compression == Compression::None && doppel.is_some_and(|extras| extras.has(Extras::PACK));
        if mixed { Self::Mixed } else { Self::Stock(compression) }
    }
}
