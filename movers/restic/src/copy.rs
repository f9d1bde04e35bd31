//! Copying snapshots from one repository to another, which has another key and may have another version. Blobs are not cut anew:
//! two repositories with different polynomials cut the same files in different places.
//!
//! Packs are written, then the index that names them, then the snapshots: a run that died is simply run again, and goes on
//! with the snapshots that are not there yet.

use std::collections::HashMap;

use doppel_contract::Phase;
use doppel_volume::monitor::Monitor;

use crate::error::Error;
use crate::format::Malformed;
use crate::format::blob::BlobKind;
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::format::snapshot::Snapshot;
use crate::repository::blobs::{BlobReader, Place};
use crate::repository::index::{Index, Marks};
use crate::repository::lock::{Held, Holder, Mode};
use crate::repository::used::Used;
use crate::repository::writer::{self, LARGEST_PACK, Packing, SMALLEST_PACK, Writer};
use crate::repository::{Folder, Repository};
use crate::snapshots::{Filter, Stored, select, snapshots};

/// What is copied, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// For both locks.
    pub holder: Holder,
    /// Snapshots by their IDs; those of the filter if there is none.
    pub ids: Vec<String>,
    /// Whose snapshots.
    pub filter: Filter,
    /// How hard the copies are compressed.
    pub compression: Compression,
    /// Bytes of a pack.
    pub pack_size: usize,
}

/// What a copy came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copied {
    /// Snapshots that are new at the destination: the IDs that they have at both ends.
    pub copied: Vec<(Id, Id)>,
    /// Snapshots that were there already, by their IDs at the source.
    pub there: Vec<Id>,
    /// Blobs that were added.
    pub blobs: u64,
    /// Bytes that they take at the destination.
    pub bytes: u64,
}

/// Snapshots are made visible after so many bytes, so that a run that dies has not been for nothing.
const BATCH: u64 = 1 << 30;

/// Copies snapshots, oldest first.
///
/// # Errors
/// Those of both stores, and [`Error::Damaged`] if something that a snapshot needs is not there or not whole: it, those that were to be
/// brought together with it, and those after it are not copied then.
pub fn copy(from: &Repository, to: &Repository, options: &CopyOptions, monitor: &dyn Monitor) -> Result<Copied, Error> {
    monitor.phase(Phase::Connecting);
    let _source_lock = Held::acquire(from, &options.holder, Mode::Shared)?;
    let lock = Held::acquire(to, &options.holder, Mode::Shared)?;
    let there = by_origin(snapshots(to)?);
    let is_there = |stored: &Stored| {
        let same = there.get(&origin(stored)).into_iter().flatten();
        same.into_iter().any(|snapshot| is_same(snapshot, &stored.snapshot))
    };
    let chosen = select(snapshots(from)?, &options.ids, &options.filter)?;
    let (skipped, chosen): (Vec<_>, Vec<_>) = chosen.into_iter().partition(is_there);
    let mut copied = Copied { there: skipped.iter().map(|stored| stored.id).collect(), ..Copied::default() };
    if chosen.is_empty() {
        return Ok(copied);
    }
    let (source, target) = (Index::load(from)?, Index::load(to)?);
    let copy = Copy { from, to, source: &source, target: &target, options, monitor };
    monitor.phase(Phase::Transferring);
    // What an earlier batch brought is marked, and not brought again.
    let mut used = Used::new(from, &source)?;
    let mut brought = Marks::none(&source);
    let mut rest = chosen.as_slice();
    while !rest.is_empty() {
        let (mut batch, mut needed, mut bytes) = (0, Vec::new(), 0);
        for stored in rest {
            used.add(stored.snapshot.tree)?;
            let more = copy.missing(&used.marks, &mut brought);
            bytes += more.iter().map(|(_, entry)| u64::from(entry.length)).sum::<u64>();
            needed.extend(more);
            batch += 1;
            if bytes >= BATCH {
                break;
            }
        }
        let added = copy.bring(needed)?;
        copied.blobs += added.data_blobs + added.tree_blobs;
        copied.bytes += added.packed;
        let (done, later) = rest.split_at_checked(batch).unwrap_or_default();
        for stored in done {
            lock.ensure()?;
            copied.copied.push((stored.id, save(to, stored)?));
        }
        rest = later;
    }
    Ok(copied)
}

