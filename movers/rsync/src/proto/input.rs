//! Where values are read from.

use doppel_contract::Line;

/// A source of bytes.
pub trait Input {
    /// What can go wrong with the source itself, beside what can be wrong with its bytes.
    type Error: From<Malformed>;

    /// The next `count` bytes, exactly. Callers have checked `count` against a limit of at most [`MAX_TAKE`].
    ///
    /// # Errors
    /// When there are not that many.
    fn take(&mut self, count: usize) -> Result<&[u8], Self::Error>;

    /// The next byte.
    ///
    /// # Errors
    /// When there is none.
    fn byte(&mut self) -> Result<u8, Self::Error> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// When there are not that many.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Self::Error> {
        let mut array = [0; N];
        for (place, byte) in array.iter_mut().zip(self.take(N)?) {
            *place = *byte;
        }
        Ok(array)
    }

    /// The next bytes, as many as `len` says if that is within `limit`.
    ///
    /// # Errors
    /// When it is not, or when there are not that many.
    fn sized(&mut self, what: &'static str, len: usize, limit: usize) -> Result<&[u8], Self::Error> {
        if len > limit.min(MAX_TAKE) {
            return Err(Malformed::TooLong { what, len: len as u64, limit: limit as u64 }.into());
        }
        self.take(len)
    }
}

/// Nothing on the wire that must be in one piece is longer.
pub const MAX_TAKE: usize = 64 * 1024;

/// The peer's bytes are not what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end too early.
    #[error("the peer's data ends in the middle of a value")]
    Truncated,
    /// A number that is out of the range that it must be in.
    #[error("the peer sent {value} as {what}")]
    OutOfRange {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: i64,
    },
    /// A length above its limit.
    #[error("the peer sent a {what} of {len} bytes, of which at most {limit} are allowed")]
    TooLong {
        /// What has the length.
        what: &'static str,
        /// The length.
        len: u64,
        /// Its limit.
        limit: u64,
    },
    /// Something that cannot be here.
    #[error("the peer sent {0}")]
    Unexpected(Line),
}

impl Malformed {
    /// Something that cannot be here.
    pub fn unexpected(what: impl AsRef<str>) -> Self {
        Self::Unexpected(Line::new(what))
    }
}

impl Input for &[u8] {
    type Error = Malformed;

    fn take(&mut self, count: usize) -> Result<&[u8], Malformed> {
        let (head, tail) = self.split_at_checked(count).ok_or(Malformed::Truncated)?;
        *self = tail;
        Ok(head)
    }
}
