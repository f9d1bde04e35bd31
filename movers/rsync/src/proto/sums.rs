//! What the receiver says of the old content of a file: its blocks' lengths and checksums. (rsync-win, codec
//! specification, 7.)

use crate::proto::input::{Input, Malformed};

/// The head before the checksums of the blocks, sixteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SumHead {
    /// How many blocks there are.
    pub count: u32,
    /// Bytes in a block.
    pub block: u32,
    /// Bytes of each strong checksum that are sent.
    pub strong: u32,
    /// Bytes in the last block, or 0 when it is like the others.
    pub remainder: u32,
}

/// No block is longer (protocol 30 and up).
pub const MAX_BLOCK: u32 = 128 * 1024;
/// No block is shorter, unless a peer wants it so.
const MIN_BLOCK: u32 = 700;
/// Bytes of a weak checksum on the wire.
pub const WEAK: usize = 4;

impl SumHead {
    /// There is no old content: everything is to be sent.
    pub const NOTHING: Self = Self { count: 0, block: 0, strong: 0, remainder: 0 };

    /// The head for old content of `len` bytes, of which blocks are described by strong checksums of at most `digest`
    /// bytes; by all of these when the first try has failed (`redo`).
    ///
    /// The lengths of block and checksum are those of rsync: the square root of the file's length, and as many bits as
    /// make a false match in the whole file unlikely.
    #[must_use]
    pub fn for_basis(len: u64, digest: u32, redo: bool) -> Self {
        let root = len.isqrt() & !7;
        let block = u32::try_from(root).unwrap_or(u32::MAX).clamp(MIN_BLOCK, MAX_BLOCK);
        // Arithmetic in bits: twice the file's length and ten more, less the block's length, less the weak checksum.
        let bits = |value: u64| i64::from(value.checked_ilog2().unwrap_or(0));
        let wanted = (10 + 2 * bits(len) - bits(block.into()) - 24) / 8;
        let strong = if redo { 16 } else { u32::try_from(wanted.clamp(2, 16)).unwrap_or(16) };
        let blocks = len.div_ceil(block.into());
        let (count, remainder) = match u32::try_from(blocks) {
            Ok(count) if count <= MAX_SIGNED => (count, u32::try_from(len % u64::from(block)).unwrap_or_default()),
            // Only the beginning is described; the sender takes it that the old content ends there.
            _ => (MAX_SIGNED, 0),
        };
        Self { count, block, strong: strong.min(digest), remainder }
    }

    /// Reads a head from a peer whose strong checksums have `digest` bytes.
    ///
    /// # Errors
    /// When the numbers cannot be true of any file.
    pub fn read<I: Input>(input: &mut I, digest: u32) -> Result<Self, I::Error> {
        let count = field(input, "a number of blocks", i32::MAX.cast_unsigned())?;
        let block = field(input, "a length of blocks", MAX_BLOCK)?;
        let strong = field(input, "a length of block checksums", digest)?;
        let remainder = field(input, "a length of the last block", block)?;
        if count > 0 && block == 0 {
            return Err(Malformed::OutOfRange { what: "a length of blocks", value: 0 }.into());
        }
        Ok(Self { count, block, strong, remainder })
    }

    /// Writes the head.
    pub fn write(&self, out: &mut Vec<u8>) {
        for field in [self.count, self.block, self.strong, self.remainder] {
            out.extend(field.to_le_bytes());
        }
    }

    /// Length of block `index`.
    #[must_use]
    pub fn length_of(&self, index: u32) -> u32 {
        if self.remainder != 0 && index.checked_add(1) == Some(self.count) { self.remainder } else { self.block }
    }

    /// Where block `index` begins.
    #[must_use]
    pub fn start_of(&self, index: u32) -> u64 {
        u64::from(index) * u64::from(self.block)
    }
}

/// We describe, and look for, at most this many blocks: 512 GiB of old content at the longest block, for which a sender
/// keeps about 100 MiB.
pub const MAX_SIGNED: u32 = 1 << 22;

fn field<I: Input>(input: &mut I, what: &'static str, limit: u32) -> Result<u32, I::Error> {
    let value = i32::from_le_bytes(input.array()?);
    match u32::try_from(value) {
        Ok(field) if field <= limit => Ok(field),
        _ => Err(Malformed::OutOfRange { what, value: value.into() }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(len: u64, expected: (u32, u32, u32, u32)) {
        let head = SumHead::for_basis(len, 16, false);
        assert_eq!((head.count, head.block, head.strong, head.remainder), expected, "{len}");
    }

    #[test]
    fn blocks_are_as_long_as_rsync_makes_them() {
        check(300_000, (429, 700, 2, 400));
        check(490_001, (701, 700, 2, 1));
        check(495_000, (708, 700, 2, 100));
        check(1 << 30, (32768, 32768, 3, 0));
        check(0, (0, 700, 2, 0));
        assert_eq!(SumHead::for_basis(300_000, 16, true).strong, 16);
        assert_eq!(SumHead::for_basis(300_000, 8, true).strong, 8);
    }

    #[test]
    fn a_file_too_long_to_describe_is_described_in_part() {
        let head = SumHead::for_basis(1 << 50, 16, false);
        assert_eq!((head.count, head.block, head.remainder), (MAX_SIGNED, MAX_BLOCK, 0));
    }

    #[test]
    fn a_head_that_cannot_be_true_is_refused() {
        let bad = [(-1, 700, 2, 0), (1, 0, 2, 0), (1, -1, 2, 0), (1, 131_073, 2, 0), (1, 700, 17, 0), (1, 700, 2, 701)];
        for (count, block, strong, remainder) in bad {
            let bytes: Vec<u8> = [count, block, strong, remainder].iter().flat_map(|v: &i32| v.to_le_bytes()).collect();
            assert!(SumHead::read(&mut &bytes[..], 16).is_err());
        }
    }

    proptest! {
        #[test]
        fn blocks_cover_the_file(len in 0_u64..1 << 40) {
            let head = SumHead::for_basis(len, 16, false);
            let last = head.count.saturating_sub(1);
            let covered = if head.count == 0 { 0 } else { head.start_of(last) + u64::from(head.length_of(last)) };
            prop_assert!(covered == len || head.count == MAX_SIGNED);
            let mut out = Vec::new();
            head.write(&mut out);
            prop_assert_eq!(SumHead::read(&mut &out[..], 16), Ok(head));
        }
    }
}
