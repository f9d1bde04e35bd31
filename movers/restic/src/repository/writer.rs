//! Adding blobs to a repository: hashed, compressed and encrypted by whoever adds them, packed, and uploaded by threads of
//! their own. Packs are written before the index that names them; what a dead run left is found by the next, or unnamed.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zstd::stream::write::Encoder;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::compress::{Codec, Compression, is_compressible};
use crate::format::config::Version;
use crate::format::crypto::NONCE;
use crate::format::id::{Hasher, Id};
use crate::format::index::{self, IndexedPack};
use crate::repository::ids::Ids;
use crate::repository::index::Index;
use crate::repository::load::long::{Hashing, expanding};
use crate::repository::packs::{OpenPack, OpenPacks, Sealed};
use crate::repository::{Folder, Repository, nonce};
use crate::room::apart;

/// How packs are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) compression: Compression,
    /// Bytes of a pack, about.
    pub(crate) pack_size: usize,
}

/// restic's limits for the size of packs.
pub(crate) const SMALLEST_PACK: usize = 4 << 20;
pub(crate) const LARGEST_PACK: usize = 128 << 20;
/// Packs in memory are those being filled (two of data, two of trees), one that waits, and those being uploaded.
const UPLOADERS: usize = 2;

/// Adds blobs.
pub(crate) struct Writer<'r> {
    repository: &'r Repository,
    index: &'r Index,
    packing: Packing,
    known: [Mutex<Ids>; 2],
    open: [Mutex<OpenPacks>; 2],
    full: SyncSender<OpenPack>,
    shared: &'r Shared,
}

/// What a blob's addition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) id: Id,
    /// Whether the repository had it not.
    pub(crate) is_new: bool,
}

/// A long tree is written twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It is written again afterwards.
    First,
    /// What was written is not needed any more.
    Last,
}

/// What was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Added {
    pub(crate) data_blobs: u64,
    pub(crate) tree_blobs: u64,
    /// Bytes of their contents.
    pub(crate) bytes: u64,
    /// Bytes that they take in packs.
    pub(crate) packed: u64,
}

#[derive(Default)]
struct Shared {
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
    /// Packs that are stored and not yet named by an index.
    unnamed: Mutex<Vec<IndexedPack>>,
    data_blobs: AtomicU64,
    tree_blobs: AtomicU64,
    bytes: AtomicU64,
    packed: AtomicU64,
}

/// Lets `work` add blobs, and returns when all of them are stored and named by an index.
pub(crate) fn write<T>(
    repository: &Repository,
    index: &Index,
    packing: Packing,
    work: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
) -> Result<(T, Added), Error> {
    let shared = Shared::default();
    let (full, queue) = sync_channel(1);
    let queue = Mutex::new(queue);
    let value: Result<T, Error> = std::thread::scope(|scope| {
        for _ in 0..UPLOADERS {
            scope.spawn(|| shared.upload_all(repository, &queue));
        }
        let open = [BlobKind::Data, BlobKind::Tree].map(|kind| Mutex::new(OpenPacks::new(kind, packing.pack_size)));
        let writer = Writer { repository, index, packing, known: Default::default(), open, full, shared: &shared };
        let value = work(&writer)?;
        writer.flush()?;
        Ok(value)
    });
    // The threads have ended, for the writer and with it their queue is gone.
    if let Some(error) = lock(&shared.error).take() {
        return Err(error);
    }
    let value = value?;
    shared.name(repository, &mut lock(&shared.unnamed))?;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let added = Added {
        data_blobs: load(&shared.data_blobs),
        tree_blobs: load(&shared.tree_blobs),
        bytes: load(&shared.bytes),
        packed: load(&shared.packed),
    };
    Ok((value, added))
}

