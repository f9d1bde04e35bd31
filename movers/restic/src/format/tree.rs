//! Trees: the entries of a directory (design.rst, "Trees and Data"; the fields and their order are those of restic's type
//! `Node`).

mod decode;
mod encode;

use doppel_volume::metadata::{DeviceNumber, Kind, Moment};

use crate::format::id::Id;

pub(crate) use decode::{decode, decode_node};
pub(crate) use encode::{BEGIN, TreeText, encode};

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// A single component of a path.
    pub(crate) name: Vec<u8>,
    /// None for what other systems have and Linux has not.
    pub(crate) kind: Option<Kind>,
    /// With setuid, setgid and sticky, as the kernel has them.
    pub(crate) permissions: u32,
    pub(crate) modified: Moment,
    pub(crate) accessed: Moment,
    pub(crate) changed: Moment,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) user: String,
    pub(crate) group: String,
    pub(crate) inode: u64,
    /// The file system, of an entry that may have other names.
    pub(crate) device_id: u64,
    pub(crate) size: u64,
    pub(crate) links: u64,
    /// Of a symbolic link.
    pub(crate) target: Vec<u8>,
    pub(crate) xattrs: Vec<Xattr>,
    /// Of a device node.
    pub(crate) device: DeviceNumber,
    /// Of a file.
    pub(crate) content: Vec<Id>,
    /// Of a directory.
    pub(crate) subtree: Option<Id>,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Xattr {
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// What restic calls a kind, and its type bits in Go's `fs.FileMode`.
const KINDS: [(Kind, &str, u32); 7] = [
    (Kind::File, "file", 0),
    (Kind::Directory, "dir", 1 << 31),
    (Kind::Symlink, "symlink", 1 << 27),
    (Kind::BlockDevice, "dev", 1 << 26),
    (Kind::CharacterDevice, "chardev", 1 << 26 | 1 << 21),
    (Kind::Fifo, "fifo", 1 << 25),
    (Kind::Socket, "socket", 1 << 24),
];

/// setuid, setgid and sticky: in the kernel's mode, and in Go's.
const SPECIAL_BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// What restic calls a node's kind, and its mode with the bits of that.
pub(crate) fn kind_and_mode(node: &Node) -> (&'static str, u32) {
    let known = KINDS.iter().find(|(kind, ..)| Some(*kind) == node.kind);
    let (_, kind, type_bits) = known.copied().unwrap_or((Kind::File, "irregular", 1 << 19));
    let special = SPECIAL_BITS.iter().filter(|(unix, _)| node.permissions & unix != 0);
    (kind, special.fold(type_bits | (node.permissions & 0o777), |bits, (_, go)| bits | go))
}

/// The kernel's `dev_t` (makedev(3)).
fn join_device(number: DeviceNumber) -> u64 {
    let (major, minor) = (u64::from(number.major), u64::from(number.minor));
    ((major & !0xfff) << 32) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | (minor & 0xff)
}

fn split_device(device: u64) -> DeviceNumber {
    let low = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or_default();
    DeviceNumber {
        major: low(((device >> 32) & !0xfff) | ((device >> 8) & 0xfff)),
        minor: low(((device >> 12) & !0xff) | (device & 0xff)),
    }
}

#[cfg(test)]
mod tests;
