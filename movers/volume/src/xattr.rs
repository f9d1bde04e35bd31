//! Extended attributes (xattr(7)), those of links, pipes and devices included.
//!
//! The kernel's old calls take a path, or a descriptor that is open for reading, which links, devices and forbidden files
//! must or can not be. So an entry is named as `/proc/self/fd/DIRECTORY/NAME`: the first part is the open directory itself
//! (proc_pid_fd(5)), the last a single name that the calls do not follow. That is what an `*at` call does.
//!
//! Kept are attributes of users (`user.`), and with privilege those of the system's programs (`trusted.`, `security.`).
//! Labels that a node's kernel gives to files by its own policy ([`Namespace::of`]) belong to the node, and the rest of
//! `system.` to the file system; access control lists have a module of their own ([`crate::acl`]).

use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::acl::Which;
use crate::attributes::Object;
use crate::metadata::{Kind, Metadata};
use crate::names::Name;

/// No name is longer (`XATTR_NAME_MAX`), without its NUL.
pub const MAX_NAME: usize = 255;
/// No value is longer (`XATTR_SIZE_MAX`).
pub const MAX_VALUE: usize = 64 * 1024;
/// All names of an entry together are not longer, each with its NUL (`XATTR_LIST_MAX`).
pub const MAX_LIST: usize = 64 * 1024;
/// What is asked for at first. The kernel sets aside as much as is asked for, so that asking for the most for each of a
/// million entries would cost more than anything else.
const USUAL: usize = 512;

/// Who gives attributes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Whoever may write to the entry.
    User,
    /// A privileged process.
    Privileged,
}

impl Namespace {
    /// The namespace of a name, if it is one of those that are kept.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        /// Labels and measurements of the node's security modules: no other node's policy knows them, and a kernel with
        /// such a policy neither lets them be set nor removed.
        const LABELS: [&[u8]; 5] = [b"selinux", b"apparmor", b"ima", b"evm", b"SMACK64"];
        if name.len() > MAX_NAME || name.contains(&0) {
            return None;
        }
        let after = |prefix: &[u8]| name.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        match (after(b"user."), after(b"trusted."), after(b"security.")) {
            (Some(_), _, _) => Some(Self::User),
            (_, Some(_), _) => Some(Self::Privileged),
            (_, _, Some(rest)) if !LABELS.iter().any(|label| rest.starts_with(label)) => Some(Self::Privileged),
            _ => None,
        }
    }
}

/// The names of an entry's attributes. Reading again reuses the memory.
#[derive(Debug, Clone, Default)]
pub struct AttributeNames {
    bytes: Vec<u8>,
}

impl AttributeNames {
    /// All names.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty())
    }

    /// Those that are kept.
    pub fn kept(&self) -> impl Iterator<Item = (&[u8], Namespace)> {
        self.iter().filter_map(|name| Namespace::of(name).map(|namespace| (name, namespace)))
    }

    /// Whether the entry has an access control list.
    #[must_use]
    pub fn has_acl(&self, which: Which) -> bool {
        self.iter().any(|name| name == which.attribute().as_bytes())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Object<'_> {
    /// Reads the names of the entry's attributes. A file system that knows no attributes has none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn attribute_names(self, names: &mut AttributeNames) -> Result<(), Errno> {
        let read = fill(&mut names.bytes, MAX_LIST, |buffer| match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, buffer),
            Self::Named(dir, name) => rustix::fs::llistxattr(&path(dir, name)[..], buffer),
        });
        match read {
            Err(Errno::OPNOTSUPP) => {
                names.bytes.clear();
                Ok(())
            }
            read => read,
        }
    }

    /// Reads the value of an attribute over `value`; whether there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn attribute(self, name: &[u8], value: &mut Vec<u8>) -> Result<bool, Errno> {
        let read = fill(value, MAX_VALUE, |buffer| match self {
            Self::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer),
            Self::Named(dir, entry) => rustix::fs::lgetxattr(&path(dir, entry)[..], name, buffer),
        });
        match read {
            Ok(()) => Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {
                value.clear();
                Ok(false)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Gives the entry an attribute.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_attribute(self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(dir, entry) => rustix::fs::lsetxattr(&path(dir, entry)[..], name, value, XattrFlags::empty()),
        }
    }

    /// Takes an attribute from the entry, if it has it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_attribute(self, name: &[u8]) -> Result<(), Errno> {
        let removed = match self {
            Self::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Self::Named(dir, entry) => rustix::fs::lremovexattr(&path(dir, entry)[..], name),
        };
        match removed {
            Err(Errno::NODATA) => Ok(()),
            removed => removed,
        }
    }

    /// Lets the owner of a file or directory write to it, which setting its attributes takes, if that is us and it
    /// forbids us; whether it did. The caller gives the permissions back.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make_writable(self, have: &Metadata) -> Result<bool, Errno> {
        let ours = have.uid == rustix::process::geteuid().as_raw();
        if !ours || have.permissions & 0o600 == 0o600 || !matches!(have.kind, Kind::File | Kind::Directory) {
            return Ok(false);
        }
        self.chmod(have.permissions | 0o600).map(|()| true)
    }
}

