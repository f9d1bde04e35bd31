//! New content for a name, all of it or nothing.
//!
//! Content goes to a temporary file in the same directory and takes its name by a rename, so that whoever looks sees
//! the whole old file or the whole new one, and so does a run that comes after a crash. There is no `fsync` per file:
//! [`Tree::sync`](crate::tree::Tree::sync) makes a whole run durable at once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::metadata::{DeviceNumber, Kind};
use crate::names::Name;
use crate::remove::{Removed, remove};

/// How the names of temporary files begin. What a run that died left behind is known, and removed, by it.
const PREFIX: &[u8] = b".doppel-tmp.";
/// How the names of files begin that outlive a run that is interrupted: what they have need not be sent again. After it
/// comes a hash of the name that they are for.
const PARTIAL: &[u8] = b".doppel-part.";
/// Hexadecimal digits of a number that no other run uses, and of a hash.
const DIGITS: usize = 16;

/// Gets a new entry under its name by `commit`, whatever has that name: a directory, with all that is in it, gives way.
///
/// # Errors
/// The kernel's.
pub fn commit_over(
    dir: BorrowedFd<'_>,
    name: Name<'_>,
    mut commit: impl FnMut(Name<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    match commit(name) {
        Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
            remove(dir, name, &mut Removed::default())?;
            commit(name)
        }
        result => result,
    }
}

/// Whether this is the name of a temporary file of this crate, partial ones included.
#[must_use]
pub fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| number(rest).is_some()) || is_partial(name)
}

/// Whether this is the name of a partial file of this crate.
#[must_use]
pub fn is_partial(name: &[u8]) -> bool {
    partial(name).is_some()
}

/// Whether this is the name of a partial file for `target`. Another name may have the same hash; what a partial file has is
/// never taken on trust.
#[must_use]
pub fn is_partial_of(name: &[u8], target: Name<'_>) -> bool {
    partial(name) == Some(hash(target))
}

fn partial(name: &[u8]) -> Option<u64> {
    let (target, unique) = name.strip_prefix(PARTIAL)?.split_at_checked(DIGITS)?;
    number(unique.strip_prefix(b".")?)?;
    number(target)
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == DIGITS)?;
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, 16).ok() }
}

/// FNV-1a: few names of a directory are ever looked for by it.
fn hash(name: Name<'_>) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Makes names for temporary files that no other run uses.
#[derive(Debug)]
pub struct TemporaryNames {
    run: u32,
    next: AtomicU32,
}

impl Default for TemporaryNames {
    fn default() -> Self {
        // The standard library seeds its hashers at random. A collision costs a retry, nothing else.
        let random = RandomState::new().build_hasher().finish();
        let [a, b, c, d, ..] = random.to_ne_bytes();
        Self { run: u32::from_ne_bytes([a, b, c, d]), next: AtomicU32::new(0) }
    }
}

impl TemporaryNames {
    /// Calls `make` with new names until one of them is not taken.
    ///
    /// # Errors
    /// Those of `make`, other than that the name is taken.
    pub fn with<T>(&self, make: impl FnMut(Name<'_>) -> Result<T, Errno>) -> Result<(Temporary, T), Errno> {
        self.with_head(PREFIX, make)
    }

    fn with_head<T>(
        &self,
        head: &[u8],
        mut make: impl FnMut(Name<'_>) -> Result<T, Errno>,
    ) -> Result<(Temporary, T), Errno> {
        let mut tries = 0;
        loop {
            let temporary = self.next(head);
            match make(temporary.name()) {
                Err(Errno::EXIST) if tries < 1000 => tries += 1,
                result => return Ok((temporary, result?)),
            }
        }
    }

    fn next(&self, head: &[u8]) -> Temporary {
        let number = (u64::from(self.run) << 32) | u64::from(self.next.fetch_add(1, Ordering::Relaxed));
        let mut temporary = Temporary { bytes: [0; Temporary::LONGEST], len: head.len() + DIGITS };
        let digits = (0..DIGITS).rev().map(|digit| hexadecimal(number >> (digit * 4)));
        for (place, byte) in temporary.bytes.iter_mut().zip(head.iter().copied().chain(digits)) {
            *place = byte;
        }
        temporary
    }
}

/// The lowest four bits as a digit.
fn hexadecimal(number: u64) -> u8 {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    DIGITS.get((number & 0xf) as usize).copied().unwrap_or(b'0')
}

/// The name of a temporary file.
#[derive(Debug, Clone, Copy)]
pub struct Temporary {
    bytes: [u8; Self::LONGEST],
    len: usize,
}

impl Temporary {
    const LONGEST: usize = PARTIAL.len() + DIGITS + 1 + DIGITS;

    /// The name.
    #[must_use]
    pub fn name(&self) -> Name<'_> {
        Name::from_kernel(self.bytes.get(..self.len).unwrap_or_default())
    }
}

/// An entry that does not have its name yet. Dropped before [`NewEntry::commit`], it is gone.
#[derive(Debug)]
pub struct NewEntry<'d> {
    dir: BorrowedFd<'d>,
    temporary: Temporary,
    dropped: Dropped,
}

/// What becomes of an entry that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    /// It is removed.
    Removed,
    /// It stays, under the name it has: its own, or that of a partial file.
    Stays,
}

