//! SHA-256 of two contents side by side (docs/adr/0019).

use std::slice::from_ref;

use sha2::block_api::compress256;

use crate::format::id::Id;

/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

const BLOCK: usize = 64;
/// A bit that is set, and the number of bits: what comes after a content.
const PADDING: usize = 1 + size_of::<u64>();

/// The ID of a content, worked out as far as to some block of it.
pub(crate) struct Unfinished {
    state: [u32; 8],
    blocks: usize,
}

impl Unfinished {
    pub(crate) const fn new() -> Self {
        Self { state: INITIAL, blocks: 0 }
    }

    /// The whole blocks that are left of its content.
    fn left<'c>(&self, content: &'c [u8]) -> &'c [[u8; BLOCK]] {
        content.as_chunks().0.get(self.blocks..).unwrap_or_default()
    }

    /// Whether no whole block of its content is left.
    pub(crate) fn is_near_its_end(&self, content: &[u8]) -> bool {
        self.left(content).is_empty()
    }

    /// Works out the rest.
    pub(crate) fn finish(mut self, content: &[u8]) -> Id {
        let left = self.left(content);
        compress256(&mut self.state, left);
        let mut last = content.as_chunks::<BLOCK>().1.to_vec();
        last.push(0x80);
        last.resize((last.len() + PADDING - 1).next_multiple_of(BLOCK) - size_of::<u64>(), 0);
        last.extend((content.len() as u64 * 8).to_be_bytes());
        compress256(&mut self.state, last.as_chunks().0);
        let mut bytes = [0; Id::LEN];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Id::from_bytes(bytes)
    }
}

/// Takes so many blocks of both contents as both have left. A block of the one after a block of the other: that is near enough for
/// a processor to begin the second while the first still waits for its own results.
pub(crate) fn advance(one: (&mut Unfinished, &[u8]), other: (&mut Unfinished, &[u8])) {
    let ((one, of_one), (other, of_other)) = (one, other);
    let blocks = one.left(of_one).iter().zip(other.left(of_other));
    let count = blocks.len();
    for (block_of_one, block_of_other) in blocks {
        compress256(&mut one.state, from_ref(block_of_one));
        compress256(&mut other.state, from_ref(block_of_other));
    }
    one.blocks += count;
    other.blocks += count;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_a_time_have_the_ids_that_they_have_alone() {
        let bytes: Vec<u8> = (0..1000_u32).map(|number| (number * 7 / 3).to_le_bytes()[0]).collect();
        let lengths = [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 500, 999];
        for one in lengths.map(|len| &bytes[..len]) {
            for other in lengths.map(|len| &bytes[1..=len]) {
                let (mut of_one, mut of_other) = (Unfinished::new(), Unfinished::new());
                advance((&mut of_one, one), (&mut of_other, other));
                assert!(of_one.is_near_its_end(one) || of_other.is_near_its_end(other));
                assert_eq!(of_one.finish(one), Id::of(one));
                assert_eq!(of_other.finish(other), Id::of(other));
            }
        }
    }
}
