//! Tokens where compression is on: a byte of flags tells pieces of compressed data from blocks, which are counted from
//! the one before, singly or in runs. (rsync-win, transfer specification, 2a; captures of rsync 3.5.0.)

use crate::proto::input::{Input, Malformed};
use crate::proto::token::Token;

/// A token where compression is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// This many bytes of compressed data follow.
    Data(usize),
    /// A block of the old content.
    Block(u32),
    /// The content ends; its checksum follows.
    End,
}

/// Reads tokens of one file.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackedReader {
    /// The last block that was spoken of.
    last: i32,
    /// How many blocks after it belong to the run.
    run: u16,
}

/// The length of data has fourteen bits.
pub const MAX_DATA: usize = 0x3fff;

impl PackedReader {
    /// Reads a token where `blocks` blocks are known.
    ///
    /// # Errors
    /// When it is no token, or a block that is not known.
    pub fn read<I: Input>(&mut self, input: &mut I, blocks: u32) -> Result<Packed, I::Error> {
        if let Some(run) = self.run.checked_sub(1) {
            self.run = run;
            return self.block(1, blocks).map_err(Into::into);
        }
        let flags = input.byte()?;
        let low = flags & 0x3f;
        let (distance, run) = match (flags, flags >> 6) {
            (0, _) => return Ok(Packed::End),
            (_, 0b01) => return Ok(Packed::Data(usize::from(low) << 8 | usize::from(input.byte()?))),
            (_, 0b10) => (low.into(), false),
            (_, 0b11) => (low.into(), true),
            (0x20 | 0x21, _) => {
                let block = i32::from_le_bytes(input.array()?);
                (block.wrapping_sub(self.last), flags == 0x21)
            }
            _ => return Err(Malformed::OutOfRange { what: "the flags of a token", value: flags.into() }.into()),
        };
        if run {
            self.run = u16::from_le_bytes(input.array()?);
        }
        self.block(distance, blocks).map_err(Into::into)
    }

    fn block(&mut self, distance: i32, blocks: u32) -> Result<Packed, Malformed> {
        self.last = self.last.wrapping_add(distance);
        Token::block(self.last.cast_unsigned(), blocks)?;
        Ok(Packed::Block(self.last.cast_unsigned()))
    }
}

/// Writes tokens of one file. Runs are spelled out: a block that follows its neighbour takes one byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackedWriter {
    last: u32,
}

impl PackedWriter {
    /// The head of a piece of compressed data, which has at most [`MAX_DATA`] bytes.
    #[must_use]
    pub fn data(len: usize) -> [u8; 2] {
        let [low, high, ..] = len.min(MAX_DATA).to_le_bytes();
        [0x40 | high, low]
    }

    /// Writes a block.
    pub fn block(&mut self, out: &mut Vec<u8>, block: u32) {
        match block.checked_sub(self.last).and_then(|distance| u8::try_from(distance).ok()) {
            Some(distance @ 0..=0x3f) => out.push(0x80 | distance),
            _ => {
                out.push(0x20);
                out.extend(block.to_le_bytes());
            }
        }
        self.last = block;
    }

    /// The end of the file.
    pub const END: u8 = 0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_are_counted_from_the_one_before() {
        let mut reader = PackedReader::default();
        let mut input = &[0x80, 0xc2, 3, 0, 0x40, 9, 0x82, 0x21, 100, 0, 0, 0, 1, 0, 0x20, 5, 0, 0, 0, 0][..];
        let mut read = || reader.read(&mut input, 200).unwrap();
        for block in [0, 2, 3, 4, 5] {
            assert_eq!(read(), Packed::Block(block));
        }
        assert_eq!(read(), Packed::Data(9));
        for block in [7, 100, 101, 5] {
            assert_eq!(read(), Packed::Block(block));
        }
        assert_eq!(read(), Packed::End);
    }

    #[test]
    fn blocks_that_are_not_known_are_refused_within_runs_too() {
        let mut reader = PackedReader::default();
        let mut input = &[0xc0, 0xff, 0xff][..];
        assert_eq!(reader.read(&mut input, 2), Ok(Packed::Block(0)));
        assert_eq!(reader.read(&mut input, 2), Ok(Packed::Block(1)));
        assert!(reader.read(&mut input, 2).is_err());
        for bad in [&[0x20, 0xff, 0xff, 0xff, 0xff][..], &[0x20, 2, 0, 0, 0], &[0x82], &[0x22], &[0x01]] {
            assert!(PackedReader::default().read(&mut &bad[..], 2).is_err(), "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn tokens_come_back(blocks in proptest::collection::vec((0_u32..1000, 0_usize..=MAX_DATA), 0..20)) {
            let (mut out, mut writer) = (Vec::new(), PackedWriter::default());
            for (block, len) in &blocks {
                writer.block(&mut out, *block);
                out.extend(PackedWriter::data(*len));
            }
            out.push(PackedWriter::END);
            let (mut input, mut reader) = (&out[..], PackedReader::default());
            for (block, len) in &blocks {
                prop_assert_eq!(reader.read(&mut input, 1000), Ok(Packed::Block(*block)));
                prop_assert_eq!(reader.read(&mut input, 1000), Ok(Packed::Data(*len)));
            }
            prop_assert_eq!(reader.read(&mut input, 1000), Ok(Packed::End));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100), blocks: u32) {
            let mut reader = PackedReader::default();
            let mut input = &bytes[..];
            for _ in 0..1000 {
                if reader.read(&mut input, blocks).is_err() {
                    break;
                }
            }
        }
    }
}
