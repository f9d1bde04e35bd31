//! Objects in a bucket or a folder: whole objects with names like `data/3f/3f9a...`, written once, read whole or in part.
//!
//! An engine sees only [`Storage`]; how a service is reached, what is tried again and for how long is decided here.

mod error;
pub mod folder;

pub use error::{Error, Kind};

use bytes::Bytes;

/// No object is read that is larger, in bytes: restic's packs have at most 128 MiB, and a store may lie.
pub const LARGEST_OBJECT: u64 = 256 << 20;

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its whole name, the listed folder's included.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// Where objects are kept. Names have `/` between their parts, none at the ends, and no part `.` or `..`.
///
/// All of these block, and are called from several threads at once. A failure that may pass was tried again before it is
/// returned.
pub trait Storage: Send + Sync {
    /// The whole content of an object.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none of that name. One that is larger than [`LARGEST_OBJECT`] is not read.
    fn read(&self, name: &str) -> Result<Bytes, Error>;

    /// `length` bytes from `offset` on, never fewer.
    ///
    /// # Errors
    /// [`Kind::Truncated`] if the object ends before that.
    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error>;

    /// Keeps `content` under `name`: afterwards it is there whole, or not at all. What was there under that name is replaced.
    ///
    /// # Errors
    /// After any of them the object may be there all the same: an answer can be lost.
    fn write(&self, name: &str, content: Bytes) -> Result<(), Error>;

    /// Every object below a folder, in no order. A folder that is not there has none.
    ///
    /// # Errors
    /// A listing that could not be had to its end.
    fn list(&self, folder: &str) -> Result<Vec<Object>, Error>;

    /// The object is gone afterwards; it is no error if it was not there.
    ///
    /// # Errors
    /// What keeps the object from being removed.
    fn remove(&self, name: &str) -> Result<(), Error>;
}
