//! Bytes that are read once: what was read of them is not kept.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use crate::room::{PART, apart};

pub(super) struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    /// What of the first of them was read.
    read: usize,
}

impl Pieces {
    pub(super) fn new(mut bytes: Vec<u8>) -> Self {
        let mut pieces = VecDeque::new();
        while bytes.len() > PART {
            // From the end, so that never more than a piece is there twice.
            let rest = bytes.len() - (bytes.len() - 1) % PART - 1;
            let mut piece = apart(0);
            piece.extend_from_slice(bytes.get(rest..).unwrap_or_default());
            pieces.push_front(piece);
            bytes.truncate(rest);
            bytes.shrink_to_fit();
        }
        pieces.push_front(bytes);
        Self { pieces, read: 0 }
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.pieces.front().is_some_and(|piece| piece.len() <= self.read) {
            self.pieces.pop_front();
            self.read = 0;
        }
        Ok(self.pieces.front().and_then(|piece| piece.get(self.read..)).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }
}

impl Read for Pieces {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(room)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_put_in_whatever_its_length() -> io::Result<()> {
        for len in [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 5] {
            let bytes: Vec<u8> = (0..len).map(|number| (number / 7).to_le_bytes()[0]).collect();
            let mut read = Vec::with_capacity(len);
            Pieces::new(bytes.clone()).read_to_end(&mut read)?;
            assert!(read == bytes, "{len}");
        }
        Ok(())
    }
}
