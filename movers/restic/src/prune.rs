//! Removing what no snapshot needs. The order keeps the repository whole whenever this process dies: new packs are written,
//! then the index that names them, then an index without the packs that go, then the old index files are removed, and only
//! then the packs (design.rst, "Read and Write Ordering"). A run that died is simply run again.

mod decide;

use std::collections::HashSet;

use crate::check::expected_sizes;
use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::format::index::{self, IndexedPack};
use crate::prune::decide::{Decisions, Fate, decide};
use crate::repository::index::{Entry, Index};
use crate::repository::load::open_blob;
use crate::repository::lock::{Held, Holder, Mode};
use crate::repository::packs::Sealed;
use crate::repository::used::find_used;
use crate::repository::writer::{self, LARGEST_PACK, Packing, SMALLEST_PACK, Writer};
use crate::repository::{Folder, Repository};
use crate::snapshots::snapshots;

/// How much is repacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneOptions {
    /// For the lock.
    pub holder: Holder,
    /// Unneeded bytes that may stay in packs which hold needed ones, in percent of the needed ones. restic's default is 5.
    pub max_unused_percent: u64,
    /// Bytes of packs that are written anew in one run.
    pub max_repack: u64,
    /// Bytes of a new pack.
    pub pack_size: usize,
}

/// What a prune came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Packs that were removed, those that were written anew among them.
    pub packs_removed: u64,
    /// Packs that were written anew.
    pub packs_repacked: u64,
    /// Bytes of removed packs.
    pub bytes_removed: u64,
    /// Bytes that were written anew.
    pub bytes_repacked: u64,
    /// Unneeded bytes that stay.
    pub bytes_unused: u64,
}

/// Prunes a repository. Nobody else can work in it meanwhile.
///
/// # Errors
/// Before anything was removed, if anything that a snapshot needs is not there: what is left may be needed to mend it.
pub fn prune(repository: &Repository, options: &PruneOptions) -> Result<Pruned, Error> {
    let lock = Held::acquire(repository, &options.holder, Mode::Exclusive)?;
    let roots = snapshots(repository)?.into_iter().map(|stored| stored.snapshot.tree).collect();
    let index = Index::load(repository)?;
    let used = find_used(repository, &index, roots)?;
    let stored = repository.list(Folder::Data)?;
    // Nobody else works here, so nobody is about to finish what is unfinished.
    repository.sweep()?;
    let decisions = decide(&index, &expected_sizes(&index), &stored, used, options)?;
    let named: HashSet<Id> = index.packs().iter().map(|pack| pack.id).collect();
    let mut pruned = Pruned { bytes_unused: decisions.unused_left, ..Pruned::default() };
    // Nobody can need them: nothing names them, and nobody else works here.
    for (id, size) in stored.iter().filter(|(id, _)| !named.contains(id)) {
        lock.ensure()?;
        repository.remove(Folder::Data, id)?;
        pruned.count_removed(*size);
    }
    if decisions.keep_all() {
        return Ok(pruned);
    }
    let packing =
        Packing { compression: Compression::Auto, pack_size: options.pack_size.clamp(SMALLEST_PACK, LARGEST_PACK) };
    let nothing = Index::default();
    let ((), added) =
        writer::write(repository, &nothing, packing, |writer| repack(repository, &index, &decisions, writer))?;
    pruned.bytes_repacked = added.packed;
    lock.ensure()?;
    rewrite_index(repository, &index, &decisions)?;
    for id in &index.files {
        lock.ensure()?;
        repository.remove(Folder::Index, id)?;
    }
    for (pack, fate) in index.packs().iter().zip(&decisions.fates) {
        let size = match fate {
            Fate::Kept | Fate::Gone => continue,
            Fate::Repacked(size) => {
                pruned.packs_repacked += 1;
                *size
            }
            Fate::Removed(size) => *size,
        };
        lock.ensure()?;
        repository.remove(Folder::Data, &pack.id)?;
        pruned.count_removed(size);
    }
    Ok(pruned)
}

impl Pruned {
    fn count_removed(&mut self, size: u64) {
        self.packs_removed += 1;
        self.bytes_removed += size;
    }
}

/// Copies the needed blobs of packs that go, after a look whether they are what they should be.
fn repack(repository: &Repository, index: &Index, decisions: &Decisions, writer: &Writer<'_>) -> Result<(), Error> {
    let mut codec = Codec::new(Compression::Auto)?;
    let mut needed: Vec<(BlobKind, Entry)> = Vec::new();
    for kind in [BlobKind::Data, BlobKind::Tree] {
        let entries = index.entries(kind).iter().enumerate();
        let moves = |(number, entry): &(usize, &Entry)| decisions.moves(kind, *number, entry);
        needed.extend(entries.filter(moves).map(|(_, entry)| (kind, *entry)));
    }
    needed.sort_unstable_by_key(|(_, entry)| (entry.pack, entry.offset));
    for blobs in needed.chunk_by(|(_, a), (_, b)| a.pack == b.pack) {
        let Some((_, first)) = blobs.first() else { continue };
        let pack = index.pack(first.pack).id;
        let bytes = repository.read_pack(&pack)?;
        for (kind, entry) in blobs {
            let start = entry.offset as usize;
            let ends_early = || Error::damaged(Folder::Data.file(&pack), "it ends too early");
            let sealed = bytes.get(start..start + entry.length as usize).ok_or_else(ends_early)?;
            open_blob(repository, &mut codec, &entry.blob(*kind), &mut sealed.to_vec())?;
            writer.copy(*kind, &Sealed { id: entry.id, uncompressed: entry.uncompressed, bytes: sealed })?;
        }
    }
    Ok(())
}

/// Writes index files that name all packs which stay.
fn rewrite_index(repository: &Repository, index: &Index, decisions: &Decisions) -> Result<(), Error> {
    let stays = |entry: &&Entry| matches!(decisions.fates.get(entry.pack as usize), Some(Fate::Kept));
    let mut entries: Vec<(BlobKind, Entry)> = Vec::new();
    for kind in [BlobKind::Data, BlobKind::Tree] {
        entries.extend(index.entries(kind).iter().filter(stays).map(|entry| (kind, *entry)));
    }
    entries.sort_unstable_by_key(|(_, entry)| (entry.pack, entry.offset));
    let mut file: Vec<IndexedPack> = Vec::new();
    let mut blobs = 0;
    for pack in entries.chunk_by(|(_, a), (_, b)| a.pack == b.pack) {
        if blobs > 0 && blobs + pack.len() > index::BLOBS {
            repository.store(Folder::Index, &index::encode(&file)?)?;
            file.clear();
            blobs = 0;
        }
        blobs += pack.len();
        let id = pack.first().map_or(Id::NONE, |(_, entry)| index.pack(entry.pack).id);
        file.push(IndexedPack { id, blobs: pack.iter().map(|(kind, entry)| entry.blob(*kind)).collect() });
    }
    if !file.is_empty() {
        repository.store(Folder::Index, &index::encode(&file)?)?;
    }
    Ok(())
}
