//! Looking for damage: what every snapshot needs must be in the index, what the index names in the store, and, if that is
//! asked for, packs must be what the index says: each byte under a MAC, each blob with the hash that is its name.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use doppel_contract::{LeftOut, Line};
use doppel_storage::Kind;

use crate::error::Error;
use crate::format::Malformed;
use crate::format::blob::{Blob, BlobKind};
use crate::format::compress::{Codec, Compression};
use crate::format::crypto::OVERHEAD;
use crate::format::id::Id;
use crate::format::pack;
use crate::format::snapshot::Snapshot;
use crate::repository::index::{Index, Marks};
use crate::repository::load::TreeReader;
use crate::repository::load::opener::Opener;
use crate::repository::lock::{Held, Holder, Mode};
use crate::repository::{Folder, Repository};

/// How thoroughly a repository is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOptions {
    /// For the lock.
    pub holder: Holder,
    /// Which packs are read.
    pub read: ReadData,
}

/// Which packs are read, and each blob in them compared with its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadData {
    /// None: only trees are read.
    Nothing,
    /// One part of so many, so that as many checks read everything.
    Part {
        /// From 1 on.
        number: u8,
        /// How many there are.
        of: NonZero<u8>,
    },
    /// All of them.
    Everything,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// What is damaged or missing: the file, blob or tree, and what is wrong with it.
    pub damage: LeftOut,
    /// What is not in order, although no data is missing: packs that no index names, left by a run that died.
    pub remarks: LeftOut,
    /// Snapshots.
    pub snapshots: u64,
    /// Trees, each counted once.
    pub trees: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Packs that were read.
    pub packs_read: u64,
}

/// Checks a repository.
///
/// # Errors
/// When it could not be checked. Damage is no error: it is what a check looks for.
pub fn check(repository: &Repository, options: &CheckOptions) -> Result<Checked, Error> {
    let _lock = Held::acquire(repository, &options.holder, Mode::Shared)?;
    examine(repository, options.read)
}

