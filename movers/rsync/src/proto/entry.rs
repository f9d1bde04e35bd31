//! Entries of the file list. Each says only in what it differs from the one before. (rsync-win, flist specification, 1
//! to 6; hard links from captures of rsync 3.5.0.)

use doppel_volume::metadata::{DeviceNumber, Kind, Moment};
use doppel_volume::names::MAX_PATH;

use crate::proto::frame::IoErrors;
use crate::proto::input::{Input, Malformed};
use crate::proto::integer::{read_bits, read_count, read_int, read_varlong, write_bits, write_varint, write_varlong};

/// Which fields entries have: follows from the arguments of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Links have a target (`-l`).
    pub links: bool,
    /// Entries can be hard links of each other (`-H`).
    pub hard_links: bool,
    /// Entries have an owner (`-o`).
    pub owner: bool,
    /// Entries have a group (`-g`).
    pub group: bool,
    /// Device nodes have numbers (`--devices`, of `-D`).
    pub devices: bool,
    /// Before protocol 31, pipes and sockets have numbers (`--specials`, of `-D`).
    pub numbered_specials: bool,
    /// Access control lists follow entries (`-A`).
    pub acls: bool,
    /// Extended attributes follow entries, after those (`-X`).
    pub xattrs: bool,
}

/// An entry as it is on the wire, but for its path and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireEntry {
    /// What it is.
    pub kind: Kind,
    /// The lower twelve bits of its mode.
    pub permissions: u32,
    /// Bytes of content.
    pub size: u64,
    /// Time of its last change.
    pub modified: Moment,
    /// Numeric owner; 0 when entries have none.
    pub uid: u32,
    /// Numeric group; 0 when entries have none.
    pub gid: u32,
    /// For a device node.
    pub device: DeviceNumber,
    /// Other names of the same inode.
    pub hard_link: HardLink,
    /// Whether it is a directory whose content the list does not have.
    pub without_content: bool,
}

/// Whether an entry shares its inode with others of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardLink {
    /// It does not, as far as the sender says.
    No,
    /// It is the first of them.
    First,
    /// It is the same as the entry that was sent at this position, counted from 0.
    Of(u32),
}

mod flag {
    pub(super) const TOP_DIRECTORY: u32 = 1;
    pub(super) const SAME_MODE: u32 = 1 << 1;
    /// Stands for "none": a word of zero would be the end of the list.
    pub(super) const NO_FLAGS: u32 = 1 << 2;
    pub(super) const SAME_UID: u32 = 1 << 3;
    pub(super) const SAME_GID: u32 = 1 << 4;
    pub(super) const SAME_NAME: u32 = 1 << 5;
    pub(super) const LONG_NAME: u32 = 1 << 6;
    pub(super) const SAME_TIME: u32 = 1 << 7;
    pub(super) const SAME_MAJOR: u32 = 1 << 8;
    pub(super) const NO_CONTENT: u32 = 1 << 8;
    pub(super) const HARD_LINKED: u32 = 1 << 9;
    pub(super) const USER_NAME: u32 = 1 << 10;
    pub(super) const GROUP_NAME: u32 = 1 << 11;
    pub(super) const HARD_LINK_FIRST: u32 = 1 << 12;
    pub(super) const NANOSECONDS: u32 = 1 << 13;
    /// Everything above; the rest belongs to options that we do not take part in.
    pub(super) const KNOWN: u32 = (1 << 14) - 1;
}

/// [`MAX_PATH`], as the wire's numbers are.
const LONGEST: u32 = 4095;
const _: () = assert!(LONGEST as usize == MAX_PATH);

/// What both ends remember of the entry before.
#[derive(Debug, Clone, Default)]
struct Before {
    path: Vec<u8>,
    seconds: i64,
    mode: u32,
    uid: u32,
    gid: u32,
    major: u32,
}

/// Reads entries.
#[derive(Debug)]
pub struct EntryDecoder {
    layout: Layout,
    before: Before,
    target: Vec<u8>,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// An entry, with [`EntryDecoder::path`] and [`EntryDecoder::target`].
    Entry(WireEntry),
    /// The end of the list, and what the sender could not read of its tree.
    End(IoErrors),
}

