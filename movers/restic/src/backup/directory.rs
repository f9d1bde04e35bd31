//! A directory whose tree is being put together: it is written by whoever completes the last of its entries.

use std::sync::{Arc, Mutex};

use crate::backup::entries::Entries;
use crate::backup::{Reader, lock};
use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::compress::Codec;
use crate::format::id::Id;
use crate::format::tree::{self, Node};

/// A directory in work.
pub(super) struct Directory {
    /// Its path beneath the root.
    pub(super) path: Vec<u8>,
    parent: Option<Place>,
    /// What its tree was in the parent snapshot.
    before: Option<Id>,
    state: Mutex<State>,
}

/// An entry that is not complete yet.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) directory: Arc<Directory>,
    kind: Waiting,
}

#[derive(Debug, Clone, Copy)]
enum Waiting {
    Directory,
    /// With its number among the others.
    Other(usize),
}

struct State {
    /// The directory itself, which its parent waits for.
    own: Option<Node>,
    entries: Entries,
    /// Entries that are not complete, and one for the scan, which may add more.
    waiting: usize,
}

impl Directory {
    /// The root of the tree.
    pub(super) fn root(before: Option<Id>) -> Arc<Self> {
        Arc::new(Self::new(Vec::new(), before, None, None))
    }

    /// A directory in another.
    pub(super) fn within(place: Place, path: Vec<u8>, before: Option<Id>, own: Node) -> Arc<Self> {
        Arc::new(Self::new(path, before, Some(place), Some(own)))
    }

    fn new(path: Vec<u8>, before: Option<Id>, parent: Option<Place>, own: Option<Node>) -> Self {
        Self { path, parent, before, state: Mutex::new(State { own, entries: Entries::default(), waiting: 1 }) }
    }

    /// Adds an entry that is complete, and no directory.
    pub(super) fn add(&self, node: Node, codec: &mut Codec) {
        lock(&self.state).entries.push(Some(node), codec);
    }

    /// Adds an entry that will be complete later, and is no directory.
    pub(super) fn reserve(self: &Arc<Self>, codec: &mut Codec) -> Place {
        let mut state = lock(&self.state);
        state.waiting += 1;
        let number = state.entries.push(None, codec);
        Place { directory: Arc::clone(self), kind: Waiting::Other(number) }
    }

    /// Adds a directory, which will be complete later.
    pub(super) fn reserve_directory(self: &Arc<Self>) -> Place {
        lock(&self.state).waiting += 1;
        Place { directory: Arc::clone(self), kind: Waiting::Directory }
    }

    /// Nothing will be added any more.
    pub(super) fn close(self: Arc<Self>, reader: &Reader<'_>, codec: &mut Codec) -> Result<(), Error> {
        complete(self, None, reader, codec)
    }

    /// The last one is done: writes the tree.
    fn write(&self, mut entries: Entries, reader: &Reader<'_>, codec: &mut Codec) -> Result<Id, Error> {
        let id = match entries.few() {
            Some(nodes) => reader.writer.save(BlobKind::Tree, tree::encode(&nodes).as_bytes(), codec)?.id,
            None => reader.writer.save_long_tree(entries.packed_len(), |pass, out| entries.write(pass, codec, out))?,
        };
        if self.parent.is_some() {
            reader.monitor.done(1, 0);
        }
        reader.count(|counts| match self.before {
            None => counts.dirs_new += 1,
            Some(before) if before == id => counts.dirs_unmodified += 1,
            Some(_) => counts.dirs_changed += 1,
        });
        Ok(id)
    }
}

impl Place {
    /// Completes the entry; without a node it is left out.
    pub(super) fn complete(self, node: Option<Node>, reader: &Reader<'_>, codec: &mut Codec) -> Result<(), Error> {
        complete(self.directory, Some((self.kind, node)), reader, codec)
    }
}

/// Completes an entry, and with it, perhaps, its directory, and with that another, up to the root.
fn complete(
    mut directory: Arc<Directory>,
    mut entry: Option<(Waiting, Option<Node>)>,
    reader: &Reader<'_>,
    codec: &mut Codec,
) -> Result<(), Error> {
    loop {
        let (entries, own) = {
            let mut state = lock(&directory.state);
            match entry.take() {
                Some((Waiting::Other(number), node)) => state.entries.complete(number, node, codec),
                Some((Waiting::Directory, Some(node))) => state.entries.push_directory(node),
                Some((Waiting::Directory, None)) | None => {}
            }
            state.waiting -= 1;
            if state.waiting > 0 {
                return Ok(());
            }
            (std::mem::take(&mut state.entries), state.own.take())
        };
        let id = directory.write(entries, reader, codec)?;
        let Some(Place { directory: parent, kind }) = directory.parent.clone() else {
            *lock(&reader.root) = Some(id);
            return Ok(());
        };
        entry = Some((kind, own.map(|own| Node { subtree: Some(id), ..own })));
        directory = parent;
    }
}
