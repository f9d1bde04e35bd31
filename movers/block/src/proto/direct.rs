//! Doppel's own block protocol, version 1.
//!
//! Both ends begin with a [`Hello`]. From then on each direction is a stream of records about the blocks of the source's
//! device, of [`BLOCK`] bytes each (the last may be shorter), in their order:
//!
//! - the destination says what each block holds, [`Held`]: a digest, or that it reads as zeros;
//! - the source answers with what has to change, [`Change`].
//!
//! No record waits for another, but for the source's, which say nothing of a block before its digest has come. After
//! [`Change::End`] the destination makes its device durable and says [`Held::Durable`]: only then is it a success. Either
//! end may say `Failed` with a line of text instead of its next record.
//!
//! Numbers are little-endian.

use doppel_contract::EmptySource;

use super::Malformed;
use super::geometry::Geometry;

/// Bytes of a block. The digests come to a thousandth of the device, and a page of 4 KiB that changed by itself costs four.
pub const BLOCK: u64 = 16 << 10;

/// Bytes of a digest: half of a BLAKE3 hash under a key that the source draws anew for each session, so that nobody can
/// prepare two blocks with the same digest.
pub const DIGEST: usize = 16;

/// The first half of a block's keyed BLAKE3 hash.
pub type Digest = [u8; DIGEST];

/// Bytes of a key.
pub const KEY: usize = 32;

/// How both ends begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Bytes of the sender's device.
    pub size: u64,
    /// Whether a source of nothing but zeros may change a destination that holds data. Only if both ends say so; the source
    /// sees to it.
    pub empty_source: EmptySource,
    /// The source's is the key of the digests; the destination's is zeros.
    pub key: [u8; KEY],
}

impl Hello {
    /// Bytes of a hello.
    pub const LENGTH: usize = 8 + 1 + KEY;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (size, rest) = bytes.split_at_mut(8);
        size.copy_from_slice(&self.size.to_le_bytes());
        let (empty_source, key) = rest.split_at_mut(1);
        empty_source.fill(match self.empty_source {
            EmptySource::Refuse => 0,
            EmptySource::Accept => 1,
        });
        key.copy_from_slice(&self.key);
        bytes
    }

    /// The hello in these bytes.
    ///
    /// # Errors
    /// When no device has that size.
    pub fn decode(bytes: [u8; Self::LENGTH]) -> Result<Self, Malformed> {
        let [s0, s1, s2, s3, s4, s5, s6, s7, empty_source, key @ ..] = bytes;
        let size = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let empty_source = if empty_source == 1 { EmptySource::Accept } else { EmptySource::Refuse };
        if size > Geometry::LARGEST { Err(Malformed::Size(size)) } else { Ok(Self { size, empty_source, key }) }
    }
}

/// Begins of the destination's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// So many blocks read as zeros; a count of 4 bytes follows.
    Zeros,
    /// One block's digest follows.
    Digest,
    /// Everything is durable.
    Durable,
    /// It failed: a length of one byte and a text follow.
    Failed,
}

/// Begins of the source's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// So many blocks are as they should be; a count of 4 bytes follows. None are fine: a sign of life.
    Same,
    /// So many blocks have to become zeros; a count of 4 bytes follows.
    Zeros,
    /// One block follows.
    Data,
    /// That was all.
    End,
    /// It failed: a length of one byte and a text follow.
    Failed,
}

impl Held {
    /// Its byte.
    #[must_use]
    pub fn encode(self) -> u8 {
        match self {
            Self::Zeros => 0,
            Self::Digest => 1,
            Self::Durable => 2,
            Self::Failed => 3,
        }
    }

    /// What a byte means.
    ///
    /// # Errors
    /// When it means nothing.
    pub fn decode(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Zeros),
            1 => Ok(Self::Digest),
            2 => Ok(Self::Durable),
            3 => Ok(Self::Failed),
            other => Err(Malformed::Unexpected { what: "record of a destination", value: other.into() }),
        }
    }
}

impl Change {
    /// Its byte.
    #[must_use]
    pub fn encode(self) -> u8 {
        match self {
            Self::Same => 0,
            Self::Zeros => 1,
            Self::Data => 2,
            Self::End => 3,
            Self::Failed => 4,
        }
    }

    /// What a byte means.
    ///
    /// # Errors
    /// When it means nothing.
    pub fn decode(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Same),
            1 => Ok(Self::Zeros),
            2 => Ok(Self::Data),
            3 => Ok(Self::End),
            4 => Ok(Self::Failed),
            other => Err(Malformed::Unexpected { what: "record of a source", value: other.into() }),
        }
    }
}

/// The blocks of a device, and how far along them one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    size: u64,
    done: u64,
}

impl Blocks {
    /// At the first block of a device with this many bytes.
    #[must_use]
    pub fn of(size: u64) -> Self {
        Self { size, done: 0 }
    }

    /// Whether all blocks are done.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.left() == 0
    }

    /// Blocks that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.size.div_ceil(BLOCK) - self.done
    }

    /// Blocks that are done.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Where the next block begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.size.min(self.done * BLOCK)
    }

    /// The bytes of the next so many blocks.
    #[must_use]
    pub fn bytes(&self, blocks: u64) -> u64 {
        let end = self.done.saturating_add(blocks).saturating_mul(BLOCK);
        self.size.min(end) - self.offset()
    }

    /// On by so many blocks.
    ///
    /// # Errors
    /// When there are not as many.
    pub fn pass(&mut self, blocks: u64) -> Result<(), Malformed> {
        if blocks > self.left() {
            return Err(Malformed::TooFar);
        }
        self.done += blocks;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written_and_nothing_else_is() {
        for held in [Held::Zeros, Held::Digest, Held::Durable, Held::Failed] {
            assert_eq!(Held::decode(held.encode()), Ok(held));
        }
        for change in [Change::Same, Change::Zeros, Change::Data, Change::End, Change::Failed] {
            assert_eq!(Change::decode(change.encode()), Ok(change));
        }
        assert!(
            (4..=255).all(|byte| Held::decode(byte).is_err()) && (5..=255).all(|byte| Change::decode(byte).is_err())
        );
    }

    #[test]
    fn a_hello_has_a_size_that_a_device_can_have() {
        for empty_source in [EmptySource::Refuse, EmptySource::Accept] {
            let hello = Hello { size: 12_345, empty_source, key: [7; KEY] };
            assert_eq!(Hello::decode(hello.encode()), Ok(hello));
        }
        let hello = Hello { size: 12_345, empty_source: EmptySource::Refuse, key: [7; KEY] };
        let lie = Hello { size: u64::MAX, ..hello };
        assert_eq!(Hello::decode(lie.encode()), Err(Malformed::Size(u64::MAX)));
    }

    #[test]
    fn the_last_block_may_be_short_and_nothing_is_behind_it() {
        let mut blocks = Blocks::of(2 * BLOCK + 1);
        assert_eq!((blocks.left(), blocks.bytes(1), blocks.bytes(u64::MAX)), (3, BLOCK, 2 * BLOCK + 1));
        blocks.pass(2).unwrap();
        assert_eq!((blocks.offset(), blocks.bytes(1)), (2 * BLOCK, 1));
        assert_eq!(blocks.pass(2), Err(Malformed::TooFar));
        blocks.pass(1).unwrap();
        assert!(blocks.at_end());
        assert_eq!((blocks.offset(), blocks.bytes(1)), (2 * BLOCK + 1, 0));
        assert!(Blocks::of(0).at_end());
    }
}
