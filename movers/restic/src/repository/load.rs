//! Reading blobs. What is returned has the hash that was asked for.

pub(crate) mod long;
pub(crate) mod opener;
mod pieces;
pub(crate) mod stream;

use bytes::Bytes;
use doppel_storage::Kind;

use crate::error::Error;
use crate::format::blob::{Blob, BlobKind};
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::format::tree::{self, Node};
use crate::repository::Repository;
use crate::repository::index::{Entry, Index};
use crate::repository::load::long::LongTree;

/// The content of a blob, from the bytes that it takes in its pack: in their place, or in the codec's room.
pub(crate) fn open_blob<'b>(
    repository: &Repository,
    codec: &'b mut Codec,
    blob: &Blob,
    sealed: &'b mut [u8],
) -> Result<&'b [u8], Error> {
    let content = repository.key().open(sealed).map_err(|_| damaged(blob, "its MAC does not match"))?;
    expand(codec, blob, content)
}

/// The content of a blob that is decrypted.
fn expand<'b>(codec: &'b mut Codec, blob: &Blob, content: &'b [u8]) -> Result<&'b [u8], Error> {
    let content = match blob.uncompressed {
        0 => content,
        len => codec.expand(content, len as usize).map_err(|why| damaged(blob, &why.to_string()))?,
    };
    compare(blob, Id::of(content)).map(|()| content)
}

fn compare(blob: &Blob, id: Id) -> Result<(), Error> {
    if id == blob.id { Ok(()) } else { Err(damaged(blob, "its hash is another")) }
}

fn damaged(blob: &Blob, why: &str) -> Error {
    Error::damaged(format!("blob {}", blob.id), why)
}

/// Reads trees. They lie close together in packs of their own, so more is read than was asked for, and kept.
pub(crate) struct TreeReader<'r> {
    repository: &'r Repository,
    index: &'r Index,
    codec: Codec,
    /// The last parts of packs that were read, the latest at the end.
    parts: Vec<Part>,
}

/// The entries of a tree, which was compared with its hash and read to its end before the first of them is told.
pub(crate) enum Nodes {
    /// All of them at once.
    Few(std::vec::IntoIter<Node>),
    /// One after the other, read a second time.
    Many(Box<LongTree>),
}

struct Part {
    pack: u32,
    offset: u32,
    bytes: Bytes,
}

/// What is read at once.
const PART: u32 = 1 << 20;
const PARTS: usize = 8;
/// A tree with a longer text, of some 12,000 entries, is read entry by entry: all of it takes three times as much in memory.
const LONG: u32 = 4 << 20;

impl<'r> TreeReader<'r> {
    pub(crate) fn new(repository: &'r Repository, index: &'r Index) -> Result<Self, Error> {
        Ok(Self { repository, index, codec: Codec::new(Compression::Auto)?, parts: Vec::new() })
    }

    /// The entries of a tree.
    pub(crate) fn nodes(&mut self, id: &Id) -> Result<Nodes, Error> {
        let missing = || Error::damaged(format!("tree {id}"), "it is in no index");
        let entry = *self.index.get(BlobKind::Tree, id).ok_or_else(missing)?;
        match self.nodes_at(&entry) {
            // What is damaged may be the cache.
            Err(Error::Damaged { .. }) if self.repository.forget_cached(&self.index.pack(entry.pack).id) => {
                self.parts.retain(|part| part.pack != entry.pack);
                self.nodes_at(&entry)
            }
            nodes => nodes,
        }
    }

    fn nodes_at(&mut self, entry: &Entry) -> Result<Nodes, Error> {
        let blob = entry.blob(BlobKind::Tree);
        let sealed = self.sealed(entry)?;
        let content = self.repository.key().open_whole(sealed);
        let content = Bytes::from(content.map_err(|_| damaged(&blob, "its MAC does not match"))?);
        // One that cannot be read so is judged, or read, as all others are.
        if entry.content_len() > LONG && LongTree::is_sound(&blob, &content).is_ok_and(|is_sound| is_sound) {
            return Ok(Nodes::Many(Box::new(LongTree::new(&blob, content)?)));
        }
        let json = expand(&mut self.codec, &blob, &content)?;
        let nodes = tree::decode(json).map_err(|why| Error::damaged(format!("tree {}", blob.id), why.to_string()))?;
        Ok(Nodes::Few(nodes.into_iter()))
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
        if entry.length > PART {
            let bytes = self.repository.read_tree_part(&pack, entry.offset, entry.length as usize)?;
            return Ok(Vec::from(bytes));
        }
        let offset = entry.offset - entry.offset % PART;
        let blob_end = entry.offset.saturating_add(entry.length);
        let end = offset.saturating_add(PART).max(blob_end).min(pack.end);
        let read = self.repository.read_tree_part(&pack, offset, end.saturating_sub(offset) as usize);
        let (offset, bytes) = match read {
            // What else the index says of the pack may be wrong. A store says that it ends before, and so does who has all of it.
            Err(error) if ends_before(&error) => {
                let bytes = self.repository.read_tree_part(&pack, entry.offset, entry.length as usize)?;
                (entry.offset, bytes)
            }
            bytes => (offset, bytes?),
        };
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

fn ends_before(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. }) || matches!(error, Error::Storage(error) if error.kind == Kind::Truncated)
}

impl Iterator for Nodes {
    type Item = Result<Node, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(nodes) => nodes.next().map(Ok),
            Self::Many(tree) => tree.next(),
        }
    }
}
