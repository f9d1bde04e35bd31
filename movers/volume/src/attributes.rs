//! Owner, group, permissions and time of an entry, and what becomes of them where the kernel says no.
//!
//! An unprivileged mover cannot give files away. That is known, expected and no error: what could not be kept is
//! returned as [`Lost`], and the caller counts it.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use crate::metadata::{Kind, Metadata, Moment};
use crate::names::Name;

/// Attributes that an entry shall have; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The lower twelve bits of the mode.
    pub permissions: Option<u32>,
    /// Numeric owner.
    pub uid: Option<u32>,
    /// Numeric group.
    pub gid: Option<u32>,
    /// Time of the last change.
    pub modified: Option<Moment>,
}

/// Attributes that could not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// The owner.
    pub owner: bool,
    /// The group.
    pub group: bool,
    /// The permissions.
    pub permissions: bool,
    /// The time.
    pub modified: bool,
    /// An access control list.
    pub acl: bool,
    /// An extended attribute, or more.
    pub extended: bool,
}

impl Lost {
    /// Whether everything was kept.
    #[must_use]
    pub fn nothing(self) -> bool {
        self == Self::default()
    }

    /// What was lost, for people.
    #[must_use]
    pub fn words(self) -> String {
        let all = [
            (self.owner, "owner"),
            (self.group, "group"),
            (self.permissions, "permissions"),
            (self.modified, "modification time"),
            (self.acl, "access control list"),
            (self.extended, "extended attributes"),
        ];
        let lost: Vec<&str> = all.iter().filter(|(lost, _)| *lost).map(|(_, words)| *words).collect();
        // Every file system has the others.
        let or = if self.acl || self.extended { ", or on this file system" } else { "" };
        format!("could not keep {} without privilege{or}", lost.join(", "))
    }
}

/// Whether an entry got another owner or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chowned {
    /// It did.
    Yes,
    /// It kept those that it had.
    No,
}

/// What this process was found not to be allowed, so that it does not ask a hundred thousand times.
#[derive(Debug, Default)]
pub struct Powers {
    no_chown: AtomicBool,
    denied_groups: Mutex<HashSet<u32>>,
}

/// The entry that attributes are given to.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// An open file.
    Open(BorrowedFd<'a>),
    /// A name in a directory; not what it points to if it is a link.
    Named(BorrowedFd<'a>, Name<'a>),
}

impl Object<'_> {
    /// Gives the entry the attributes of `wanted` in which it differs from `have`.
    ///
    /// # Errors
    /// The kernel's, except for what an unprivileged process cannot do: that is returned.
    pub fn apply(self, have: &Metadata, wanted: &Wanted, powers: &Powers) -> Result<Lost, Errno> {
        let mut lost = Lost::default();
        let chowned = self.apply_owner(have, wanted, powers, &mut lost)?;
        self.apply_rest(have, wanted, chowned, &mut lost)?;
        Ok(lost)
    }

    /// The first half of [`Object::apply`]: owner and group. Giving a file away takes capabilities from it, which are an
    /// extended attribute (`security.capability`), so these come after it.
    ///
    /// # Errors
    /// As there.
    pub fn apply_owner(
        self,
        have: &Metadata,
        wanted: &Wanted,
        powers: &Powers,
        lost: &mut Lost,
    ) -> Result<Chowned, Errno> {
        let uid = wanted.uid.filter(|uid| *uid != have.uid);
        let gid = wanted.gid.filter(|gid| *gid != have.gid);
        let changed = (uid.is_some() || gid.is_some()) && self.give_away(uid, gid, powers, lost)?;
        Ok(if changed { Chowned::Yes } else { Chowned::No })
    }

    /// The second half of [`Object::apply`]: permissions, which may forbid to set extended attributes, and the time.
    ///
    /// # Errors
    /// As there.
    pub fn apply_rest(self, have: &Metadata, wanted: &Wanted, chowned: Chowned, lost: &mut Lost) -> Result<(), Errno> {
        if let Some(permissions) = wanted.permissions.filter(|_| have.kind != Kind::Symlink) {
            let permissions = without_foreign_powers(permissions, have.kind, lost);
            // Changing the owner may clear setuid and setgid.
            if permissions != have.permissions || (chowned == Chowned::Yes && permissions & 0o6000 != 0) {
                match self.chmod(permissions) {
                    Err(Errno::PERM) => lost.permissions = true,
                    result => result?,
                }
            }
        }
        if let Some(modified) = wanted.modified.filter(|modified| *modified != have.modified) {
            match self.set_time(modified) {
                Err(Errno::PERM | Errno::ACCESS) => lost.modified = true,
                result => result?,
            }
        }
        Ok(())
    }

    /// Whether anything was changed.
    fn give_away(self, uid: Option<u32>, gid: Option<u32>, powers: &Powers, lost: &mut Lost) -> Result<bool, Errno> {
        let mut changed = false;
        if let Some(uid) = uid {
            if powers.no_chown.load(Ordering::Relaxed) {
                lost.owner = true;
            } else {
                match self.chown(Some(uid), None) {
                    Err(Errno::PERM) => {
                        powers.no_chown.store(true, Ordering::Relaxed);
                        lost.owner = true;
                    }
                    // An id that has no place in this user namespace.
                    Err(Errno::INVAL | Errno::OVERFLOW) => lost.owner = true,
                    result => result.map(|()| changed = true)?,
                }
            }
        }
        if let Some(gid) = gid {
            let denied = || powers.denied_groups.lock().unwrap_or_else(PoisonError::into_inner);
            if denied().contains(&gid) {
                lost.group = true;
            } else {
                match self.chown(None, Some(gid)) {
                    Err(Errno::PERM | Errno::INVAL | Errno::OVERFLOW) => {
                        // Not when the entry is somebody else's: then another entry may still get this group.
                        if denied().len() < MOST_DENIED_GROUPS && !powers.no_chown.load(Ordering::Relaxed) {
                            denied().insert(gid);
                        }
                        lost.group = true;
                    }
                    result => result.map(|()| changed = true)?,
                }
            }
        }
        Ok(changed)
    }

    fn chown(self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        // The all-ones id means "leave it" to the kernel, and belongs to nobody.
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        match self {
            Self::Open(fd) => rustix::fs::fchown(fd, uid, gid),
            Self::Named(dir, name) => rustix::fs::chownat(dir, name.bytes(), uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    pub(crate) fn chmod(self, permissions: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(permissions);
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, mode),
            Self::Named(dir, name) => {
                // `fchmodat` follows links. An `O_PATH` descriptor does not, needs no permission on the entry, and its
                // name in /proc is the entry itself (proc_pid_fd(5)).
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let entry = rustix::fs::openat(dir, name.bytes(), flags, Mode::empty())?;
                rustix::fs::chmod(format!("/proc/self/fd/{}", entry.as_fd().as_raw_fd()), mode)
            }
        }
    }

    fn set_time(self, modified: Moment) -> Result<(), Errno> {
        let times = timestamps(modified);
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, &times),
            Self::Named(dir, name) => rustix::fs::utimensat(dir, name.bytes(), &times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }
}

