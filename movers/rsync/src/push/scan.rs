//! Walking the source's tree and sending its list.

use std::collections::HashMap;
use std::io::Write;

use doppel_contract::{LeftOut, Line};
use doppel_volume::attributes::Object;
use doppel_volume::metadata::{Identity, Kind, Metadata};
use doppel_volume::monitor::Monitor;
use doppel_volume::names::{MAX_PATH, join};
use doppel_volume::tree::Tree;
use doppel_volume::walk::{self, Content, Found, Problem, Visit, Walk};

use crate::error::Error;
use crate::links::Fragile;
use crate::list::{self, Detail, DirectoryId, Extras, FileList};
use crate::proto::entry::{EntryEncoder, HardLink, Layout, WireEntry};
use crate::proto::frame::IoErrors;
use crate::proto::greeting::Protocol;
use crate::proto::keep::Keep;
use crate::proto::xattr::XattrTable;
use crate::push::extras::{ExtrasReader, SeenNames};
use crate::stream::writer::Writer;

/// The list that was sent, and what is not in it.
pub(crate) struct Scanned {
    pub(crate) list: FileList,
    pub(crate) xattrs: XattrTable,
    pub(crate) left_out: LeftOut,
    pub(crate) remarks: LeftOut,
    pub(crate) errors: IoErrors,
    pub(crate) fragile: Fragile,
}

/// Which fields entries have when this is kept.
pub(crate) fn layout(keep: &Keep, protocol: Protocol) -> Layout {
    Layout {
        links: keep.links,
        hard_links: keep.hard_links,
        owner: keep.owner,
        group: keep.group,
        devices: keep.specials,
        numbered_specials: keep.specials && !protocol.is_31(),
        acls: keep.acls,
        xattrs: keep.xattrs,
    }
}

/// Sends the list while walking the tree.
pub(crate) fn send_list<W: Write>(
    tree: &Tree,
    writer: &mut Writer<W>,
    layout: Layout,
    monitor: &dyn Monitor,
) -> Result<Scanned, Error> {
    let mut scan = Scan {
        list: FileList::new(),
        encoder: EntryEncoder::new(layout),
        extras: ExtrasReader::new(layout),
        links: HashMap::new(),
        fragile: Fragile::default(),
        path: Vec::new(),
        bytes: Vec::new(),
        left_out: LeftOut::default(),
        errors: IoErrors::default(),
    };
    let mut remarks = LeftOut::default();
    let mut walk = Walk::new(tree)?.ahead(layout.acls || layout.xattrs);
    scan.add_root(tree)?;
    while let Some(visit) = walk.next() {
        match visit {
            Visit::Entry(found) => {
                let size = if found.metadata.kind == Kind::File { found.metadata.size } else { 0 };
                scan.add(found)?;
                monitor.found(1, size);
                writer.put(&scan.bytes)?;
                scan.bytes.clear();
            }
            Visit::Problem(Problem::Vanished(error)) => {
                remarks.add(error.path().clone(), error.why());
                scan.errors = scan.errors.and(IoErrors::VANISHED);
            }
            Visit::Problem(Problem::Unreadable(error)) => scan.leave_out(error.path().clone(), error.why()),
        }
    }
    EntryEncoder::end(&mut scan.bytes, scan.errors);
    writer.put(&scan.bytes)?;
    monitor.all_found();
    let Scan { list, extras, fragile, left_out, errors, .. } = scan;
    Ok(Scanned { list, xattrs: extras.into_xattrs(), left_out, remarks, errors, fragile })
}

struct Scan {
    list: FileList,
    encoder: EntryEncoder,
    extras: ExtrasReader,
    /// The first entry of each inode that has several names.
    links: HashMap<Identity, u32>,
    fragile: Fragile,
    path: Vec<u8>,
    bytes: Vec<u8>,
    left_out: LeftOut,
    errors: IoErrors,
}

impl Scan {
    fn add_root(&mut self, tree: &Tree) -> Result<(), Error> {
        let metadata = tree.metadata()?;
        let wire = wire(&metadata, HardLink::No, false);
        self.encoder.write(&mut self.bytes, b".", &wire, &[]);
        let extras = self.send_extras((Some(Object::Open(tree.descriptor())), None), &metadata)?;
        self.list.add((DirectoryId::ROOT, None), &wire, Detail::Directory(DirectoryId::ROOT), extras)?;
        Ok(())
    }

