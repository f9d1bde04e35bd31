//! The file list: every entry of the tree, in the order by which both ends number them.
//!
//! Kept small, for it is all in memory at both ends: an entry takes about ten bytes beside its name ([`packed`]); what
//! many entries share (the paths of directories, owners) and what few have (targets, devices) is kept aside.

pub(crate) mod order;
mod packed;
pub(crate) mod receive;

use std::collections::HashMap;

use doppel_contract::Line;
use doppel_volume::metadata::{DeviceNumber, Kind, Moment};
use doppel_volume::names::{Name, NameId, Names, join};

use crate::error::Error;
use crate::list::packed::Entries;
use crate::proto::entry::{HardLink, WireEntry};

/// A file list.
#[derive(Debug, Default)]
pub(crate) struct FileList {
    names: Names,
    entries: Entries,
    directories: Vec<Directory>,
    paths: Vec<u8>,
    owners: Vec<Owner>,
    owner_numbers: HashMap<Owner, u32>,
    targets: Vec<Target>,
    target_bytes: Vec<u8>,
    devices: Vec<DeviceNumber>,
}

/// Entries of a list and their numbers.
pub(crate) type Numbered<'l> = std::iter::Zip<std::ops::RangeFrom<u32>, packed::Iter<'l>>;

/// The root for people: its path is empty.
pub(crate) fn root() -> Line {
    Line::new("the volume's root")
}

/// An entry of the list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) size: u64,
    seconds: i64,
    nanoseconds: u32,
    owner: u32,
    /// The directory that it is in.
    pub(crate) parent: DirectoryId,
    name: NameId,
    detail: u32,
    /// Entries of the same group other than [`NO_GROUP`] are names of one inode.
    pub(crate) group: u32,
    mode: u16,
    marks: u16,
}

/// The entry stands alone.
pub(crate) const NO_GROUP: u32 = u32::MAX;

/// The directory's content is not in the list.
const WITHOUT_CONTENT: u16 = 1;
/// Another entry has the same path; this one does not count.
const DUPLICATE: u16 = 2;

/// A directory by its number; the root is number 0, whether or not the list has an entry for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DirectoryId(pub(crate) u32);

impl DirectoryId {
    pub(crate) const ROOT: Self = Self(0);
}

#[derive(Debug, Clone, Copy)]
struct Directory {
    start: u32,
    len: u16,
}

#[derive(Debug, Clone, Copy)]
struct Target {
    start: u32,
    len: u16,
}

/// Whose an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) extras: Extras,
}

/// The numbers of what an entry has beyond its metadata, which most entries share with many others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Extras {
    /// Its access control list, and the one that new entries inherit.
    pub(crate) acls: [Option<u32>; 2],
    /// Its set of extended attributes.
    pub(crate) xattrs: Option<u32>,
}

/// A list is not longer: its memory is bounded by this, and so are the states kept for each entry.
pub(crate) const MAX_ENTRIES: usize = 1 << 24;

impl FileList {
    /// An empty list, which knows the root.
    pub(crate) fn new() -> Self {
        Self { directories: vec![Directory { start: 0, len: 0 }], ..Self::default() }
    }

    /// Adds a directory's path, so that entries can be in it.
    pub(crate) fn add_directory(&mut self, path: &[u8]) -> Result<DirectoryId, Error> {
        let too_large = || Error::TooLarge { limit: MAX_ENTRIES as u64 };
        let start = u32::try_from(self.paths.len()).map_err(|_| too_large())?;
        let len = u16::try_from(path.len()).map_err(|_| too_large())?;
        let id = u32::try_from(self.directories.len()).map_err(|_| too_large())?;
        self.paths.extend_from_slice(path);
        self.directories.push(Directory { start, len });
        Ok(DirectoryId(id))
    }

    /// Adds an entry. `name` is `None` for the root itself; `directory` is the entry's own number if it is one.
    pub(crate) fn add(
        &mut self,
        place: (DirectoryId, Option<Name<'_>>),
        wire: &WireEntry,
        detail: Detail<'_>,
        extras: Extras,
    ) -> Result<u32, Error> {
        let too_large = || Error::TooLarge { limit: MAX_ENTRIES as u64 };
        let index = self.entries.len();
        if index as usize >= MAX_ENTRIES {
            return Err(too_large());
        }
        let (parent, name) = place;
        let name = match name {
            Some(name) => self.names.push(name).map_err(|_| too_large())?,
            // The root has none; its place says when it came, as those of names do.
            None => NameId { start: index, len: 0 },
        };
        let owner = self.owner_number(Owner { uid: wire.uid, gid: wire.gid, extras });
        let detail = match detail {
            Detail::None => 0,
            Detail::Directory(id) => id.0,
            Detail::Target(target) => self.add_target(target)?,
            Detail::Device(number) => {
                self.devices.push(number);
                u32::try_from(self.devices.len() - 1).map_err(|_| too_large())?
            }
            Detail::SameAs(entry) => self.entries.get(entry).map_or(0, |entry| entry.detail),
        };
        let group = match wire.hard_link {
            HardLink::No => NO_GROUP,
            HardLink::First => index,
            HardLink::Of(first) => first,
        };
        self.entries.push(Entry {
            size: wire.size,
            seconds: wire.modified.seconds,
            nanoseconds: wire.modified.nanoseconds,
            owner,
            parent,
            name,
            detail,
            group,
            // The type and permission bits of a mode have sixteen bits.
            mode: u16::try_from(wire.kind.type_bits() | wire.permissions & 0o7777).unwrap_or_default(),
            marks: if wire.without_content { WITHOUT_CONTENT } else { 0 },
        });
        Ok(index)
    }

    fn add_target(&mut self, target: &[u8]) -> Result<u32, Error> {
        let too_large = || Error::TooLarge { limit: MAX_ENTRIES as u64 };
        let start = u32::try_from(self.target_bytes.len()).map_err(|_| too_large())?;
        let len = u16::try_from(target.len()).map_err(|_| too_large())?;
        self.target_bytes.extend_from_slice(target);
        self.targets.push(Target { start, len });
        u32::try_from(self.targets.len() - 1).map_err(|_| too_large())
    }

    fn owner_number(&mut self, owner: Owner) -> u32 {
        // Most entries are of the same owner as the one before.
        let last = u32::try_from(self.owners.len()).unwrap_or_default().wrapping_sub(1);
        if self.owners.last() == Some(&owner) {
            return last;
        }
        let owners = &mut self.owners;
        *self.owner_numbers.entry(owner).or_insert_with(|| {
            owners.push(owner);
            last.wrapping_add(1)
        })
    }

    /// How many entries there are, duplicates included.
    pub(crate) fn len(&self) -> u32 {
        self.entries.len()
    }

    /// How many different owners there are.
    pub(crate) fn owners(&self) -> usize {
        self.owners.len()
    }

    /// One of them. Who needs all gets them faster from [`FileList::entries`].
    pub(crate) fn get(&self, index: u32) -> Option<Entry> {
        self.entries.get(index)
    }

    pub(crate) fn entries(&self) -> Numbered<'_> {
        (0..).zip(self.entries.iter())
    }

