//! POSIX access control lists, as the kernel keeps them in extended attributes (acl(5), `posix_acl_xattr.h`).

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

/// The rules of such an attribute; `None` when it is none of this version.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<Rule>> {
    let (version, rules) = bytes.split_first_chunk::<4>()?;
    let (rules, rest) = rules.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
        return None;
    }
    let rule = |[tag, tag_high, may, may_high, id @ ..]: &[u8; 8]| {
        let id = u32::from_le_bytes(*id);
        let whom = match u16::from_le_bytes([*tag, *tag_high]) {
            0x01 => Whom::Owner,
            0x02 => Whom::User(id),
            0x04 => Whom::OwningGroup,
            0x08 => Whom::Group(id),
            0x10 => Whom::Mask,
            0x20 => Whom::Other,
            _ => return None,
        };
        (*may_high == 0 && *may <= 7).then_some(Rule { whom, may: *may })
    };
    rules.iter().map(rule).collect()
}

impl Which {
    /// The attribute that has it.
    pub(crate) fn attribute(self) -> &'static str {
        match self {
            Self::Access => "system.posix_acl_access",
            Self::Default => "system.posix_acl_default",
        }
    }
}

impl Object<'_> {
    /// Reads one of the entry's lists over `acl`; whether it has it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn acl(self, which: Which, acl: &mut Vec<u8>) -> Result<bool, Errno> {
        self.attribute(which.attribute().as_bytes(), acl)
    }

    /// Gives the entry a list, or takes it away. Whether that was possible: not every file system has lists, and not
    /// every entry is ours.
    ///
    /// # Errors
    /// The kernel's, other than that.
    pub fn set_acl(self, which: Which, acl: Option<&[u8]>) -> Result<bool, Errno> {
        let name = which.attribute().as_bytes();
        let result = match acl {
            Some(acl) => self.set_attribute(name, acl),
            None => self.remove_attribute(name),
        };
        match result {
            Ok(()) => Ok(true),
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
        let mut read = Vec::new();
        assert!(object.acl(Which::Access, &mut read).unwrap());
        assert_eq!(encode(decode(&read).unwrap()), bytes);
        assert!(!object.acl(Which::Default, &mut read).unwrap());
        assert!(object.set_acl(Which::Access, None).unwrap());
        assert!(object.set_acl(Which::Access, None).unwrap(), "there is none any more");
        assert_eq!(rustix::fs::getxattr(&path, "system.posix_acl_access", &mut kept[..]), Err(Errno::NODATA));
    }
    #[test]
    fn what_is_no_list_is_not_taken_for_one() {
        let good = encode(vec![Rule { whom: Whom::Owner, may: 6 }]);
        assert!(decode(&good).is_some());
        for (place, byte) in [(0, 3), (4, 3), (6, 8), (7, 1)] {
            let mut bad = good.clone();
            bad[place] = byte;
            assert_eq!(decode(&bad), None, "byte {place}");
        }
        assert_eq!(decode(&good[..11]), None);
        assert_eq!(decode(&[]), None);
    }
}