impl EntryDecoder {
    /// For a session with this layout.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout, before: Before::default(), target: Vec::new() }
    }

    /// The path of the entry that was read last, as the peer sent it: it can be anything.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.before.path
    }

    /// The target of the link that was read last.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        &self.target
    }

    /// Reads an entry. `sent` looks up an entry by its position in the list, for hard links.
    ///
    /// # Errors
    /// When it is not an entry.
    pub fn read<I: Input>(
        &mut self,
        input: &mut I,
        sent: impl FnOnce(u32) -> Option<WireEntry>,
    ) -> Result<Decoded, I::Error> {
        let flags = read_bits(input)?;
        if flags == 0 {
            let errors = read_count(input, "the errors of a list", 0xffff)?;
            return Ok(Decoded::End(IoErrors(errors)));
        }
        let unknown = if self.layout.hard_links { 0 } else { flag::HARD_LINKED | flag::HARD_LINK_FIRST };
        if flags & (!flag::KNOWN | unknown) != 0 {
            return Err(Malformed::OutOfRange { what: "the flags of an entry", value: flags.into() }.into());
        }
        self.read_path(input, flags)?;
        if flags & flag::HARD_LINKED != 0 && flags & flag::HARD_LINK_FIRST == 0 {
            let first = read_count(input, "the position of a hard link", i32::MAX.cast_unsigned())?;
            let same = sent(first)
                .filter(|entry| entry.kind != Kind::Directory)
                .ok_or(Malformed::OutOfRange { what: "the position of a hard link", value: first.into() })?;
            self.remember(&same);
            return Ok(Decoded::Entry(WireEntry { hard_link: HardLink::Of(first), ..same }));
        }
        let entry = self.read_fields(input, flags)?;
        self.remember(&entry);
        Ok(Decoded::Entry(entry))
    }

    fn read_path<I: Input>(&mut self, input: &mut I, flags: u32) -> Result<(), I::Error> {
        let same = if flags & flag::SAME_NAME != 0 { usize::from(input.byte()?) } else { 0 };
        let more = if flags & flag::LONG_NAME != 0 {
            read_count(input, "the length of a path", LONGEST)? as usize
        } else {
            usize::from(input.byte()?)
        };
        if same > self.before.path.len() {
            return Err(Malformed::OutOfRange { what: "the shared length of paths", value: same as i64 }.into());
        }
        self.before.path.truncate(same);
        self.before.path.extend_from_slice(input.sized("path", more, MAX_PATH - same.min(MAX_PATH))?);
        Ok(())
    }

    fn read_fields<I: Input>(&mut self, input: &mut I, flags: u32) -> Result<WireEntry, I::Error> {
        let size = read_varlong(input, 3)?;
        let size = u64::try_from(size).map_err(|_| Malformed::OutOfRange { what: "a size", value: size })?;
        let seconds = if flags & flag::SAME_TIME == 0 { read_varlong(input, 4)? } else { self.before.seconds };
        let nanoseconds =
            if flags & flag::NANOSECONDS == 0 { 0 } else { read_count(input, "nanoseconds", 999_999_999)? };
        let mode = if flags & flag::SAME_MODE == 0 { read_int(input)?.cast_unsigned() } else { self.before.mode };
        let kind = Kind::from_mode(mode);
        let kind = kind.ok_or(Malformed::OutOfRange { what: "a mode", value: mode.into() })?;
        let uid = self.read_id(input, self.layout.owner, flags & flag::SAME_UID != 0, flags & flag::USER_NAME != 0)?;
        let gid = self.read_id(input, self.layout.group, flags & flag::SAME_GID != 0, flags & flag::GROUP_NAME != 0)?;
        let (uid, gid) = (uid.unwrap_or(self.before.uid), gid.unwrap_or(self.before.gid));
        let mut device = DeviceNumber::default();
        if self.layout.has_number(kind) {
            device.major = if flags & flag::SAME_MAJOR == 0 { read_bits(input)? } else { self.before.major };
            device.minor = read_bits(input)?;
        }
        self.target.clear();
        if self.layout.links && kind == Kind::Symlink {
            let len = read_count(input, "the length of a link's target", LONGEST)? as usize;
            self.target.extend_from_slice(input.sized("link's target", len, MAX_PATH)?);
        }
        let hard_link = if flags & flag::HARD_LINKED != 0 { HardLink::First } else { HardLink::No };
        let without_content = kind == Kind::Directory && flags & flag::NO_CONTENT != 0;
        let modified = Moment { seconds, nanoseconds };
        let size = if kind.is_device() { 0 } else { size };
        let permissions = mode & 0o7777;
        Ok(WireEntry { kind, permissions, size, modified, uid, gid, device, hard_link, without_content })
    }

    /// A user or group id; `None` when it is the one before.
    fn read_id<I: Input>(&self, input: &mut I, sent: bool, same: bool, named: bool) -> Result<Option<u32>, I::Error> {
        if !sent || same {
            return Ok(None);
        }
        let id = read_bits(input)?;
        if named {
            let len = usize::from(input.byte()?);
            input.take(len)?;
        }
        Ok(Some(id))
    }

    fn remember(&mut self, entry: &WireEntry) {
        self.before.remember(entry, self.layout);
    }
}

impl Before {
    fn remember(&mut self, entry: &WireEntry, layout: Layout) {
        self.seconds = entry.modified.seconds;
        self.mode = entry.kind.type_bits() | entry.permissions;
        self.uid = entry.uid;
        self.gid = entry.gid;
        if layout.has_number(entry.kind) {
            self.major = entry.device.major;
        }
    }
}

