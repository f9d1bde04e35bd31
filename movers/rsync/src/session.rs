//! The handshake, as client and as server: from the first line to the first frame.

pub(crate) mod client;
pub(crate) mod server;

use crate::proto::checksum::Algorithm;
use crate::proto::greeting::Protocol;
use crate::proto::negotiate::{Compatibility, Compression};

/// What the two ends agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    pub(crate) protocol: Protocol,
    pub(crate) compatibility: Compatibility,
    pub(crate) checksum: Algorithm,
    pub(crate) compression: Compression,
    /// Goes into the checksums of blocks.
    pub(crate) seed: i32,
}