    fn add(&mut self, found: Found<'_>) -> Result<(), Error> {
        let Found { parent, name, metadata, detail, object, attributes } = found;
        let parent = DirectoryId(parent.0);
        join(&mut self.path, self.list.directory(parent), name.bytes());
        if self.path.len() > MAX_PATH {
            // The kernel takes no such path either: whoever made the entry did it from within its directory.
            let why = format!("its path has {} bytes, of which at most {MAX_PATH} can be sent", self.path.len());
            self.leave_out(Line::from_bytes(&self.path), Line::new(why));
            return Ok(());
        }
        let hard_link = match metadata.kind {
            Kind::Directory => HardLink::No,
            _ if metadata.links < 2 => HardLink::No,
            _ => match self.links.get(&metadata.identity) {
                Some(first) => HardLink::Of(*first),
                None => {
                    self.links.insert(metadata.identity, self.list.len());
                    HardLink::First
                }
            },
        };
        let passed_by = matches!(detail, walk::Detail::Directory(_, Content::PassedBy));
        let mut wire = wire(&metadata, hard_link, passed_by);
        let mut of_first = None;
        if let HardLink::Of(first) = hard_link
            && let (Some(same), Some(entry)) = (self.list.wire(first), self.list.get(first))
        {
            // The peer takes everything from the first; what changed since must not get into what both remember.
            wire = WireEntry { hard_link, ..same };
            of_first = Some(self.list.owner(&entry).extras);
        }
        let (list_detail, target) = match (hard_link, detail) {
            (HardLink::Of(first), _) => (Detail::SameAs(first), &[][..]),
            (_, walk::Detail::Directory(..)) => (Detail::Directory(self.list.add_directory(&self.path)?), &[][..]),
            // Only the wire needs the target.
            (_, walk::Detail::Symlink(target)) => {
                self.fragile.add(&self.path, target);
                (Detail::None, target)
            }
            (_, walk::Detail::Plain) if metadata.kind.is_device() => (Detail::Device(metadata.device_number), &[][..]),
            (_, walk::Detail::Plain) => (Detail::None, &[][..]),
        };
        self.encoder.write(&mut self.bytes, &self.path, &wire, target);
        let extras = match of_first {
            Some(extras) => {
                self.extras.send_again(&mut self.bytes, extras);
                extras
            }
            None => self.send_extras((object, attributes), &metadata)?,
        };
        self.list.add((parent, Some(name)), &wire, list_detail, extras)?;
        Ok(())
    }

    /// Sends the extras of the entry at `self.path`.
    fn send_extras(
        &mut self,
        entry: (Option<Object<'_>>, Option<SeenNames>),
        metadata: &Metadata,
    ) -> Result<Extras, Error> {
        let read = self.extras.read(entry, metadata.permissions);
        let (extras, sent) = self.extras.send(&mut self.bytes, metadata.kind)?;
        if let Err(why) = read.and(sent) {
            let path = if self.path.is_empty() { list::root() } else { Line::from_bytes(&self.path) };
            self.leave_out(path, why);
        }
        Ok(extras)
    }

    fn leave_out(&mut self, path: Line, why: Line) {
        self.left_out.add(path, why);
        self.errors = self.errors.and(IoErrors::GENERAL);
    }
}

fn wire(metadata: &Metadata, hard_link: HardLink, without_content: bool) -> WireEntry {
    WireEntry {
        kind: metadata.kind,
        permissions: metadata.permissions,
        size: metadata.size,
        modified: metadata.modified,
        uid: metadata.uid,
        gid: metadata.gid,
        device: metadata.device_number,
        hard_link,
        without_content,
    }
}

/// Bytes of content in the whole list; a peer's sizes may add up to more than there is room for.
pub(crate) fn bytes(list: &FileList) -> u64 {
    let files = list.entries().filter(|(_, entry)| entry.kind() == Kind::File);
    files.fold(0, |sum, (_, entry)| entry.size.saturating_add(sum))
}

/// The paths of all links, each ended by a newline. A path that has a newline itself cannot be told.
pub(crate) fn symlinks(list: &FileList, left_out: &mut LeftOut) -> Vec<u8> {
    let (mut paths, mut path) = (Vec::new(), Vec::new());
    for (_, entry) in list.entries().filter(|(_, entry)| entry.kind() == Kind::Symlink) {
        list.path(&entry, &mut path);
        if path.contains(&b'\n') {
            let why = "a symbolic link with a newline in its path stays disguised at a VolSync destination";
            left_out.add(Line::from_bytes(&path), Line::new(why));
        } else {
            paths.extend_from_slice(&path);
            paths.push(b'\n');
        }
    }
    paths
}
