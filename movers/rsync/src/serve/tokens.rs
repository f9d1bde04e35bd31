//! The content of a file as it comes, packed or not.

mod unpack;

use std::io::Read;

use crate::error::Error;
use crate::proto::compressed::{Packed, PackedReader};
use crate::proto::input::Input;
use crate::proto::negotiate::Compression;
use crate::proto::token::Token;
use crate::session::Packing;
use crate::stream::reader::Reader;
use unpack::Unpack;

/// Reads the content of one file after the other.
pub(super) struct Tokens {
    /// How many blocks of the old content are known.
    blocks: u32,
    form: Form,
}

enum Form {
    /// As it is.
    Plain(Literal),
    /// All of it packed, as rsync does it.
    Packed(Box<Stock>),
    /// Packed or not, piece by piece.
    Mixed(Literal, Box<Unpacker>),
}

/// How much of a literal is still to come.
#[derive(Default)]
struct Literal(u32);

/// A piece of content.
#[derive(Debug)]
pub(super) enum Piece<'p> {
    /// Data.
    Literal(&'p [u8]),
    /// A block of the old content. Once it was read it is to be shown to [`Tokens::saw_block`].
    Block(u32),
    /// There is no more.
    End,
}

impl Tokens {
    pub(super) fn new(packing: Packing) -> Result<Self, Error> {
        let form = match packing {
            Packing::Mixed => {
                let unpack = Unpack::new(Compression::Zstd)?;
                unpack
                    .map_or(Form::Plain(Literal(0)), |unpack| Form::Mixed(Literal(0), Box::new(Unpacker::new(unpack))))
            }
            Packing::Stock(compression) => match Unpack::new(compression)? {
                None => Form::Plain(Literal(0)),
                Some(unpack) => Form::Packed(Box::new(Stock::new(unpack))),
            },
        };
        Ok(Self { blocks: 0, form })
    }

    /// Another file begins, of whose old content so many blocks are known.
    pub(super) fn begin(&mut self, blocks: u32) {
        self.blocks = blocks;
        match &mut self.form {
            Form::Plain(literal) | Form::Mixed(literal, _) => literal.0 = 0,
            Form::Packed(stock) => stock.begin(),
        }
    }

    /// The next piece.
    pub(super) fn next<'p, R: Read>(&'p mut self, reader: &'p mut Reader<R>) -> Result<Piece<'p>, Error> {
        match &mut self.form {
            Form::Packed(stock) => stock.next(reader, self.blocks),
            Form::Plain(literal) if literal.0 > 0 => literal.next(reader),
            Form::Plain(literal) => match Token::read(reader, self.blocks)? {
                Token::End => Ok(Piece::End),
                Token::Block(block) => Ok(Piece::Block(block)),
                Token::Literal(len) | Token::Packed(len) => literal.begin(len, reader),
            },
            Form::Mixed(literal, _) if literal.0 > 0 => literal.next(reader),
            Form::Mixed(literal, unpacker) => loop {
                if unpacker.unpack()? {
                    return Ok(unpacker.piece());
                }
                match Token::read_mixed(reader, self.blocks)? {
                    Token::End => return Ok(Piece::End),
                    Token::Block(block) => return Ok(Piece::Block(block)),
                    Token::Literal(len) => return literal.begin(len, reader),
                    Token::Packed(len) => unpacker.feed(reader.take(len as usize)?),
                }
            },
        }
    }

    /// The content of the block that was spoken of last: data that follows may refer to it.
    pub(super) fn saw_block(&mut self, data: &[u8]) -> Result<(), Error> {
        match &mut self.form {
            Form::Plain(_) | Form::Mixed(..) => Ok(()),
            Form::Packed(stock) => Ok(stock.unpacker.unpack.saw_block(data)?),
        }
    }
}

impl Literal {
    fn begin<'p, R: Read>(&mut self, len: u32, reader: &'p mut Reader<R>) -> Result<Piece<'p>, Error> {
        self.0 = len;
        self.next(reader)
    }

    fn next<'p, R: Read>(&mut self, reader: &'p mut Reader<R>) -> Result<Piece<'p>, Error> {
        let data = reader.some(self.0 as usize)?;
        self.0 -= u32::try_from(data.len()).unwrap_or(self.0);
        Ok(Piece::Literal(data))
    }
}

/// Tokens as rsync packs them.
struct Stock {
    unpacker: Unpacker,
    tokens: PackedReader,
    /// Packed data came, and nothing else since.
    in_run: bool,
    /// What comes once everything before it is unpacked.
    next: Option<Packed>,
}

impl Stock {
    fn new(unpack: Unpack) -> Self {
        Self { unpacker: Unpacker::new(unpack), tokens: PackedReader::default(), in_run: false, next: None }
    }

    fn begin(&mut self) {
        self.tokens = PackedReader::default();
        self.unpacker.unpack.begin();
    }

    fn next<'p, R: Read>(&'p mut self, reader: &mut Reader<R>, blocks: u32) -> Result<Piece<'p>, Error> {
        loop {
            if self.unpacker.unpack()? {
                return Ok(self.unpacker.piece());
            }
            let token = match self.next.take() {
                Some(token) => token,
                None => self.tokens.read(reader, blocks)?,
            };
            match token {
                Packed::Data(len) => {
                    self.in_run = true;
                    self.unpacker.feed(reader.take(len)?);
                }
                token if std::mem::take(&mut self.in_run) => {
                    self.next = Some(token);
                    self.unpacker.feed(self.unpacker.unpack.end_of_run());
                }
                Packed::End => return Ok(Piece::End),
                Packed::Block(block) => return Ok(Piece::Block(block)),
            }
        }
    }
}

/// Unpacks data.
struct Unpacker {
    unpack: Unpack,
    /// Packed data that was not unpacked yet.
    packed: Vec<u8>,
    position: usize,
    unpacked: Box<[u8]>,
    /// So much of it is the last piece.
    len: usize,
}

/// Data is unpacked in pieces of this size, whatever it unpacks to.
const PIECE: usize = 128 * 1024;

impl Unpacker {
    fn new(unpack: Unpack) -> Self {
        let unpacked = vec![0; PIECE].into_boxed_slice();
        Self { unpack, packed: Vec::new(), position: 0, unpacked, len: 0 }
    }

    fn feed(&mut self, packed: &[u8]) {
        self.packed.clear();
        self.packed.extend_from_slice(packed);
        self.position = 0;
    }

    /// Unpacks as much as fits; whether that was anything.
    fn unpack(&mut self) -> Result<bool, Error> {
        // When all that fits was written there may be more.
        while self.position < self.packed.len() || self.len == PIECE {
            let packed = self.packed.get(self.position..).unwrap_or_default();
            let (read, written) = self.unpack.unpack(packed, &mut self.unpacked)?;
            self.position += read;
            self.len = written;
            if written > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn piece(&self) -> Piece<'_> {
        Piece::Literal(self.unpacked.get(..self.len).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
