//! A connection to a peer of which it is known who it is.

use std::io::{self, Read, Write};

use doppel_contract::{LeftOut, Tally};

/// Both directions, each of which may be used by a thread of its own.
#[derive(Debug)]
pub struct Connection<R, W> {
    /// The peer's bytes.
    pub reader: R,
    /// Bytes to the peer. Large pieces are written at once; a flush means that the peer waits for them.
    pub writer: W,
    /// Who is at the other end.
    pub peer: Peer,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// diskrsync 1.3, from VolSync for example, or a Doppel that does not know [`PROTOCOL`].
    Diskrsync,
    /// A Doppel.
    Doppel,
}

/// The name under which two Doppels find each other before the first byte: an application protocol of TLS (RFC 7301).
pub const PROTOCOL: &str = "doppel-block/1";

/// What a session came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// What was counted on the way.
    pub tally: Tally,
    /// What a user may want to know although no data is missing.
    pub remarks: LeftOut,
}

/// What was counted over a whole device of this many bytes, of which this end read so many.
pub(crate) fn complete(moved: Tally, size: u64, read_bytes: u64) -> Tally {
    let changed = moved.literal_bytes + moved.zeroed_bytes > 0;
    Tally { entries: 1, devices: 1, bytes: size, files_sent: u64::from(changed), read_bytes, ..moved }
}

/// One direction of a connection, with its bytes counted.
pub(crate) struct Counted<T> {
    inner: T,
    pub(crate) bytes: u64,
}

impl<T> Counted<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, bytes: 0 }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        Ok(length)
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
