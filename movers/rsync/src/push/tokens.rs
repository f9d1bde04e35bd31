//! The content of files as it is sent, packed or not. The counterpart of `serve::tokens`.

use std::io::Write;
use std::time::{Duration, Instant};

use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

use crate::error::Error;
use crate::proto::compressed::{MAX_DATA, PackedWriter};
use crate::proto::negotiate::Compression;
use crate::proto::token::{MAX_PACKED, Token};
use crate::push::pace::{Mode, Pace};
use crate::session::Packing;
use crate::stream::writer::Writer;

/// Writes the content of one file after the other.
pub(crate) struct Tokens {
    form: Form,
    scratch: Vec<u8>,
}

enum Form {
    /// As it is.
    Plain,
    /// All of it packed, as rsync does it.
    Packed(Packer, PackedWriter),
    /// Packed or not, piece by piece. There is no packer before the first piece.
    Mixed { pace: Pace, packer: Option<Packer>, vain: Vain },
}

/// What does not get shorter is soon sent as it is, and tried again later: ever later, while it does not.
#[derive(Debug, Default)]
struct Vain {
    /// How much was packed since a piece got shorter.
    tried: usize,
    /// How much is to be sent as it is before the next trial.
    skip: usize,
    /// How much that was at first.
    skipped: usize,
}

/// The longest literal that rsync 3.2 takes; the longest that any rsync sends. It is also what is packed at once in a mixed
/// stream: even if it cannot be packed, it is no longer than a piece may be then.
const PIECE: usize = 32 * 1024;
const _: () = assert!(PIECE + PIECE / 128 < MAX_PACKED as usize);
/// What is shorter gains nothing.
const WORTH_PACKING: usize = 64;
/// So much of a file is packed in vain before it is left as it is: what shrinks may begin after a piece that does not.
const TRIAL: usize = 256 * 1024;
/// So much of a file is sent as it is after the first trial in vain, and at most so much after another.
const SKIP: usize = 1 << 20;
const MAX_SKIP: usize = 16 << 20;

impl Tokens {
    pub(crate) fn new(packing: Packing) -> Result<Self, Error> {
        let form = match packing {
            Packing::Mixed => Form::Mixed { pace: Pace::new(Instant::now()), packer: None, vain: Vain::default() },
            Packing::Stock(Compression::None) => Form::Plain,
            // The only one that we offer: every rsync that negotiates has it, and no other is as fast.
            Packing::Stock(_) => Form::Packed(Packer::new()?, PackedWriter::default()),
        };
        Ok(Self { form, scratch: Vec::new() })
    }

    /// Packs piece by piece, beginning with this mode.
    #[cfg(test)]
    pub(crate) fn mixed(mode: Mode) -> Self {
        let pace = Pace::beginning_with(mode, Instant::now());
        Self { form: Form::Mixed { pace, packer: None, vain: Vain::default() }, scratch: Vec::new() }
    }

    /// Another file begins.
    pub(crate) fn begin(&mut self) {
        match &mut self.form {
            Form::Plain => {}
            Form::Packed(_, tokens) => *tokens = PackedWriter::default(),
            Form::Mixed { vain, .. } => *vain = Vain::default(),
        }
    }

    /// Whether data is sent as it is now. Then it may be written without [`Tokens::literal`], as literal tokens of less
    /// than a gibibyte, and is to be counted by [`Tokens::sent`].
    pub(crate) fn is_raw(&self) -> bool {
        match &self.form {
            Form::Plain => true,
            Form::Packed(..) => false,
            Form::Mixed { pace, vain, .. } => pace.mode() == Mode::Raw || vain.skip > 0,
        }
    }

    /// How much may be written at once without [`Tokens::literal`].
    pub(crate) fn most_raw(&self) -> usize {
        match &self.form {
            Form::Mixed { .. } => usize::MAX,
            Form::Plain | Form::Packed(..) => PIECE,
        }
    }

    /// So much data was sent as it is.
    pub(crate) fn sent(&mut self, len: usize, stalled: Duration) {
        if let Form::Mixed { pace, vain, .. } = &mut self.form {
            vain.skip = vain.skip.saturating_sub(len);
            pace.sent(len as u64, len as u64, || (Instant::now(), stalled));
        }
    }

    /// Writes data.
    pub(crate) fn literal<W: Write>(&mut self, mut data: &[u8], writer: &mut Writer<W>) -> Result<(), Error> {
        while !data.is_empty() {
            let (now, later) = data.split_at_checked(PIECE).unwrap_or((data, &[]));
            if self.is_raw() {
                raw(now, writer)?;
                self.sent(now.len(), writer.stalled());
            } else {
                self.pack(now, writer)?;
            }
            data = later;
        }
        Ok(())
    }

