//! Reading blobs. What is returned has the hash that was asked for.

use bytes::Bytes;

use crate::error::Error;
use crate::format::blob::{Blob, BlobKind};
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::format::tree::{self, Node};
use crate::repository::Repository;
use crate::repository::index::{Entry, Index};

/// The content of a blob, from the bytes that it takes in its pack.
pub(crate) fn open_blob(
    repository: &Repository,
    codec: &mut Codec,
    blob: &Blob,
    sealed: &mut [u8],
) -> Result<Vec<u8>, Error> {
    let name = || format!("blob {}", blob.id);
    let content = repository.key().open(sealed).map_err(|_| Error::damaged(name(), "its MAC does not match"))?;
    let content = match blob.uncompressed {
        0 => content.to_vec(),
        len => codec.expand(content, len as usize).map_err(|why| Error::damaged(name(), why.to_string()))?,
    };
    if Id::of(&content) == blob.id { Ok(content) } else { Err(Error::damaged(name(), "its hash is another")) }
}

/// Reads trees. They lie close together in packs of their own, so more is read than was asked for, and kept.
pub(crate) struct TreeReader<'r> {
    repository: &'r Repository,
    index: &'r Index,
    codec: Codec,
    /// The last parts of packs that were read, the latest at the end.
    parts: Vec<Part>,
}

struct Part {
    pack: u32,
    offset: u32,
    bytes: Bytes,
}

/// What is read at once.
const PART: u32 = 1 << 20;
const PARTS: usize = 8;

impl<'r> TreeReader<'r> {
    pub(crate) fn new(repository: &'r Repository, index: &'r Index) -> Result<Self, Error> {
        Ok(Self { repository, index, codec: Codec::new(Compression::Auto)?, parts: Vec::new() })
    }

    /// The entries of a tree.
    pub(crate) fn read(&mut self, id: &Id) -> Result<Vec<Node>, Error> {
        let name = || format!("tree {id}");
        let entry = self.index.get(BlobKind::Tree, id).ok_or_else(|| Error::damaged(name(), "it is in no index"))?;
        let mut sealed = self.sealed(entry)?;
        let json = open_blob(self.repository, &mut self.codec, &entry.blob(BlobKind::Tree), &mut sealed)?;
        tree::decode(&json).map_err(|why| Error::damaged(name(), why.to_string()))
    }

    fn sealed(&mut self, entry: &Entry) -> Result<Vec<u8>, Error> {
        let within = |part: &Part| {
            let start = entry.offset.checked_sub(part.offset).filter(|_| part.pack == entry.pack)? as usize;
            part.bytes.get(start..start + entry.length as usize).map(<[u8]>::to_vec)
        };
        if let Some(found) = self.parts.iter().find_map(within) {
            return Ok(found);
        }
        let pack = self.index.pack(entry.pack);
        let offset = entry.offset - entry.offset % PART;
        let blob_end = entry.offset.saturating_add(entry.length);
        let end = offset.saturating_add(PART).max(blob_end).min(pack.end);
        let bytes = self.repository.read_part(&pack.id, offset, end.saturating_sub(offset) as usize)?;
        if self.parts.len() == PARTS {
            self.parts.remove(0);
        }
        let part = Part { pack: entry.pack, offset, bytes };
        let found =
            within(&part).ok_or_else(|| Error::damaged(format!("tree {}", entry.id), "it ends outside of its pack"));
        self.parts.push(part);
        found
    }
}