impl<'d> NewEntry<'d> {
    /// A symbolic link.
    ///
    /// # Errors
    /// The kernel's.
    pub fn symlink(dir: BorrowedFd<'d>, names: &TemporaryNames, target: &[u8]) -> Result<Self, Errno> {
        let (temporary, ()) = names.with(|name| rustix::fs::symlinkat(target, dir, name.bytes()))?;
        Ok(Self { dir, temporary, dropped: Dropped::Removed })
    }

    /// A named pipe, a socket or a device node, accessible to its owner alone.
    ///
    /// # Errors
    /// The kernel's: `EPERM` for a device node without privilege, `EINVAL` for another kind.
    pub fn special(
        dir: BorrowedFd<'d>,
        names: &TemporaryNames,
        kind: Kind,
        number: DeviceNumber,
    ) -> Result<Self, Errno> {
        let file_type = match kind {
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            Kind::CharacterDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::File | Kind::Directory | Kind::Symlink => return Err(Errno::INVAL),
        };
        let device = if kind.is_device() { rustix::fs::makedev(number.major, number.minor) } else { 0 };
        let mode = Mode::RUSR | Mode::WUSR;
        let (temporary, ()) = names.with(|name| rustix::fs::mknodat(dir, name.bytes(), file_type, mode, device))?;
        Ok(Self { dir, temporary, dropped: Dropped::Removed })
    }

    /// One more name for the inode that `from` names; a symbolic link itself, not what it points to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hard_link(
        dir: BorrowedFd<'d>,
        names: &TemporaryNames,
        from: (BorrowedFd<'_>, Name<'_>),
    ) -> Result<Self, Errno> {
        let (from_dir, from) = from;
        let (temporary, ()) =
            names.with(|name| rustix::fs::linkat(from_dir, from.bytes(), dir, name.bytes(), AtFlags::empty()))?;
        Ok(Self { dir, temporary, dropped: Dropped::Removed })
    }

    /// The directory that it is in, and its name for the time being.
    #[must_use]
    pub fn place(&self) -> (BorrowedFd<'d>, Name<'_>) {
        (self.dir, self.temporary.name())
    }

    /// Gives the entry its name, replacing what had it before.
    ///
    /// # Errors
    /// The kernel's, `EISDIR` when a directory has that name. The entry can be committed again afterwards.
    pub fn commit(&mut self, name: Name<'_>) -> Result<(), Errno> {
        rustix::fs::renameat(self.dir, self.temporary.name().bytes(), self.dir, name.bytes())?;
        self.dropped = Dropped::Stays;
        Ok(())
    }
}

impl Drop for NewEntry<'_> {
    fn drop(&mut self) {
        if self.dropped == Dropped::Removed {
            // If even this fails, the next run removes it.
            let _ = rustix::fs::unlinkat(self.dir, self.temporary.name().bytes(), AtFlags::empty());
        }
    }
}

/// A file that has content but not yet its name. Dropped before [`NewFile::commit`], it is gone, unless it is a partial file.
#[derive(Debug)]
pub struct NewFile<'d> {
    entry: NewEntry<'d>,
    fd: OwnedFd,
    /// Where the next byte goes.
    position: u64,
    /// The end of what was put into it.
    end: u64,
    /// The end of what was really written, holes after it excluded.
    written: u64,
}

/// Zeros become holes in units of this: one block of the usual file systems.
const HOLE: usize = 4096;

