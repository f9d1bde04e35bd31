//! Where every blob is: one sorted array for each kind, 48 bytes a blob. Ten million blobs take 480 MB, and are looked up in
//! two dozen steps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::format::blob::{Blob, BlobKind};
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::format::index::{self, IndexedPack};
use crate::repository::{Folder, Repository};

/// All index files of a repository, read.
#[derive(Default)]
pub(crate) struct Index {
    data: Vec<Entry>,
    trees: Vec<Entry>,
    packs: Vec<Pack>,
    /// The files that were read.
    pub(crate) files: Vec<Id>,
}

/// A place of a blob. A blob may have several, also in one pack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    /// The number of its pack here.
    pub(crate) pack: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    /// 0 if it is not compressed.
    pub(crate) uncompressed: u32,
}

/// A pack that is in the index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pack {
    pub(crate) id: Id,
    /// Where its last blob ends.
    pub(crate) end: u32,
}

impl Entry {
    /// Bytes of the blob's content.
    pub(crate) fn content_len(&self) -> u32 {
        match self.uncompressed {
            0 => self.length.saturating_sub(u32::try_from(crate::format::crypto::OVERHEAD).unwrap_or_default()),
            uncompressed => uncompressed,
        }
    }

    pub(crate) fn blob(&self, kind: BlobKind) -> Blob {
        let Self { id, pack: _, offset, length, uncompressed } = *self;
        Blob { id, kind, offset, length, uncompressed }
    }
}

/// Threads that read index files: their JSON is what takes time.
const READERS: usize = 4;

impl Index {
    /// Reads all index files. Snapshots are to be listed before (design.rst, "Read and Write Ordering").
    pub(crate) fn load(repository: &Repository) -> Result<Self, Error> {
        let index = Self::load_with(repository, &Err)?;
        repository.tidy_cache(&index);
        Ok(index)
    }

    /// The same, with a say in what becomes of a file that cannot be read.
    pub(crate) fn load_with(
        repository: &Repository,
        on_error: &(dyn Fn(Error) -> Result<(), Error> + Sync),
    ) -> Result<Self, Error> {
        let files: Vec<Id> = repository.list(Folder::Index)?.into_iter().map(|(id, _)| id).collect();
        let builder = Mutex::new(Builder::default());
        let next = AtomicUsize::new(0);
        let read = || -> Result<(), Error> {
            let mut codec = Codec::new(Compression::Auto)?;
            while let Some(id) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let json = repository.load(Folder::Index, id, &mut codec);
                let decoded =
                    json.and_then(|json| index::decode(&json).map_err(Error::in_file(&Folder::Index.file(id))));
                let packs = match decoded {
                    Ok(packs) => packs,
                    Err(error) => {
                        on_error(error)?;
                        continue;
                    }
                };
                let mut builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
                packs.iter().try_for_each(|pack| builder.add(pack))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let readers: Vec<_> = (1..READERS.min(files.len())).map(|_| scope.spawn(read)).collect();
            let own = read();
            readers.into_iter().fold(own, |all, reader| all.and(reader.join().unwrap_or(Err(Error::Stopped))))
        })?;
        let builder = builder.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { files, ..builder.build() })
    }

    /// All places of blobs of a kind, in the order of their IDs.
    pub(crate) fn entries(&self, kind: BlobKind) -> &[Entry] {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    /// The number of a blob's first place among [`Index::entries`].
    pub(crate) fn position(&self, kind: BlobKind, id: &Id) -> Option<usize> {
        let entries = self.entries(kind);
        let position = entries.partition_point(|entry| entry.id < *id);
        entries.get(position).is_some_and(|entry| entry.id == *id).then_some(position)
    }

    /// A place of a blob.
    pub(crate) fn get(&self, kind: BlobKind, id: &Id) -> Option<&Entry> {
        self.position(kind, id).and_then(|position| self.entries(kind).get(position))
    }

    /// All packs; an entry's `pack` counts them.
    pub(crate) fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// A pack by its number.
    pub(crate) fn pack(&self, number: u32) -> Pack {
        self.packs.get(number as usize).copied().unwrap_or(Pack { id: Id::NONE, end: 0 })
    }
}

#[derive(Default)]
struct Builder {
    index: Index,
    /// A pack can be in several files: after a crash between writing new ones and removing the old.
    numbers: HashMap<Id, u32>,
}

impl Builder {
    fn add(&mut self, pack: &IndexedPack) -> Result<(), Error> {
        let too_many = |_| Error::damaged("index", "it has more packs than can be counted");
        let index = &mut self.index;
        let number = match self.numbers.get(&pack.id) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(index.packs.len()).map_err(too_many)?;
                grow(&mut index.packs);
                index.packs.push(Pack { id: pack.id, end: 0 });
                self.numbers.insert(pack.id, number);
                number
            }
        };
        for blob in &pack.blobs {
            let Blob { id, kind, offset, length, uncompressed } = *blob;
            let entries = match kind {
                BlobKind::Data => &mut index.data,
                BlobKind::Tree => &mut index.trees,
            };
            grow(entries);
            entries.push(Entry { id, pack: number, offset, length, uncompressed });
            if let Some(pack) = index.packs.get_mut(number as usize) {
                pack.end = pack.end.max(offset.saturating_add(length));
            }
        }
        Ok(())
    }

    fn build(self) -> Index {
        let mut index = self.index;
        for entries in [&mut index.data, &mut index.trees] {
            entries.sort_unstable_by_key(|entry| (entry.id, entry.pack, entry.offset));
            entries.dedup_by_key(|entry| (entry.id, entry.pack, entry.offset));
            entries.shrink_to_fit();
        }
        index
    }
}

/// Grows by an eighth instead of twice: large allocations are moved by the kernel without a copy, and what is set aside
/// counts.
fn grow<T>(entries: &mut Vec<T>) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact((entries.len() / 8).max(1024));
    }
}

/// Which of an index's blobs, by their numbers among [`Index::entries`].
pub(crate) struct Marks {
    data: Vec<u64>,
    trees: Vec<u64>,
}

impl Marks {
    /// None yet.
    pub(crate) fn none(index: &Index) -> Self {
        let words = |kind| vec![0; index.entries(kind).len().div_ceil(64)];
        Self { data: words(BlobKind::Data), trees: words(BlobKind::Tree) }
    }

    /// Marks one; whether it was not marked yet.
    pub(crate) fn mark(&mut self, kind: BlobKind, number: usize) -> bool {
        let words = match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        };
        let bit = 1 << (number % 64);
        words.get_mut(number / 64).is_some_and(|word| std::mem::replace(word, *word | bit) & bit == 0)
    }

    /// Whether it is marked.
    pub(crate) fn has(&self, kind: BlobKind, number: usize) -> bool {
        let words = match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        };
        words.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(id: u8, offset: u32) -> Blob {
        Blob { id: Id::of(&[id]), kind: BlobKind::Data, offset, length: 100, uncompressed: 0 }
    }

    #[test]
    fn a_blob_that_a_pack_has_twice_has_two_places_and_a_pack_that_is_named_twice_is_one() -> Result<(), Error> {
        let pack = IndexedPack { id: Id::of(b"pack"), blobs: vec![blob(1, 0), blob(2, 100), blob(1, 200)] };
        let mut builder = Builder::default();
        builder.add(&pack)?;
        builder.add(&pack)?;
        let index = builder.build();
        assert_eq!(index.packs().len(), 1);
        assert_eq!(index.entries(BlobKind::Data).len(), 3);
        Ok(())
    }
}
