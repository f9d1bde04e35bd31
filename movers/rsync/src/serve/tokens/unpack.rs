//! The decompressors. Each writes into the space it is given and no further, whatever its input would unpack to; each
//! error is the peer's. (Captures of rsync 3.2.7 and 3.5.0 for all four.)

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

use crate::error::Error;
use crate::proto::input::Malformed;
use crate::proto::negotiate::Compression;

/// A decompressor.
pub(super) enum Unpack {
    /// One stream for all files.
    Zstd(Decoder<'static>),
    /// Every piece by itself.
    Lz4,
    /// Raw deflate, a stream for each file. It is flushed after each run of literal data, and the mark that a flush ends
    /// with is left out on the wire.
    Zlib(Inflate),
}

pub(super) struct Inflate {
    stream: Decompress,
    /// Blocks of the old content are part of the stream, as if they had come in it.
    remembers_blocks: bool,
}

/// A zstd stream may look back 16 MiB, which is more than rsync's levels up to 19 do. The decoder keeps that much.
const MAX_WINDOW_LOG: u32 = 24;

/// What a flush of deflate ends with: an empty stored block. (RFC 1951, 3.2.4; its three bits of header come before.)
const FLUSHED: &[u8] = &[0, 0, 0xff, 0xff];

impl Unpack {
    /// The decompressor for this, if one is needed.
    pub(super) fn new(compression: Compression) -> Result<Option<Self>, Error> {
        let zlib = |remembers_blocks| Self::Zlib(Inflate { stream: Decompress::new(false), remembers_blocks });
        Ok(match compression {
            Compression::None => None,
            Compression::Zstd => {
                let mut decoder = Decoder::new().map_err(Error::Resources)?;
                decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(Error::Resources)?;
                Some(Self::Zstd(decoder))
            }
            Compression::Lz4 => Some(Self::Lz4),
            Compression::Zlibx => Some(zlib(false)),
            Compression::Zlib => Some(zlib(true)),
        })
    }

    /// Another file begins.
    pub(super) fn begin(&mut self) {
        match self {
            Self::Zstd(_) | Self::Lz4 => {}
            Self::Zlib(inflate) => inflate.stream.reset(false),
        }
    }

    /// What is to be unpacked when a run of literal data has ended.
    pub(super) fn end_of_run(&self) -> &'static [u8] {
        match self {
            Self::Zstd(_) | Self::Lz4 => &[],
            Self::Zlib(_) => FLUSHED,
        }
    }

    /// Unpacks `packed` into `space`, as much as fits: how many bytes were read, and how many written.
    pub(super) fn unpack(&mut self, packed: &[u8], space: &mut [u8]) -> Result<(usize, usize), Malformed> {
        let (read, written) = match self {
            Self::Zstd(decoder) => {
                let (mut input, mut output) = (InBuffer::around(packed), OutBuffer::around(space));
                decoder.run(&mut input, &mut output).map_err(|error| damaged("zstd", &error))?;
                (input.pos(), output.pos())
            }
            // rsync packs at most 16 KiB at a time. What does not fit was not packed by it.
            Self::Lz4 if packed.is_empty() => (0, 0),
            Self::Lz4 => {
                let written = lz4_flex::block::decompress_into(packed, space);
                (packed.len(), written.map_err(|error| damaged("lz4", &error))?)
            }
            Self::Zlib(inflate) => inflate.unpack(packed, space)?,
        };
        if read == 0 && written == 0 && !packed.is_empty() {
            return Err(Malformed::unexpected("compressed data that cannot be unpacked"));
        }
        Ok((read, written))
    }

    /// The content of a block that was spoken of.
    pub(super) fn saw_block(&mut self, data: &[u8]) -> Result<(), Malformed> {
        match self {
            Self::Zlib(inflate) if inflate.remembers_blocks => inflate.remember(data),
            Self::Zstd(_) | Self::Lz4 | Self::Zlib(_) => Ok(()),
        }
    }
}

impl Inflate {
    fn unpack(&mut self, packed: &[u8], space: &mut [u8]) -> Result<(usize, usize), Malformed> {
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(packed, space, FlushDecompress::Sync);
        match status.map_err(|error| damaged("deflate", &error))? {
            Status::Ok | Status::BufError => {}
            // Its end is where the file ends, which a token says.
            Status::StreamEnd => {
                return Err(Malformed::unexpected("the end of a deflate stream before that of the file"));
            }
        }
        // No more than `packed` and `space` have.
        let since = |total: u64, before| usize::try_from(total - before).unwrap_or_default();
        Ok((since(self.stream.total_in(), read), since(self.stream.total_out(), written)))
    }

    /// Puts data into the window: it goes through the stream as stored blocks. (RFC 1951, 3.2.4.)
    fn remember(&mut self, data: &[u8]) -> Result<(), Malformed> {
        const LONGEST: usize = 0xffff;
        let mut sink = vec![0; data.len().min(LONGEST)];
        for piece in data.chunks(LONGEST) {
            let len = u16::try_from(piece.len()).unwrap_or_default();
            let ([a, b], [c, d]) = (len.to_le_bytes(), (!len).to_le_bytes());
            for part in [&[0, a, b, c, d][..], piece] {
                if self.unpack(part, &mut sink)?.0 < part.len() {
                    return Err(Malformed::unexpected("a block in the middle of deflate data"));
                }
            }
        }
        Ok(())
    }
}

fn damaged(what: &str, error: &dyn std::fmt::Display) -> Malformed {
    Malformed::unexpected(format!("{what} data: {error}"))
}
