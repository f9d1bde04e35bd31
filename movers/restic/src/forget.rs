//! Removing snapshots that a policy does not keep.

pub mod policy;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::error::Error;
use crate::forget::policy::{Candidate, Policy, select};
use crate::repository::lock::{Held, Holder, Mode};
use crate::repository::{Folder, Repository};
use crate::snapshots::{Filter, Stored, snapshots};

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetOptions {
    /// For the lock.
    pub holder: Holder,
    /// Whose snapshots are looked at; others stay.
    pub filter: Filter,
    /// Which of them are kept.
    pub policy: Policy,
}

/// What a policy came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Snapshots that stay, of those that were looked at.
    pub kept: Vec<Stored>,
    /// Snapshots that are gone.
    pub removed: Vec<Stored>,
}

/// Removes snapshots. What only they held stays until a prune.
///
/// A shared lock is enough, though restic takes an exclusive one: no other snapshot refers to what is removed, and a prune,
/// which must not see half of it, cannot begin meanwhile. So backups of others go on.
///
/// # Errors
/// The store's. What was removed until then is gone.
pub fn forget(repository: &Repository, options: &ForgetOptions) -> Result<Forgotten, Error> {
    let lock = Held::acquire(repository, &options.holder, Mode::Shared)?;
    let chosen = choose(snapshots(repository)?, &options.filter, &options.policy, Timestamp::now());
    for stored in &chosen.removed {
        lock.ensure()?;
        repository.go_on()?;
        repository.remove(Folder::Snapshots, &stored.id)?;
    }
    Ok(chosen)
}

/// What a policy keeps and removes of these, grouped by host and paths as restic does it.
///
/// Incomplete snapshots are no reason to remove a complete one, and count for nothing; one goes when a later complete one is
/// there. The last complete snapshot of a group always stays.
#[must_use]
pub fn choose(all: Vec<Stored>, filter: &Filter, policy: &Policy, now: Timestamp) -> Forgotten {
    let mut groups: BTreeMap<(String, Vec<String>), Vec<Stored>> = BTreeMap::new();
    for stored in all.into_iter().filter(|stored| filter.matches(&stored.snapshot)) {
        let mut paths = stored.snapshot.paths.clone();
        paths.sort_unstable();
        groups.entry((stored.snapshot.hostname.clone(), paths)).or_default().push(stored);
    }
    let mut chosen = Forgotten::default();
    for mut group in groups.into_values() {
        // Newest first, and as they were where times are equal.
        group.sort_by_key(|stored| std::cmp::Reverse(stored.snapshot.time.at()));
        let complete: Vec<_> = group.iter().filter(|stored| stored.snapshot.is_complete()).collect();
        let newest = complete.first().map(|stored| (stored.id, stored.snapshot.time.at()));
        let candidates =
            complete.iter().map(|stored| Candidate { time: stored.snapshot.time, tags: &stored.snapshot.tags });
        let mut decisions = select(&candidates.collect::<Vec<_>>(), policy, now).into_iter();
        for stored in group {
            let is_newest = newest.is_some_and(|(id, _)| id == stored.id);
            let stays = if stored.snapshot.is_complete() {
                decisions.next().unwrap_or(true) || is_newest
            } else {
                newest.is_none_or(|(_, time)| stored.snapshot.time.at() > time)
            };
            if stays { &mut chosen.kept } else { &mut chosen.removed }.push(stored);
        }
    }
    chosen
}

#[cfg(test)]
mod tests;