/// Checks a repository that is locked.
fn examine(repository: &Repository, read: ReadData) -> Result<Checked, Error> {
    // What is in a cache says nothing about the repository.
    let repository = &repository.uncached();
    let mut check = Check { repository, found: Mutex::default() };
    let trees = check.snapshots()?;
    let index = Index::load_with(repository, &|error| check.damaged(error))?;
    let sizes = check.packs(&index)?;
    check.trees(&index, trees)?;
    check.contents(&index, &sizes, read)?;
    Ok(check.found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Each holds a pack and a blob.
const MOST_THREADS: usize = 3;

struct Check<'r> {
    repository: &'r Repository,
    found: Mutex<Checked>,
}

impl Check<'_> {
    fn found(&self, note: impl FnOnce(&mut Checked)) {
        note(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes damage; other errors end the check.
    fn damaged(&self, error: Error) -> Result<(), Error> {
        let (file, why) = match error {
            Error::Damaged { file, why } => (Line::new(file), why),
            Error::Storage(error) if matches!(error.kind, Kind::NotFound | Kind::Truncated) => {
                (Line::new(&error.operation), Line::new("it is not there, or ends too early"))
            }
            error => return Err(error),
        };
        self.found(|found| found.damage.add(file, why));
        Ok(())
    }

    /// Reads all snapshots; their trees.
    fn snapshots(&mut self) -> Result<Vec<Id>, Error> {
        let mut codec = Codec::new(Compression::Auto)?;
        let mut trees = Vec::new();
        for (id, _) in self.repository.list(Folder::Snapshots)? {
            let json = self.repository.load(Folder::Snapshots, &id, &mut codec);
            let parsed = json.and_then(|json| {
                let snapshot: Result<Snapshot, _> = serde_json::from_slice(&json).map_err(Malformed::from);
                snapshot.map_err(Error::in_file(&Folder::Snapshots.file(&id)))
            });
            match parsed {
                Ok(snapshot) => trees.push(snapshot.tree),
                Err(error) => self.damaged(error)?,
            }
        }
        self.found(|found| found.snapshots = trees.len() as u64);
        Ok(trees)
    }

    /// Compares the index with the store; the sizes of packs there.
    fn packs(&mut self, index: &Index) -> Result<HashMap<Id, u64>, Error> {
        let sizes: HashMap<Id, u64> = self.repository.list(Folder::Data)?.into_iter().collect();
        let expected = expected_sizes(index);
        self.found(|found| found.packs = index.packs().len() as u64);
        for (pack, expected) in index.packs().iter().zip(expected) {
            let file = Folder::Data.file(&pack.id);
            match sizes.get(&pack.id) {
                None => self.damaged(Error::damaged(file, "it is not there, and the index names it"))?,
                Some(size) if *size == expected => {}
                Some(size) => {
                    let why = format!("it has {size} bytes, and the index speaks of {expected}");
                    self.damaged(Error::damaged(file, why))?;
                }
            }
        }
        let named: HashSet<Id> = index.packs().iter().map(|pack| pack.id).collect();
        for id in sizes.keys().filter(|id| !named.contains(*id)) {
            let why = Line::new("no index names it; a prune removes it");
            self.found(|found| found.remarks.add(Line::new(Folder::Data.file(id)), why));
        }
        Ok(sizes)
    }

    /// Walks over all trees, each once.
    fn trees(&mut self, index: &Index, roots: Vec<Id>) -> Result<(), Error> {
        let mut reader = TreeReader::new(self.repository, index)?;
        let mut seen = Marks::none(index);
        let mut todo = roots;
        while let Some(id) = todo.pop() {
            if let Some(number) = index.position(BlobKind::Tree, &id)
                && !seen.mark(BlobKind::Tree, number)
            {
                continue;
            }
            let nodes = match reader.nodes(&id) {
                Ok(nodes) => nodes,
                Err(error) => {
                    self.damaged(error)?;
                    continue;
                }
            };
            self.found(|found| found.trees += 1);
            for node in nodes {
                let node = node?;
                for blob in node.content.iter().filter(|blob| index.position(BlobKind::Data, blob).is_none()) {
                    let name = Line::from_bytes(&node.name);
                    let why = format!("it is in no index; {} in tree {} needs it", name.as_str(), id.short());
                    self.damaged(Error::damaged(format!("blob {blob}"), why))?;
                }
                todo.extend(node.subtree);
            }
        }
        Ok(())
    }

    /// Reads packs.
    fn contents(&self, index: &Index, sizes: &HashMap<Id, u64>, read: ReadData) -> Result<(), Error> {
        let chosen = |id: &Id| match read {
            ReadData::Nothing => false,
            ReadData::Part { number, of } => id.bytes().first().is_some_and(|byte| byte % of.get() + 1 == number),
            ReadData::Everything => true,
        };
        let numbers = index.packs().iter().enumerate();
        let chosen: Vec<(usize, Id)> = numbers
            .filter(|(_, pack)| sizes.contains_key(&pack.id) && chosen(&pack.id))
            .map(|(number, pack)| (number, pack.id))
            .collect();
        let counts = blob_counts(index);
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), Error> {
            let mut opener = Opener::default();
            while let Some((number, id)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                let blobs = counts.get(*number).copied().unwrap_or_default();
                let result = self
                    .repository
                    .read_pack(id)
                    .and_then(|bytes| self.pack(index, (*number, blobs), *id, bytes, &mut opener));
                if let Err(error) = result {
                    self.damaged(error)?;
                }
                self.found(|found| found.packs_read += 1);
            }
            Ok(())
        };
        // One more than can compute: there is one that waits for the store.
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).saturating_add(1).min(MOST_THREADS);
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            others.into_iter().fold(own, |all, other| all.and(other.join().unwrap_or(Err(Error::Stopped))))
        })
    }

    /// Checks one pack: its header against the index, each of its blobs. That is all of it: what [`pack::decode`] returns takes
    /// every byte before the header. So the hash of the whole would find nothing more (docs/adr/0018).
    fn pack(
        &self,
        index: &Index,
        (number, indexed): (usize, usize),
        id: Id,
        bytes: Bytes,
        opener: &mut Opener,
    ) -> Result<(), Error> {
        let file = Folder::Data.file(&id);
        let mut bytes = Vec::from(bytes);
        let blobs = header(self.repository, &mut bytes).map_err(Error::in_file(&file))?;
        let is_indexed = |blob: &Blob| {
            let first = index.position(blob.kind, &blob.id)?;
            let places = index.entries(blob.kind).get(first..)?.iter().take_while(|entry| entry.id == blob.id);
            let mut places = places.filter(|entry| entry.pack as usize == number);
            places.find(|entry| entry.blob(blob.kind) == *blob)
        };
        if blobs.len() != indexed || blobs.iter().any(|blob| is_indexed(blob).is_none()) {
            self.damaged(Error::damaged(&file, "its header and the index name different blobs"))?;
        }
        // They lie one after the other.
        let mut rest = bytes.as_mut_slice();
        let sealed = blobs.into_iter().map(|blob| {
            let of_this = rest.split_off_mut(..blob.length as usize).unwrap_or_default();
            ((), blob, of_this)
        });
        opener.open_each(self.repository, sealed, |(), opened| match opened {
            Err(Error::Damaged { file: name, why }) => {
                self.damaged(Error::damaged(&file, format!("{name}: {}", why.as_str())))
            }
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        })
    }
}

/// The blobs in a pack, as its header has them.
fn header(repository: &Repository, bytes: &mut [u8]) -> Result<Vec<Blob>, Malformed> {
    let size = bytes.len() as u64;
    let too_short = || Malformed::new("it is too short for a pack");
    let (rest, last) = bytes.split_last_chunk_mut().ok_or_else(too_short)?;
    let len = pack::header_len(*last, size)?;
    let start = rest.len().checked_sub(len).ok_or_else(too_short)?;
    let sealed = rest.get_mut(start..).unwrap_or_default();
    let header = repository.key().open(sealed).map_err(|_| Malformed::new("its header's MAC does not match"))?;
    pack::decode(header, start as u64)
}

/// What the index says about the size of each pack.
pub(crate) fn expected_sizes(index: &Index) -> Vec<u64> {
    let mut sizes = vec![(OVERHEAD + pack::LENGTH) as u64; index.packs().len()];
    for kind in [BlobKind::Data, BlobKind::Tree] {
        for entry in index.entries(kind) {
            if let Some(size) = sizes.get_mut(entry.pack as usize) {
                *size += u64::from(entry.length) + pack::entry_len(&entry.blob(kind)) as u64;
            }
        }
    }
    sizes
}

fn blob_counts(index: &Index) -> Vec<usize> {
    let mut counts = vec![0; index.packs().len()];
    for entry in [BlobKind::Data, BlobKind::Tree].iter().flat_map(|kind| index.entries(*kind)) {
        if let Some(count) = counts.get_mut(entry.pack as usize) {
            *count += 1;
        }
    }
    counts
}
