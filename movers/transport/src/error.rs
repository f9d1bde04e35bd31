//! Why there is no connection: authentication, protocol or network, and what a user can do.

use std::io;

use doppel_contract::{Fault, Retry};

use crate::keys::KeyFileError;

/// A connection that was not established.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host name could not be looked up.
    #[error("look up the address of {address}: {source}; check the host name and the DNS")]
    Lookup {
        /// Host and port.
        address: String,
        /// The resolver's words.
        source: io::Error,
    },
    /// No TCP connection.
    #[error("connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// The last address' error.
        source: io::Error,
    },
    /// The peer broke the connection off during the handshake.
    #[error("TLS handshake with {peer}: {source}")]
    Lost {
        /// The peer.
        peer: String,
        /// What happened.
        source: io::Error,
    },
    /// The peer did not finish the handshake in time.
    #[error("TLS handshake with {peer}: not finished within {seconds} s")]
    Slow {
        /// The peer.
        peer: String,
        /// The deadline.
        seconds: u64,
    },
    /// Too many strangers are waiting; this one had waited longest.
    #[error("TLS handshake with {peer}: given up in favour of newer connections")]
    Crowded {
        /// The peer.
        peer: String,
    },
    /// The peer does not hold our key, or we not its.
    #[error("authenticate {peer}: {reason}; both ends need the same identity and the same key")]
    Authentication {
        /// The peer.
        peer: String,
        /// What made it plain.
        reason: String,
    },
    /// The peer does not speak TLS 1.3 with a pre-shared key.
    #[error("TLS handshake with {peer}: {reason}; the peer must speak TLS 1.3 with a pre-shared key (PSK)")]
    Protocol {
        /// The peer.
        peer: String,
        /// What made it plain.
        reason: String,
    },
    /// The port cannot be listened on.
    #[error("listen on port {port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// The kernel's words.
        source: io::Error,
    },
    /// [`crate::stop::Stop`] was thrown.
    #[error("stopped")]
    Stopped,
    /// The key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// Something of ours: the TLS library refused a setting, the system had no threads or descriptors left.
    #[error("prepare the connection: {reason}")]
    Local {
        /// What.
        reason: String,
    },
}

impl Error {
    /// Whose fault it seems to be.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Lookup { .. } | Self::Connect { .. } | Self::Lost { .. } | Self::Slow { .. } => Fault::Network,
            Self::Crowded { .. } => Fault::Network,
            Self::Authentication { .. } | Self::KeyFile(_) => Fault::User,
            Self::Protocol { .. } => Fault::Peer,
            Self::Listen { .. } | Self::Local { .. } | Self::Stopped => Fault::Ours,
        }
    }

    /// When to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Authentication { .. } | Self::Protocol { .. } | Self::KeyFile(_) => Retry::AfterChange,
            Self::Lookup { .. }
            | Self::Connect { .. }
            | Self::Lost { .. }
            | Self::Slow { .. }
            | Self::Crowded { .. }
            | Self::Stopped
            | Self::Listen { .. }
            | Self::Local { .. } => Retry::Later,
        }
    }

    /// Whether nobody listens there (yet): a destination that starts later than its source looks like this.
    #[must_use]
    pub fn nobody_there(&self) -> bool {
        match self {
            Self::Connect { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::TimedOut
            ),
            Self::Lookup { .. } => true,
            _ => false,
        }
    }
}
