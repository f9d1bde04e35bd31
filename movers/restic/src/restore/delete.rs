//! Deleting what the snapshot has not.

use std::collections::HashMap;

use doppel_volume::dirs::Dirs;
use doppel_volume::listing::Listing;
use doppel_volume::metadata::Kind;
use doppel_volume::names::{Name, join};
use doppel_volume::remove::{Removed, remove};
use doppel_volume::tree::LOST_AND_FOUND;

use crate::error::Error;
use crate::format::id::Id;
use crate::format::tree::Node;
use crate::repository::load::TreeReader;
use crate::restore::Job;

/// Deletes every entry that is not in this tree; how many there were. `lost+found` in the root stays.
pub(super) fn delete(job: &Job<'_>, root: &Id) -> Result<u64, Error> {
    let mut trees = TreeReader::new(job.repository, job.index)?;
    let mut dirs = Dirs::new(job.tree);
    let mut removed = Removed::default();
    let mut listing = Listing::default();
    let mut todo = vec![(Vec::new(), *root)];
    while let Some((path, id)) = todo.pop() {
        job.go_on()?;
        let listed = dirs.open(&path).and_then(|dir| listing.read(dir, b"."));
        if let Err(errno) = listed {
            job.failed(&path, "look for what to delete", errno)?;
            continue;
        }
        let mut others: HashMap<&[u8], Name<'_>> = listing.iter().map(|(name, _)| (name.bytes(), name)).collect();
        for node in trees.nodes(&id)? {
            let node = node?;
            others.remove(node.name.as_slice());
            if let Node { kind: Some(Kind::Directory), subtree: Some(subtree), name, .. } = node {
                let mut inner = Vec::new();
                join(&mut inner, &path, &name);
                todo.push((inner, subtree));
            }
        }
        for name in others.into_values() {
            let is_kept = path.is_empty() && name.bytes() == LOST_AND_FOUND;
            if is_kept {
                continue;
            }
            if let Err(errno) = dirs.open(&path).and_then(|dir| remove(dir, name, &mut removed)) {
                let mut entry = Vec::new();
                join(&mut entry, &path, name.bytes());
                job.failed(&entry, "delete it", errno)?;
            }
        }
    }
    Ok(removed.total())
}
