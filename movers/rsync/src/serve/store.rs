//! Getting a new entry under its name, whatever has that name.

use std::os::fd::BorrowedFd;

use doppel_volume::names::Name;
use doppel_volume::remove::{Removed, remove};
use rustix::io::Errno;

/// Commits with `commit`; a directory that has the name gives way.
pub(super) fn commit_over(
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
