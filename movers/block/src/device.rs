//! A block device, or a regular file that stands for one: read, write, zero, make durable.
//!
//! Everything is at an offset; nothing moves a common position. A device is what its size says: it neither grows nor is
//! read past its end.

use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use doppel_contract::Line;
use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

/// An open device.
#[derive(Debug)]
pub struct Device {
    file: OwnedFd,
    path: Line,
    kind: Kind,
    size: u64,
    /// Bytes that were read.
    read: AtomicU64,
    /// The kernel can make a hole here, as far as is known.
    punches: AtomicBool,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    Block,
    /// A regular file.
    File,
}

/// A call that failed: what was being done, where, and what the kernel said. The fault is always the device's.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}{at}: {reason}", reason = reason(.errno))]
pub struct DeviceError {
    action: &'static str,
    path: Line,
    at: At,
    errno: Errno,
}

/// Where on a device.
#[derive(Debug, Clone, Copy)]
struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |offset| write!(f, " at byte {offset}"))
    }
}

/// The device cannot be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel refused.
    #[error("open the device {path}: {reason}; it must be a block device or a file that this user may use")]
    Refused {
        /// Which.
        path: Line,
        /// The kernel's words.
        reason: String,
    },
    /// Something else has it, a mounted file system for example.
    #[error("open the device {path}: it is in use; a destination must not be mounted or used meanwhile")]
    InUse {
        /// Which.
        path: Line,
    },
    /// It is something else.
    #[error("{path} is neither a block device nor a regular file")]
    NoDevice {
        /// Which.
        path: Line,
    },
}

/// The unit in which all devices can make holes: a page, and a multiple of every device's sectors.
const PAGE: u64 = 4096;

impl Device {
    /// Opens a source's device.
    ///
    /// # Errors
    /// When it is none or may not be read.
    pub fn open_source(path: &Path) -> Result<Self, OpenError> {
        Self::open(path, OFlags::RDONLY)
    }

    /// Opens a destination's device. A block device is claimed, so that none is written to that is mounted.
    ///
    /// # Errors
    /// When it is none, may not be written, or is in use.
    pub fn open_destination(path: &Path) -> Result<Self, OpenError> {
        Self::open(path, OFlags::RDWR)
    }

    fn open(path: &Path, access: OFlags) -> Result<Self, OpenError> {
        let name = Line::from_bytes(path.as_os_str().as_bytes());
        let refused = |errno: Errno| match errno {
            Errno::BUSY => OpenError::InUse { path: name.clone() },
            _ => OpenError::Refused { path: name.clone(), reason: reason(&errno) },
        };
        // Looked at before it is opened: a pipe would wait for its other end.
        let kind = kind(rustix::fs::stat(path).map_err(refused)?.st_mode);
        let kind = kind.ok_or_else(|| OpenError::NoDevice { path: name.clone() })?;
        let claim = match kind {
            Kind::Block if access == OFlags::RDWR => OFlags::EXCL,
            Kind::Block | Kind::File => OFlags::empty(),
        };
        let flags = access | claim | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(refused)?;
        let size = rustix::fs::seek(&file, SeekFrom::End(0)).map_err(refused)?;
        let (read, punches) = (AtomicU64::new(0), AtomicBool::new(true));
        Ok(Self { file, path: name, kind, size, read, punches })
    }

