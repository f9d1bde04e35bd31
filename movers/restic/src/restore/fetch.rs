//! Fetching blobs: those that lie close together in a pack with one request.

use std::collections::HashMap;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::repository::Repository;
use crate::repository::index::{Entry, Index};
use crate::repository::load::open_blob;

/// Fetches contents of data blobs.
pub(super) struct Fetcher<'r> {
    repository: &'r Repository,
    index: &'r Index,
    codec: Codec,
}

/// Contents by their IDs; why it is not there, for one that could not be had.
pub(super) type Contents = HashMap<Id, Result<Vec<u8>, String>>;

/// Contents that are fetched, and held, at once; a blob more goes beyond it.
pub(super) const WINDOW: u64 = 16 << 20;
/// Bytes between two blobs that are fetched rather than to ask twice.
const GAP: u32 = 128 << 10;

impl<'r> Fetcher<'r> {
    pub(super) fn new(repository: &'r Repository, index: &'r Index) -> Result<Self, Error> {
        Ok(Self { repository, index, codec: Codec::new(Compression::Auto)? })
    }

    /// The first of these blobs that fill a window.
    pub(super) fn window<'i>(&mut self, ids: impl IntoIterator<Item = &'i Id>) -> Result<Contents, Error> {
        let mut contents = Contents::new();
        let mut places = Vec::new();
        let mut bytes = 0;
        for id in ids {
            if bytes >= WINDOW {
                break;
            }
            if contents.contains_key(id) {
                continue;
            }
            let entry = self.index.get(BlobKind::Data, id);
            if let Some(entry) = entry {
                bytes += u64::from(entry.content_len());
                places.push(*entry);
            }
            contents.insert(*id, Err(format!("blob {id} is in no index of the repository")));
        }
        places.sort_unstable_by_key(|entry| (entry.pack, entry.offset));
        let mut rest = places.as_slice();
        while let Some((run, others)) = rest.split_at_checked(run_length(rest)).filter(|(run, _)| !run.is_empty()) {
            self.fetch(run, &mut contents)?;
            rest = others;
        }
        Ok(contents)
    }

    /// Fetches blobs that follow each other in a pack.
    fn fetch(&mut self, run: &[Entry], contents: &mut Contents) -> Result<(), Error> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let len = last.offset.saturating_add(last.length).saturating_sub(first.offset) as usize;
        let pack = self.index.pack(first.pack).id;
        let read = self.repository.read_part(&pack, first.offset, len).map(Vec::from);
        let mut bytes = match read {
            Err(error) if is_fatal(&error) => return Err(error),
            // Each blob is looked for elsewhere.
            Err(_) => Vec::new(),
            Ok(bytes) => bytes,
        };
        for entry in run {
            let start = (entry.offset - first.offset) as usize;
            let opened = match bytes.get_mut(start..start + entry.length as usize) {
                Some(sealed) => open_blob(self.repository, &mut self.codec, &entry.blob(BlobKind::Data), sealed),
                None => Err(Error::damaged(format!("pack {pack}"), "it is not there, or ends too early")),
            };
            let content = match opened {
                Ok(content) => Ok(content),
                Err(error) => self.elsewhere(entry)?.ok_or_else(|| format!("{error} (pack {pack})")),
            };
            contents.insert(entry.id, content);
        }
        Ok(())
    }

    /// The same blob from another pack, if the repository has it twice.
    fn elsewhere(&mut self, damaged: &Entry) -> Result<Option<Vec<u8>>, Error> {
        let Some(first) = self.index.position(BlobKind::Data, &damaged.id) else { return Ok(None) };
        let places = self.index.entries(BlobKind::Data).get(first..).unwrap_or_default();
        for entry in places.iter().take_while(|entry| entry.id == damaged.id) {
            if (entry.pack, entry.offset) == (damaged.pack, damaged.offset) {
                continue;
            }
            let pack = self.index.pack(entry.pack).id;
            let mut sealed = match self.repository.read_part(&pack, entry.offset, entry.length as usize) {
                Err(error) if is_fatal(&error) => return Err(error),
                Err(_) => continue,
                Ok(sealed) => Vec::from(sealed),
            };
            if let Ok(content) = open_blob(self.repository, &mut self.codec, &entry.blob(BlobKind::Data), &mut sealed) {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }
}

/// How many of these, which are in the order of their places, are fetched at once.
fn run_length(places: &[Entry]) -> usize {
    let Some(first) = places.first() else { return 0 };
    let end = |entry: &Entry| entry.offset.saturating_add(entry.length);
    let is_next = |pair: &&[Entry]| match pair {
        [a, b] => {
            let is_near = b.offset.saturating_sub(end(a)) <= GAP;
            a.pack == b.pack && is_near && u64::from(end(b).saturating_sub(first.offset)) <= 2 * WINDOW
        }
        _ => false,
    };
    1 + places.windows(2).take_while(is_next).count()
}

/// Whether the next blob will fare no better.
fn is_fatal(error: &Error) -> bool {
    error.is_unreachable() || matches!(error, Error::Stopped)
}
