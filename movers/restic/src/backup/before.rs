//! What a directory was in the parent snapshot, read along with the walk: a directory may have a million entries.

use doppel_volume::metadata::Kind;

use crate::error::Error;
use crate::format::id::Id;
use crate::format::tree::Node;
use crate::repository::load::Nodes;

/// The entries of a directory in the parent snapshot. The walk asks for all that are no directories first, by their names,
/// and then for directories.
#[derive(Default)]
pub(super) struct Before {
    nodes: Option<Nodes>,
    next: Option<Node>,
    /// Directories that were passed by: name and tree.
    directories: Vec<(Vec<u8>, Id)>,
}

impl Before {
    pub(super) fn new(nodes: Nodes) -> Self {
        Self { nodes: Some(nodes), next: None, directories: Vec::new() }
    }

    /// The entry of this name, which is not before those that were asked for until now.
    pub(super) fn take(&mut self, name: &[u8]) -> Result<Option<Node>, Error> {
        while let Some(node) = self.peek()? {
            if node.name.as_slice() >= name {
                return Ok(self.next.take_if(|node| node.name == name));
            }
            self.pass_by();
        }
        Ok(None)
    }

    /// The tree of the directory of this name.
    pub(super) fn subtree(&mut self, name: &[u8]) -> Result<Option<Id>, Error> {
        while self.peek()?.is_some() {
            self.pass_by();
        }
        // In the order of their names, as they were passed by.
        let found = self.directories.binary_search_by(|(directory, _)| directory.as_slice().cmp(name));
        Ok(found.ok().and_then(|at| self.directories.get(at)).map(|(_, subtree)| *subtree))
    }

    fn peek(&mut self) -> Result<Option<&Node>, Error> {
        if self.next.is_none() {
            self.next = self.nodes.as_mut().and_then(Iterator::next).transpose()?;
        }
        Ok(self.next.as_ref())
    }

    fn pass_by(&mut self) {
        if let Some(Node { kind: Some(Kind::Directory), name, subtree: Some(subtree), .. }) = self.next.take() {
            self.directories.push((name, subtree));
        }
    }
}
