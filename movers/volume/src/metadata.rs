//! What is known of an entry beside its content.

use rustix::fs::{FileType, Stat};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// The kind in the type bits (`S_IFMT`) of a mode, which are the same on every Linux and on rsync's wire.
    #[must_use]
    pub fn from_mode(mode: u32) -> Option<Self> {
        match mode & 0o170_000 {
            0o100_000 => Some(Self::File),
            0o040_000 => Some(Self::Directory),
            0o120_000 => Some(Self::Symlink),
            0o010_000 => Some(Self::Fifo),
            0o140_000 => Some(Self::Socket),
            0o020_000 => Some(Self::CharacterDevice),
            0o060_000 => Some(Self::BlockDevice),
            _ => None,
        }
    }

    /// The type bits of a mode.
    #[must_use]
    pub fn type_bits(self) -> u32 {
        match self {
            Self::File => 0o100_000,
            Self::Directory => 0o040_000,
            Self::Symlink => 0o120_000,
            Self::Fifo => 0o010_000,
            Self::Socket => 0o140_000,
            Self::CharacterDevice => 0o020_000,
            Self::BlockDevice => 0o060_000,
        }
    }

    /// Whether it is a device node, which only a privileged process can make.
    #[must_use]
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharacterDevice | Self::BlockDevice)
    }

    /// What people call it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::CharacterDevice => "character device",
            Self::BlockDevice => "block device",
        }
    }
}

/// A moment with nanoseconds, before 1970 when `seconds` is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment {
    /// Seconds since 1970, UTC.
    pub seconds: i64,
    /// Nanoseconds after that second: 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What a device node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// What `lstat` says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: the lower twelve bits of the mode.
    pub permissions: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes of content of a file, length of a link's target; of no meaning for others.
    pub size: u64,
    /// Time of the last change of its content.
    pub modified: Moment,
    /// Time of the last change of anything but its content, which nobody can set.
    pub changed: Moment,
    /// For a device node.
    pub device_number: DeviceNumber,
    /// How many names the inode has.
    pub links: u64,
    /// The file system that it is on, and its number there: together its identity.
    pub identity: Identity,
}

/// Two entries with the same identity are hard links of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Number of the file system.
    pub device: u64,
    /// Number of the inode in that file system.
    pub inode: u64,
}

impl Metadata {
    /// The whole mode as `stat` and rsync's wire have it: type bits and permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.kind.type_bits() | self.permissions
    }

    pub(crate) fn from_stat(stat: &Stat) -> Self {
        let moment =
            |seconds, nanoseconds: u64| Moment { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or_default() };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::CharacterDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::RegularFile | FileType::Unknown => Kind::File,
        };
        Self {
            kind,
            permissions: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: moment(stat.st_mtime, stat.st_mtime_nsec),
            changed: moment(stat.st_ctime, stat.st_ctime_nsec),
            device_number: DeviceNumber {
                major: rustix::fs::major(stat.st_rdev),
                minor: rustix::fs::minor(stat.st_rdev),
            },
            links: stat.st_nlink,
            identity: Identity { device: stat.st_dev, inode: stat.st_ino },
        }
    }
}
