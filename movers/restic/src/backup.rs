//! Backing up a tree: walked by the caller's thread, read by others, hashed, compressed and encrypted by whichever thread has
//! the content, stored by [`crate::repository::writer`]. What has not changed since the last snapshot is not read.
//!
//! Memory is bounded by the queues' lengths times 8 MiB and the packs in work. Besides it grows by what must be known of all that
//! is added, some 33 bytes a blob, and of directories that are being read, compressed where they are large.

mod before;
mod content;
mod directory;
mod entries;
mod node;
mod packed;
mod scan;

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use doppel_contract::{LeftOut, Line, Phase};
use doppel_volume::monitor::Monitor;
use doppel_volume::tree::Tree;
use jiff::Timestamp;

use crate::backup::content::{Chunks, Files};
use crate::backup::scan::Scan;
use crate::error::Error;
use crate::format::Malformed;
use crate::format::chunker::Chunker;
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::format::snapshot::{Counts, INCOMPLETE, Snapshot, Summary};
use crate::format::time::Time;
use crate::repository::index::Index;
use crate::repository::lock::{Held, Holder, Mode};
use crate::repository::writer::{self, Added, LARGEST_PACK, Packing, SMALLEST_PACK, Writer};
use crate::repository::{Folder, Repository};
use crate::snapshots::{Filter, Stored, snapshots};

/// How a tree is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupOptions {
    /// For the lock.
    pub holder: Holder,
    /// The snapshot's host.
    pub host: String,
    /// The snapshot's paths: what the tree was called where it came from. Its root holds the tree's entries directly.
    pub paths: Vec<String>,
    /// The program and its version, for the snapshot.
    pub program: String,
    /// How hard new content is compressed.
    pub compression: Compression,
    /// Bytes of a pack; bent to what restic allows, 4 to 128 MiB. Several packs are in memory at once.
    pub pack_size: usize,
}

impl BackupOptions {
    /// What restic takes for a pack's size.
    pub const PACK_SIZE: usize = 16 << 20;
}

/// What a backup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// The new snapshot. It has the tag [`INCOMPLETE`] if something was left out.
    pub snapshot: Stored,
    /// The numbers.
    pub counts: Counts,
    /// What should be in the snapshot and is not.
    pub left_out: LeftOut,
    /// What is worth a remark, although nothing is missing.
    pub remarks: LeftOut,
}

/// Backs up a tree.
///
/// # Errors
/// When there is no new snapshot. What was stored until then is used by the next run, or removed by a prune.
pub fn backup(
    repository: &Repository,
    tree: &Tree,
    options: &BackupOptions,
    monitor: &dyn Monitor,
) -> Result<BackedUp, Error> {
    monitor.phase(Phase::Connecting);
    let lock = Held::acquire(repository, &options.holder, Mode::Shared)?;
    let start = Timestamp::now();
    let filter = Filter { host: Some(options.host.clone()), paths: options.paths.clone() };
    let is_parent = |stored: &Stored| {
        filter.matches(&stored.snapshot)
            && stored.snapshot.paths.len() == options.paths.len()
            && stored.snapshot.time.at() <= start
    };
    let parent = snapshots(repository)?.into_iter().rfind(is_parent);
    let index = Index::load(repository)?;
    let packing =
        Packing { compression: options.compression, pack_size: options.pack_size.clamp(SMALLEST_PACK, LARGEST_PACK) };
    let parent_tree = parent.as_ref().map(|parent| parent.snapshot.tree);
    let (read, added) = writer::write(repository, &index, packing, |writer| {
        let chunker = Chunker::new(repository.polynomial());
        read_tree(tree, parent_tree, &Reader::new(writer, &chunker, monitor), (repository, &index))
    })?;
    let Read { root, mut counts, left_out, remarks } = read;
    let Added { data_blobs, tree_blobs, bytes, packed } = added;
    counts = Counts { data_blobs, tree_blobs, data_added: bytes, data_added_packed: packed, ..counts };
    let summary = Summary { backup_start: Time::utc(start), backup_end: Time::utc(Timestamp::now()), counts };
    let snapshot = Snapshot {
        time: Time::utc(start),
        parent: parent.map(|parent| parent.id),
        tree: root,
        paths: options.paths.clone(),
        hostname: options.host.clone(),
        username: options.holder.user.clone(),
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: if left_out.is_empty() { Vec::new() } else { vec![INCOMPLETE.to_owned()] },
        original: None,
        program_version: options.program.clone(),
        summary: Some(summary),
    };
    monitor.phase(Phase::Flushing);
    lock.ensure()?;
    let json = serde_json::to_vec(&snapshot).map_err(Malformed::from)?;
    let id = repository.store(Folder::Snapshots, &json)?;
    Ok(BackedUp { snapshot: Stored { id, snapshot }, counts, left_out, remarks })
}

