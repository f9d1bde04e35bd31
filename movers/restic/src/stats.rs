//! How much is in snapshots, and how much of the repository they take.

use std::collections::HashSet;

use doppel_volume::metadata::Kind;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::crypto::OVERHEAD;
use crate::format::id::Id;
use crate::repository::Repository;
use crate::repository::index::Index;
use crate::repository::lock::{self, Held, Holder};
use crate::repository::used::find_used;
use crate::snapshots::{Filter, select, snapshots};
use crate::walk::{Into, walk};

/// What is counted, as restic names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What a restore of each snapshot writes.
    RestoreSize,
    /// Files, each content once.
    FilesByContents,
    /// Blobs, as they are in the repository.
    RawData,
}

/// Which snapshots, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsOptions {
    /// For the lock.
    pub holder: Holder,
    /// Snapshots by their IDs; those of the filter if there is none.
    pub ids: Vec<String>,
    /// Whose snapshots.
    pub filter: Filter,
    /// What is counted.
    pub mode: Mode,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Snapshots that were looked at.
    pub snapshots: u64,
    /// Bytes, of files or of blobs as they are stored.
    pub bytes: u64,
    /// Entries, or files; none if blobs were counted.
    pub files: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of these blobs if none were compressed. Only of a repository that compresses.
    pub uncompressed: u64,
    /// The same of those that are compressed, and bytes that these take.
    pub compressed: (u64, u64),
}

/// Counts.
///
/// # Errors
/// [`Error::NoSnapshot`] if there is no snapshot of an ID, [`Error::Damaged`] if a tree cannot be read, and the store's.
pub fn stats(repository: &Repository, options: &StatsOptions) -> Result<Stats, Error> {
    let StatsOptions { holder, ids, filter, mode } = options;
    let _lock = Held::acquire(repository, holder, lock::Mode::Shared)?;
    let chosen = select(snapshots(repository)?, ids, filter)?;
    let index = Index::load(repository)?;
    let mut stats = Stats { snapshots: chosen.len() as u64, ..Stats::default() };
    let roots = chosen.into_iter().map(|stored| stored.snapshot.tree);
    match mode {
        Mode::RestoreSize => roots.into_iter().try_for_each(|root| stats.restore_size(repository, &index, &root))?,
        Mode::FilesByContents => {
            let mut seen = HashSet::new();
            for root in roots {
                stats.files_by_contents(repository, &index, &root, &mut seen)?;
            }
        }
        Mode::RawData => stats.raw_data(repository, &index, roots.collect())?,
    }
    Ok(stats)
}

impl Stats {
    fn restore_size(&mut self, repository: &Repository, index: &Index, root: &Id) -> Result<(), Error> {
        let mut linked = HashSet::new();
        walk(repository, index, root, |_, node| {
            self.files += 1;
            let is_alone = node.links <= 1 || node.inode == 0 || node.kind == Some(Kind::Directory);
            if is_alone || linked.insert((node.device_id, node.inode)) {
                self.bytes = self.bytes.saturating_add(node.size);
            }
            Ok(Into::Yes)
        })
    }

    fn files_by_contents(
        &mut self,
        repository: &Repository,
        index: &Index,
        root: &Id,
        seen: &mut HashSet<Id>,
    ) -> Result<(), Error> {
        walk(repository, index, root, |_, node| {
            // What has no content counts as one file that has none, as restic does it.
            let content: Vec<u8> = node.content.iter().flat_map(|id| *id.bytes()).collect();
            if seen.insert(Id::of(&content)) {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(node.size);
            }
            Ok(Into::Yes)
        })
    }

    fn raw_data(&mut self, repository: &Repository, index: &Index, roots: Vec<Id>) -> Result<(), Error> {
        let used = find_used(repository, index, roots)?;
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let entries = index.entries(kind).iter().enumerate().filter(|(number, _)| used.has(kind, *number));
            for (_, entry) in entries {
                let stored = u64::from(entry.length);
                let plain = u64::from(entry.content_len()) + OVERHEAD as u64;
                self.blobs += 1;
                self.bytes += stored;
                self.uncompressed += plain;
                if entry.uncompressed != 0 {
                    self.compressed.0 += plain;
                    self.compressed.1 += stored;
                }
            }
        }
        Ok(())
    }
}
