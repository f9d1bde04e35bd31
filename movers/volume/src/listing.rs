//! The names in one directory.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, OFlags, RawDir};
use rustix::io::Errno;

use crate::dirs::open_beneath;
use crate::names::Name;

/// The names in one directory, kept end to end. Reading again reuses the memory.
#[derive(Debug, Default)]
pub struct Listing {
    bytes: Vec<u8>,
    entries: Vec<Listed>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) start: u32,
    pub(crate) len: u16,
    pub(crate) file_type: FileType,
}

/// One `getdents64` fills this much: some thousand names a call.
const BUFFER: usize = 64 * 1024;

impl Listing {
    /// Reads the directory at `path` beneath `dir`, without `.` and `..`.
    ///
    /// # Errors
    /// The kernel's. What was read until then is dropped: half a directory is never mistaken for a whole one.
    pub fn read(&mut self, dir: BorrowedFd<'_>, path: &[u8]) -> Result<(), Errno> {
        let fd = open_beneath(dir, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.read_open(fd.as_fd())
    }

    /// Reads the directory that `fd` has open for reading.
    pub(crate) fn read_open(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.bytes.clear();
        self.entries.clear();
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut entries = RawDir::new(fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    self.bytes.clear();
                    self.entries.clear();
                    return Err(errno);
                }
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
            let len = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
            self.bytes.extend_from_slice(name);
            self.entries.push(Listed { start, len, file_type: entry.file_type() });
        }
        Ok(())
    }

    /// The names in the order in which the file system gave them, with what it said they are (`Unknown` on file systems
    /// that do not say).
    pub fn iter(&self) -> impl Iterator<Item = (Name<'_>, FileType)> {
        self.entries.iter().map(|listed| (self.name(*listed), listed.file_type))
    }

    /// Brings the names into the order of their bytes.
    pub fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by_key(|listed| self.name(*listed));
        self.entries = entries;
    }

    /// The entries, whose names stay here.
    pub(crate) fn take_entries(&mut self) -> Vec<Listed> {
        std::mem::take(&mut self.entries)
    }

    pub(crate) fn name(&self, listed: Listed) -> Name<'_> {
        let start = listed.start as usize;
        Name::from_kernel(self.bytes.get(start..start + usize::from(listed.len)).unwrap_or_default())
    }
}
