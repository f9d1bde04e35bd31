//! Removing entries, trees included, without following anything out of the volume.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::attributes::{Object, Powers, Wanted};
use crate::dirs::open_beneath;
use crate::listing::Listing;
use crate::metadata::Kind;
use crate::names::Name;
use crate::tree::{metadata_at, metadata_of};

/// How many entries were removed, by kind, as rsync's deletion statistics have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Device nodes.
    pub devices: u64,
    /// Named pipes and sockets.
    pub specials: u64,
}

impl Removed {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { files, directories, symlinks, devices, specials } = *self;
        files + directories + symlinks + devices + specials
    }

    fn count(&mut self, kind: Kind) {
        let counter = match kind {
            Kind::File => &mut self.files,
            Kind::Directory => &mut self.directories,
            Kind::Symlink => &mut self.symlinks,
            Kind::CharacterDevice | Kind::BlockDevice => &mut self.devices,
            Kind::Fifo | Kind::Socket => &mut self.specials,
        };
        *counter += 1;
    }
}

/// Removes the entry `name` in `dir`, with everything beneath it if it is a directory.
///
/// # Errors
/// The kernel's, with the work done until then counted in `removed`. An entry that is gone already is no error; a
/// directory on which a file system is mounted is (`EBUSY`), and what is in that is not touched.
pub fn remove(dir: BorrowedFd<'_>, name: Name<'_>, removed: &mut Removed) -> Result<(), Errno> {
    let kind = match metadata_at(dir, name) {
        Err(Errno::NOENT) => return Ok(()),
        metadata => metadata?.kind,
    };
    if kind != Kind::Directory {
        return unlink(dir, name.bytes(), kind, removed);
    }
    if rustix::fs::unlinkat(dir, name.bytes(), AtFlags::REMOVEDIR).is_ok() {
        removed.count(Kind::Directory);
        return Ok(());
    }
    remove_beneath(dir, name, removed)
}

/// Depth first, with the path as the only state: descriptors are opened anew from `dir`, so that no depth exhausts them.
fn remove_beneath(dir: BorrowedFd<'_>, name: Name<'_>, removed: &mut Removed) -> Result<(), Errno> {
    let mut path = name.bytes().to_vec();
    let mut listing = Listing::default();
    let device = metadata_of(dir)?.identity.device;
    loop {
        let here = open_to_empty(dir, &path)?;
        if metadata_of(&here)?.identity.device != device {
            return Err(Errno::BUSY);
        }
        listing.read_open(here.as_fd())?;
        let mut deeper = None;
        for (child, file_type) in listing.iter() {
            let kind = match file_type {
                FileType::Unknown | FileType::RegularFile => metadata_at(here.as_fd(), child).map(|have| have.kind),
                FileType::Directory => Ok(Kind::Directory),
                known => Ok(Kind::from_mode(known.as_raw_mode()).unwrap_or(Kind::File)),
            };
            match kind {
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
                Ok(Kind::Directory) if deeper.is_none() => deeper = Some(child.bytes().to_vec()),
                Ok(Kind::Directory) => {}
                Ok(kind) => unlink(here.as_fd(), child.bytes(), kind, removed)?,
            }
        }
        if let Some(deeper) = deeper {
            path.push(b'/');
            path.extend_from_slice(&deeper);
            continue;
        }
        let slash = path.iter().rposition(|&byte| byte == b'/');
        let last = path.get(slash.map_or(0, |slash| slash + 1)..).unwrap_or_default().to_vec();
        match slash {
            None => {
                rustix::fs::unlinkat(dir, &*last, AtFlags::REMOVEDIR)?;
                removed.count(Kind::Directory);
                return Ok(());
            }
            Some(slash) => {
                path.truncate(slash);
                let parent = open_beneath(dir, &path, OFlags::PATH | OFlags::DIRECTORY)?;
                rustix::fs::unlinkat(&parent, &*last, AtFlags::REMOVEDIR)?;
                removed.count(Kind::Directory);
            }
        }
    }
}

/// Opens a directory for reading; one of our own that forbids us to is opened up first, for it is to go anyway.
fn open_to_empty(dir: BorrowedFd<'_>, path: &[u8]) -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = open_beneath(dir, path, flags);
    let closed = match &opened {
        Err(errno) => *errno == Errno::ACCESS,
        Ok(fd) => {
            rustix::fs::accessat(fd, ".", rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK, AtFlags::EACCESS)
                .is_err()
        }
    };
    if !closed {
        return opened;
    }
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (parent, last) = match slash {
        None => (open_beneath(dir, b".", OFlags::PATH | OFlags::DIRECTORY)?, path),
        Some(slash) => (
            open_beneath(dir, path.get(..slash).unwrap_or_default(), OFlags::PATH | OFlags::DIRECTORY)?,
            path.get(slash + 1..).unwrap_or_default(),
        ),
    };
    open_up(parent.as_fd(), Name::from_kernel(last))?;
    open_beneath(dir, path, flags)
}

/// Lets the owner of the directory `name` do everything in it.
///
/// # Errors
/// The kernel's, `EPERM` when it is somebody else's.
pub fn open_up(parent: BorrowedFd<'_>, name: Name<'_>) -> Result<(), Errno> {
    let have = metadata_at(parent, name)?;
    let permissions = Some(have.permissions | 0o700);
    let wanted = Wanted { permissions, uid: None, gid: None, modified: None };
    match Object::Named(parent, name).apply(&have, &wanted, &Powers::default())? {
        lost if lost.nothing() => Ok(()),
        _ => Err(Errno::PERM),
    }
}

fn unlink(dir: BorrowedFd<'_>, name: &[u8], kind: Kind, removed: &mut Removed) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
        Ok(()) => {
            removed.count(kind);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_goes_and_what_its_links_point_to_stays() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("kept"), "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("t/a/b/c")).unwrap();
        std::fs::create_dir_all(root.path().join("t/a2")).unwrap();
        std::fs::write(root.path().join("t/a/b/f"), "x").unwrap();
        symlink(outside.path(), root.path().join("t/a/out")).unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let mut removed = Removed::default();
        remove(dir.as_fd(), Name::new(b"t").unwrap(), &mut removed).unwrap();
        assert_eq!(removed, Removed { files: 1, directories: 5, symlinks: 1, devices: 0, specials: 0 });
        assert!(outside.path().join("kept").exists());
        assert!(!root.path().join("t").exists());
    }

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_goes() {
        let root = tempfile::tempdir().unwrap();
        let deep = vec!["d"; 1500].join("/");
        std::fs::create_dir_all(root.path().join(&deep)).unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let mut removed = Removed::default();
        remove(dir.as_fd(), Name::new(b"d").unwrap(), &mut removed).unwrap();
        assert_eq!(removed.directories, 1500);
    }

    #[test]
    fn what_is_gone_already_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let mut removed = Removed::default();
        remove(dir.as_fd(), Name::new(b"none").unwrap(), &mut removed).unwrap();
        assert_eq!(removed.total(), 0);
    }
}
