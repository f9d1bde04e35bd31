//! The content of a file as it comes, compressed or not.

use std::io::Read;

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

use crate::error::Error;
use crate::proto::compressed::{Packed, PackedReader};
use crate::proto::input::{Input, Malformed};
use crate::proto::negotiate::Compression;
use crate::proto::token::Token;
use crate::stream::reader::Reader;

/// Reads the content of one file after the other.
pub(super) enum Tokens {
    /// As it is.
    Plain { blocks: u32, literal: u32 },
    /// In a zstd stream that goes on from file to file.
    Zstd(Box<Unpacker>),
}

/// A piece of content.
pub(super) enum Piece<'p> {
    /// Data.
    Literal(&'p [u8]),
    /// A block of the old content.
    Block(u32),
    /// There is no more.
    End,
}

impl Tokens {
    pub(super) fn new(compression: Compression) -> Result<Self, Error> {
        Ok(match compression {
            Compression::None => Self::Plain { blocks: 0, literal: 0 },
            Compression::Zstd => Self::Zstd(Box::new(Unpacker::new()?)),
        })
    }

    /// Another file begins, of whose old content so many blocks are known.
    pub(super) fn begin(&mut self, blocks: u32) {
        match self {
            Self::Plain { blocks: known, literal } => (*known, *literal) = (blocks, 0),
            Self::Zstd(unpacker) => unpacker.begin(blocks),
        }
    }

    /// The next piece.
    pub(super) fn next<'p, R: Read>(&'p mut self, reader: &'p mut Reader<R>) -> Result<Piece<'p>, Error> {
        match self {
            Self::Zstd(unpacker) => unpacker.next(reader),
            Self::Plain { blocks, literal } => {
                if *literal == 0 {
                    match Token::read(reader, *blocks)? {
                        Token::End => return Ok(Piece::End),
                        Token::Block(block) => return Ok(Piece::Block(block)),
                        Token::Literal(len) => *literal = len,
                    }
                }
                let data = reader.some(*literal as usize)?;
                *literal -= u32::try_from(data.len()).unwrap_or(*literal);
                Ok(Piece::Literal(data))
            }
        }
    }
}

/// Unpacks a zstd stream.
pub(super) struct Unpacker {
    decoder: Decoder<'static>,
    tokens: PackedReader,
    blocks: u32,
    /// Packed data that was not unpacked yet.
    packed: Vec<u8>,
    position: usize,
    unpacked: Box<[u8]>,
    /// The decoder may hold more than fitted into `unpacked`.
    more: bool,
}

/// Data is unpacked in pieces of this size, whatever it unpacks to.
const PIECE: usize = 128 * 1024;
/// A stream may look back 16 MiB, which is more than rsync's levels up to 19 do. The decoder keeps that much.
const MAX_WINDOW_LOG: u32 = 24;

impl Unpacker {
    fn new() -> Result<Self, Error> {
        let mut decoder = Decoder::new().map_err(Error::Resources)?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(Error::Resources)?;
        Ok(Self {
            decoder,
            tokens: PackedReader::default(),
            blocks: 0,
            packed: Vec::new(),
            position: 0,
            unpacked: vec![0; PIECE].into_boxed_slice(),
            more: false,
        })
    }

    fn begin(&mut self, blocks: u32) {
        self.blocks = blocks;
        self.tokens = PackedReader::default();
    }

    fn next<'p, R: Read>(&'p mut self, reader: &mut Reader<R>) -> Result<Piece<'p>, Error> {
        loop {
            if self.more || self.position < self.packed.len() {
                let len = self.unpack()?;
                if len > 0 {
                    return Ok(Piece::Literal(self.unpacked.get(..len).unwrap_or_default()));
                }
                continue;
            }
            match self.tokens.read(reader, self.blocks)? {
                Packed::End => return Ok(Piece::End),
                Packed::Block(block) => return Ok(Piece::Block(block)),
                Packed::Data(len) => {
                    self.packed.clear();
                    self.packed.extend_from_slice(reader.take(len)?);
                    self.position = 0;
                }
            }
        }
    }

    /// Unpacks as much as fits; how much that was.
    fn unpack(&mut self) -> Result<usize, Error> {
        let mut input = InBuffer::around(self.packed.get(self.position..).unwrap_or_default());
        let mut output = OutBuffer::around(&mut self.unpacked[..]);
        self.decoder
            .run(&mut input, &mut output)
            .map_err(|error| Malformed::unexpected(format!("zstd data: {error}")))?;
        let (read, written) = (input.pos(), output.pos());
        self.position += read;
        self.more = written == PIECE;
        if read == 0 && written == 0 && self.position < self.packed.len() {
            return Err(Malformed::unexpected("zstd data that cannot be unpacked").into());
        }
        Ok(written)
    }
}
