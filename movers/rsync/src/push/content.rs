//! Where the content of requested entries comes from.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use doppel_contract::{LeftOut, Line, Problem};
use doppel_volume::attributes::Object;
use doppel_volume::dirs::Dirs;
use doppel_volume::metadata::{Kind, Metadata};
use doppel_volume::monitor::{Monitor, OneFile};
use doppel_volume::sparse::Reading;
use doppel_volume::tree::{Tree, metadata_of, open_file};
use rustix::io::Errno;

use crate::list::{self, FileList, NO_GROUP, Numbered};
use crate::proto::xattr::XattrTable;

/// Gives the content of entries.
pub(crate) trait Content {
    /// How many entries there are.
    fn len(&self) -> u32;
    /// Whether the entry has content.
    fn has_content(&self, index: u32) -> bool;
    /// The peer asked for something of the entry: all before it is done.
    fn reached(&mut self, index: u32);
    /// Opens the entry for reading and tells its size.
    fn open(&mut self, index: u32) -> Result<u64, Missing>;
    /// Reads on.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// What was wrong with the entry that could not be read last, if that was not said yet.
    fn take_problem(&mut self) -> Option<Problem>;
    /// The sets of extended attributes that the list has, and the number of the entry's, in a session that keeps them.
    fn xattrs(&self, index: u32) -> Option<(&XattrTable, u32)>;
    /// Reads the entry's extended attribute of this number in its set over `value`; whether that could be done. One that
    /// vanished is empty.
    fn xattr(&mut self, index: u32, number: u32, value: &mut Vec<u8>) -> bool;
    /// The peer's content turned out to be another.
    fn differs(&mut self, index: u32);
    /// The peer has told the checksums of these; it must have all others that could be given, too.
    fn expect_verified(&mut self, told: &Entries);
    /// Ends the reading; whether what was read is the content that the entry had at one moment.
    fn close(&mut self, index: u32, read: Result<(), Errno>) -> Consistent;
}

/// An entry's content cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The entry is not there any more.
    Vanished,
    /// It cannot be read.
    Unreadable,
}

/// Whether what was read is one version of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistent {
    /// It is.
    Yes,
    /// It changed meanwhile.
    Changed,
    /// It could not be read to its end.
    Broken,
}

/// A set of entries, as numbers of a list.
#[derive(Debug, Default)]
pub(crate) struct Entries(Vec<u64>);

impl Entries {
    /// Adds an entry, which must be one of the list; whether it was not there yet.
    pub(crate) fn insert(&mut self, index: u32) -> bool {
        let (word, bit) = (index as usize / 64, 1 << (index % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0.get_mut(word).is_some_and(|word| std::mem::replace(word, *word | bit) & bit == 0)
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }
}

/// The content of a tree's files.
pub(crate) struct TreeContent<'t> {
    tree: &'t Tree,
    list: &'t FileList,
    xattrs: &'t XattrTable,
    dirs: Dirs<'t>,
    monitor: &'t dyn Monitor,
    open: Option<(u32, Reading, Metadata)>,
    left_out: LeftOut,
    remarks: LeftOut,
    /// Entries in `left_out`, so that a second try does not count them again.
    broken: HashSet<u32>,
    /// Entries that had vanished when they were asked for.
    vanished: HashSet<u32>,
    problem: Option<Problem>,
    /// Entries that are not done yet, and the number of the first of them.
    ahead: Numbered<'t>,
    next: u32,
    /// What the monitor knows of the content of that one.
    now: Option<OneFile<'t>>,
}

impl<'t> TreeContent<'t> {
    pub(crate) fn new(tree: &'t Tree, list: &'t FileList, xattrs: &'t XattrTable, monitor: &'t dyn Monitor) -> Self {
        Self {
            tree,
            list,
            xattrs,
            dirs: Dirs::new(tree),
            monitor,
            open: None,
            left_out: LeftOut::default(),
            remarks: LeftOut::default(),
            broken: HashSet::new(),
            vanished: HashSet::new(),
            problem: None,
            ahead: list.entries(),
            next: 0,
            now: None,
        }
    }

    /// Everything is done; tells what was not.
    pub(crate) fn finish(mut self, left_out: &mut LeftOut, remarks: &mut LeftOut) {
        self.reached(self.list.len());
        for (from, to) in [(&self.left_out, left_out), (&self.remarks, remarks)] {
            crate::push::add_all(to, from);
        }
    }

    fn path(&self, index: u32) -> Line {
        self.list.get(index).map_or_else(list::root, |entry| self.list.line(&entry))
    }

    fn open_entry(&mut self, index: u32) -> Result<(OwnedFd, Metadata), Errno> {
        let entry = self.list.get(index).ok_or(Errno::NOENT)?;
        let dir = self.dirs.open(self.list.directory(entry.parent))?;
        let file = open_file(dir, self.list.name(&entry))?;
        let metadata = metadata_of(&file)?;
        // Something else took its name. That is as good as if it had vanished.
        if metadata.kind == Kind::File { Ok((file, metadata)) } else { Err(Errno::NOENT) }
    }

    fn read_xattr(&mut self, index: u32, number: u32, value: &mut Vec<u8>) -> Result<bool, Errno> {
        let entry = self.list.get(index).ok_or(Errno::NOENT)?;
        let set = self.list.owner(&entry).extras.xattrs.ok_or(Errno::NODATA)?;
        let attribute = self.xattrs.get(set).find(|attribute| attribute.number == number).ok_or(Errno::NODATA)?;
        let object = if entry.is_root() {
            Object::Open(self.tree.descriptor())
        } else {
            Object::Named(self.dirs.open(self.list.directory(entry.parent))?, self.list.name(&entry))
        };
        object.attribute(attribute.name, value)
    }

