//! Our bytes to the peer, gathered into large frames.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::proto::frame::{HEADER, Header, MAX_MESSAGE, Tag};

/// Writes to the peer. Bytes are gathered until the buffer is full or [`Writer::flush`] is called.
pub(crate) struct Writer<W> {
    inner: W,
    buffer: Box<[u8]>,
    /// Where the next byte goes.
    used: usize,
    /// Where the header of the frame that is being filled goes, once there are frames.
    frame: Option<usize>,
    sent: u64,
    stalled: Duration,
}

/// One write, and at most one frame of data, has this much: enough that its overhead vanishes, and little enough that
/// the peer need not wait for it. Eight whole records of TLS.
const BUFFER: usize = 128 * 1024;
/// A piece of file content that is read straight into the buffer is not longer. Two of them fill it.
pub(crate) const MAX_SPACE: usize = (BUFFER - HEADER) / 2;
const _: () = assert!(BUFFER > MAX_MESSAGE + 2 * HEADER);

impl<W: Write> Writer<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            used: 0,
            frame: None,
            sent: 0,
            stalled: Duration::ZERO,
        }
    }

    /// From here on there are frames.
    pub(crate) fn begin_frames(&mut self) {
        self.frame = Some(self.used);
        self.used += HEADER;
    }

    /// Bytes that went to the peer.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// How long writes took in all: while they do, the peer or the way to it is what is slow.
    pub(crate) fn stalled(&self) -> Duration {
        self.stalled
    }

    /// Adds bytes.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.used == self.buffer.len() {
                self.flush()?;
            }
            let space = self.buffer.get_mut(self.used..).unwrap_or_default();
            let (now, later) = bytes.split_at_checked(space.len()).unwrap_or((bytes, &[]));
            if let Some(place) = space.get_mut(..now.len()) {
                place.copy_from_slice(now);
            }
            self.used += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Space for `count` bytes, at most [`MAX_SPACE`], of which [`Writer::filled`] then adds the first ones.
    pub(crate) fn space(&mut self, count: usize) -> Result<&mut [u8], Error> {
        if self.buffer.len() - self.used < count {
            self.flush()?;
        }
        Ok(self.buffer.get_mut(self.used..self.used + count.min(MAX_SPACE)).unwrap_or_default())
    }

    /// Adds the first `count` bytes of the space.
    pub(crate) fn filled(&mut self, count: usize) {
        self.used = (self.used + count).min(self.buffer.len());
    }

    /// Adds a message; what is longer than a message may be is cut.
    pub(crate) fn message(&mut self, tag: Tag, payload: &[u8]) -> Result<(), Error> {
        let payload = payload.get(..MAX_MESSAGE).unwrap_or(payload);
        if self.buffer.len() - self.used < payload.len() + 2 * HEADER {
            self.flush()?;
        }
        self.end_frame();
        let header = Header { tag, len: payload.len() }.encode();
        self.frame = None;
        self.put(&header)?;
        self.put(payload)?;
        self.begin_frames();
        Ok(())
    }

    /// Sends everything that was gathered.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let framed = self.frame.is_some();
        self.end_frame();
        let bytes = self.buffer.get(..self.used).unwrap_or_default();
        if !bytes.is_empty() {
            let begin = Instant::now();
            self.inner.write_all(bytes)?;
            self.inner.flush()?;
            self.stalled += begin.elapsed();
            self.sent += bytes.len() as u64;
        }
        self.used = 0;
        if framed {
            self.begin_frames();
        }
        Ok(())
    }

    /// Completes the frame that is being filled, or takes it back when it is empty.
    fn end_frame(&mut self) {
        let Some(start) = self.frame else { return };
        let len = self.used.saturating_sub(start + HEADER);
        if len == 0 {
            self.used = start;
            return;
        }
        let header = Header { tag: Tag::Data, len }.encode();
        for (place, byte) in self.buffer.iter_mut().skip(start).zip(header) {
            *place = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::input::Input;
    use crate::stream::reader::Reader;

    #[test]
    fn what_is_written_is_read_with_messages_in_between() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.put(b"plain\n").unwrap();
        writer.begin_frames();
        let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        writer.message(Tag::ErrorTransfer, b"first").unwrap();
        writer.put(&large).unwrap();
        writer.message(Tag::ErrorTransfer, b"second").unwrap();
        writer.flush().unwrap();
        writer.flush().unwrap();
        writer.space(5).unwrap().copy_from_slice(b"space");
        writer.filled(5);
        writer.flush().unwrap();
        let sent = writer.sent();
        assert_eq!(sent, bytes.len() as u64);
        let mut reader = Reader::new(&bytes[..]);
        assert_eq!(reader.line(10).unwrap(), b"plain");
        reader.begin_frames();
        for piece in large.chunks(60_000) {
            assert_eq!(reader.take(piece.len()).unwrap(), piece);
        }
        assert_eq!(reader.take(5).unwrap(), b"space");
        assert_eq!(reader.messages().problems.count, 2);
        assert_eq!(reader.received(), sent);
    }
}
