//! Fetching the content of files.

use std::collections::HashMap;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::repository::Repository;
use crate::repository::blobs::{BlobReader, Place};
use crate::repository::index::Index;

/// Fetches contents of data blobs.
pub(super) struct Fetcher<'r> {
    index: &'r Index,
    blobs: BlobReader<'r>,
}

/// Contents by their IDs; why it is not there, for one that could not be had.
pub(super) type Contents = HashMap<Id, Result<Vec<u8>, String>>;

/// Contents that are fetched, and held, at once; a blob more goes beyond it.
pub(super) const WINDOW: u64 = 16 << 20;

impl<'r> Fetcher<'r> {
    pub(super) fn new(repository: &'r Repository, index: &'r Index) -> Result<Self, Error> {
        Ok(Self { index, blobs: BlobReader::new(repository, index)? })
    }

    /// The first of these blobs that fill a window.
    pub(super) fn window<'i>(&mut self, ids: impl IntoIterator<Item = &'i Id>) -> Result<Contents, Error> {
        let (index, mut contents) = (self.index, Contents::new());
        let mut places: Vec<Place> = Vec::new();
        let mut bytes = 0;
        for id in ids {
            if bytes >= WINDOW {
                break;
            }
            if contents.contains_key(id) {
                continue;
            }
            if let Some(entry) = index.get(BlobKind::Data, id) {
                bytes += u64::from(entry.content_len());
                places.push((BlobKind::Data, *entry));
            }
            contents.insert(*id, Err(format!("blob {id} is in no index of the repository")));
        }
        places.sort_unstable_by_key(|(_, entry)| (entry.pack, entry.offset));
        self.blobs.read_all(&places, |(_, entry), content| {
            let named = |error| format!("{error} (pack {})", index.pack(entry.pack).id);
            contents.insert(entry.id, content.map_err(named));
            Ok(())
        })?;
        Ok(contents)
    }
}