    fn leave_out(&mut self, index: u32, why: Line) {
        if self.broken.insert(index) {
            let path = self.path(index);
            self.problem = Some(Problem { path: path.clone(), why: why.clone() });
            self.left_out.add(path, why);
        }
    }
}

impl Content for TreeContent<'_> {
    fn len(&self) -> u32 {
        self.list.len()
    }

    fn has_content(&self, index: u32) -> bool {
        self.list.get(index).is_some_and(|entry| entry.kind() == Kind::File)
    }

    fn reached(&mut self, index: u32) {
        let done = index.saturating_sub(self.next) as usize;
        for (_, entry) in self.ahead.by_ref().take(done) {
            let size = if entry.kind() == Kind::File { entry.size } else { 0 };
            self.now.take().unwrap_or_else(|| OneFile::new(self.monitor, size)).end();
        }
        self.next = self.next.max(index);
    }

    fn open(&mut self, index: u32) -> Result<u64, Missing> {
        if self.broken.contains(&index) {
            return Err(Missing::Unreadable);
        }
        match self.open_entry(index) {
            Ok((file, metadata)) => {
                if index == self.next {
                    self.now.get_or_insert_with(|| OneFile::new(self.monitor, metadata.size));
                }
                self.open = Some((index, Reading::new(file, metadata.size), metadata));
                Ok(metadata.size)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE) => {
                let path = self.path(index);
                self.remarks.add(path, Line::new("vanished before it was read"));
                self.vanished.insert(index);
                Err(Missing::Vanished)
            }
            Err(errno) => {
                self.leave_out(index, Line::new(format!("open: {}", std::io::Error::from(errno))));
                Err(Missing::Unreadable)
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let (index, reading, _) = self.open.as_mut().ok_or(Errno::BADF)?;
        let count = reading.read(buffer)?;
        if let Some(now) = self.now.as_mut().filter(|_| *index == self.next) {
            now.moved(count as u64);
        }
        Ok(count)
    }

    fn take_problem(&mut self) -> Option<Problem> {
        self.problem.take()
    }

    fn xattrs(&self, index: u32) -> Option<(&XattrTable, u32)> {
        let set = self.list.get(index).and_then(|entry| self.list.owner(&entry).extras.xattrs);
        // All entries have a set, if only an empty one, or none has.
        set.map(|set| (self.xattrs, set))
    }

    fn xattr(&mut self, index: u32, number: u32, value: &mut Vec<u8>) -> bool {
        let why = match self.read_xattr(index, number, value) {
            Ok(true) => return true,
            Ok(false) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE) => {
                value.clear();
                let path = self.path(index);
                self.remarks.add(path, Line::new("an extended attribute vanished before it was read"));
                return true;
            }
            Err(errno) => format!("read an extended attribute: {}", std::io::Error::from(errno)),
        };
        value.clear();
        self.leave_out(index, Line::new(why));
        false
    }

    fn differs(&mut self, index: u32) {
        self.leave_out(index, Line::new("verified: the destination's content is not that of the source"));
    }

    fn expect_verified(&mut self, told: &Entries) {
        let list = self.list;
        let files = || list.entries().filter(|(_, entry)| entry.kind() == Kind::File);
        // One checksum stands for all names of an inode.
        let mut settled = HashSet::new();
        for (index, entry) in files().filter(|(_, entry)| entry.group != NO_GROUP) {
            if told.contains(index) || self.broken.contains(&index) || self.vanished.contains(&index) {
                settled.insert(entry.group);
            }
        }
        for (index, entry) in files() {
            let is_settled = match entry.group {
                NO_GROUP => told.contains(index) || self.vanished.contains(&index),
                group => !settled.insert(group),
            };
            if !is_settled {
                self.leave_out(index, Line::new("not verified: the destination did not tell its checksum"));
            }
        }
    }

    fn close(&mut self, index: u32, read: Result<(), Errno>) -> Consistent {
        let Some((_, reading, before)) = self.open.take() else { return Consistent::Broken };
        match read.and_then(|()| metadata_of(reading.file())) {
            Ok(after) if after.size == before.size && after.modified == before.modified => Consistent::Yes,
            Ok(_) => Consistent::Changed,
            Err(errno) => {
                self.leave_out(index, Line::new(format!("read: {}", std::io::Error::from(errno))));
                Consistent::Broken
            }
        }
    }
}

/// One small file, in memory.
pub(crate) struct MemoryContent<'m> {
    pub(crate) content: &'m [u8],
    pub(crate) position: usize,
}

impl Content for MemoryContent<'_> {
    fn len(&self) -> u32 {
        1
    }

    fn has_content(&self, _: u32) -> bool {
        true
    }

    fn reached(&mut self, _: u32) {}

    fn open(&mut self, _: u32) -> Result<u64, Missing> {
        self.position = 0;
        Ok(self.content.len() as u64)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let rest = self.content.get(self.position..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(rest) {
            *place = *byte;
        }
        self.position += count;
        Ok(count)
    }

    fn take_problem(&mut self) -> Option<Problem> {
        None
    }

    fn xattrs(&self, _: u32) -> Option<(&XattrTable, u32)> {
        None
    }

    fn xattr(&mut self, _: u32, _: u32, _: &mut Vec<u8>) -> bool {
        true
    }

    fn differs(&mut self, _: u32) {}

    fn expect_verified(&mut self, _: &Entries) {}

    fn close(&mut self, _: u32, _: Result<(), Errno>) -> Consistent {
        Consistent::Yes
    }
}
