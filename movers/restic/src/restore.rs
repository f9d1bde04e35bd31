//! Restoring a snapshot into a volume.
//!
//! The caller's thread walks over the snapshot's trees and makes directories, links and special files; other threads fetch
//! the content of files, several small files at once in the order of the packs, and write it: a large file's as it comes. A file is
//! written under a temporary name and renamed when it is whole. Hard links are made when what they link to is there; directories
//! get their attributes last. What the snapshot has not is deleted only after all of the rest went well.

mod attributes;
mod delete;
mod fetch;
mod files;
mod plan;

use std::collections::HashSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};

use doppel_contract::{LeftOut, Line, Phase};
use doppel_storage::Kind;
use doppel_volume::attributes::Powers;
use doppel_volume::monitor::Monitor;
use doppel_volume::replace::TemporaryNames;
use doppel_volume::tree::Tree;
use rustix::io::Errno;

use crate::error::Error;
use crate::format::time::Time;
use crate::repository::Repository;
use crate::repository::index::Index;
use crate::repository::lock::{Held, Holder, Mode};
use crate::restore::files::Files;
use crate::restore::plan::{Plan, Rest};
use crate::snapshots::{Filter, Stored, Which, snapshots};

/// What is restored, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOptions {
    /// For the lock.
    pub holder: Holder,
    /// The snapshot.
    pub which: Which,
    /// Whose snapshots are considered, unless one is named.
    pub filter: Filter,
    /// What becomes of entries that the snapshot has not.
    pub others: Others,
}

/// What becomes of entries that the snapshot has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Keep,
    /// They are deleted, if everything was restored.
    Delete,
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// The repository is there and opens, but has no such snapshot. The volume was not touched.
    NoSnapshot(NoSnapshot),
    /// The snapshot is in the volume.
    Done(Box<Restoration>),
}

/// What there is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSnapshot {
    /// How many snapshots match the filter.
    pub matching: usize,
    /// The first of them.
    pub oldest: Option<Time>,
    /// The last of them.
    pub newest: Option<Time>,
}

/// A snapshot that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restoration {
    /// Which one.
    pub snapshot: Stored,
    /// Entries of the snapshot.
    pub entries: u64,
    /// Files among them.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Files that were written.
    pub files_written: u64,
    /// Bytes of content that were written.
    pub bytes_written: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// What should be in the volume and is not.
    pub left_out: LeftOut,
    /// What could not be kept although no data is missing.
    pub remarks: LeftOut,
}

/// Restores a snapshot into a tree. Where the store takes no lock, because it may only be read from, it goes on without one: what a
/// prune removes meanwhile is missed then, which fails the restore. A lock that is in the way is in the way all the same.
///
/// # Errors
/// When the restore failed as a whole. What was restored until then stays; nothing is half written.
pub fn restore(
    repository: &Repository,
    tree: &Tree,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Restored, Error> {
    monitor.phase(Phase::Connecting);
    let (_lock, refusal) = match Held::acquire(repository, &options.holder, Mode::Shared) {
        Err(Error::Storage(error)) if error.kind == Kind::Denied => (None, Some(error)),
        acquired => (Some(acquired?), None),
    };
    let all = snapshots(repository)?;
    let Some(chosen) = options.which.choose(&all, &options.filter) else {
        let matching: Vec<_> = all.iter().filter(|stored| options.filter.matches(&stored.snapshot)).collect();
        let time = |stored: &&Stored| stored.snapshot.time;
        return Ok(Restored::NoSnapshot(NoSnapshot {
            matching: matching.len(),
            oldest: matching.first().map(time),
            newest: matching.last().map(time),
        }));
    };
    let index = Index::load(repository)?;
    let job = Job::new(repository, &index, tree, monitor);
    if let Some(error) = refusal {
        lock(&job.remarks)
            .add(Line::new("."), Line::new(format!("restored without a lock, since the store takes none: {error}")));
    }
    let rest = job.run(chosen)?;
    rest.link(&job)?;
    let is_whole = lock(&job.left_out).is_empty();
    let deleted = match options.others {
        Others::Delete if is_whole => delete::delete(&job, &chosen.snapshot.tree)?,
        Others::Delete | Others::Keep => 0,
    };
    rest.finish_directories(&job)?;
    monitor.phase(Phase::Flushing);
    tree.sync()?;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Ok(Restored::Done(Box::new(Restoration {
        snapshot: chosen.clone(),
        entries: load(&job.entries),
        files: load(&job.files),
        bytes: load(&job.bytes),
        files_written: load(&job.files_written),
        bytes_written: load(&job.bytes_written),
        deleted,
        left_out: std::mem::take(&mut lock(&job.left_out)),
        remarks: std::mem::take(&mut lock(&job.remarks)),
    })))
}

/// What the threads of a restore share.
struct Job<'j> {
    repository: &'j Repository,
    index: &'j Index,
    tree: &'j Tree,
    monitor: &'j dyn Monitor,
    names: TemporaryNames,
    powers: Powers,
    /// Root may make devices, and give attributes of the system's programs.
    privileged: bool,
    left_out: Mutex<LeftOut>,
    remarks: Mutex<LeftOut>,
    /// Paths of files that others should become links of, and that are not there.
    broken: Mutex<HashSet<Vec<u8>>>,
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
    entries: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    files_written: AtomicU64,
    bytes_written: AtomicU64,
}

