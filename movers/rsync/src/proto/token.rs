//! The content of a file as tokens: literal data, blocks of the old content, and the end. (rsync-win, transfer
//! specification, 2.)

use crate::proto::input::{Input, MAX_TAKE, Malformed};

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// This many bytes of data follow.
    Literal(u32),
    /// This many bytes follow, of a zstd stream that goes on from piece to piece through the whole session. Only between
    /// Doppels; no more than [`MAX_PACKED`].
    Packed(u32),
    /// A block of the old content.
    Block(u32),
    /// The content ends; its checksum follows.
    End,
}

/// Tells the length of packed data from that of literal data.
const PACKED: u32 = 1 << 30;
/// So much packed data is in one piece at most.
pub const MAX_PACKED: u32 = 64 * 1024;
const _: () = assert!(MAX_PACKED as usize <= MAX_TAKE);

impl Token {
    /// Reads a token where `blocks` blocks are known.
    ///
    /// # Errors
    /// When it is a block that is not known.
    pub fn read<I: Input>(input: &mut I, blocks: u32) -> Result<Self, I::Error> {
        let value = i32::from_le_bytes(input.array()?);
        match value {
            0 => Ok(Self::End),
            1.. => Ok(Self::Literal(value.cast_unsigned())),
            // The first block is -1.
            _ => Self::block((!value).cast_unsigned(), blocks).map_err(Into::into),
        }
    }

    /// Reads a token of a session in which literal data may be packed. What rsync would take for a literal of a gibibyte
    /// and more is packed data here.
    ///
    /// # Errors
    /// When it is a block that is not known, or too much packed data.
    pub fn read_mixed<I: Input>(input: &mut I, blocks: u32) -> Result<Self, I::Error> {
        match Self::read(input, blocks)? {
            Self::Literal(value) if value & PACKED != 0 => {
                let len = value & !PACKED;
                let limit = u64::from(MAX_PACKED);
                let too_long = Malformed::TooLong { what: "piece of packed data", len: len.into(), limit };
                if len > MAX_PACKED { Err(too_long.into()) } else { Ok(Self::Packed(len)) }
            }
            token => Ok(token),
        }
    }

    /// A block that a peer speaks of, if there is such a one.
    pub(crate) fn block(block: u32, blocks: u32) -> Result<Self, Malformed> {
        if block < blocks {
            return Ok(Self::Block(block));
        }
        Err(Malformed::OutOfRange { what: "the number of a block", value: block.into() })
    }

    /// The token's bytes.
    #[must_use]
    pub fn encode(self) -> [u8; 4] {
        match self {
            Self::End => 0,
            Self::Literal(len) => len.cast_signed(),
            Self::Packed(len) => (len | PACKED).cast_signed(),
            Self::Block(block) => !block.cast_signed(),
        }
        .to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_that_is_not_known_is_refused() {
        assert_eq!(Token::read(&mut &Token::Block(6).encode()[..], 7), Ok(Token::Block(6)));
        assert!(Token::read(&mut &Token::Block(7).encode()[..], 7).is_err());
        assert!(Token::read(&mut &i32::MIN.to_le_bytes()[..], 7).is_err());
    }

    #[test]
    fn packed_data_is_told_from_literal_data() {
        for token in [Token::Packed(1), Token::Packed(MAX_PACKED), Token::Literal(70_000), Token::Block(6), Token::End]
        {
            assert_eq!(Token::read_mixed(&mut &token.encode()[..], 7), Ok(token));
        }
        for bad in [Token::Packed(MAX_PACKED + 1), Token::Block(7)] {
            assert!(Token::read_mixed(&mut &bad.encode()[..], 7).is_err());
        }
    }

    proptest! {
        #[test]
        fn tokens_come_back(value: i32) {
            if let Ok(token) = Token::read(&mut &value.to_le_bytes()[..], u32::MAX) {
                prop_assert_eq!(token.encode(), value.to_le_bytes());
            }
        }
    }
}
