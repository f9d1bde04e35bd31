//! Reading a file list from a peer: every path is checked here, and nowhere after.

use std::collections::HashMap;

use doppel_contract::Line;
use doppel_volume::metadata::Kind;
use doppel_volume::names;

use crate::error::Error;
use crate::list::{Detail, DirectoryId, Extras, FileList};
use crate::proto::acl::AclTable;
use crate::proto::entry::{Decoded, EntryDecoder, HardLink, Layout, WireEntry, skip_names};
use crate::proto::frame::IoErrors;
use crate::proto::input::{Input, Malformed};
use crate::proto::xattr::XattrTable;

/// What a peer sent as its list.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) list: FileList,
    /// What it could not read of its tree.
    pub(crate) errors: IoErrors,
    /// Access control lists of entries, and those that new entries inherit.
    pub(crate) acls: [AclTable; 2],
    /// Extended attributes of entries.
    pub(crate) xattrs: XattrTable,
}

/// Lists of names of users and groups follow the entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdNames {
    pub(crate) follow: bool,
    pub(crate) root_is_named: bool,
}

impl Received {
    /// Reads a list within these limits up to its end, and brings it into order.
    pub(crate) fn read<I: Input<Error = Error>>(
        input: &mut I,
        layout: Layout,
        ids: IdNames,
        limits: Limits,
    ) -> Result<Self, Error> {
        let mut reading = Reading {
            list: FileList::new(),
            acls: [AclTable::default(), AclTable::default()],
            xattrs: XattrTable::default(),
            directories: HashMap::from([(Box::default(), Slot { id: DirectoryId::ROOT, listed: true })]),
            last: (Vec::new(), DirectoryId::ROOT),
            budget: Budget { limit: limits.memory, used: 0 },
        };
        let mut decoder = EntryDecoder::new(layout);
        let errors = loop {
            match decoder.read(input, |position| reading.list.wire(position))? {
                Decoded::End(errors) => break errors,
                Decoded::Entry(_) if reading.list.len() as usize >= limits.entries => {
                    let most = limits.entries;
                    return Err(Malformed::unexpected(format!("a list of more than {most} entries")).into());
                }
                Decoded::Entry(entry) => {
                    let extras = reading.read_extras(input, layout, entry.kind)?;
                    reading.add(decoder.path(), &entry, decoder.target(), extras)?;
                }
            }
        };
        for present in [layout.owner, layout.group] {
            if present && ids.follow {
                skip_names(input, ids.root_is_named)?;
            }
        }
        let Reading { mut list, acls, xattrs, directories, last: _, budget: _ } = reading;
        // A file beneath something that is no directory of the list could end up beneath anything.
        if let Some((path, _)) = directories.iter().find(|(_, slot)| !slot.listed) {
            let path = Line::from_bytes(path);
            return Err(
                Malformed::unexpected(format!("entries beneath {path}, which is no directory of its list")).into()
            );
        }
        drop(directories);
        list.sort();
        Ok(Self { list, errors, acls, xattrs })
    }
}

/// How long a list may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    /// Bytes of memory.
    pub(crate) memory: u64,
}

/// Memory that a list takes, by an estimate that is never too low. What a peer says of an entry in a few bytes can take
/// hundreds here; and a process that is killed for its memory says nothing.
struct Budget {
    limit: u64,
    used: u64,
}

/// An entry's state, and what sorting the list and deleting after it take for a while. What it takes packed is known.
const ENTRY: usize = 80;
/// A hard link more, in what the generator knows of them.
const HARD_LINK: usize = 40;
/// A directory, beside its path, which is kept twice while the list is read.
const DIRECTORY: usize = 100;
/// Another owner, or other lists of who may do what.
const OWNER: usize = 120;

impl Budget {
    fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        self.used = self.used.saturating_add(bytes as u64);
        if self.used > self.limit { Err(Error::ListMemory { limit: self.limit }) } else { Ok(()) }
    }
}

struct Reading {
    list: FileList,
    acls: [AclTable; 2],
    xattrs: XattrTable,
    directories: HashMap<Box<[u8]>, Slot>,
    /// The directory of the entry before.
    last: (Vec<u8>, DirectoryId),
    budget: Budget,
}

struct Slot {
    id: DirectoryId,
    /// Whether the list has the directory itself, and not just entries beneath it.
    listed: bool,
}

impl Reading {
    fn read_extras<I: Input<Error = Error>>(
        &mut self,
        input: &mut I,
        layout: Layout,
        kind: Kind,
    ) -> Result<Extras, Error> {
        let mut extras = Extras::default();
        if layout.acls && kind != Kind::Symlink {
            let [access, default] = &mut self.acls;
            let access = access.read(input)?;
            let default = if kind == Kind::Directory { Some(default.read(input)?) } else { None };
            extras.acls = [Some(access), default];
        }
        if layout.xattrs {
            let before = self.xattrs.memory();
            extras.xattrs = Some(self.xattrs.read(input)?);
            self.budget.charge(self.xattrs.memory() - before)?;
        }
        Ok(extras)
    }

    fn add(&mut self, path: &[u8], entry: &WireEntry, target: &[u8], extras: Extras) -> Result<(), Error> {
        if path == b"." {
            if entry.kind != Kind::Directory {
                return Err(Malformed::unexpected("a root that is not a directory").into());
            }
            self.list.add((DirectoryId::ROOT, None), entry, Detail::Directory(DirectoryId::ROOT), extras)?;
            return Ok(());
        }
        let (parent, name) = names::split(path)
            .map_err(|bad| Malformed::unexpected(format!("the path {}: {bad}", Line::from_bytes(path))))?;
        let linked = if entry.hard_link == HardLink::No { 0 } else { HARD_LINK };
        self.budget.charge(ENTRY + linked + name.bytes().len() + target.len())?;
        let (owners, packed) = (self.list.owners(), self.list.packed());
        let parent = self.parent(parent)?;
        let detail = match (entry.hard_link, entry.kind) {
            (HardLink::Of(first), _) => Detail::SameAs(first),
            (_, Kind::Directory) => {
                let slot = self.slot(path)?;
                slot.listed = true;
                Detail::Directory(slot.id)
            }
            (_, Kind::Symlink) => {
                if target.contains(&0) {
                    let path = Line::from_bytes(path);
                    return Err(Malformed::unexpected(format!("the link {path}, which has NUL in its target")).into());
                }
                Detail::Target(target)
            }
            (_, Kind::CharacterDevice | Kind::BlockDevice) => Detail::Device(entry.device),
            (_, Kind::File | Kind::Fifo | Kind::Socket) => Detail::None,
        };
        self.list.add((parent, Some(name)), entry, detail, extras)?;
        // Twice, for a list that has to be sorted is packed once more.
        self.budget.charge((self.list.owners() - owners) * OWNER + 2 * (self.list.packed() - packed))
    }

    fn parent(&mut self, path: &[u8]) -> Result<DirectoryId, Error> {
        if self.last.0 != path {
            let id = self.slot(path)?.id;
            self.last.0.clear();
            self.last.0.extend_from_slice(path);
            self.last.1 = id;
        }
        Ok(self.last.1)
    }

    fn slot(&mut self, path: &[u8]) -> Result<&mut Slot, Error> {
        if !self.directories.contains_key(path) {
            self.budget.charge(DIRECTORY + 2 * path.len())?;
            let id = self.list.add_directory(path)?;
            self.directories.insert(path.into(), Slot { id, listed: false });
        }
        // It was just put there.
        self.directories.get_mut(path).ok_or(Error::TooLarge { limit: 0 })
    }
}

#[cfg(test)]
mod tests;