/// Each holds some 60 MiB: what it fetched, what it fetches next, and the contents of it.
const MOST_THREADS: usize = 2;

impl<'j> Job<'j> {
    fn new(repository: &'j Repository, index: &'j Index, tree: &'j Tree, monitor: &'j dyn Monitor) -> Self {
        Self {
            repository,
            index,
            tree,
            monitor,
            names: TemporaryNames::default(),
            powers: Powers::default(),
            privileged: rustix::process::geteuid().is_root(),
            left_out: Mutex::default(),
            remarks: Mutex::default(),
            broken: Mutex::default(),
            failed: AtomicBool::new(false),
            error: Mutex::default(),
            entries: AtomicU64::new(0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            files_written: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
        }
    }

    /// Makes everything but what comes after it.
    fn run(&self, chosen: &Stored) -> Result<Rest, Error> {
        self.monitor.phase(Phase::Transferring);
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
        let (to_write, batches) = sync_channel(1);
        let batches = &Mutex::new(batches);
        let planned = std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(move || {
                    self.keep(Files::new(self).and_then(|mut files| files.run(batches)));
                    // A thread that fails lets nobody wait for it.
                    while lock(batches).recv().is_ok() {}
                });
            }
            let mut plan = Plan::new(self, to_write)?;
            plan.run(&chosen.snapshot.tree)?;
            Ok(plan.end())
        });
        lock(&self.error).take().map_or(planned, Err)
    }

    /// Keeps the first error, and makes all others stop.
    fn keep(&self, result: Result<(), Error>) {
        if let Err(error) = result {
            lock(&self.error).get_or_insert(error);
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.failed.load(Ordering::Relaxed) { Err(Error::Stopped) } else { self.repository.go_on() }
    }

    fn leave_out(&self, path: &[u8], why: impl AsRef<str>) {
        lock(&self.left_out).add(Line::from_bytes(path), Line::new(why));
    }

    /// Notes what could not be made. In a volume that is full nothing more can: that ends the restore, instead of a list of all
    /// that there was no room for.
    fn failed(&self, path: &[u8], doing: &str, errno: Errno) -> Result<(), Error> {
        let why = std::io::Error::from(errno);
        if !matches!(errno, Errno::NOSPC | Errno::DQUOT) {
            self.leave_out(path, format!("{doing}: {why}"));
            return Ok(());
        }
        let room = rustix::fs::fstatvfs(self.tree.descriptor()).map_or_else(
            |_| "how much is free is not known".to_owned(),
            |room| {
                let mib = |blocks: u64| blocks.saturating_mul(room.f_frsize) >> 20;
                let (free, all) = (mib(room.f_bavail), mib(room.f_blocks));
                format!("{free} of {all} MiB and {} of {} inodes are free", room.f_favail, room.f_files)
            },
        );
        let why = format!("{doing}: {why}");
        Err(Error::VolumeFull { path: Line::from_bytes(path), why: Line::new(why), room: Line::new(room) })
    }

    fn remark(&self, path: &[u8], why: impl AsRef<str>) {
        lock(&self.remarks).add(Line::from_bytes(path), Line::new(why));
    }
}

/// Whoever panicked held it for a moment only, and left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
