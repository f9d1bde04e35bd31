//! Finding, in new content, the blocks of the old one.

use crate::proto::checksum::{BlockSum, Strong, Weak};
use crate::proto::input::Input;
use crate::proto::sums::{MAX_BLOCK, MAX_SIGNED, SumHead, WEAK};

/// The checksums of the blocks of a file's old content.
pub(crate) struct Signature {
    head: SumHead,
    weak: Vec<u32>,
    strong: Vec<u8>,
    /// Blocks by their weak checksum: the first of a chain, whose others follow in `next`. 0 is none; blocks count from 1.
    first: Vec<u32>,
    next: Vec<u32>,
    /// One bit for each value of a hash of weak checksums that occurs: says "no" without leaving the processor's cache.
    occurs: Vec<u64>,
}

/// How far a chain is followed. Blocks that are the same are in it once, so that only checksums that were made to
/// collide can make it longer.
const MAX_CHAIN: usize = 64;
/// Bits of the hash that `occurs` has.
const OCCURS_BITS: u32 = 17;

impl Signature {
    /// Reads the checksums that follow a head, to look for their blocks in new content of about `size` bytes.
    pub(crate) fn read<I: Input>(input: &mut I, head: SumHead, size: u64) -> Result<Self, I::Error> {
        let strong_len = head.strong as usize;
        let mut signature = Self {
            head,
            weak: Vec::new(),
            strong: Vec::new(),
            first: Vec::new(),
            next: Vec::new(),
            occurs: vec![0; 1 << (OCCURS_BITS - 6)],
        };
        for block in 0..head.count {
            let entry = input.take(WEAK + strong_len)?;
            // What is beyond is read and not used.
            if block >= most_blocks(size) {
                continue;
            }
            let Some((weak, strong)) = entry.split_first_chunk::<WEAK>() else { continue };
            signature.weak.push(u32::from_le_bytes(*weak));
            signature.strong.extend_from_slice(strong);
        }
        signature.index();
        Ok(signature)
    }

    fn index(&mut self) {
        let count = self.weak.len();
        self.first = vec![0; (count * 2).next_power_of_two()];
        self.next = vec![0; count];
        // Backwards, so that a chain begins with the first of its blocks.
        for block in (0..count).rev() {
            let Some(&weak) = self.weak.get(block) else { continue };
            if self.chain(weak).any(|other| self.strong_of(other) == self.strong_of(block)) {
                continue;
            }
            let slot = self.slot(weak);
            let number = u32::try_from(block + 1).unwrap_or_default();
            if let (Some(first), Some(next)) = (self.first.get_mut(slot), self.next.get_mut(block)) {
                *next = std::mem::replace(first, number);
            }
            let hash = hash(weak, OCCURS_BITS);
            if let Some(word) = self.occurs.get_mut(hash / 64) {
                *word |= 1 << (hash % 64);
            }
        }
    }

    fn slot(&self, weak: u32) -> usize {
        hash(weak, self.first.len().trailing_zeros())
    }

    /// Blocks that have this weak checksum.
    fn chain(&self, weak: u32) -> impl Iterator<Item = usize> {
        let first = self.first.get(self.slot(weak)).copied().unwrap_or_default();
        let step = |number: &u32| self.next.get((*number as usize).wrapping_sub(1)).copied();
        std::iter::successors(Some(first), step)
            .take_while(|number| *number != 0)
            .take(MAX_CHAIN)
            .map(|number| number as usize - 1)
            .filter(move |block| self.weak.get(*block) == Some(&weak))
    }

    #[inline]
    fn may_occur(&self, weak: u32) -> bool {
        let hash = hash(weak, OCCURS_BITS);
        self.occurs.get(hash / 64).is_some_and(|word| word & 1 << (hash % 64) != 0)
    }

    fn strong_of(&self, block: usize) -> &[u8] {
        let len = self.head.strong as usize;
        self.strong.get(block * len..(block + 1) * len).unwrap_or_default()
    }
}

