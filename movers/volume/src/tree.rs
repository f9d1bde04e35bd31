//! The root of a volume, held open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use doppel_contract::Line;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::listing::Listing;
use crate::metadata::Metadata;
use crate::names::Name;
use crate::replace::is_temporary;

/// A volume's tree. Everything happens beneath its root's descriptor; the path by which it was opened is not used again.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    device: u64,
}

/// The volume cannot be opened at all.
#[derive(Debug, thiserror::Error)]
#[error("open the volume at {path}: {source}; it must be a directory that this user may read")]
pub struct OpenError {
    path: Line,
    source: std::io::Error,
}

/// The directory that `mkfs` makes in the root of an ext file system. It belongs to the file system, not to the data.
pub const LOST_AND_FOUND: &[u8] = b"lost+found";

impl Tree {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// When it is no directory or may not be read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        use std::os::unix::ffi::OsStrExt;
        let open = || {
            let root = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            let device = rustix::fs::fstat(&root)?.st_dev;
            Ok::<_, Errno>(Self { root, device })
        };
        open().map_err(|errno| OpenError {
            path: Line::from_bytes(path.as_os_str().as_bytes()),
            source: std::io::Error::from(errno),
        })
    }

    /// The root directory's own metadata.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        match rustix::fs::fstat(&self.root) {
            Ok(stat) => Ok(Metadata::from_stat(&stat)),
            Err(errno) => Err(Error::new("read the metadata of", b"", errno)),
        }
    }

    /// How many entries the root directory has, `lost+found` and temporary files of a dead run not counted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries_in_root(&self) -> Result<u64, Error> {
        let mut listing = Listing::default();
        listing.read(self.root(), b".").map_err(|errno| Error::new("list", b"", errno))?;
        let counts = |name: Name<'_>| name.bytes() != LOST_AND_FOUND && !is_temporary(name.bytes());
        Ok(listing.iter().filter(|(name, _)| counts(*name)).count() as u64)
    }

    /// Makes everything that was written to the volume's file system durable.
    ///
    /// # Errors
    /// When the file system could not write all of it.
    pub fn sync(&self) -> Result<(), Error> {
        rustix::fs::syncfs(&self.root).map_err(|errno| Error::new("flush the file system of", b"", errno))
    }

    /// The root directory itself, for its attributes.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(crate) fn device(&self) -> u64 {
        self.device
    }
}

/// What `lstat` says of `name` in the open directory `dir`.
///
/// # Errors
/// The kernel's.
pub fn metadata_at(dir: BorrowedFd<'_>, name: Name<'_>) -> Result<Metadata, Errno> {
    rustix::fs::statat(dir, name.bytes(), AtFlags::SYMLINK_NOFOLLOW).map(|stat| Metadata::from_stat(&stat))
}

/// What `fstat` says of an open file.
///
/// # Errors
/// The kernel's.
pub fn metadata_of(file: impl AsFd) -> Result<Metadata, Errno> {
    rustix::fs::fstat(file).map(|stat| Metadata::from_stat(&stat))
}

/// Opens a file for reading. A pipe that took its name meanwhile does not make us wait, nor a link lead us elsewhere.
///
/// # Errors
/// The kernel's, `ELOOP` for a link.
pub fn open_file(dir: BorrowedFd<'_>, name: Name<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name.bytes(), flags, Mode::empty())
}