impl Layout {
    fn has_number(self, kind: Kind) -> bool {
        (self.devices && kind.is_device()) || (self.numbered_specials && matches!(kind, Kind::Fifo | Kind::Socket))
    }
}

/// Writes entries.
#[derive(Debug)]
pub struct EntryEncoder {
    layout: Layout,
    before: Before,
}

impl EntryEncoder {
    /// For a session with this layout.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout, before: Before::default() }
    }

    /// Writes an entry. The root of the tree has the path `.`. An entry that is [`HardLink::Of`] another must have the
    /// other's fields.
    pub fn write(&mut self, out: &mut Vec<u8>, path: &[u8], entry: &WireEntry, target: &[u8]) {
        let mode = entry.kind.type_bits() | entry.permissions;
        let shared = self.before.path.iter().zip(path).take(255).take_while(|(a, b)| a == b).count();
        let rest = path.get(shared..).unwrap_or_default();
        let flags = self.flags(path, entry, mode, (shared, rest.len()));
        write_bits(out, if flags == 0 { flag::NO_FLAGS } else { flags });
        if flags & flag::SAME_NAME != 0 {
            out.push(shared.to_le_bytes()[0]);
        }
        if flags & flag::LONG_NAME != 0 {
            write_bits(out, u32::try_from(rest.len()).unwrap_or(u32::MAX));
        } else {
            out.push(rest.len().to_le_bytes()[0]);
        }
        out.extend_from_slice(rest);
        match entry.hard_link {
            HardLink::Of(first) => write_bits(out, first),
            HardLink::No | HardLink::First => self.write_fields(out, flags, entry, target),
        }
        self.before.path.truncate(shared);
        self.before.path.extend_from_slice(rest);
        self.before.remember(entry, self.layout);
    }

    fn flags(&self, path: &[u8], entry: &WireEntry, mode: u32, (shared, rest): (usize, usize)) -> u32 {
        let before = &self.before;
        let first = before.path.is_empty();
        let number = self.layout.has_number(entry.kind);
        let hard_link = match entry.hard_link {
            HardLink::No => 0,
            HardLink::First => flag::HARD_LINKED | flag::HARD_LINK_FIRST,
            HardLink::Of(_) => flag::HARD_LINKED,
        };
        [
            (path == b".", flag::TOP_DIRECTORY),
            (mode == before.mode, flag::SAME_MODE),
            (!self.layout.owner || (!first && entry.uid == before.uid), flag::SAME_UID),
            (!self.layout.group || (!first && entry.gid == before.gid), flag::SAME_GID),
            (shared > 0, flag::SAME_NAME),
            (rest > 255, flag::LONG_NAME),
            (entry.modified.seconds == before.seconds, flag::SAME_TIME),
            (entry.modified.nanoseconds != 0, flag::NANOSECONDS),
            (number && entry.device.major == before.major, flag::SAME_MAJOR),
            (entry.kind == Kind::Directory && entry.without_content, flag::NO_CONTENT),
        ]
        .iter()
        .filter(|(set, _)| *set)
        .fold(hard_link, |flags, (_, flag)| flags | flag)
    }

    fn write_fields(&self, out: &mut Vec<u8>, flags: u32, entry: &WireEntry, target: &[u8]) {
        write_varlong(out, i64::try_from(entry.size).unwrap_or(i64::MAX), 3);
        if flags & flag::SAME_TIME == 0 {
            write_varlong(out, entry.modified.seconds, 4);
        }
        if flags & flag::NANOSECONDS != 0 {
            write_bits(out, entry.modified.nanoseconds);
        }
        if flags & flag::SAME_MODE == 0 {
            out.extend((entry.kind.type_bits() | entry.permissions).to_le_bytes());
        }
        if flags & flag::SAME_UID == 0 {
            write_bits(out, entry.uid);
        }
        if flags & flag::SAME_GID == 0 {
            write_bits(out, entry.gid);
        }
        if self.layout.has_number(entry.kind) {
            if flags & flag::SAME_MAJOR == 0 {
                write_bits(out, entry.device.major);
            }
            write_bits(out, entry.device.minor);
        }
        if self.layout.links && entry.kind == Kind::Symlink {
            write_bits(out, u32::try_from(target.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(target);
        }
    }

    /// Writes the end of the list.
    pub fn end(out: &mut Vec<u8>, errors: IoErrors) {
        out.push(0);
        write_varint(out, errors.0.cast_signed());
    }
}

/// Reads, and drops, the names of users or groups that follow the list unless ids are numeric: ours always are.
///
/// # Errors
/// When it is not such a list.
pub fn skip_names<I: Input>(input: &mut I, root_is_named: bool) -> Result<(), I::Error> {
    loop {
        let id = read_bits(input)?;
        if id != 0 || root_is_named {
            let len = usize::from(input.byte()?);
            input.take(len)?;
        }
        if id == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
