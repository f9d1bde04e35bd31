//! What can go wrong with an object, by what a caller can do about it.

use std::error::Error as StdError;

/// What kept an operation from being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The service, the bucket or the network does not answer: another attempt later may succeed.
    Unreachable,
    /// The service knows us and says no, or does not know us: the user's credentials or rights.
    Denied,
    /// No object, bucket or folder of that name.
    NotFound,
    /// The object ends before what was asked for.
    Truncated,
    /// No space, or a quota is reached.
    Full,
    /// Settings that no service can be reached with.
    Settings,
    /// Everything else; the text tells.
    Other,
}

/// An operation on an object that was not done.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct Error {
    /// What a caller can do about it.
    pub kind: Kind,
    /// The operation and the object, as in `reading data/3f/3f9a`.
    pub operation: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error of `operation` ("reading data/3f/3f9a") for which `source` is the reason.
    pub fn new(kind: Kind, operation: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, operation: operation.into(), source: source.into() }
    }

    /// What kept it from being done, without the operation.
    #[cfg(feature = "remote")]
    pub(crate) fn reason(&self) -> String {
        self.source.to_string()
    }
}

/// What is said of an object that is larger than [`LARGEST_OBJECT`](crate::LARGEST_OBJECT).
pub(crate) fn too_large() -> String {
    format!("is larger than {} MiB, which no object of a repository is", crate::LARGEST_OBJECT >> 20)
}

/// What is said of a listing that is longer than [`MOST_OBJECTS`](crate::MOST_OBJECTS).
pub(crate) fn too_many() -> String {
    format!("has more than {} objects, which no repository has", crate::MOST_OBJECTS)
}

/// Whether an object of `size` bytes has `length` of them from `offset` on.
pub(crate) fn check_range(name: &str, size: u64, offset: u64, length: usize) -> Result<(), Error> {
    let end = offset.checked_add(length as u64);
    if end.is_some_and(|end| end <= size) {
        return Ok(());
    }
    let why = format!("has {size} bytes, and {length} were to be read from byte {offset} on");
    Err(Error::new(Kind::Truncated, format!("reading {name}"), why))
}
