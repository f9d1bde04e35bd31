//! Describing the old content of a file, so that the client can send only what differs.

use std::io::Write;

use doppel_volume::sparse::Reading;

use crate::error::Error;
use crate::proto::checksum::{BlockSum, Weak};
use crate::proto::sums::SumHead;
use crate::serve::partial::Basis;
use crate::stream::writer::Writer;

/// Writes the checksums of all blocks that `head` speaks of. Where the file is shorter by now there are zeros: such a
/// block will hardly be found, and if it is, the checksum of the whole tells.
pub(super) fn write<W: Write>(
    writer: &mut Writer<W>,
    head: &SumHead,
    sums: &BlockSum,
    mut old: Reading,
) -> Result<(), Error> {
    let block = head.block as usize;
    let mut buffer = vec![0; (READ / block.max(1)).max(1) * block];
    let mut out = Vec::new();
    let mut number = 0;
    while number < head.count {
        let filled = fill(&mut old, &mut buffer);
        for piece in buffer.get(..filled).unwrap_or_default().chunks(block) {
            if number == head.count {
                break;
            }
            let piece = piece.get(..head.length_of(number) as usize).unwrap_or(piece);
            out.extend(Weak::of(piece).value().to_le_bytes());
            out.extend(sums.of(piece).iter().take(head.strong as usize));
            number += 1;
        }
        writer.put(&out)?;
        out.clear();
        if filled < buffer.len() {
            break;
        }
    }
    out.resize(4 + head.strong as usize, 0);
    for _ in number..head.count {
        writer.put(&out)?;
    }
    Ok(())
}

/// The same of old content that is in two files.
pub(super) fn write_of_both<W: Write>(
    writer: &mut Writer<W>,
    head: &SumHead,
    sums: &BlockSum,
    old: &Basis,
) -> Result<(), Error> {
    let mut block = Vec::new();
    for number in 0..head.count {
        old.read_block(head, number, &mut block);
        writer.put(&Weak::of(&block).value().to_le_bytes())?;
        writer.put(sums.of(&block).get(..head.strong as usize).unwrap_or_default())?;
    }
    Ok(())
}

/// So much is read at once.
const READ: usize = 256 * 1024;

/// Reads until the buffer is full or there is no more.
fn fill(file: &mut Reading, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
        match file.read(space) {
            Ok(count @ 1..) => filled += count,
            Ok(_) | Err(_) => break,
        }
    }
    filled
}