impl Writer<'_> {
    /// Adds a blob, if the repository has not got it.
    pub(crate) fn save(&self, kind: BlobKind, content: &[u8], codec: &mut Codec) -> Result<Saved, Error> {
        let id = Id::of(content);
        if self.has(kind, &id) || !lock(of(kind, &self.known)).insert(id) {
            return Ok(Saved { id, is_new: false });
        }
        let compresses = match (self.repository.version(), kind, self.packing.compression) {
            (Version::V1, ..) | (_, BlobKind::Data, Compression::Off) => false,
            (_, BlobKind::Data, Compression::Auto) => is_compressible(content),
            _ => true,
        };
        let compressed = if compresses { codec.compress(content) } else { None };
        let too_large = |_| Error::damaged(format!("blob {id}"), "it has more than 4 GiB");
        let uncompressed = if compressed.is_some() { u32::try_from(content.len()).map_err(too_large)? } else { 0 };
        if content.len() > kind.limit() {
            return Err(too_long(content.len() as u64));
        }
        let mut sealed = Vec::new();
        self.repository.key().seal(nonce()?, compressed.as_deref().unwrap_or(content), &mut sealed);
        self.add(kind, &Sealed { id, uncompressed, bytes: &sealed })?;
        self.shared.count(kind, content.len(), sealed.len());
        Ok(Saved { id, is_new: true })
    }

    /// Adds a tree whose text is too long to be held at once, if the repository has not got it: `write` makes the text twice,
    /// for its hash, and to be compressed to about `expected` bytes.
    pub(crate) fn save_long_tree(
        &self,
        expected: usize,
        mut write: impl FnMut(Pass, &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>,
    ) -> Result<Id, Error> {
        let mut hasher = Hasher::default();
        write(Pass::First, &mut |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        let len = hasher.len;
        let id = hasher.id();
        if self.has(BlobKind::Tree, &id) || !lock(of(BlobKind::Tree, &self.known)).insert(id) {
            return Ok(id);
        }
        let fits = usize::try_from(len).ok().filter(|len| *len <= BlobKind::Tree.limit());
        let len = fits.and_then(|len| u32::try_from(len).ok()).ok_or_else(|| too_long(len))?;
        let mut sealed = apart(expected + expected / 8);
        sealed.resize(NONCE, 0);
        let uncompressed = match self.repository.version() {
            Version::V1 => {
                write(Pass::Last, &mut |piece| {
                    sealed.extend_from_slice(piece);
                    Ok(())
                })?;
                0
            }
            Version::V2 => {
                let mut encoder = Encoder::new(sealed, self.packing.compression.level()).map_err(Error::Resources)?;
                write(Pass::Last, &mut |piece| encoder.write_all(piece).map_err(Error::Resources))?;
                sealed = encoder.finish().map_err(Error::Resources)?;
                // As for all others: what does not become itself again must not be stored.
                let text = expanding(sealed.get(NONCE..).unwrap_or_default())?;
                let mut again = Hashing { text, hasher: Hasher::default() };
                io::copy(&mut again, &mut io::sink()).map_err(Error::Resources)?;
                if again.hasher.id() != id {
                    return Err(Error::damaged(format!("tree {id}"), "compressing it has changed it"));
                }
                len
            }
        };
        self.repository.key().seal_in_place(nonce()?, &mut sealed);
        self.shared.count(BlobKind::Tree, len as usize, sealed.len());
        self.enqueue(OpenPack::of_one(BlobKind::Tree, id, uncompressed, sealed)?)?;
        Ok(id)
    }

    /// How hard new content is compressed.
    pub(crate) fn compression(&self) -> Compression {
        self.packing.compression
    }

    /// Whether the repository had a blob before this.
    pub(crate) fn has(&self, kind: BlobKind, id: &Id) -> bool {
        self.index.position(kind, id).is_some()
    }

    /// Adds a blob as another pack has it.
    pub(crate) fn copy(&self, kind: BlobKind, sealed: &Sealed<'_>) -> Result<(), Error> {
        self.add(kind, sealed)?;
        let content = if sealed.uncompressed == 0 { sealed.bytes.len() } else { sealed.uncompressed as usize };
        self.shared.count(kind, content, sealed.bytes.len());
        Ok(())
    }

    fn add(&self, kind: BlobKind, sealed: &Sealed<'_>) -> Result<(), Error> {
        self.go_on()?;
        // The lock is not held while the pack waits for its upload.
        let full = lock(of(kind, &self.open)).add(sealed)?;
        full.map_or(Ok(()), |pack| self.enqueue(pack))
    }

    /// Fails if the work has failed elsewhere: where, is known there.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.shared.failed.load(Ordering::Relaxed) { Err(Error::Stopped) } else { self.repository.go_on() }
    }

    fn flush(&self) -> Result<(), Error> {
        for open in &self.open {
            let rest = lock(open).take_rest();
            rest.into_iter().try_for_each(|pack| self.enqueue(pack))?;
        }
        Ok(())
    }

    fn enqueue(&self, pack: OpenPack) -> Result<(), Error> {
        self.full.send(pack).map_err(|_| Error::Stopped)
    }
}

impl Shared {
    fn upload_all(&self, repository: &Repository, queue: &Mutex<Receiver<OpenPack>>) {
        loop {
            let next = lock(queue).recv();
            let Ok(pack) = next else { return };
            // After a failure the queue is emptied, so that nobody waits for it.
            if self.failed.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = self.upload(repository, pack) {
                lock(&self.error).get_or_insert(error);
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }

    fn upload(&self, repository: &Repository, pack: OpenPack) -> Result<(), Error> {
        let (indexed, bytes) = pack.finish(repository.key())?;
        let kind = indexed.blobs.first().map_or(BlobKind::Data, |blob| blob.kind);
        repository.store_pack(kind, &indexed.id, bytes)?;
        let mut unnamed = lock(&self.unnamed);
        unnamed.push(indexed);
        if unnamed.iter().map(|pack| pack.blobs.len()).sum::<usize>() >= index::BLOBS {
            self.name(repository, &mut unnamed)?;
        }
        Ok(())
    }

    /// Writes an index of the packs that none names yet.
    fn name(&self, repository: &Repository, unnamed: &mut Vec<IndexedPack>) -> Result<(), Error> {
        if unnamed.is_empty() {
            return Ok(());
        }
        let packs = std::mem::take(unnamed);
        repository.store(Folder::Index, &index::encode(&packs)?)?;
        Ok(())
    }

    fn count(&self, kind: BlobKind, content: usize, packed: usize) {
        let blobs = match kind {
            BlobKind::Data => &self.data_blobs,
            BlobKind::Tree => &self.tree_blobs,
        };
        blobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(content as u64, Ordering::Relaxed);
        self.packed.fetch_add(packed as u64, Ordering::Relaxed);
    }
}

fn too_long(len: u64) -> Error {
    let why = format!("a directory with a description of {} MiB has too many entries for a repository", len >> 20);
    Error::Resources(io::Error::other(why))
}

fn of<T>(kind: BlobKind, both: &[T; 2]) -> &T {
    let [data, trees] = both;
    match kind {
        BlobKind::Data => data,
        BlobKind::Tree => trees,
    }
}

/// Whoever panicked held it for a moment only, and left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