    /// Bytes that it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Line {
        &self.path
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes that were read since it was opened.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Fills the buffer with the bytes from `offset` on.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DeviceError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset + filled as u64;
            match rustix::io::pread(&self.file, rest, at) {
                // It shrank: a file that somebody truncates meanwhile.
                Ok(0) => return Err(self.error("read", Some(at), Errno::NXIO)),
                Ok(length) => filled += length,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error("read", Some(at), errno)),
            }
        }
        self.read.fetch_add(filled as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Writes all bytes, from `offset` on.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let at = offset + written as u64;
            match rustix::io::pwrite(&self.file, rest, at) {
                Ok(0) => return Err(self.error("write", Some(at), Errno::NOSPC)),
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error("write", Some(at), errno)),
            }
        }
        Ok(())
    }

    /// Makes a range read as zeros, and a hole where that can be had.
    pub(crate) fn zero(&self, range: Range<u64>) -> Result<(), DeviceError> {
        let (begin, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
        if begin >= end || !self.punch(begin..end) {
            return self.write_zeros(range);
        }
        self.write_zeros(range.start..begin)?;
        self.write_zeros(end..range.end)
    }

    /// A hole in a file reads as zeros. For a block device the kernel turns this into "write zeros, you may unmap" without
    /// a fall-back (`BLKDEV_ZERO_NOFALLBACK` in `block/fops.c`), which devices refuse that cannot promise zeros; a discard
    /// would promise nothing. What is wrong with a device that refuses for another reason, its next write will tell.
    fn punch(&self, range: Range<u64>) -> bool {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let can = self.punches.load(Ordering::Relaxed)
            && rustix::fs::fallocate(&self.file, flags, range.start, range.end - range.start).is_ok();
        if !can {
            self.punches.store(false, Ordering::Relaxed);
        }
        can
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<(), DeviceError> {
        const ZEROS: &[u8] = &[0; 64 << 10];
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write(at, ZEROS.get(..length).unwrap_or_default())?;
            at += length as u64;
        }
        Ok(())
    }

    /// Takes away what lies behind the source's end. Only files can; says whether it did.
    pub(crate) fn cut(&self, size: u64) -> Result<bool, DeviceError> {
        match self.kind {
            Kind::Block => Ok(false),
            Kind::File => match rustix::fs::ftruncate(&self.file, size) {
                Ok(()) => Ok(true),
                Err(errno) => Err(self.error("truncate", None, errno)),
            },
        }
    }

    /// Makes everything that was written durable.
    pub(crate) fn sync(&self) -> Result<(), DeviceError> {
        rustix::fs::fsync(&self.file).map_err(|errno| self.error("flush", None, errno))
    }

    /// The next range at or after `offset` that may hold data. What lies before it reads as zeros without being read. Where
    /// nobody knows, on a block device, all of it may.
    fn data_from(&self, offset: u64) -> Result<Range<u64>, DeviceError> {
        let found = rustix::fs::seek(&self.file, SeekFrom::Data(offset)).and_then(|data| {
            let hole = rustix::fs::seek(&self.file, SeekFrom::Hole(data))?;
            Ok(data..hole.min(self.size))
        });
        match found {
            Ok(range) => Ok(range),
            Err(Errno::NXIO) => Ok(self.size..self.size),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => Ok(offset..self.size),
            Err(errno) => Err(self.error("look for data on", Some(offset), errno)),
        }
    }

    fn error(&self, action: &'static str, offset: Option<u64>, errno: Errno) -> DeviceError {
        DeviceError { action, path: self.path.clone(), at: At(offset), errno }
    }
}

/// Where a device's holes are, for one who goes through it from begin to end.
#[derive(Debug)]
pub(crate) struct Holes<'d> {
    device: &'d Device,
    /// The last range with data that was found, and from where on it was looked for.
    asked: u64,
    data: Range<u64>,
}

impl<'d> Holes<'d> {
    pub(crate) fn new(device: &'d Device) -> Self {
        Self { device, asked: 0, data: 0..0 }
    }

    /// So many bytes from `offset` on, none where there is data, are in a hole: they read as zeros.
    pub(crate) fn hole_at(&mut self, offset: u64) -> Result<u64, DeviceError> {
        if offset < self.asked || offset >= self.data.end {
            self.asked = offset;
            self.data = self.device.data_from(offset)?;
        }
        Ok(self.data.start.saturating_sub(offset))
    }

    /// Where the data ends that [`Self::hole_at`] found last.
    pub(crate) fn data_end(&self) -> u64 {
        self.data.end
    }
}

