//! Blobs: pieces of files, and trees.

use serde::{Deserialize, Serialize};

use crate::format::id::Id;

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BlobKind {
    /// A piece of a file.
    Data,
    /// The entries of a directory.
    Tree,
}

impl BlobKind {
    /// The most bytes that a blob of this kind may have. Files are cut at 8 MiB; programs with another cut are borne up to
    /// this. A tree has some 350 bytes for each entry of its directory.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Data => 64 << 20,
            Self::Tree => 512 << 20,
        }
    }
}

/// A blob in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) id: Id,
    pub(crate) kind: BlobKind,
    /// Where it begins in its pack.
    pub(crate) offset: u32,
    /// Bytes that it takes there, encrypted.
    pub(crate) length: u32,
    /// Bytes of its content if it is compressed there; 0 if it is not.
    pub(crate) uncompressed: u32,
}
