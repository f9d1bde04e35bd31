//! What can go wrong with a volume. The fault is always the volume's: full, unreadable, damaged, or changing.

use std::io;

use doppel_contract::Line;
use rustix::io::Errno;

/// A call to the file system that failed: what was being done, to which path, and what the kernel said.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {reason}", reason = reason(.errno))]
pub struct Error {
    action: &'static str,
    path: Line,
    errno: Errno,
}

impl Error {
    pub(crate) fn new(action: &'static str, path: &[u8], errno: Errno) -> Self {
        let path = if path.is_empty() { Line::new("the volume's root") } else { Line::from_bytes(path) };
        Self { action, path, errno }
    }

    /// The path beneath the volume's root that the call was about.
    #[must_use]
    pub fn path(&self) -> &Line {
        &self.path
    }

    /// What was being done and what the kernel said, without the path.
    #[must_use]
    pub fn why(&self) -> Line {
        Line::new(format!("{}: {}", self.action, reason(&self.errno)))
    }

    /// What the kernel said.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// Whether the entry is not there (any more).
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.errno, Errno::NOENT | Errno::NOTDIR | Errno::STALE)
    }

    /// Whether the volume has no room: blocks, inodes or a quota.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.errno, Errno::NOSPC | Errno::DQUOT | Errno::FBIG)
    }

    /// Whether the kernel refuses this to a process without privileges.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.errno, Errno::PERM | Errno::ACCESS)
    }
}

/// The kernel's words, without Rust's "(os error 13)".
fn reason(errno: &Errno) -> String {
    let text = io::Error::from(*errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
