//! Why a session failed, whose fault it seems to be, and when to try again.

use std::io;

use doppel_contract::{Fault, Line, Retry};

use crate::device::DeviceError;
use crate::proto::Malformed;

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke.
    #[error("the connection to the peer broke: {0}")]
    Network(#[source] io::Error),
    /// The peer closed the connection too early.
    #[error("the peer closed the connection before the transfer was done")]
    Closed,
    /// The peer's bytes are not what the protocol says.
    #[error("the peer broke the block protocol: {0}")]
    Malformed(#[from] Malformed),
    /// The destination has no room for the source.
    #[error(
        "the destination's device has {destination} bytes, fewer than the {source_size} of the source's; nothing was \
         written; make the destination's volume at least as large"
    )]
    TooSmall {
        /// Bytes of the source's device.
        source_size: u64,
        /// Bytes of the destination's.
        destination: u64,
    },
    /// A source without data would have wiped a destination.
    #[error(
        "the source's device holds nothing but zeros and the destination's holds data; nothing was written; if the source \
         is meant to be empty, allow an empty source"
    )]
    EmptySource,
    /// The peer gave up.
    #[error("the peer failed: {0}")]
    PeerFailed(Line),
    /// Our own device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Another session is writing to the device.
    #[error("another source is being received right now")]
    Busy,
}

impl Error {
    /// Whose fault it seems to be.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Network(_) | Self::Closed => Fault::Network,
            Self::TooSmall { .. } | Self::EmptySource | Self::Malformed(Malformed::Rsync) => Fault::User,
            Self::Malformed(_) | Self::PeerFailed(_) | Self::Busy => Fault::Peer,
            Self::Device(_) => Fault::Volume,
        }
    }

    /// When to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::TooSmall { .. } | Self::EmptySource | Self::Malformed(Malformed::Rsync) => Retry::AfterChange,
            Self::Network(_)
            | Self::Closed
            | Self::Malformed(_)
            | Self::PeerFailed(_)
            | Self::Device(_)
            | Self::Busy => Retry::Later,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // One that carries another error knows more: it was cut, not closed.
            io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => Self::Closed,
            _ => Self::Network(error),
        }
    }
}
