//! Indices into the file list: each as its distance from the one before, separately for positive and negative numbers
//! and for each direction, for the whole session. (rsync-win, codec specification, 4.)

use crate::proto::input::{Input, Malformed};

/// What an index can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// An entry of the file list.
    Entry(u32),
    /// The end of a phase.
    Done,
    /// Deletion statistics follow.
    DeletionStats,
}

const DELETION_STATS: i32 = -3;

/// Remembers the indices before.
#[derive(Debug, Clone)]
pub struct IndexCoder {
    positive: i32,
    negative: i32,
}

impl Default for IndexCoder {
    fn default() -> Self {
        Self { positive: -1, negative: 1 }
    }
}

impl IndexCoder {
    /// Writes an index.
    pub fn write(&mut self, out: &mut Vec<u8>, index: Index) {
        let (value, before) = match index {
            Index::Done => {
                out.push(0);
                return;
            }
            // File lists are limited to far less than 2^31 entries.
            Index::Entry(entry) => (entry.cast_signed(), &mut self.positive),
            Index::DeletionStats => {
                out.push(0xff);
                (-DELETION_STATS, &mut self.negative)
            }
        };
        let distance = value.wrapping_sub(*before);
        *before = value;
        match u16::try_from(distance) {
            Ok(distance @ 1..=0xfd) => out.push(distance.to_le_bytes()[0]),
            Ok(distance @ 0..=0x7fff) => {
                out.push(0xfe);
                out.extend(distance.to_be_bytes());
            }
            _ => {
                let [a, b, c, d] = value.to_le_bytes();
                out.extend([0xfe, d | 0x80, a, b, c]);
            }
        }
    }

    /// Reads an index.
    ///
    /// # Errors
    /// When it is none of [`Index`].
    pub fn read<I: Input>(&mut self, input: &mut I) -> Result<Index, I::Error> {
        let mut first = input.byte()?;
        let negative = match first {
            0 => return Ok(Index::Done),
            0xff => {
                first = input.byte()?;
                true
            }
            _ => false,
        };
        let before = if negative { &mut self.negative } else { &mut self.positive };
        let value = if first == 0xfe {
            let [high, low] = input.array()?;
            if high & 0x80 == 0 {
                before.wrapping_add(u16::from_be_bytes([high, low]).into())
            } else {
                let [c, d] = input.array()?;
                i32::from_le_bytes([low, c, d, high & 0x7f])
            }
        } else {
            before.wrapping_add(first.into())
        };
        *before = value;
        let value = if negative { value.wrapping_neg() } else { value };
        match value {
            DELETION_STATS => Ok(Index::DeletionStats),
            _ => match u32::try_from(value) {
                Ok(entry) if !negative => Ok(Index::Entry(entry)),
                _ => Err(Malformed::OutOfRange { what: "an index", value: value.into() }.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn indices_are_written_as_rsync_writes_them() {
        let mut coder = IndexCoder::default();
        let mut out = Vec::new();
        for entry in [0, 1, 2, 5, 3] {
            coder.write(&mut out, Index::Entry(entry));
        }
        coder.write(&mut out, Index::Done);
        assert_eq!(out, [1, 1, 1, 3, 0xfe, 0x80, 3, 0, 0, 0]);
        let mut coder = IndexCoder::default();
        out.clear();
        for index in [Index::Entry(7), Index::Entry(7), Index::Entry(300), Index::Entry(100_000), Index::DeletionStats]
        {
            coder.write(&mut out, index);
        }
        assert_eq!(out, [8, 0xfe, 0, 0, 0xfe, 1, 0x25, 0xfe, 0x80, 0xa0, 0x86, 1, 0xff, 2]);
    }

    #[test]
    fn an_index_of_no_meaning_is_refused() {
        for bad in [&[0xff, 1][..], &[0xff, 0xfe, 0x80, 0x65, 0, 0], &[0xff, 0xfe, 0xff, 0xff, 0xff, 0xff]] {
            assert!(IndexCoder::default().read(&mut &bad[..]).is_err());
        }
        assert_eq!(IndexCoder::default().read(&mut &[0xfe][..]), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn indices_come_back(entries in proptest::collection::vec((any::<u32>(), 1_u32..31), 0..50)) {
            let mut out = Vec::new();
            let mut coder = IndexCoder::default();
            for (entry, shift) in &entries {
                coder.write(&mut out, Index::Entry(entry >> shift));
                coder.write(&mut out, Index::Done);
                coder.write(&mut out, Index::DeletionStats);
            }
            let mut input = &out[..];
            let mut coder = IndexCoder::default();
            for (entry, shift) in &entries {
                prop_assert_eq!(coder.read(&mut input), Ok(Index::Entry(entry >> shift)));
                prop_assert_eq!(coder.read(&mut input), Ok(Index::Done));
                prop_assert_eq!(coder.read(&mut input), Ok(Index::DeletionStats));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut coder = IndexCoder::default();
            let mut input = &bytes[..];
            while coder.read(&mut input).is_ok() {}
        }
    }
}
