//! Frames: everything after the handshake is cut into pieces of data and messages beside it, each behind four bytes:
//! 24 bits of length and the number of its kind plus seven. (rsync-win, flist specification, 8.)

use crate::proto::input::Malformed;

/// The header of a frame has this many bytes.
pub const HEADER: usize = 4;

/// A frame carries at most this many bytes, for its length has 24 bits.
pub const MAX_PAYLOAD: usize = 0xff_ffff;

/// A message, unlike data, is handled in one piece; rsync's own are shorter than a path of its limits.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// A piece of the stream of data.
    Data,
    /// Text about an entry that could not be transferred: the run is incomplete.
    ErrorTransfer,
    /// Text for information.
    Info,
    /// Text about an error.
    Error,
    /// Text about a mishap that does no harm.
    Warning,
    /// Text for a log.
    Log,
    /// Flags of [`IoErrors`], four bytes.
    IoError,
    /// The peer's timeout in seconds, four bytes.
    IoTimeout,
    /// Nothing; keeps the connection alive.
    Noop,
    /// The peer ends, with an exit code in four bytes; or acknowledges that we do, with none.
    ErrorExit,
    /// An entry was received, four bytes of index.
    Success,
    /// An entry was deleted, its path.
    Deleted,
    /// A requested entry is not going to be sent, four bytes of index.
    NoSend,
}

const TAGS: [(u8, Tag); 15] = [
    (0, Tag::Data),
    (1, Tag::ErrorTransfer),
    (2, Tag::Info),
    (3, Tag::Error),
    (4, Tag::Warning),
    (5, Tag::Error),
    (6, Tag::Log),
    (8, Tag::Error),
    (22, Tag::IoError),
    (33, Tag::IoTimeout),
    (42, Tag::Noop),
    (86, Tag::ErrorExit),
    (100, Tag::Success),
    (101, Tag::Deleted),
    (102, Tag::NoSend),
];

const BASE: u8 = 7;

impl Tag {
    fn number(self) -> u8 {
        TAGS.iter().find(|(_, tag)| *tag == self).map_or(0, |(number, _)| *number)
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub tag: Tag,
    /// How many bytes it carries.
    pub len: usize,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// When the kind is unknown or a message too long.
    pub fn decode(bytes: [u8; HEADER]) -> Result<Self, Malformed> {
        let [a, b, c, kind] = bytes;
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        let number = kind.wrapping_sub(BASE);
        let tag = TAGS.iter().find(|(known, _)| *known == number).map(|(_, tag)| *tag);
        let tag = tag.ok_or(Malformed::OutOfRange { what: "the kind of a frame", value: kind.into() })?;
        if tag != Tag::Data && len > MAX_MESSAGE {
            return Err(Malformed::TooLong { what: "message", len: len as u64, limit: MAX_MESSAGE as u64 });
        }
        Ok(Self { tag, len })
    }

    /// Writes a header; the length is cut to what its bits can say.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER] {
        let [a, b, c, ..] = self.len.min(MAX_PAYLOAD).to_le_bytes();
        [a, b, c, BASE + self.tag.number()]
    }
}

/// Why a list or a transfer is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoErrors(pub u32);

impl IoErrors {
    /// Something could not be read or written.
    pub const GENERAL: Self = Self(1);
    /// Something vanished before it was read; no harm.
    pub const VANISHED: Self = Self(2);
    /// Deletions stopped at a limit.
    pub const DELETE_LIMIT: Self = Self(4);

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `other` is part of it.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_written_as_rsync_writes_it() {
        assert_eq!(Header { tag: Tag::Data, len: 4 }.encode(), [4, 0, 0, 7]);
        assert_eq!(Header { tag: Tag::Deleted, len: 0x1234 }.encode(), [0x34, 0x12, 0, 0x6c]);
    }

    #[test]
    fn a_long_message_is_refused_and_long_data_is_not() {
        assert!(Header::decode([0xff, 0xff, 0xff, 7 + 1]).is_err());
        assert_eq!(Header::decode([0xff, 0xff, 0xff, 7]).unwrap().len, MAX_PAYLOAD);
        assert!(Header::decode([0, 0, 0, 0]).is_err());
    }

    proptest! {
        #[test]
        fn headers_come_back(bytes: [u8; 4]) {
            if let Ok(header) = Header::decode(bytes) {
                prop_assert_eq!(Header::decode(header.encode()).unwrap(), header);
            }
        }
    }
}