impl<'d> NewFile<'d> {
    /// A new, empty file in `dir`, readable and writable by its owner alone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create(dir: BorrowedFd<'d>, names: &TemporaryNames) -> Result<Self, Errno> {
        Self::create_as(dir, names, PREFIX)
    }

    /// The same as a partial file for `target`: unless it is committed or discarded it stays, even if this process is
    /// killed, and is found by [`is_partial_of`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn create_partial(dir: BorrowedFd<'d>, names: &TemporaryNames, target: Name<'_>) -> Result<Self, Errno> {
        let hash = hash(target);
        let digits = (0..DIGITS).rev().map(|digit| hexadecimal(hash >> (digit * 4)));
        let head: Vec<u8> = PARTIAL.iter().copied().chain(digits).chain([b'.']).collect();
        let mut file = Self::create_as(dir, names, &head)?;
        file.entry.dropped = Dropped::Stays;
        Ok(file)
    }

    fn create_as(dir: BorrowedFd<'d>, names: &TemporaryNames, head: &[u8]) -> Result<Self, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        let (temporary, fd) =
            names.with_head(head, |name| rustix::fs::openat(dir, name.bytes(), flags, Mode::RUSR | Mode::WUSR))?;
        Ok(Self { entry: NewEntry { dir, temporary, dropped: Dropped::Removed }, fd, position: 0, end: 0, written: 0 })
    }

    /// Appends these bytes. Blocks of zeros become holes: what was never written reads as zeros.
    ///
    /// # Errors
    /// The kernel's.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let (zeros, rest) = bytes.split_at_checked(self.run(bytes, Run::Zeros)).unwrap_or((bytes, &[]));
            self.position += zeros.len() as u64;
            let (data, rest) = rest.split_at_checked(self.run(rest, Run::Data)).unwrap_or((rest, &[]));
            self.write(data)?;
            bytes = rest;
        }
        self.end = self.end.max(self.position);
        Ok(())
    }

    /// Puts these bytes where nothing was put yet; [`NewFile::append`] goes on behind them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn put(&mut self, position: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.position = position;
        self.append(bytes)
    }

    /// Removes it, even if it is a partial file.
    pub fn discard(mut self) {
        self.entry.dropped = Dropped::Removed;
    }

    /// The open file, for its attributes.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Ends the content: a hole at its end becomes part of the file.
    ///
    /// That takes writing its last byte. Setting the length alone would reach the disk before the data does, and after a
    /// power failure a file of the right length and time could be all zeros: nobody would look at it again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn finish(&mut self) -> Result<(), Errno> {
        match self.end.checked_sub(1) {
            Some(last) if self.end > self.written => {
                self.position = last;
                self.write(&[0])
            }
            _ => Ok(()),
        }
    }

    /// See [`NewEntry::place`].
    #[must_use]
    pub fn place(&self) -> (BorrowedFd<'d>, Name<'_>) {
        self.entry.place()
    }

    /// Gives the file its name; see [`NewEntry::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn commit(&mut self, name: Name<'_>) -> Result<(), Errno> {
        self.entry.commit(name)
    }

    fn write(&mut self, mut data: &[u8]) -> Result<(), Errno> {
        while !data.is_empty() {
            let count = match rustix::io::pwrite(&self.fd, data, self.position) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            self.position += count as u64;
            self.written = self.written.max(self.position);
            data = data.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// How many bytes at the start of `bytes`, which go to the current position, lie in blocks that are all zeros, or in
    /// blocks that are not. A block that is only in part among them counts as far as it is.
    fn run(&self, bytes: &[u8], run: Run) -> usize {
        let before = usize::try_from(self.position % HOLE as u64).unwrap_or_default();
        let (first, rest) = bytes.split_at_checked(HOLE - before).unwrap_or((bytes, &[]));
        let blocks = std::iter::once(first).chain(rest.chunks(HOLE));
        blocks.take_while(|block| is_zero(block) == (run == Run::Zeros)).map(<[u8]>::len).sum()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Zeros,
    Data,
}

fn is_zero(block: &[u8]) -> bool {
    // Data rarely begins with a zero, so most blocks are done after one comparison.
    block.first() == Some(&0) && block.iter().fold(0, |all, byte| all | byte) == 0
}

#[cfg(test)]
mod tests;
