//! A device from begin to end, block by block; what is known to be zeros is not read.

use crate::device::{Device, DeviceError, Holes, is_zero};
use crate::proto::Malformed;
use crate::proto::direct::{BLOCK, Blocks};

/// Bytes of one read, so that a disk with a seek time is read at its speed.
const READ: u64 = 1 << 20;

/// Where on a device one is.
pub(crate) struct Scan<'d> {
    device: &'d Device,
    blocks: Blocks,
    size: u64,
    holes: Holes<'d>,
    /// Bytes at the begin of the device that were found to be zeros before.
    zeros: u64,
    buffer: Vec<u8>,
    /// Where on the device the buffer begins.
    buffered: u64,
}

impl<'d> Scan<'d> {
    /// At the begin of the first `size` bytes.
    pub(crate) fn new(device: &'d Device, size: u64) -> Self {
        let holes = Holes::new(device);
        Self { device, blocks: Blocks::of(size), size, holes, zeros: 0, buffer: Vec::new(), buffered: 0 }
    }

    pub(crate) fn at_end(&self) -> bool {
        self.blocks.at_end()
    }

    /// Bytes of the next so many blocks.
    pub(crate) fn bytes(&self, blocks: u64) -> u64 {
        self.blocks.bytes(blocks)
    }

    /// Blocks from here on that read as zeros, as far as that is known without reading.
    pub(crate) fn hole(&mut self) -> Result<u64, DeviceError> {
        if self.at_end() {
            return Ok(0);
        }
        let offset = self.blocks.offset();
        let hole = self.holes.hole_at(offset)?.max(self.zeros.saturating_sub(offset));
        Ok(if offset + hole >= self.size { self.blocks.left() } else { hole / BLOCK })
    }

    /// On by so many blocks.
    pub(crate) fn pass(&mut self, blocks: u64) -> Result<(), Malformed> {
        self.blocks.pass(blocks)
    }

    /// The next block, and on by one. Empty at the end.
    pub(crate) fn block(&mut self) -> Result<&[u8], DeviceError> {
        let (offset, length) = (self.blocks.offset(), self.blocks.bytes(1));
        if offset < self.buffered || offset + length > self.buffered + self.buffer.len() as u64 {
            self.fill(offset)?;
        }
        // There is a next one, or its length is 0.
        let _ = self.blocks.pass(1);
        let begin = usize::try_from(offset - self.buffered).unwrap_or(usize::MAX);
        let end = begin.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(self.buffer.get(begin..end).unwrap_or_default())
    }

    /// Reads on until a hole begins.
    fn fill(&mut self, offset: u64) -> Result<(), DeviceError> {
        self.holes.hole_at(offset)?;
        let data = self.holes.data_end().next_multiple_of(BLOCK).max(offset + BLOCK);
        let end = data.min(offset + READ).min(self.size);
        self.buffer.resize(usize::try_from(end - offset).unwrap_or_default(), 0);
        self.buffered = offset;
        self.device.read(offset, &mut self.buffer)
    }

    /// Goes over the zeros at the begin, and back. Says whether there is anything else. `alive` is called now and then.
    pub(crate) fn look_for_data<E: From<DeviceError>>(
        &mut self,
        mut alive: impl FnMut() -> Result<(), E>,
    ) -> Result<bool, E> {
        /// A second or so of a slow disk.
        const BLOCKS_BETWEEN: u64 = (64 << 20) / BLOCK;
        let mut found = false;
        while !self.at_end() && !found {
            let hole = self.hole()?;
            if hole > 0 {
                // Never more than are left.
                let _ = self.blocks.pass(hole);
            } else {
                found = !is_zero(self.block()?);
            }
            if self.blocks.done().is_multiple_of(BLOCKS_BETWEEN) {
                alive()?;
            }
        }
        self.zeros = if found { (self.blocks.done() - 1) * BLOCK } else { self.size };
        self.blocks = Blocks::of(self.size);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "sizes of tests are small")]

    use super::*;
    use std::os::unix::fs::FileExt;

    const MIB: u64 = 1 << 20;

    #[test]
    fn holes_and_zeros_that_are_known_are_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(9 * MIB).unwrap();
        file.as_file().write_all_at(&vec![0; 1 << 20], 2 * MIB).unwrap();
        file.as_file().write_all_at(&[7; 3], 5 * MIB).unwrap();
        let device = Device::open_source(file.path()).unwrap();
        let mut scan = Scan::new(&device, device.size());
        assert!(scan.look_for_data(|| Ok::<_, DeviceError>(())).unwrap());
        let looked = device.bytes_read();
        assert!((MIB + 3..2 * MIB).contains(&looked), "{looked}");
        assert_eq!(scan.hole().unwrap(), 5 * MIB / BLOCK);
        scan.pass(5 * MIB / BLOCK).unwrap();
        assert_eq!(scan.hole().unwrap(), 0);
        assert_eq!(scan.block().unwrap()[..4], [7, 7, 7, 0]);
        // From the end of what the file system holds for these three bytes to the end.
        assert_eq!(scan.hole().unwrap(), 4 * MIB / BLOCK - 1);
        // It is still in the buffer.
        assert_eq!(device.bytes_read(), looked);
    }

    #[test]
    fn a_device_of_zeros_has_no_data_and_one_without_bytes_neither() {
        for size in [0, 1, BLOCK, 3 * MIB + 5] {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().write_all_at(&vec![0; size as usize], 0).unwrap();
            let device = Device::open_source(file.path()).unwrap();
            let mut scan = Scan::new(&device, size);
            assert!(!scan.look_for_data(|| Ok::<_, DeviceError>(())).unwrap());
            assert_eq!(scan.hole().unwrap(), size.div_ceil(BLOCK));
        }
    }
}
