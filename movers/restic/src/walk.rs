//! Walking over the trees of a snapshot, in the order of its names.

use doppel_volume::names::{MAX_PATH, join};

use crate::error::Error;
use crate::format::id::Id;
use crate::format::tree::Node;
use crate::repository::Repository;
use crate::repository::index::Index;
use crate::repository::load::TreeReader;

/// Whether the walk goes into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Yes,
    No,
}

/// Shows `visit` each entry beneath a tree with its path, a directory before what is in it.
pub(crate) fn walk(
    repository: &Repository,
    index: &Index,
    root: &Id,
    mut visit: impl FnMut(&[u8], &Node) -> Result<Into, Error>,
) -> Result<(), Error> {
    let mut reader = TreeReader::new(repository, index)?;
    let mut levels = vec![(Vec::new(), reader.nodes(root)?)];
    let mut path = Vec::new();
    while let Some((parent, nodes)) = levels.last_mut() {
        let Some(node) = nodes.next() else {
            levels.pop();
            continue;
        };
        let node = node?;
        repository.go_on()?;
        join(&mut path, parent, &node.name);
        let goes_on = visit(&path, &node)?;
        if let (Into::Yes, Some(subtree)) = (goes_on, node.subtree) {
            // So the levels are bounded, too, whoever wrote the trees.
            if path.len() > MAX_PATH {
                let why = format!("a directory in it has a path of {} bytes; the kernel takes {MAX_PATH}", path.len());
                return Err(Error::damaged(format!("tree {subtree}"), why));
            }
            levels.push((path.clone(), reader.nodes(&subtree)?));
        }
    }
    Ok(())
}
