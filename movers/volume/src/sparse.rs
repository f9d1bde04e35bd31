//! Reading a file whose holes cost no reading: they are zeros, and the file system knows where they are (lseek(2),
//! `SEEK_DATA` and `SEEK_HOLE`). Where it does not know, all of the file is data.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// A file that is read from its begin to its end.
#[derive(Debug)]
pub struct Reading {
    file: OwnedFd,
    position: u64,
    /// What follows `position`, as far as it is known: data up to the first of these, then zeros up to the second.
    data: u64,
    zeros: u64,
}

/// In a file shorter than this nobody looks for holes: that takes longer than to read it.
const WORTH_LOOKING: u64 = 64 * 1024;

impl Reading {
    /// Reads this file, of so many bytes.
    #[must_use]
    pub fn new(file: OwnedFd, size: u64) -> Self {
        let data = if size < WORTH_LOOKING { u64::MAX } else { 0 };
        Self { file, position: 0, data, zeros: 0 }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads on; nothing at the end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        if self.position >= self.data.max(self.zeros) {
            self.look()?;
        }
        let up_to = |end: u64| usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let len = buffer.len();
        let count = if self.position < self.data {
            let buffer = buffer.get_mut(..up_to(self.data).min(len)).unwrap_or_default();
            loop {
                match rustix::io::pread(&self.file, &mut *buffer, self.position) {
                    Err(Errno::INTR) => {}
                    result => break result?,
                }
            }
        } else {
            let zeros = buffer.get_mut(..up_to(self.zeros).min(len)).unwrap_or_default();
            zeros.fill(0);
            zeros.len()
        };
        self.position += count as u64;
        Ok(count)
    }

    /// Finds out what follows.
    fn look(&mut self) -> Result<(), Errno> {
        match rustix::fs::seek(&self.file, SeekFrom::Data(self.position)) {
            Ok(data) if data > self.position => self.zeros = data,
            // The hole begins where the file ends, if nowhere else.
            Ok(_) => self.data = rustix::fs::seek(&self.file, SeekFrom::Hole(self.position)).unwrap_or(u64::MAX),
            // No data follows.
            Err(Errno::NXIO) => self.zeros = u64::try_from(rustix::fs::fstat(&self.file)?.st_size).unwrap_or_default(),
            Err(_) => self.data = u64::MAX,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    fn read_all(file: &File, piece: usize) -> Vec<u8> {
        let size = file.metadata().unwrap().len();
        let mut reading = Reading::new(file.try_clone().unwrap().into(), size);
        let (mut all, mut buffer) = (Vec::new(), vec![0xee; piece]);
        loop {
            let count = reading.read(&mut buffer).unwrap();
            if count == 0 {
                return all;
            }
            all.extend_from_slice(&buffer[..count]);
            buffer.fill(0xee);
        }
    }

    #[test]
    fn a_hole_is_zeros_wherever_it_is() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        file.write_all_at(b"data", 1 << 20).unwrap();
        let mut expected = vec![0; 3 << 20];
        expected[1 << 20..][..4].copy_from_slice(b"data");
        assert!(read_all(&file, 50_000) == expected);
    }

    #[test]
    fn a_hole_is_not_read() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let mut reading = Reading::new(file.try_clone().unwrap().into(), 1 << 40);
        let mut buffer = [1; 8];
        assert_eq!(reading.read(&mut buffer), Ok(8));
        // What comes after it is known to be zeros without another look at the file.
        assert_eq!((buffer, reading.zeros), ([0; 8], 1 << 40));
    }

    #[test]
    fn a_file_that_was_cut_ends_where_it_ends() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 100_000], 0).unwrap();
        let mut reading = Reading::new(file.try_clone().unwrap().into(), 100_000);
        let mut buffer = [0; 1000];
        assert_eq!(reading.read(&mut buffer), Ok(1000));
        file.set_len(500).unwrap();
        assert_eq!(reading.read(&mut buffer), Ok(0));
    }

    proptest! {
        #[test]
        fn what_is_in_the_file_is_read(
            writes in proptest::collection::vec((0_u64..400_000, 1_usize..30_000), 0..6),
            len in 0_u64..500_000,
            piece in 1_usize..70_000,
        ) {
            let file = tempfile::tempfile().unwrap();
            file.set_len(len).unwrap();
            for (at, count) in writes {
                file.write_all_at(&vec![3; count], at).unwrap();
            }
            let mut expected = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
            file.read_exact_at(&mut expected, 0).unwrap();
            prop_assert!(read_all(&file, piece) == expected);
        }
    }
}
