//! Looking into a snapshot without restoring it: what is in it, and the content of one of its files.

use std::io::Write;

use doppel_contract::Line;
use doppel_volume::metadata::Kind;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::time::moment_text;
use crate::format::tree::{self, Node};
use crate::repository::Repository;
use crate::repository::blobs::BlobReader;
use crate::repository::index::Index;
use crate::repository::load::TreeReader;
use crate::repository::lock::{Held, Holder, Mode};
use crate::snapshots::{Filter, Stored, Which, snapshots};
use crate::walk::{Into, walk};

/// A snapshot that is looked into. Nobody prunes meanwhile.
pub struct Look<'r> {
    repository: &'r Repository,
    index: Index,
    /// The snapshot.
    pub snapshot: Stored,
    _lock: Held,
}

/// What restic says of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'n> {
    /// Its names from the snapshot's root on, each after a slash.
    pub path: Vec<u8>,
    /// The last of them.
    pub name: &'n [u8],
    /// What restic calls its kind.
    pub kind: &'static str,
    /// Kind and permissions, as Go's `fs.FileMode` has them.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Bytes of content, of a file.
    pub size: Option<u64>,
    /// RFC 3339: when its content changed.
    pub modified: String,
    /// When it was last read.
    pub accessed: String,
    /// When anything of it changed.
    pub changed: String,
    /// Its number in its file system.
    pub inode: u64,
    /// What a symbolic link says.
    pub target: &'n [u8],
}

/// What is listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// Directories of which only they and what is in them is listed; all of the snapshot if there is none. Each begins with a
    /// slash.
    pub directories: Vec<Vec<u8>>,
    /// What is beneath what is in them, too.
    pub recursive: bool,
}

impl<'r> Look<'r> {
    /// Finds a snapshot.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`] if there is none such, and the store's.
    pub fn new(repository: &'r Repository, holder: &Holder, which: &Which, filter: &Filter) -> Result<Self, Error> {
        let lock = Held::acquire(repository, holder, Mode::Shared)?;
        let all = snapshots(repository)?;
        let snapshot = which.choose(&all, filter).cloned().ok_or_else(|| which.missing())?;
        Ok(Self { repository, index: Index::load(repository)?, snapshot, _lock: lock })
    }

    /// Lists entries, in the order of their names, a directory before what is in it.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the tree that cannot be read, what `each` returns, and the store's.
    pub fn list(
        &self,
        options: &ListOptions,
        mut each: impl FnMut(&Entry<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let ListOptions { directories, recursive } = options;
        walk(self.repository, &self.index, &self.snapshot.snapshot.tree, |path, node| {
            let path = [b"/", path].concat();
            let is_within = directories.is_empty() || directories.iter().any(|dir| is_beneath(&path, dir));
            if is_within {
                each(&entry(path.clone(), node))?;
            }
            let goes_on = match directories.is_empty() {
                true => true,
                false => (is_within && *recursive) || directories.iter().any(|dir| is_beneath(dir, &path)),
            };
            Ok(if goes_on { Into::Yes } else { Into::No })
        })
    }

    /// Writes the content of the file at `path`, piece by piece.
    ///
    /// # Errors
    /// [`Error::NoFile`] if there is no file there, [`Error::Damaged`] if a part of its content is, what `out` returns, and
    /// the store's. What was written until then is content of the file.
    pub fn dump(&self, path: &[u8], out: &mut dyn Write) -> Result<(), Error> {
        let node = self.find(path)?;
        let mut blobs = BlobReader::new(self.repository, &self.index)?;
        for id in &node.content {
            out.write_all(&blobs.read(BlobKind::Data, id)?).map_err(Error::Output)?;
        }
        out.flush().map_err(Error::Output)
    }

    fn find(&self, path: &[u8]) -> Result<Node, Error> {
        let no_file = |why: &str| Error::NoFile { path: Line::from_bytes(path), why: why.to_owned() };
        let mut trees = TreeReader::new(self.repository, &self.index)?;
        let mut tree: Option<Id> = Some(self.snapshot.snapshot.tree);
        let mut found: Option<Node> = None;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let inside = tree.ok_or_else(|| no_file("it lies beneath what is no directory"))?;
            let node = trees.nodes(&inside)?.find(|node| node.as_ref().map_or(true, |node| node.name == name));
            let node = node.transpose()?.ok_or_else(|| no_file("the snapshot has no such entry"))?;
            tree = node.subtree;
            found = Some(node);
        }
        found.filter(|node| node.kind == Some(Kind::File)).ok_or_else(|| no_file("it is not a file"))
    }
}

/// Whether the path is this directory, or beneath it.
fn is_beneath(path: &[u8], directory: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn entry(path: Vec<u8>, node: &Node) -> Entry<'_> {
    let (kind, mode) = tree::kind_and_mode(node);
    Entry {
        path,
        name: &node.name,
        kind,
        mode,
        uid: node.uid,
        gid: node.gid,
        size: (node.kind == Some(Kind::File)).then_some(node.size),
        modified: moment_text(node.modified),
        accessed: moment_text(node.accessed),
        changed: moment_text(node.changed),
        inode: node.inode,
        target: &node.target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_beneath_itself_and_not_beneath_one_whose_name_it_begins_with() {
        for (path, directory, expected) in [
            ("/a", "/a", true),
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/a/b", "/", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(is_beneath(path.as_bytes(), directory.as_bytes()), expected, "{path} {directory}");
        }
    }
}
