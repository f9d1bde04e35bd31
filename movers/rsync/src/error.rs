//! Why a session failed, whose fault it seems to be, and when to try again.

use std::io;

use doppel_contract::{Fault, Line, Retry};

use crate::proto::arguments;
use crate::proto::input::Malformed;
use crate::proto::keep::Extra;

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke.
    #[error("the connection to the peer broke: {0}")]
    Network(io::Error),
    /// The peer closed the connection before it said goodbye.
    #[error("the peer closed the connection before the transfer was done")]
    Closed,
    /// The peer's bytes are not what the protocol says.
    #[error("the peer broke the rsync protocol: {0}")]
    Malformed(#[from] Malformed),
    /// The daemon did not let us in.
    #[error("the peer refused the connection: {0}")]
    Refused(Line),
    /// The client asks for something that is not supported.
    #[error("the peer's request was refused: {0}")]
    Arguments(#[from] arguments::Refused),
    /// The daemon refuses to keep something that can be done without.
    #[error("the peer does not keep {}", .0.words())]
    NotTaken(Extra),
    /// The peer gave up.
    #[error("the peer failed (rsync exit code {code}): {text}")]
    PeerFailed {
        /// Its exit code.
        code: i32,
        /// The first error that it spoke of.
        text: Line,
    },
    /// The daemon is no Doppel, or an older one.
    #[error("the destination cannot be verified, for it is no Doppel of this version; nothing was sent; do without")]
    CannotVerify,
    /// An empty source would have emptied a destination.
    #[error(
        "the source is empty but the destination has {}; nothing was deleted; if the source is meant to be empty, allow \
         an empty source", entries(.destination)
    )]
    EmptySource {
        /// How many entries the destination's root has, if that is known here.
        destination: Option<u64>,
    },
    /// The volume failed as a whole.
    #[error("{0}")]
    Volume(#[from] doppel_volume::error::Error),
    /// The tree has more entries than a session can handle.
    #[error("the tree has more than {limit} entries")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The list of the peer's tree does not fit into what it may take.
    #[error(
        "the list of the source's tree takes more than {} MiB of memory here; give this mover more", limit >> 20
    )]
    ListMemory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// This process cannot get what it needs: a thread, memory.
    #[error("this process cannot get what it needs: {0}")]
    Resources(io::Error),
    /// Another session is writing to the volume.
    #[error("another source is being received right now")]
    Busy,
}

impl Error {
    /// Whose fault it seems to be.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Network(_) | Self::Closed => Fault::Network,
            Self::Malformed(_)
            | Self::Refused(_)
            | Self::Arguments(_)
            | Self::NotTaken(_)
            | Self::PeerFailed { .. }
            | Self::Busy => Fault::Peer,
            Self::EmptySource { .. } | Self::CannotVerify | Self::ListMemory { .. } => Fault::User,
            Self::Volume(_) => Fault::Volume,
            Self::TooLarge { .. } | Self::Resources(_) => Fault::Ours,
        }
    }

    /// When to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Network(_)
            | Self::Closed
            | Self::Malformed(_)
            | Self::Refused(_)
            | Self::NotTaken(_)
            | Self::PeerFailed { .. }
            | Self::Volume(_)
            | Self::Resources(_)
            | Self::Busy => Retry::Later,
            Self::Arguments(_)
            | Self::EmptySource { .. }
            | Self::CannotVerify
            | Self::TooLarge { .. }
            | Self::ListMemory { .. } => Retry::AfterChange,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Network(error),
        }
    }
}

fn entries(count: &Option<u64>) -> String {
    match count {
        Some(1) => "one entry".to_owned(),
        Some(count) => format!("{count} entries"),
        None => "data".to_owned(),
    }
}
