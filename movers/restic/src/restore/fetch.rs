//! Fetching the content of files.

use std::collections::HashMap;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::repository::Repository;
use crate::repository::blobs::{BlobReader, Place};
use crate::repository::index::{Entry, Index};
use crate::room;

/// Fetches contents of data blobs.
pub(super) struct Fetcher<'r> {
    index: &'r Index,
    blobs: BlobReader<'r>,
    recycles: bool,
}

/// Contents by their IDs; why it is not there, for one that could not be had.
pub(super) type Contents = HashMap<Id, Result<Vec<u8>, String>>;

/// Bytes of content that are fetched at once; a blob more goes beyond it.
pub(super) const WINDOW: u64 = 16 << 20;
/// Blobs of a large file that are brought into the order of packs together.
const SORTED: usize = 512;

impl<'r> Fetcher<'r> {
    pub(super) fn new(repository: &'r Repository, index: &'r Index) -> Result<Self, Error> {
        Ok(Self { index, blobs: BlobReader::new(repository, index)?, recycles: false })
    }

    /// The first of these blobs that fill a window, to be held together.
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
            contents.insert(*id, Err(in_no_index(id)));
        }
        places.sort_unstable_by_key(in_packs);
        self.blobs.read_all(&places, |(_, entry), content| -> Result<(), Error> {
            contents.insert(entry.id, content.map(<[u8]>::to_vec).map_err(|error| in_pack(index, entry, &error)));
            Ok(())
        })?;
        Ok(contents)
    }

    /// Hands the content of each of these blobs of a file to `each`, or why it cannot be had, with where in the file it belongs: from
    /// `held` if all of it is there, or else as it comes. Returns the bytes that were handed over.
    ///
    /// # Errors
    /// What `each` returns, and what the next blob would meet with, too.
    pub(super) fn deliver<E: From<Error>>(
        &mut self,
        ids: &[Id],
        held: &Contents,
        mut each: impl FnMut(u64, Result<&[u8], String>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let Some(contents) = ids.iter().map(|id| held.get(id)).collect::<Option<Vec<_>>>() else {
            return self.stream(ids, each);
        };
        let mut end = 0;
        for content in contents {
            each(end, content.as_deref().map_err(Clone::clone))?;
            end += content.as_ref().map_or(0, |content| content.len() as u64);
        }
        Ok(end)
    }

    /// The blobs come in the order of packs, some hundred of them after the other; none is held.
    fn stream<E: From<Error>>(
        &mut self,
        ids: &[Id],
        mut each: impl FnMut(u64, Result<&[u8], String>) -> Result<(), E>,
    ) -> Result<u64, E> {
        if !std::mem::replace(&mut self.recycles, true) {
            room::recycle();
        }
        let (index, mut end, mut delivered) = (self.index, 0, 0);
        for ids in ids.chunks(SORTED) {
            let mut positions: HashMap<Id, Vec<u64>> = HashMap::new();
            let mut places: Vec<Place> = Vec::new();
            for id in ids {
                let Some(entry) = index.get(BlobKind::Data, id) else {
                    each(end, Err(in_no_index(id)))?;
                    continue;
                };
                let of_this = positions.entry(*id).or_default();
                if of_this.is_empty() {
                    places.push((BlobKind::Data, *entry));
                }
                of_this.push(end);
                end += u64::from(entry.content_len());
            }
            places.sort_unstable_by_key(in_packs);
            self.blobs.read_all(&places, |(_, entry), content| {
                let content = content.map_err(|error| in_pack(index, entry, &error));
                let content = content.and_then(|content| of_length(entry, content));
                let mut positions = positions.get(&entry.id).into_iter().flatten();
                positions.try_for_each(|position| {
                    // What did not come is not counted.
                    delivered += content.as_ref().map_or(0, |content| content.len() as u64);
                    each(*position, content.clone())
                })
            })?;
        }
        Ok(delivered)
    }
}

fn in_packs((_, entry): &Place) -> (u32, u32) {
    (entry.pack, entry.offset)
}

fn in_pack(index: &Index, entry: &Entry, error: &Error) -> String {
    format!("{error} (pack {})", index.pack(entry.pack).id)
}

/// A blob that came from elsewhere than this entry says may be longer than it says, and would lie over the next one.
fn of_length<'c>(entry: &Entry, content: &'c [u8]) -> Result<&'c [u8], String> {
    let (told, len) = (entry.content_len(), content.len());
    if len as u64 == u64::from(told) {
        Ok(content)
    } else {
        Err(format!("blob {} has {len} bytes, and an index says {told}", entry.id))
    }
}

fn in_no_index(id: &Id) -> String {
    format!("blob {id} is in no index of the repository")
}
