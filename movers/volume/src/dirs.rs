//! Directories beneath a root, opened safely and kept open for a while.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::tree::Tree;

/// Hands out descriptors of directories by path, and keeps the last few: trees are worked through directory by
/// directory, so nearly every request is for one of them.
#[derive(Debug)]
pub struct Dirs<'t> {
    tree: &'t Tree,
    open: Vec<Slot>,
    uses: u64,
}

#[derive(Debug)]
struct Slot {
    path: Vec<u8>,
    fd: OwnedFd,
    used: u64,
}

/// Enough for a chain of parents; few enough to never meet the limit of descriptors (1,024 in many containers).
const KEPT_OPEN: usize = 8;

/// Neither `..` nor an absolute path nor any link, magic or not, leads anywhere else. (`design.md`, `openat2(2)`.)
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl<'t> Dirs<'t> {
    /// Directories of this tree.
    #[must_use]
    pub fn new(tree: &'t Tree) -> Self {
        Self { tree, open: Vec::with_capacity(KEPT_OPEN), uses: 0 }
    }

    /// The directory at `path` beneath the root; the root itself for an empty path. The descriptor serves as the base
    /// of `*at` calls only (`O_PATH`): it needs no permission to read the directory.
    ///
    /// # Errors
    /// The kernel's; `ELOOP` or `EXDEV` when a component is a link or leads outside.
    pub fn open(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Errno> {
        if path.is_empty() {
            return Ok(self.tree.root());
        }
        self.uses += 1;
        let uses = self.uses;
        let found = match self.open.iter().position(|slot| slot.path == path) {
            Some(found) => found,
            None => self.admit(path)?,
        };
        let slot = self.open.get_mut(found).ok_or(Errno::BADF)?;
        slot.used = uses;
        Ok(slot.fd.as_fd())
    }

    /// Forgets a directory, because it was or may have been replaced by another of the same path.
    pub fn forget(&mut self, path: &[u8]) {
        self.open
            .retain(|slot| !(slot.path.starts_with(path) && matches!(slot.path.get(path.len()), None | Some(b'/'))));
    }

    fn admit(&mut self, path: &[u8]) -> Result<usize, Errno> {
        let fd = open_beneath(self.tree.root(), path, OFlags::PATH | OFlags::DIRECTORY)?;
        let slot = Slot { path: path.to_vec(), fd, used: self.uses };
        let oldest = self.open.iter().enumerate().min_by_key(|(_, slot)| slot.used).map(|(index, _)| index);
        match oldest {
            Some(oldest) if self.open.len() >= KEPT_OPEN => {
                if let Some(place) = self.open.get_mut(oldest) {
                    *place = slot;
                }
                Ok(oldest)
            }
            _ => {
                self.open.push(slot);
                Ok(self.open.len() - 1)
            }
        }
    }
}

/// Opens `path` beneath `root`, following no link in any component.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    // The kernel answers EAGAIN when a rename raced with the look-up of "..": there is none in our paths, but some
    // file systems say so of any rename. A few tries are enough; a racer gains nothing but an error.
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
            Err(Errno::AGAIN) if tries < 16 => tries += 1,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_and_no_dots_lead_out_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("d")).unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        symlink(outside.path(), root.path().join("out")).unwrap();
        symlink("a", root.path().join("inside")).unwrap();
        let tree = Tree::open(root.path()).unwrap();
        let mut dirs = Dirs::new(&tree);
        assert!(dirs.open(b"").is_ok());
        assert!(dirs.open(b"a/b").is_ok());
        for bad in [&b"out"[..], b"out/d", b"inside/b", b"..", b"a/../..", b"/", b"/etc"] {
            assert!(dirs.open(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn more_directories_than_are_kept_open_are_served() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::open(root.path()).unwrap();
        let mut dirs = Dirs::new(&tree);
        for round in 0..3 {
            for number in 0..4 * KEPT_OPEN {
                let name = format!("d{number}");
                if round == 0 {
                    std::fs::create_dir(root.path().join(&name)).unwrap();
                }
                dirs.open(name.as_bytes()).unwrap();
            }
        }
        assert_eq!(dirs.open.len(), KEPT_OPEN);
    }

    #[test]
    fn a_forgotten_directory_is_looked_up_again() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        let tree = Tree::open(root.path()).unwrap();
        let mut dirs = Dirs::new(&tree);
        dirs.open(b"a/b").unwrap();
        std::fs::remove_dir_all(root.path().join("a")).unwrap();
        assert!(dirs.open(b"a/b").is_ok(), "still held open");
        dirs.forget(b"a");
        assert_eq!(dirs.open(b"a/b").unwrap_err(), Errno::NOENT);
    }
}