/// Reads into `bytes` with a buffer that is large enough for nearly all, and then with the largest.
fn fill(bytes: &mut Vec<u8>, most: usize, read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<(), Errno> {
    for size in [USUAL, most] {
        bytes.resize(size, 0);
        match read(bytes) {
            Err(Errno::RANGE) if size < most => {}
            Err(errno) => {
                bytes.clear();
                return Err(errno);
            }
            Ok(len) => {
                bytes.truncate(len);
                return Ok(());
            }
        }
    }
    Err(Errno::RANGE)
}

/// The entry's name beneath the open directory.
fn path(dir: BorrowedFd<'_>, name: Name<'_>) -> Vec<u8> {
    let mut path = Vec::with_capacity(32 + name.bytes().len());
    // Writing to memory does not fail.
    let _ = write!(path, "/proc/self/fd/{}/", dir.as_raw_fd());
    path.extend_from_slice(name.bytes());
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    fn names(object: Object<'_>) -> Vec<String> {
        let mut names = AttributeNames::default();
        object.attribute_names(&mut names).unwrap();
        let mut names: Vec<String> = names.kept().map(|(name, _)| name.escape_ascii().to_string()).collect();
        names.sort();
        names
    }

    fn value(object: Object<'_>, name: &[u8]) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        object.attribute(name, &mut value).unwrap().then_some(value)
    }

    #[test]
    fn attributes_come_back_by_name_and_by_descriptor() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("f"), "").unwrap();
        let file = std::fs::File::open(root.path().join("f")).unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let named = Object::Named(dir.as_fd(), Name::new(b"f").unwrap());
        let open = Object::Open(file.as_fd());
        // More than is asked for at first, as far as every file system can keep it.
        let large = vec![7; 1500];
        named.set_attribute(b"user.large", &large).unwrap();
        open.set_attribute(b"user.empty", b"").unwrap();
        for object in [named, open] {
            assert_eq!(names(object), ["user.empty", "user.large"]);
            assert_eq!(value(object, b"user.large").as_deref(), Some(&large[..]));
            assert_eq!(value(object, b"user.empty").as_deref(), Some(&b""[..]));
            assert_eq!(value(object, b"user.none"), None);
        }
        named.remove_attribute(b"user.large").unwrap();
        open.remove_attribute(b"user.large").unwrap();
        assert_eq!(names(named), ["user.empty"]);
    }

    #[test]
    fn a_list_longer_than_usual_is_read_whole() {
        let root = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let object = Object::Open(dir.as_fd());
        let expected: Vec<String> = (0..40).map(|number| format!("user.{}{number:02}", "n".repeat(20))).collect();
        for name in &expected {
            object.set_attribute(name.as_bytes(), b"").unwrap();
        }
        assert_eq!(names(object), expected);
    }

    #[test]
    fn nothing_is_read_from_what_a_link_points_to() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("target"), "").unwrap();
        symlink("target", root.path().join("link")).unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let object = |name: &'static [u8]| Object::Named(dir.as_fd(), Name::new(name).unwrap());
        object(b"target").set_attribute(b"user.a", b"x").unwrap();
        assert!(names(object(b"link")).is_empty());
        // The kernel gives links no attributes of users.
        assert!(object(b"link").set_attribute(b"user.a", b"x").is_err());
        if rustix::process::geteuid().is_root() {
            object(b"link").set_attribute(b"trusted.a", b"of the link").unwrap();
            assert_eq!(value(object(b"link"), b"trusted.a").as_deref(), Some(&b"of the link"[..]));
            assert_eq!(names(object(b"target")), ["user.a"]);
        }
    }

    #[test]
    fn labels_of_the_node_and_unknown_namespaces_are_not_kept() {
        assert_eq!(Namespace::of(b"user.a"), Some(Namespace::User));
        assert_eq!(Namespace::of(b"security.capability"), Some(Namespace::Privileged));
        assert_eq!(Namespace::of(b"trusted.overlay.opaque"), Some(Namespace::Privileged));
        let long = [&b"user."[..], &[b'a'; 251]].concat();
        for not in [
            &b"security.selinux"[..],
            b"security.SMACK64EXEC",
            b"security.ima",
            b"system.posix_acl_access",
            b"system.nfs4_acl",
            b"user.",
            b"user",
            b"",
            b"user.a\0b",
            &long,
        ] {
            assert_eq!(Namespace::of(not), None, "{}", not.escape_ascii());
        }
    }

    #[test]
    fn a_file_that_forbids_its_owner_is_opened_up() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("f"), "").unwrap();
        std::fs::set_permissions(root.path().join("f"), std::fs::Permissions::from_mode(0o440)).unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let name = Name::new(b"f").unwrap();
        let object = Object::Named(dir.as_fd(), name);
        let have = crate::tree::metadata_at(dir.as_fd(), name).unwrap();
        assert!(object.make_writable(&have).unwrap());
        let have = crate::tree::metadata_at(dir.as_fd(), name).unwrap();
        assert_eq!(have.permissions, 0o640);
        assert!(!object.make_writable(&have).unwrap(), "nothing forbids it");
        let strangers = Metadata { uid: have.uid + 1, permissions: 0, ..have };
        assert!(!object.make_writable(&strangers).unwrap());
    }
}
