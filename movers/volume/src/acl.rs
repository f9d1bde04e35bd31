//! POSIX access control lists, as the kernel keeps them in extended attributes (acl(5), `posix_acl_xattr.h`).

use std::os::fd::AsRawFd;

use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::attributes::Object;

/// Which of its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that says who may do what with the entry.
    Access,
    /// The one that new entries of a directory inherit.
    Default,
}

/// Whom an entry of a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// The owner.
    Owner,
    /// A named user.
    User(u32),
    /// The owning group.
    OwningGroup,
    /// A named group.
    Group(u32),
    /// All that are named, and the owning group: they may at most this.
    Mask,
    /// All others.
    Other,
}

/// An entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Whom it is about.
    pub whom: Whom,
    /// What they may: read 4, write 2, execute 1.
    pub may: u8,
}

const VERSION: u32 = 2;
/// For entries that name nobody.
const NO_ID: u32 = u32::MAX;

/// The attribute of these rules. The kernel wants them in this order.
#[must_use]
pub fn encode(mut rules: Vec<Rule>) -> Vec<u8> {
    rules.sort_unstable();
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for Rule { whom, may } in rules {
        let (tag, id) = match whom {
            Whom::Owner => (0x01_u16, NO_ID),
            Whom::User(id) => (0x02, id),
            Whom::OwningGroup => (0x04, NO_ID),
            Whom::Group(id) => (0x08, id),
            Whom::Mask => (0x10, NO_ID),
            Whom::Other => (0x20, NO_ID),
        };
        bytes.extend(tag.to_le_bytes());
        bytes.extend(u16::from(may).to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

impl Object<'_> {
    /// Gives the entry a list, or takes it away. Whether that was possible: not every file system has lists, and not
    /// every entry is ours.
    ///
    /// # Errors
    /// The kernel's, other than that.
    pub fn set_acl(self, which: Which, acl: Option<&[u8]>) -> Result<bool, Errno> {
        let name = match which {
            Which::Access => "system.posix_acl_access",
            Which::Default => "system.posix_acl_default",
        };
        let result = match self {
            Self::Open(fd) => match acl {
                Some(acl) => rustix::fs::fsetxattr(fd, name, acl, XattrFlags::empty()),
                None => rustix::fs::fremovexattr(fd, name),
            },
            Self::Named(dir, entry) => {
                // As for permissions: an `O_PATH` descriptor is the entry itself, and /proc names it.
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(dir, entry.bytes(), flags, Mode::empty())?;
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                match acl {
                    Some(acl) => rustix::fs::setxattr(path, name, acl, XattrFlags::empty()),
                    None => rustix::fs::removexattr(path, name),
                }
            }
        };
        match result {
            Ok(()) => Ok(true),
            Err(Errno::NODATA) if acl.is_none() => Ok(true),
            Err(Errno::OPNOTSUPP) => Ok(acl.is_none()),
            Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Name;
    use std::os::fd::AsFd;

    #[test]
    fn a_list_is_written_as_the_kernel_keeps_it() {
        let rules = vec![
            Rule { whom: Whom::Other, may: 0 },
            Rule { whom: Whom::Mask, may: 7 },
            Rule { whom: Whom::User(1234), may: 5 },
            Rule { whom: Whom::Owner, may: 6 },
            Rule { whom: Whom::OwningGroup, may: 4 },
        ];
        let bytes = encode(rules);
        assert_eq!(bytes.len(), 4 + 5 * 8);
        assert_eq!(bytes[..12], [2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(bytes[12..20], [2, 0, 5, 0, 0xd2, 4, 0, 0]);
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("f"), "").unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let object = Object::Named(dir.as_fd(), Name::new(b"f").unwrap());
        assert!(object.set_acl(Which::Access, Some(&bytes)).unwrap(), "the file system has no access control lists");
        let mut kept = [0; 100];
        let path = root.path().join("f");
        let len = rustix::fs::getxattr(&path, "system.posix_acl_access", &mut kept[..]).unwrap();
        assert_eq!(kept[..len], bytes);
        assert!(object.set_acl(Which::Access, None).unwrap());
        assert!(object.set_acl(Which::Access, None).unwrap(), "there is none any more");
        assert_eq!(rustix::fs::getxattr(&path, "system.posix_acl_access", &mut kept[..]), Err(Errno::NODATA));
    }
}
