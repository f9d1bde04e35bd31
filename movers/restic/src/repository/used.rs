//! Which blobs snapshots need.

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::repository::Repository;
use crate::repository::index::{Index, Marks};
use crate::repository::load::TreeReader;

/// What the trees that were added need: the first place of each blob. A tree that several hold is read once.
pub(crate) struct Used<'r> {
    pub(crate) marks: Marks,
    index: &'r Index,
    trees: TreeReader<'r>,
}

impl<'r> Used<'r> {
    pub(crate) fn new(repository: &'r Repository, index: &'r Index) -> Result<Self, Error> {
        Ok(Self { marks: Marks::none(index), index, trees: TreeReader::new(repository, index)? })
    }

    /// Marks everything that a tree needs.
    pub(crate) fn add(&mut self, root: Id) -> Result<(), Error> {
        let missing =
            |kind: &str, id: &Id| Error::damaged(format!("{kind} {id}"), "a snapshot needs it and no index names it");
        let mut todo = vec![root];
        while let Some(id) = todo.pop() {
            let number = self.index.position(BlobKind::Tree, &id).ok_or_else(|| missing("tree", &id))?;
            if !self.marks.mark(BlobKind::Tree, number) {
                continue;
            }
            for node in self.trees.nodes(&id)? {
                let node = node?;
                for blob in &node.content {
                    let number = self.index.position(BlobKind::Data, blob).ok_or_else(|| missing("blob", blob))?;
                    self.marks.mark(BlobKind::Data, number);
                }
                todo.extend(node.subtree);
            }
        }
        Ok(())
    }
}

/// What all of these need.
pub(crate) fn find_used(repository: &Repository, index: &Index, roots: Vec<Id>) -> Result<Marks, Error> {
    let mut used = Used::new(repository, index)?;
    roots.into_iter().try_for_each(|root| used.add(root))?;
    Ok(used.marks)
}
