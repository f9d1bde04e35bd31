//! A directory whose tree is being put together: it is written by whoever completes the last of its entries.

use std::sync::{Arc, Mutex};

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
    number: usize,
}

struct State {
    /// The directory itself, which its parent waits for.
    own: Option<Node>,
    nodes: Vec<Option<Node>>,
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
        Self { path, parent, before, state: Mutex::new(State { own, nodes: Vec::new(), waiting: 1 }) }
    }

    /// Adds an entry that is complete.
    pub(super) fn add(&self, node: Node) {
        lock(&self.state).nodes.push(Some(node));
    }

    /// Adds an entry that will be complete later.
    pub(super) fn reserve(self: &Arc<Self>) -> Place {
        let mut state = lock(&self.state);
        state.nodes.push(None);
        state.waiting += 1;
        Place { directory: Arc::clone(self), number: state.nodes.len() - 1 }
    }

    /// Nothing will be added any more.
    pub(super) fn close(self: Arc<Self>, reader: &Reader<'_>, codec: &mut Codec) -> Result<(), Error> {
        complete(self, None, reader, codec)
    }

    /// The last one is done: writes the tree.
    fn write(&self, nodes: Vec<Option<Node>>, reader: &Reader<'_>, codec: &mut Codec) -> Result<Id, Error> {
        let mut nodes: Vec<Node> = nodes.into_iter().flatten().collect();
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let id = reader.writer.save(BlobKind::Tree, tree::encode(&nodes).as_bytes(), codec)?.id;
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
        complete(self.directory, Some((self.number, node)), reader, codec)
    }
}

/// Completes an entry, and with it, perhaps, its directory, and with that another, up to the root.
fn complete(
    mut directory: Arc<Directory>,
    mut entry: Option<(usize, Option<Node>)>,
    reader: &Reader<'_>,
    codec: &mut Codec,
) -> Result<(), Error> {
    loop {
        let (nodes, own) = {
            let mut state = lock(&directory.state);
            if let Some((number, node)) = entry.take()
                && let Some(place) = state.nodes.get_mut(number)
            {
                *place = node;
            }
            state.waiting -= 1;
            if state.waiting > 0 {
                return Ok(());
            }
            (std::mem::take(&mut state.nodes), state.own.take())
        };
        let id = directory.write(nodes, reader, codec)?;
        let Some(Place { directory: parent, number }) = directory.parent.clone() else {
            *lock(&reader.root) = Some(id);
            return Ok(());
        };
        entry = Some((number, own.map(|own| Node { subtree: Some(id), ..own })));
        directory = parent;
    }
}