    fn pack<W: Write>(&mut self, data: &[u8], writer: &mut Writer<W>) -> Result<(), Error> {
        match &mut self.form {
            Form::Plain => raw(data, writer),
            Form::Packed(packer, _) => packer.go_on(data, |packed| put_data(packed, writer)),
            Form::Mixed { .. } if data.len() < WORTH_PACKING => {
                raw(data, writer)?;
                self.sent(data.len(), writer.stalled());
                Ok(())
            }
            Form::Mixed { pace, packer, vain } => {
                let packer = match packer {
                    Some(packer) => packer,
                    None => packer.insert(Packer::new()?),
                };
                self.scratch.clear();
                let mut keep = |packed: &[u8]| {
                    self.scratch.extend_from_slice(packed);
                    Ok(())
                };
                packer.go_on(data, &mut keep)?;
                packer.flush(&mut keep)?;
                vain.packed(data.len(), self.scratch.len());
                // Even if it did not get shorter: what was packed is part of the stream.
                writer.put(&Token::Packed(u32::try_from(self.scratch.len()).unwrap_or_default()).encode())?;
                writer.put(&self.scratch)?;
                pace.sent(data.len() as u64, self.scratch.len() as u64, || (Instant::now(), writer.stalled()));
                Ok(())
            }
        }
    }

    /// Writes that a block of the old content comes next.
    pub(crate) fn block<W: Write>(&mut self, block: u32, writer: &mut Writer<W>) -> Result<(), Error> {
        match &mut self.form {
            Form::Plain | Form::Mixed { .. } => writer.put(&Token::Block(block).encode()),
            Form::Packed(packer, tokens) => {
                packer.flush(|packed| put_data(packed, writer))?;
                self.scratch.clear();
                tokens.block(&mut self.scratch, block);
                writer.put(&self.scratch)
            }
        }
    }

    /// Writes that the file ends.
    pub(crate) fn end<W: Write>(&mut self, writer: &mut Writer<W>) -> Result<(), Error> {
        match &mut self.form {
            Form::Plain | Form::Mixed { .. } => writer.put(&Token::End.encode()),
            Form::Packed(packer, _) => {
                packer.flush(|packed| put_data(packed, writer))?;
                writer.put(&[PackedWriter::END])
            }
        }
    }
}

impl Vain {
    /// A piece became so long.
    fn packed(&mut self, data: usize, packed: usize) {
        if packed < data {
            *self = Self::default();
            return;
        }
        self.tried += data;
        if self.tried >= TRIAL {
            self.skipped = (self.skipped * 2).clamp(SKIP, MAX_SKIP);
            (self.tried, self.skip) = (0, self.skipped);
        }
    }
}

fn raw<W: Write>(data: &[u8], writer: &mut Writer<W>) -> Result<(), Error> {
    writer.put(&Token::Literal(u32::try_from(data.len()).unwrap_or_default()).encode())?;
    writer.put(data)
}

/// Writes packed data as rsync frames it.
fn put_data<W: Write>(packed: &[u8], writer: &mut Writer<W>) -> Result<(), Error> {
    for piece in packed.chunks(MAX_DATA) {
        writer.put(&PackedWriter::data(piece.len()))?;
        writer.put(piece)?;
    }
    Ok(())
}

/// A zstd stream, as long as the session.
struct Packer {
    encoder: Encoder<'static>,
    packed: Box<[u8]>,
    /// Data went in, and not all of it may have come out.
    open: bool,
}

/// zstd's own default. It packs more than 200 MB a second, which is faster than any link that is packed for
/// (`push/pace.rs`), and finds again what came up to 2 MiB before.
const LEVEL: i32 = 3;

impl Packer {
    fn new() -> Result<Self, Error> {
        let encoder = Encoder::new(LEVEL).map_err(Error::Resources)?;
        Ok(Self { encoder, packed: vec![0; MAX_DATA].into_boxed_slice(), open: false })
    }

    /// Packs data, and gives what comes out to `emit`.
    fn go_on(&mut self, data: &[u8], mut emit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.open = true;
        let mut input = InBuffer::around(data);
        while input.pos() < data.len() {
            let mut output = OutBuffer::around(&mut self.packed[..]);
            self.encoder.run(&mut input, &mut output).map_err(Error::Resources)?;
            if output.pos() > 0 {
                emit(output.as_slice())?;
            }
        }
        Ok(())
    }

    /// Gives to `emit` what the peer needs to unpack all that went in.
    fn flush(&mut self, mut emit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut left = usize::from(std::mem::take(&mut self.open));
        while left > 0 {
            let mut output = OutBuffer::around(&mut self.packed[..]);
            left = self.encoder.flush(&mut output).map_err(Error::Resources)?;
            if output.pos() > 0 {
                emit(output.as_slice())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_trials_are_in_vain_the_more_is_left_between_them_and_one_that_is_not_begins_anew() {
        let mut vain = Vain::default();
        let mut trial = |packed| {
            vain.skip = 0;
            for _ in 0..TRIAL / PIECE {
                assert_eq!(vain.skip, 0);
                vain.packed(PIECE, packed);
            }
            vain.skip
        };
        assert_eq!([(); 6].map(|()| trial(PIECE + 5) >> 20), [1, 2, 4, 8, 16, 16]);
        assert_eq!(trial(PIECE - 1), 0);
        assert_eq!(trial(PIECE) >> 20, 1);
    }
}