/// What the threads of a backup share.
struct Reader<'b> {
    writer: &'b Writer<'b>,
    chunker: &'b Chunker,
    monitor: &'b dyn Monitor,
    root: Mutex<Option<Id>>,
    counts: Mutex<Counts>,
    left_out: Mutex<LeftOut>,
    remarks: Mutex<LeftOut>,
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
}

/// What the threads of a backup come to.
struct Read {
    root: Id,
    counts: Counts,
    left_out: LeftOut,
    remarks: LeftOut,
}

/// Each thread that reads files holds 9 MiB, each that takes chunks twice 8; more threads than this wait for the store.
const MOST_THREADS: usize = 4;
/// Batches of files that wait to be read: names and metadata only.
const BATCHES: usize = 8;

fn read_tree(
    tree: &Tree,
    parent: Option<Id>,
    reader: &Reader<'_>,
    source: (&Repository, &Index),
) -> Result<Read, Error> {
    reader.monitor.phase(Phase::Transferring);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let (to_read, files) = sync_channel(BATCHES);
    let (to_save, chunks) = sync_channel(1);
    let (files, chunks) = (&Mutex::new(files), &Mutex::new(chunks));
    let scanned = std::thread::scope(|scope| {
        for _ in 0..threads {
            let to_save = to_save.clone();
            scope.spawn(move || {
                reader.keep(Files::new(tree, reader, to_save).and_then(|mut all| all.run(files)));
                empty(files);
            });
            scope.spawn(move || {
                reader.keep(Chunks::new(reader).and_then(|mut all| all.run(chunks)));
                empty(chunks);
            });
        }
        drop(to_save);
        // The queues end when the scan and the threads have dropped their ends.
        Scan::new(tree, reader, source, to_read)?.run(parent)
    });
    if let Some(error) = lock(&reader.error).take() {
        return Err(error);
    }
    scanned?;
    let root = lock(&reader.root).take().ok_or(Error::Stopped)?;
    Ok(Read {
        root,
        counts: *lock(&reader.counts),
        left_out: std::mem::take(&mut lock(&reader.left_out)),
        remarks: std::mem::take(&mut lock(&reader.remarks)),
    })
}

/// A thread that fails lets nobody wait for it.
fn empty<T>(queue: &Mutex<Receiver<T>>) {
    while lock(queue).recv().is_ok() {}
}

impl<'b> Reader<'b> {
    fn new(writer: &'b Writer<'b>, chunker: &'b Chunker, monitor: &'b dyn Monitor) -> Self {
        Self {
            writer,
            chunker,
            monitor,
            root: Mutex::default(),
            counts: Mutex::default(),
            left_out: Mutex::default(),
            remarks: Mutex::default(),
            failed: AtomicBool::new(false),
            error: Mutex::default(),
        }
    }

    /// Keeps the first error, and makes all others stop.
    fn keep(&self, result: Result<(), Error>) {
        if let Err(error) = result {
            lock(&self.error).get_or_insert(error);
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.failed.load(Ordering::Relaxed) { Err(Error::Stopped) } else { self.writer.go_on() }
    }

    fn leave_out(&self, path: Line, why: Line) {
        lock(&self.left_out).add(path, why);
    }

    fn remark(&self, path: Line, why: Line) {
        lock(&self.remarks).add(path, why);
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut lock(&self.counts));
    }

    fn codec(&self) -> Result<Codec, Error> {
        Ok(Codec::new(self.writer.compression())?)
    }
}

/// Whoever panicked held it for a moment only, and left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