/// Whether there is nothing but zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Chunks that the compiler compares as a whole.
    let mut chunks = bytes.chunks_exact(64);
    chunks.all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && bytes.chunks_exact(64).remainder().iter().all(|byte| *byte == 0)
}

fn kind(mode: u32) -> Option<Kind> {
    match FileType::from_raw_mode(mode) {
        FileType::BlockDevice => Some(Kind::Block),
        FileType::RegularFile => Some(Kind::File),
        _ => None,
    }
}

/// The kernel's words, without Rust's "(os error 13)".
fn reason(errno: &Errno) -> String {
    let text = std::io::Error::from(*errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    const MIB: u64 = 1 << 20;

    fn file(size: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        file
    }

    #[test]
    fn what_is_no_device_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| Device::open_destination(path).unwrap_err().to_string();
        assert!(error(dir.path()).ends_with("is neither a block device nor a regular file"));
        assert!(error(Path::new("/dev/null")).ends_with("is neither a block device nor a regular file"));
        assert!(error(&dir.path().join("none")).contains("No such file or directory;"));
    }

    #[test]
    fn holes_are_found_and_the_data_between_them() {
        let file = file(8 * MIB);
        file.as_file().write_all_at(&[1; 4096], 4 * MIB).unwrap();
        let device = Device::open_source(file.path()).unwrap();
        let mut holes = Holes::new(&device);
        assert_eq!(holes.hole_at(0).unwrap(), 4 * MIB);
        assert_eq!(holes.hole_at(3 * MIB).unwrap(), MIB);
        assert_eq!(holes.hole_at(4 * MIB).unwrap(), 0);
        assert_eq!(holes.hole_at(7 * MIB).unwrap(), MIB);
        assert_eq!(holes.hole_at(MIB).unwrap(), 3 * MIB);
        assert_eq!(device.bytes_read(), 0);
    }

    #[test]
    fn zeroing_any_range_zeroes_that_range_alone_and_frees_what_it_can() {
        for range in [0..8 * MIB, 1..8 * MIB - 1, 5000..5001, 4095..8193, 4096..8192, 100..MIB + 3, 7..7] {
            let file = file(0);
            file.as_file().write_all_at(&vec![7; 8 << 20], 0).unwrap();
            file.as_file().sync_all().unwrap();
            let before = file.as_file().metadata().unwrap().blocks();
            let device = Device::open_destination(file.path()).unwrap();
            device.zero(range.clone()).unwrap();
            let content = std::fs::read(file.path()).unwrap();
            assert_eq!(content.len() as u64, 8 * MIB);
            for (at, byte) in content.iter().enumerate() {
                assert_eq!(*byte == 0, range.contains(&(at as u64)), "{range:?} at {at}");
            }
            let after = file.as_file().metadata().unwrap().blocks();
            assert!(range.end - range.start < MIB || after < before, "{range:?}: {before} -> {after}");
        }
    }

    #[test]
    fn where_no_hole_can_be_made_zeros_are_written() {
        let file = file(0);
        file.as_file().write_all_at(&vec![7; 1 << 20], 0).unwrap();
        let device = Device::open_destination(file.path()).unwrap();
        device.punches.store(false, Ordering::Relaxed);
        device.zero(3..MIB).unwrap();
        let content = std::fs::read(file.path()).unwrap();
        assert!(content[..3] == [7; 3] && is_zero(&content[3..]));
    }

    #[test]
    fn a_device_that_shrinks_meanwhile_is_an_error_with_its_place() {
        let file = file(MIB);
        let device = Device::open_source(file.path()).unwrap();
        file.as_file().set_len(10).unwrap();
        let error = device.read(0, &mut [0; 100]).unwrap_err().to_string();
        assert!(error.starts_with("read ") && error.contains(" at byte 10: "), "{error}");
    }

    #[test]
    fn zeros_are_told_from_what_is_almost_zero() {
        for length in [0, 1, 63, 64, 65, 1000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in 0..length {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{length} {at}");
                bytes[at] = 0;
            }
        }
    }
}
