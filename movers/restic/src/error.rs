//! Why a command failed, whose fault it seems to be, and when to try again.

use std::io;

use doppel_contract::{Fault, Line, Retry};
use doppel_storage::Kind;

use crate::format::Malformed;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer, refuses, or is full.
    #[error("the repository's store: {0}")]
    Storage(#[from] doppel_storage::Error),
    /// The store has no repository.
    #[error("there is no repository: the store has no file \"config\" at this place")]
    NoRepository,
    /// A repository is there already.
    #[error("there is a repository already; it was left as it is")]
    AlreadyThere,
    /// The password is another's.
    #[error("wrong password: no key of the repository opens with it")]
    WrongPassword,
    /// A later version of the format.
    #[error("the repository has version {0} of the format; versions 1 and 2 are known")]
    UnknownVersion(u32),
    /// There is no such snapshot.
    #[error("there is no such snapshot: {0}")]
    NoSnapshot(Line),
    /// A snapshot has no such file.
    #[error("{path}: {why}")]
    NoFile {
        /// Where it was looked for.
        path: Line,
        /// What is there instead.
        why: String,
    },
    /// What was asked for cannot be written where it is to go.
    #[error("write what was asked for: {0}")]
    Output(io::Error),
    /// Something in the repository is not what its name says, or is not there.
    #[error("the repository is damaged: {file}: {why}")]
    Damaged {
        /// The file or blob.
        file: String,
        /// What is wrong with it.
        why: Line,
    },
    /// Somebody else works in the repository.
    #[error("the repository is {0}; wait until that is done, or remove the lock if it is nobody's")]
    Locked(Line),
    /// The lock could not be renewed in time, so others may believe that nobody works here.
    #[error("the lock on the repository could not be renewed in time; nothing more was changed")]
    LockLost,
    /// The volume failed as a whole.
    #[error("{0}")]
    Volume(#[from] doppel_volume::error::Error),
    /// The volume has no room for what is restored.
    #[error(
        "the volume is full: {path}: {why}; {room}. Make the volume larger, or remove from it what is not needed, and restore \
         again: what is there is not written twice"
    )]
    VolumeFull {
        /// What there was no room for.
        path: Line,
        /// What the kernel said.
        why: Line,
        /// What is free, of what.
        room: Line,
    },
    /// This process cannot get what it needs: a thread, memory, random bytes.
    #[error("this process cannot get what it needs: {0}")]
    Resources(io::Error),
    /// Whoever runs this asked it to end.
    #[error("interrupted; what was stored until then is found again by the next run")]
    Stopped,
}

impl Error {
    pub(crate) fn damaged(file: impl Into<String>, why: impl AsRef<str>) -> Self {
        Self::Damaged { file: file.into(), why: Line::new(why) }
    }

    /// For turning [`Malformed`] into an error about `file`.
    pub(crate) fn in_file(file: &str) -> impl FnOnce(Malformed) -> Self + '_ {
        move |malformed| Self::damaged(file, malformed.to_string())
    }

    /// Whether the store itself could not be used: not its content.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Storage(error) if matches!(error.kind, Kind::Unreachable | Kind::Denied | Kind::Settings))
    }

    /// Whose fault it seems to be.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Storage(error) => match error.kind {
                Kind::Unreachable => Fault::Network,
                Kind::Denied | Kind::Settings => Fault::User,
                Kind::NotFound | Kind::Truncated | Kind::Full | Kind::Other => Fault::Peer,
            },
            Self::NoRepository | Self::AlreadyThere | Self::WrongPassword | Self::UnknownVersion(_) => Fault::User,
            Self::NoSnapshot(_) | Self::NoFile { .. } | Self::Output(_) => Fault::User,
            Self::Damaged { .. } | Self::Locked(_) | Self::LockLost => Fault::Peer,
            Self::Volume(_) | Self::VolumeFull { .. } => Fault::Volume,
            Self::Resources(_) | Self::Stopped => Fault::Ours,
        }
    }

    /// When to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Storage(error) => match error.kind {
                Kind::Denied | Kind::Settings => Retry::AfterChange,
                Kind::Unreachable | Kind::NotFound | Kind::Truncated | Kind::Full | Kind::Other => Retry::Later,
            },
            Self::NoRepository | Self::AlreadyThere | Self::WrongPassword | Self::UnknownVersion(_) => {
                Retry::AfterChange
            }
            Self::NoSnapshot(_) | Self::NoFile { .. } | Self::Output(_) => Retry::AfterChange,
            Self::Damaged { .. } => Retry::AfterChange,
            Self::Locked(_)
            | Self::LockLost
            | Self::Volume(_)
            | Self::VolumeFull { .. }
            | Self::Resources(_)
            | Self::Stopped => Retry::Later,
        }
    }
}

impl From<Malformed> for Error {
    /// Of something that was made here and cannot be written.
    fn from(malformed: Malformed) -> Self {
        Self::Resources(io::Error::other(malformed))
    }
}
