//! The walk over the tree, side by side with the parent snapshot's trees.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use doppel_contract::Line;
use doppel_volume::metadata::Kind;
use doppel_volume::names::join;
use doppel_volume::tree::Tree;
use doppel_volume::walk::{Content, Detail, DirectoryNumber, Found, Problem, Visit, Walk};

use crate::backup::Reader;
use crate::backup::before::Before;
use crate::backup::content::File;
use crate::backup::directory::Directory;
use crate::backup::node::{XattrReader, is_unchanged, node};
use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::compress::Codec;
use crate::format::id::Id;
use crate::format::tree::Node;
use crate::repository::Repository;
use crate::repository::index::Index;
use crate::repository::load::TreeReader;

/// The walk, and the directories on its way down.
pub(super) struct Scan<'b> {
    tree: &'b Tree,
    reader: &'b Reader<'b>,
    trees: TreeReader<'b>,
    files: SyncSender<Vec<File>>,
    batch: Vec<File>,
    batch_bytes: u64,
    codec: Codec,
    xattrs: XattrReader,
    levels: Vec<Level>,
}

/// Files that one thread reads, one after the other.
const BATCH: usize = 32;
/// Bytes of their content: large ones are not to wait for each other.
const BATCH_BYTES: u64 = 1 << 20;

struct Level {
    number: DirectoryNumber,
    directory: Arc<Directory>,
    before: Before,
}

impl<'b> Scan<'b> {
    pub(super) fn new(
        tree: &'b Tree,
        reader: &'b Reader<'b>,
        (repository, index): (&'b Repository, &'b Index),
        files: SyncSender<Vec<File>>,
    ) -> Result<Self, Error> {
        let trees = TreeReader::new(repository, index)?;
        let codec = reader.codec()?;
        let (batch, xattrs, levels) = (Vec::new(), XattrReader::default(), Vec::new());
        Ok(Self { tree, reader, trees, files, batch, batch_bytes: 0, codec, xattrs, levels })
    }

    /// Walks over all of the tree.
    pub(super) fn run(mut self, parent: Option<Id>) -> Result<(), Error> {
        let mut walk = Walk::new(self.tree)?.ahead(true);
        self.enter(DirectoryNumber(0), Directory::root(parent), parent);
        while let Some(visit) = walk.next() {
            self.reader.go_on()?;
            match visit {
                Visit::Entry(found) => self.visit(&found)?,
                Visit::Problem(Problem::Vanished(error)) => self.reader.remark(error.path().clone(), error.why()),
                Visit::Problem(Problem::Unreadable(error)) => {
                    self.reader.leave_out(error.path().clone(), error.why());
                }
            }
        }
        // It knows the names of a directory that is read to its end only now.
        drop(walk);
        self.send()?;
        self.reader.monitor.all_found();
        self.leave_until(None)
    }

    /// Has a file read, together with others: to wake up a thread for each costs more than to read a small one.
    fn read(&mut self, file: File) -> Result<(), Error> {
        self.batch_bytes = self.batch_bytes.saturating_add(file.node.size);
        self.batch.push(file);
        if self.batch.len() == BATCH || self.batch_bytes >= BATCH_BYTES { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), Error> {
        self.batch_bytes = 0;
        self.files.send(std::mem::take(&mut self.batch)).map_err(|_| Error::Stopped)
    }

    fn enter(&mut self, number: DirectoryNumber, directory: Arc<Directory>, before: Option<Id>) {
        let before = before.map_or(Ok(Before::default()), |id| self.trees.nodes(&id).map(Before::new));
        let before = before.unwrap_or_else(|error| self.reader.cannot_compare(&directory.path, &error));
        self.levels.push(Level { number, directory, before });
    }

    /// Closes directories that the walk has left.
    fn leave_until(&mut self, number: Option<DirectoryNumber>) -> Result<(), Error> {
        while let Some(level) = self.levels.pop_if(|level| Some(level.number) != number) {
            level.directory.close(self.reader, &mut self.codec)?;
        }
        Ok(())
    }

    fn visit(&mut self, found: &Found<'_>) -> Result<(), Error> {
        let Found { parent, name, metadata, detail, object, attributes } = found;
        self.leave_until(Some(*parent))?;
        let xattrs = object.map_or(Ok(Vec::new()), |object| self.xattrs.read(object, attributes.as_ref()));
        let Some(level) = self.levels.last_mut() else { return Err(Error::Stopped) };
        let directory = Arc::clone(&level.directory);
        let mut path = Vec::new();
        join(&mut path, &directory.path, name.bytes());
        let xattrs = xattrs.unwrap_or_else(|errno| {
            let why = format!("read the extended attributes: {}", std::io::Error::from(errno));
            self.reader.leave_out(Line::from_bytes(&path), Line::new(why));
            Vec::new()
        });
        let mut node = node(name.bytes(), metadata, xattrs);
        self.reader.monitor.found(1, node.size);
        match detail {
            Detail::Directory(number, content) => {
                let before = level.before.subtree(name.bytes()).unwrap_or_else(|error| {
                    level.before = self.reader.cannot_compare(&directory.path, &error);
                    None
                });
                let inner = Directory::within(directory.reserve_directory(), path, before, node);
                match content {
                    Content::Follows => self.enter(*number, inner, before),
                    Content::PassedBy => inner.close(self.reader, &mut self.codec)?,
                }
                return Ok(());
            }
            Detail::Plain if metadata.kind == Kind::File => {
                let before = level.before.take(name.bytes()).unwrap_or_else(|error| {
                    level.before = self.reader.cannot_compare(&directory.path, &error);
                    None
                });
                let is_known = before.is_some();
                let unchanged = before.filter(|before| is_unchanged(metadata, before) && self.reader.has_all(before));
                self.reader.count(|counts| {
                    counts.total_files_processed += 1;
                    match (is_known, unchanged.is_some()) {
                        (_, true) => counts.files_unmodified += 1,
                        (true, false) => counts.files_changed += 1,
                        (false, false) => counts.files_new += 1,
                    }
                });
                let Some(before) = unchanged else {
                    let place = directory.reserve(&mut self.codec);
                    return self.read(File { place, node });
                };
                node.content = before.content;
                self.reader.count(|counts| counts.total_bytes_processed += node.size);
            }
            Detail::Plain => {}
            Detail::Symlink(target) => node.target = target.to_vec(),
        }
        self.reader.monitor.done(1, node.size);
        directory.add(node, &mut self.codec);
        Ok(())
    }
}

impl Reader<'_> {
    /// Everything is read again then, and what is damaged is not relied upon.
    fn cannot_compare(&self, path: &[u8], error: &Error) -> Before {
        let why = format!("the last snapshot's tree cannot be compared with: {error}");
        self.remark(Line::from_bytes(path), Line::new(why));
        Before::default()
    }

    /// Whether the repository has all of a file's content.
    fn has_all(&self, node: &Node) -> bool {
        node.content.iter().all(|id| self.writer.has(BlobKind::Data, id))
    }
}
