//! The content of a file as tokens: literal data, blocks of the old content, and the end. (rsync-win, transfer
//! specification, 2.)

use crate::proto::input::{Input, Malformed};

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// This many bytes of data follow.
    Literal(u32),
    /// A block of the old content.
    Block(u32),
    /// The content ends; its checksum follows.
    End,
}

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

    proptest! {
        #[test]
        fn tokens_come_back(value: i32) {
            if let Ok(token) = Token::read(&mut &value.to_le_bytes()[..], u32::MAX) {
                prop_assert_eq!(token.encode(), value.to_le_bytes());
            }
        }
    }
}