    pub(crate) fn name(&self, entry: &Entry) -> Name<'_> {
        self.names.get(entry.name)
    }

    /// How many directories have numbers.
    pub(crate) fn directories(&self) -> usize {
        self.directories.len()
    }

    pub(crate) fn directory(&self, id: DirectoryId) -> &[u8] {
        let Some(directory) = self.directories.get(id.0 as usize) else { return &[] };
        let start = directory.start as usize;
        self.paths.get(start..start + usize::from(directory.len)).unwrap_or_default()
    }

    /// Writes the path of an entry over `path`; empty for the root.
    pub(crate) fn path(&self, entry: &Entry, path: &mut Vec<u8>) {
        if entry.is_root() {
            path.clear();
        } else {
            join(path, self.directory(entry.parent), self.name(entry).bytes());
        }
    }

    /// An entry for people.
    pub(crate) fn line(&self, entry: &Entry) -> Line {
        if entry.is_root() {
            return root();
        }
        let mut path = Vec::new();
        self.path(entry, &mut path);
        Line::from_bytes(&path)
    }

    /// Bytes that the entries take, beside their names.
    pub(crate) fn packed(&self) -> usize {
        self.entries.bytes()
    }

    pub(crate) fn owner(&self, entry: &Entry) -> Owner {
        let nobody = Owner { uid: 0, gid: 0, extras: Extras::default() };
        self.owners.get(entry.owner as usize).copied().unwrap_or(nobody)
    }

    pub(crate) fn target(&self, entry: &Entry) -> &[u8] {
        let Some(target) = self.targets.get(entry.detail as usize) else { return &[] };
        let start = target.start as usize;
        self.target_bytes.get(start..start + usize::from(target.len)).unwrap_or_default()
    }

    pub(crate) fn device(&self, entry: &Entry) -> DeviceNumber {
        self.devices.get(entry.detail as usize).copied().unwrap_or_default()
    }

    /// The entry as it was on the wire, to copy it.
    pub(crate) fn wire(&self, index: u32) -> Option<WireEntry> {
        let entry = self.get(index)?;
        let Owner { uid, gid, .. } = self.owner(&entry);
        let device = if entry.kind().is_device() { self.device(&entry) } else { DeviceNumber::default() };
        Some(WireEntry {
            kind: entry.kind(),
            permissions: entry.permissions(),
            size: entry.size,
            modified: entry.modified(),
            uid,
            gid,
            device,
            hard_link: HardLink::No,
            without_content: entry.marks & WITHOUT_CONTENT != 0,
        })
    }
}

/// What only some kinds of entries have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Detail<'a> {
    None,
    Directory(DirectoryId),
    Target(&'a [u8]),
    Device(DeviceNumber),
    /// That of an earlier entry.
    SameAs(u32),
}

impl Entry {
    pub(crate) fn kind(&self) -> Kind {
        // Only modes of known kinds get into a list.
        Kind::from_mode(self.mode.into()).unwrap_or(Kind::File)
    }

    pub(crate) fn permissions(&self) -> u32 {
        u32::from(self.mode) & 0o7777
    }

    pub(crate) fn modified(&self) -> Moment {
        Moment { seconds: self.seconds, nanoseconds: self.nanoseconds }
    }

    /// The number of the directory that this entry is.
    pub(crate) fn directory(&self) -> Option<DirectoryId> {
        (self.kind() == Kind::Directory).then_some(DirectoryId(self.detail))
    }

    pub(crate) fn is_root(&self) -> bool {
        self.directory() == Some(DirectoryId::ROOT)
    }

    /// Whether it counts; of entries with the same path only one does.
    pub(crate) fn is_active(&self) -> bool {
        self.marks & DUPLICATE == 0
    }

    /// Whether the list has the content of this directory.
    pub(crate) fn has_content(&self) -> bool {
        self.marks & WITHOUT_CONTENT == 0
    }
}