struct Copy<'c> {
    from: &'c Repository,
    to: &'c Repository,
    source: &'c Index,
    target: &'c Index,
    options: &'c CopyOptions,
    monitor: &'c dyn Monitor,
}

impl Copy<'_> {
    /// Blobs that are needed, that the destination has not, and that were not brought yet.
    fn missing(&self, used: &Marks, brought: &mut Marks) -> Vec<Place> {
        let mut missing = Vec::new();
        for kind in [BlobKind::Data, BlobKind::Tree] {
            for (number, entry) in self.source.entries(kind).iter().enumerate() {
                let is_new = used.has(kind, number) && brought.mark(kind, number);
                if is_new && self.target.position(kind, &entry.id).is_none() {
                    missing.push((kind, *entry));
                }
            }
        }
        let bytes = missing.iter().map(|(_, entry)| u64::from(entry.content_len())).sum();
        self.monitor.found(missing.len() as u64, bytes);
        missing
    }

    /// Copies blobs in the order in which they are in packs; returns when an index names all of them.
    fn bring(&self, mut needed: Vec<Place>) -> Result<writer::Added, Error> {
        let pack_size = self.options.pack_size.clamp(SMALLEST_PACK, LARGEST_PACK);
        let packing = Packing { compression: self.options.compression, pack_size };
        needed.sort_unstable_by_key(|(_, entry)| (entry.pack, entry.offset));
        let ((), added) = writer::write(self.to, self.target, packing, |writer| self.bring_all(&needed, writer))?;
        Ok(added)
    }

    fn bring_all(&self, needed: &[Place], writer: &Writer<'_>) -> Result<(), Error> {
        let mut codec = Codec::new(self.options.compression)?;
        let mut blobs = BlobReader::new(self.from, self.source)?;
        blobs.read_all(needed, |(kind, _), content| {
            let content = content?;
            writer.save(*kind, content, &mut codec)?;
            self.monitor.done(1, content.len() as u64);
            Ok(())
        })
    }
}

/// A snapshot at the destination: nothing there is its parent, and it remembers which one it is a copy of.
fn save(to: &Repository, stored: &Stored) -> Result<Id, Error> {
    let snapshot = Snapshot { parent: None, original: Some(origin(stored)), ..stored.snapshot.clone() };
    to.store(Folder::Snapshots, &serde_json::to_vec(&snapshot).map_err(Malformed::from)?)
}

/// The snapshot that this is a copy of; itself, if it is none.
fn origin(stored: &Stored) -> Id {
    stored.snapshot.original.unwrap_or(stored.id)
}

fn by_origin(all: Vec<Stored>) -> HashMap<Id, Vec<Snapshot>> {
    let mut found: HashMap<Id, Vec<Snapshot>> = HashMap::new();
    for stored in all {
        if let Some(original) = stored.snapshot.original {
            found.entry(original).or_default().push(stored.snapshot.clone());
        }
        found.entry(stored.id).or_default().push(stored.snapshot);
    }
    found
}

/// Whether one is a copy of the other, by what restic compares: a snapshot whose tags were changed afterwards is another one.
fn is_same(a: &Snapshot, b: &Snapshot) -> bool {
    let user = |snapshot: &Snapshot| (snapshot.hostname.clone(), snapshot.username.clone(), snapshot.uid, snapshot.gid);
    let sorted = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort_unstable();
        words
    };
    a.time.at() == b.time.at()
        && a.tree == b.tree
        && user(a) == user(b)
        && sorted(&a.paths) == sorted(&b.paths)
        && sorted(&a.tags) == sorted(&b.tags)
        && a.excludes == b.excludes
}
