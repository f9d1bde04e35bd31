//! The repository format of restic, versions 1 and 2: bytes to values and back. The authority is `doc/design.rst` of
//! restic/restic, and where that says "see the implementation", what the program writes.
//!
//! No I/O, no threads, no clock and no randomness here. Whoever can write to the store may have written these bytes, and
//! whoever has the password may have meant harm: a length is checked where it is read, a name is a single component of a
//! path or the whole tree is refused.

pub(crate) mod blob;
pub(crate) mod chunker;
pub mod compress;
pub mod config;
pub(crate) mod crypto;
pub mod id;
pub(crate) mod index;
pub(crate) mod json;
pub(crate) mod key;
pub(crate) mod lock;
pub(crate) mod name;
pub(crate) mod pack;
pub(crate) mod polynomial;
pub mod snapshot;
pub mod time;
pub(crate) mod tree;

use doppel_contract::Line;

/// These bytes are not what the format says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.as_str())]
pub struct Malformed(Line);

impl Malformed {
    pub(crate) fn new(why: impl AsRef<str>) -> Self {
        Self(Line::new(why))
    }
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self::new(format!("not the expected JSON: {error}"))
    }
}
