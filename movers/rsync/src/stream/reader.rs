//! The peer's bytes: data where it is asked for, messages to whoever handles them.

use std::io::Read;

use crate::error::Error;
use crate::proto::frame::{HEADER, Header, Tag};
use crate::proto::input::{Input, MAX_TAKE, Malformed};
use crate::stream::messages::PeerReport;

/// Reads from the peer. Everything that has to be in one piece is returned as a slice of the buffer, without being
/// copied when it lies within one frame, as nearly everything does.
pub(crate) struct Reader<R> {
    inner: R,
    messages: PeerReport,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    framing: Framing,
    /// What lies across frames is put together here.
    joined: Vec<u8>,
    received: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// The handshake: bytes as they come.
    Plain,
    /// So many bytes of data are left in the current frame.
    Framed(usize),
}

/// One system call, or one look into a queue, brings up to this much.
const BUFFER: usize = 256 * 1024;
const _: () = assert!(BUFFER > MAX_TAKE);

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self {
            inner,
            messages: PeerReport::default(),
            buffer,
            start: 0,
            end: 0,
            framing: Framing::Plain,
            joined: Vec::new(),
            received: 0,
        }
    }

    /// From here on there are frames.
    pub(crate) fn begin_frames(&mut self) {
        self.framing = Framing::Framed(0);
    }

    pub(crate) fn messages(&mut self) -> &mut PeerReport {
        &mut self.messages
    }

    /// Bytes that came from the peer.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether reading on will wait for the peer: the moment to send it what it may be waiting for.
    pub(crate) fn is_drained(&self) -> bool {
        self.start == self.end
    }

    /// A line of the handshake, without its end.
    pub(crate) fn line(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(line),
                byte if line.len() < limit => line.push(byte),
                _ => return Err(Malformed::TooLong { what: "line", len: limit as u64 + 1, limit: limit as u64 }.into()),
            }
        }
    }

    /// A line that begins so; or its begin alone where it does not, for other protocols may never end a line.
    pub(crate) fn line_with(&mut self, begin: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        while line.len() < begin.len() {
            match self.byte()? {
                b'\n' => return Ok(line),
                byte => line.push(byte),
            }
        }
        if line == begin {
            line.extend(self.line(limit.saturating_sub(begin.len()))?);
        }
        Ok(line)
    }

    /// Some data, as it comes, at least one byte and at most `most`.
    pub(crate) fn some(&mut self, most: usize) -> Result<&[u8], Error> {
        let available = match self.framing {
            Framing::Plain => {
                self.fill(1)?;
                self.end - self.start
            }
            Framing::Framed(_) => {
                let left = self.frame_with_data()?;
                self.fill(1)?;
                left.min(self.end - self.start)
            }
        };
        Ok(self.consume(available.min(most)))
    }

    /// Reads and drops whatever comes until the peer acknowledges our error, so that the connection is not reset under
    /// an error that the peer has yet to read. Ends after `most` bytes.
    pub(crate) fn drain(&mut self, most: u64) {
        let until = self.received.saturating_add(most);
        while self.received < until && self.some(BUFFER).is_ok() {}
    }

    /// Makes at least `count` bytes available.
    fn fill(&mut self, count: usize) -> Result<(), Error> {
        if self.end - self.start >= count {
            return Ok(());
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end < count {
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.inner.read(space) {
                Ok(0) => return Err(Error::Closed),
                Ok(read) => {
                    self.end += read;
                    self.received += read as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes bytes that [`Reader::fill`] made available.
    fn consume(&mut self, count: usize) -> &[u8] {
        let from = self.start;
        self.start += count;
        if let Framing::Framed(left) = &mut self.framing {
            *left = left.saturating_sub(count);
        }
        self.buffer.get(from..from + count).unwrap_or_default()
    }

    /// Handles messages until there is data; how much of it is left in its frame.
    fn frame_with_data(&mut self) -> Result<usize, Error> {
        loop {
            if let Framing::Framed(left @ 1..) = self.framing {
                return Ok(left);
            }
            self.fill(HEADER)?;
            let mut header = [0; HEADER];
            for (place, byte) in header.iter_mut().zip(self.buffer.iter().skip(self.start)) {
                *place = *byte;
            }
            self.start += HEADER;
            let header = Header::decode(header)?;
            if header.tag == Tag::Data {
                self.framing = Framing::Framed(header.len);
                continue;
            }
            self.fill(header.len)?;
            let payload = self.buffer.get(self.start..self.start + header.len).unwrap_or_default();
            self.start += header.len;
            self.messages.message(header.tag, payload)?;
        }
    }

    fn join(&mut self, count: usize) -> Result<&[u8], Error> {
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        while joined.len() < count {
            joined.extend_from_slice(self.some(count - joined.len())?);
        }
        self.joined = joined;
        Ok(&self.joined)
    }
}

impl<R: Read> Input for Reader<R> {
    type Error = Error;

    fn take(&mut self, count: usize) -> Result<&[u8], Error> {
        if count == 0 {
            return Ok(&[]);
        }
        if count > MAX_TAKE {
            return Err(Malformed::TooLong { what: "value", len: count as u64, limit: MAX_TAKE as u64 }.into());
        }
        match self.framing {
            Framing::Plain => {
                self.fill(count)?;
                Ok(self.consume(count))
            }
            Framing::Framed(_) => {
                if self.frame_with_data()? < count {
                    return self.join(count);
                }
                self.fill(count)?;
                Ok(self.consume(count))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend(Header { tag: Tag::Data, len: piece.len() }.encode());
            bytes.extend(piece);
            bytes.extend(Header { tag: Tag::ErrorTransfer, len: 2 }.encode());
            bytes.extend(b"hm");
        }
        bytes
    }

    proptest! {
        #[test]
        fn values_across_frames_are_put_together_and_messages_between_them_are_told(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
            takes in proptest::collection::vec(0_usize..60, 1..20),
        ) {
            let bytes = framed(&pieces);
            let mut reader = Reader::new(&bytes[..]);
            reader.begin_frames();
            let all = pieces.concat();
            let mut rest = &all[..];
            for take in takes {
                match reader.take(take) {
                    Ok(taken) => {
                        prop_assert_eq!(taken, &rest[..take]);
                        rest = &rest[take..];
                    }
                    Err(error) => {
                        prop_assert!(matches!(error, Error::Closed) && take > rest.len());
                        prop_assert_eq!(reader.messages().problems.count, pieces.len() as u64);
                        break;
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::new(&bytes[..]);
            reader.begin_frames();
            while reader.take(3).is_ok() {}
        }
    }

    #[test]
    fn what_begins_otherwise_is_not_read_to_the_end_of_its_line() {
        let mut reader = Reader::new(&b"@RSYNCD: 31.0\nBSNC0002\0\0\0\0and so on"[..]);
        assert_eq!(reader.line_with(b"@RSYNCD: ", 50).unwrap(), b"@RSYNCD: 31.0");
        assert_eq!(reader.line_with(b"@RSYNCD: ", 50).unwrap(), b"BSNC0002\0");
        assert_eq!(Reader::new(&b"@\n"[..]).line_with(b"@RSYNCD: ", 50).unwrap(), b"@");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut reader = Reader::new(&[b'a'; 100][..]);
        assert!(reader.line(50).is_err());
    }
}