/// A program runs with the powers of its file's owner (setuid) or group (setgid). Where those could not be kept it would
/// get powers that nobody gave it: ours.
fn without_foreign_powers(permissions: u32, kind: Kind, lost: &mut Lost) -> u32 {
    const SETUID: u32 = 0o4000;
    const SETGID: u32 = 0o2000;
    let mut powers = 0;
    if lost.owner {
        powers |= SETUID;
    }
    // Of a directory, setgid only says which group its entries get.
    if lost.group && kind == Kind::File {
        powers |= SETGID;
    }
    lost.permissions |= permissions & powers != 0;
    permissions & !powers
}

/// Gives the directory `dir`, which may be open as a base only (`O_PATH`), this time.
///
/// # Errors
/// The kernel's.
pub fn set_directory_time(dir: BorrowedFd<'_>, modified: Moment) -> Result<(), Errno> {
    rustix::fs::utimensat(dir, ".", &timestamps(modified), AtFlags::SYMLINK_NOFOLLOW)
}

fn timestamps(modified: Moment) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanoseconds.into() },
    }
}

/// Beyond this many groups we ask the kernel each time.
const MOST_DENIED_GROUPS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::metadata_at;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const WANTED: Wanted = Wanted {
        permissions: Some(0o640),
        uid: None,
        gid: None,
        modified: Some(Moment { seconds: -5, nanoseconds: 123_456_789 }),
    };

    #[test]
    fn a_link_gets_its_own_time_and_its_target_nothing() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("target"), "x").unwrap();
        symlink("target", root.path().join("link")).unwrap();
        let before = std::fs::metadata(root.path().join("target")).unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let name = Name::new(b"link").unwrap();
        let have = metadata_at(dir.as_fd(), name).unwrap();
        let lost = Object::Named(dir.as_fd(), name).apply(&have, &WANTED, &Powers::default()).unwrap();
        assert!(lost.nothing());
        assert_eq!(metadata_at(dir.as_fd(), name).unwrap().modified, WANTED.modified.unwrap());
        let after = std::fs::metadata(root.path().join("target")).unwrap();
        assert_eq!((before.mode(), before.mtime_nsec()), (after.mode(), after.mtime_nsec()));
    }

    #[test]
    fn permissions_are_given_even_where_the_entry_cannot_be_opened() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("closed");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let name = Name::new(b"closed").unwrap();
        let have = metadata_at(dir.as_fd(), name).unwrap();
        assert!(Object::Named(dir.as_fd(), name).apply(&have, &WANTED, &Powers::default()).unwrap().nothing());
        let have = metadata_at(dir.as_fd(), name).unwrap();
        assert_eq!((have.permissions, have.modified), (0o640, WANTED.modified.unwrap()));
    }

    #[test]
    fn the_id_that_means_nobody_is_reported_as_lost() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("f"), "").unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let name = Name::new(b"f").unwrap();
        let have = metadata_at(dir.as_fd(), name).unwrap();
        let mut wanted = Wanted { permissions: None, uid: Some(u32::MAX), gid: Some(u32::MAX), modified: None };
        let apply = |wanted| Object::Named(dir.as_fd(), name).apply(&have, &wanted, &Powers::default()).unwrap();
        let lost = apply(wanted);
        assert_eq!(lost, Lost { owner: true, group: true, ..Lost::default() });
        assert_eq!(lost.words(), "could not keep owner, group without privilege");
        // Nor does it then run with the powers of another owner.
        wanted.permissions = Some(0o6755);
        assert!(apply(wanted).permissions);
        assert_eq!(metadata_at(dir.as_fd(), name).unwrap().permissions, 0o755);
    }
}
