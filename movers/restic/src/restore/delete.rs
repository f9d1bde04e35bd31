//! Deleting what the snapshot has not.

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
        let nodes = trees.read(&id)?;
        let listed = dirs.open(&path).and_then(|dir| listing.read(dir, b"."));
        if let Err(errno) = listed {
            job.leave_out(&path, format!("look for what to delete: {}", std::io::Error::from(errno)));
            continue;
        }
        for (name, _) in listing.iter() {
            let is_kept = path.is_empty() && name.bytes() == LOST_AND_FOUND;
            if is_kept || has(&nodes, name) {
                continue;
            }
            if let Err(errno) = dirs.open(&path).and_then(|dir| remove(dir, name, &mut removed)) {
                let mut entry = Vec::new();
                join(&mut entry, &path, name.bytes());
                job.leave_out(&entry, format!("delete it: {}", std::io::Error::from(errno)));
            }
        }
        let directories = nodes.into_iter().filter(|node| node.kind == Some(Kind::Directory));
        for (node, subtree) in directories.filter_map(|node| node.subtree.map(|subtree| (node, subtree))) {
            let mut inner = Vec::new();
            join(&mut inner, &path, &node.name);
            todo.push((inner, subtree));
        }
    }
    Ok(removed.total())
}

fn has(nodes: &[Node], name: Name<'_>) -> bool {
    nodes.binary_search_by(|node| node.name.as_slice().cmp(name.bytes())).is_ok()
}
