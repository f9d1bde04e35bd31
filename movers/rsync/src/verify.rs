//! Reading a file once more, for nothing but its checksum.

use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::error::Error;
use crate::proto::checksum::{Algorithm, FileSum, Strong};
use crate::proto::frame::Tag;
use crate::stream::writer::Writer;

/// So much is read at once.
const READ: usize = 256 * 1024;
/// The peer hears of us after so much, which takes a slow disk a minute: before it takes us for dead.
const SIGN_OF_LIFE: u64 = 2 << 30;

/// The checksum of what `read` gives, until it gives nothing. The outer error is the connection's, which is kept alive
/// meanwhile, the inner one the file's.
pub(crate) fn sum<W: Write>(
    writer: &mut Writer<W>,
    algorithm: Algorithm,
    mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<Result<Vec<u8>, Errno>, Error> {
    let mut sum = FileSum::Empty(algorithm);
    let mut space = vec![0; READ];
    let mut silent = 0;
    loop {
        match read(&mut space) {
            Ok(0) => break,
            Ok(count) => {
                sum.update(space.get(..count).unwrap_or_default());
                silent += count as u64;
            }
            Err(errno) => return Ok(Err(errno)),
        }
        if silent >= SIGN_OF_LIFE {
            silent = 0;
            writer.message(Tag::Noop, &[])?;
            writer.flush()?;
        }
    }
    let sum: Strong = sum.finish();
    Ok(Ok(sum.get(..algorithm.len() as usize).unwrap_or_default().to_vec()))
}

/// Reads on in a file.
pub(crate) fn read(file: &OwnedFd, space: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(file, &mut *space) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