/// How many blocks of old content are of use for new content of `size` bytes. Of files up to 16 GiB there are no more than
/// 2^17 blocks, of larger ones those are as long as can be; old content may be four times as long as the new. A peer that
/// describes more would have us keep 32 bytes a block for nothing.
fn most_blocks(size: u64) -> u32 {
    const SMALL: u64 = 1 << 18;
    let blocks = SMALL.max(size.div_ceil(u64::from(MAX_BLOCK)).saturating_mul(4));
    u32::try_from(blocks).unwrap_or(u32::MAX).min(MAX_SIGNED)
}

#[inline]
fn hash(weak: u32, bits: u32) -> usize {
    // Fibonacci hashing: both halves of the checksum get into the upper bits.
    (weak.wrapping_mul(0x9e37_79b1) as usize >> 32_u32.saturating_sub(bits)) & ((1 << bits) - 1)
}

/// A piece of the new content.
pub(crate) enum Piece<'p> {
    /// Bytes that the old content does not have.
    Literal(&'p [u8]),
    /// A block of it, and its bytes.
    Block(u32, &'p [u8]),
}

/// Looks for blocks of the old content in what `read` gives, and gives all of it to `emit`, piece by piece.
///
/// Comparing strong checksums costs time in proportion to the block; a peer that sends checksums that nearly match
/// everywhere could make that quadratic. So there is a budget for comparisons in vain, in proportion to the file; when
/// it is used up the rest is literal.
pub(crate) fn search<E>(
    signature: &Signature,
    sums: &BlockSum,
    read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    emit: impl FnMut(Piece<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let block = signature.head.block as usize;
    let mut search = Search {
        signature,
        sums,
        read,
        emit,
        buffer: vec![0; WINDOW + 2 * block],
        literal: 0,
        position: 0,
        end: 0,
        done: false,
        hashed: 0,
        seen: 0,
        expected: 0,
    };
    search.run()
}

/// This much is read at once, and at most this much literal data is given at once.
const WINDOW: usize = 256 * 1024;

struct Search<'s, Read, Emit> {
    signature: &'s Signature,
    sums: &'s BlockSum,
    read: Read,
    emit: Emit,
    buffer: Vec<u8>,
    /// Where data begins that was not given yet.
    literal: usize,
    /// Where the next block is looked for.
    position: usize,
    /// Where the data in the buffer ends.
    end: usize,
    /// Whether there is no more to read.
    done: bool,
    /// Bytes that were hashed for comparisons in vain, and bytes read.
    hashed: u64,
    seen: u64,
    /// The block after the one found last: the likeliest to come.
    expected: u32,
}

impl<E, Read, Emit> Search<'_, Read, Emit>
where
    Read: FnMut(&mut [u8]) -> Result<usize, E>,
    Emit: FnMut(Piece<'_>) -> Result<(), E>,
{
    fn run(&mut self) -> Result<(), E> {
        let block = self.signature.head.block as usize;
        loop {
            self.refill(block)?;
            if self.end - self.position < block {
                break;
            }
            if !self.scan(block)? {
                self.give_literal()?;
            }
        }
        self.last_block()?;
        self.position = self.end;
        self.give_literal()
    }

    /// Rolls over the buffer; whether a block was found and given.
    fn scan(&mut self, block: usize) -> Result<bool, E> {
        let window = self.buffer.get(self.position..self.position + block).unwrap_or_default();
        let mut weak = Weak::of(window);
        let len = self.signature.head.block;
        loop {
            let old = self.buffer.get(self.position..self.end - block).unwrap_or_default();
            let new = self.buffer.get(self.position + block..self.end).unwrap_or_default();
            let mut rolled = 0;
            let mut hit = false;
            for (old, new) in old.iter().zip(new) {
                if self.signature.may_occur(weak.value()) {
                    hit = true;
                    break;
                }
                weak.roll(len, *old, *new);
                rolled += 1;
            }
            self.position += rolled;
            // At the end of the buffer the last window is still to be looked at.
            hit = hit || self.signature.may_occur(weak.value());
            if hit && let Some(found) = self.find(weak.value(), block) {
                self.give_block(found, block)?;
                return Ok(true);
            }
            let (Some(old), Some(new)) = (self.buffer.get(self.position), self.buffer.get(self.position + block))
            else {
                return Ok(false);
            };
            if self.position + block >= self.end {
                // Let the last window be looked at again only once there is more; at the end it was.
                if self.done {
                    self.position += 1;
                }
                return Ok(false);
            }
            weak.roll(len, *old, *new);
            self.position += 1;
        }
    }

    /// The block at the current position, if its content is known.
    fn find(&mut self, weak: u32, len: usize) -> Option<u32> {
        let expected = self.expected as usize;
        let likely = self.signature.weak.get(expected) == Some(&weak) && self.fits(self.expected, len);
        let mut candidates = self.signature.chain(weak).peekable();
        if (!likely && candidates.peek().is_none()) || self.hashed > 4 * self.seen + (1 << 20) {
            return None;
        }
        let window = self.buffer.get(self.position..self.position + len)?;
        let strong: Strong = self.sums.of(window);
        let strong = strong.get(..self.signature.head.strong as usize)?;
        if likely && self.signature.strong_of(expected) == strong {
            return Some(self.expected);
        }
        let found = candidates
            .filter(|block| self.signature.strong_of(*block) == strong)
            .filter_map(|block| u32::try_from(block).ok())
            .find(|block| self.fits(*block, len));
        if found.is_none() {
            self.hashed += len as u64;
        }
        found
    }

    fn fits(&self, block: u32, len: usize) -> bool {
        self.signature.head.length_of(block) as usize == len
    }

    /// The last block of the old content may be shorter; it can only be where the new content ends.
    fn last_block(&mut self) -> Result<(), E> {
        let head = &self.signature.head;
        let len = head.remainder as usize;
        let Some(last) = head.count.checked_sub(1) else { return Ok(()) };
        if len == 0 || self.end - self.literal < len || last as usize >= self.signature.weak.len() {
            return Ok(());
        }
        let start = self.end - len;
        let Some(window) = self.buffer.get(start..self.end) else { return Ok(()) };
        let strong: Strong = self.sums.of(window);
        let is_it = self.signature.weak.get(last as usize) == Some(&Weak::of(window).value())
            && strong.get(..head.strong as usize) == Some(self.signature.strong_of(last as usize));
        if is_it {
            self.position = start;
            self.give_block(last, len)?;
        }
        Ok(())
    }

    fn give_block(&mut self, block: u32, len: usize) -> Result<(), E> {
        self.give_literal()?;
        let data = self.buffer.get(self.position..self.position + len).unwrap_or_default();
        (self.emit)(Piece::Block(block, data))?;
        self.position += len;
        self.literal = self.position;
        self.expected = block.wrapping_add(1);
        Ok(())
    }

    /// Gives what lies before the current position.
    fn give_literal(&mut self) -> Result<(), E> {
        let data = self.buffer.get(self.literal..self.position).unwrap_or_default();
        if !data.is_empty() {
            (self.emit)(Piece::Literal(data))?;
        }
        self.literal = self.position;
        Ok(())
    }

    /// Makes sure that a whole block lies in the buffer, and a byte more to roll to, unless the content ends before.
    fn refill(&mut self, block: usize) -> Result<(), E> {
        if self.done || self.end - self.position > block {
            return Ok(());
        }
        self.give_literal()?;
        self.buffer.copy_within(self.position..self.end, 0);
        self.end -= self.position;
        (self.position, self.literal) = (0, 0);
        while self.end <= block + WINDOW / 2 {
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            let count = (self.read)(space)?;
            if count == 0 {
                self.done = true;
                break;
            }
            self.end += count;
            self.seen += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
