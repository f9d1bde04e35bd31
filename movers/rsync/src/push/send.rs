//! Answering the receiver's requests, phase by phase. (rsync-win, transfer specification, 1 to 7.)

mod verify;

use std::io::{Read, Write};

use doppel_contract::{LeftOut, Tally};
use rustix::io::Errno;

use crate::error::Error;
use crate::outcome::Peer;
use crate::proto::checksum::{BlockSum, FileSum, Strong};
use crate::proto::frame::{IoErrors, Tag};
use crate::proto::index::{Index, IndexCoder};
use crate::proto::input::Malformed;
use crate::proto::integer::read_count;
use crate::proto::negotiate::Compatibility;
use crate::proto::request::{Flags, Item};
use crate::proto::sums::SumHead;
use crate::proto::token::Token;
use crate::proto::xattr;
use crate::push::content::{Consistent, Content, Entries, Missing};
use crate::push::search::{Piece, Signature, search};
use crate::push::tokens::Tokens;
use crate::session::Agreed;
use crate::stream::messages::text_of;
use crate::stream::reader::Reader;
use crate::stream::writer::{MAX_SPACE, Writer};

/// Answers requests.
pub(crate) struct Sender<R, W, C> {
    reader: Reader<R>,
    writer: Writer<W>,
    agreed: Agreed,
    sums: BlockSum,
    tokens: Tokens,
    content: C,
    incoming: IndexCoder,
    outgoing: IndexCoder,
    item: Item,
    /// The extended attributes that were asked for with it, by their numbers, if that could be.
    wanted: Option<Vec<u32>>,
    scratch: Vec<u8>,
    /// Content on its way to the packer.
    unpacked: Vec<u8>,
    tally: Tally,
    /// What the peer knows of our errors.
    told: IoErrors,
    /// How many entries it was told of.
    named: usize,
    /// The entries whose content was asked for in this phase. A receiver needs it once, and again in the second phase if
    /// it was damaged; one that could ask for it any number of times could keep a source at work for as long as it likes.
    asked: Entries,
}

/// What there is to tell at the end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) tally: Tally,
    pub(crate) deleted: u64,
}

/// Requests come in this many phases: first tries, second tries, and nothing more.
const PHASES: u32 = 2;

impl<R: Read, W: Write, C: Content> Sender<R, W, C> {
    pub(crate) fn new(reader: Reader<R>, writer: Writer<W>, agreed: Agreed, content: C) -> Result<Self, Error> {
        Ok(Self {
            reader,
            writer,
            agreed,
            sums: BlockSum::new(agreed.checksum, agreed.seed),
            tokens: Tokens::new(agreed.packing)?,
            content,
            incoming: IndexCoder::default(),
            outgoing: IndexCoder::default(),
            item: Item::default(),
            wanted: None,
            scratch: Vec::new(),
            unpacked: Vec::new(),
            tally: Tally::default(),
            told: IoErrors::default(),
            named: 0,
            asked: Entries::default(),
        })
    }

    pub(crate) fn into_parts(self) -> (Reader<R>, Writer<W>, C) {
        (self.reader, self.writer, self.content)
    }

    /// Answers requests until the peer has everything; `errors` are those that it knows of from the list.
    pub(crate) fn run(&mut self, errors: IoErrors) -> Result<End, Error> {
        self.told = errors;
        let mut phase = 0;
        let mut deleted = 0;
        loop {
            match self.next_index()? {
                Index::Done => {
                    if phase == PHASES && self.agreed.verifies {
                        self.expect_all_verified();
                    }
                    phase += 1;
                    self.asked = Entries::default();
                    self.done()?;
                    if phase > PHASES {
                        break;
                    }
                }
                Index::DeletionStats => deleted += self.deletion_stats()?,
                Index::Entry(index) if phase == PHASES => self.verify(index)?,
                Index::Entry(index) => self.answer(index, phase)?,
            }
        }
        // The goodbye: the peer has deleted, flushed and counted.
        loop {
            match self.next_index()? {
                Index::Done => break,
                Index::DeletionStats => deleted += self.deletion_stats()?,
                Index::Entry(_) => return Err(Malformed::unexpected("a request after the last phase").into()),
            }
        }
        if self.agreed.protocol.is_31() {
            self.done()?;
            if self.next_index()? != Index::Done {
                return Err(Malformed::unexpected("something after its goodbye").into());
            }
        }
        let deleted = deleted.max(self.reader.messages().deleted);
        Ok(End { tally: self.tally, deleted })
    }

    fn next_index(&mut self) -> Result<Index, Error> {
        if self.reader.is_drained() {
            self.writer.flush()?;
        }
        self.incoming.read(&mut self.reader)
    }

    fn done(&mut self) -> Result<(), Error> {
        self.put(|outgoing, out| outgoing.write(out, Index::Done))
    }

    fn put(&mut self, write: impl FnOnce(&mut IndexCoder, &mut Vec<u8>)) -> Result<(), Error> {
        self.scratch.clear();
        write(&mut self.outgoing, &mut self.scratch);
        self.writer.put(&self.scratch)
    }

    fn deletion_stats(&mut self) -> Result<u64, Error> {
        /// As rsync limits each of them.
        const MOST: u32 = 1 << 28;
        let mut deleted = 0;
        for _ in 0..5 {
            deleted += u64::from(read_count(&mut self.reader, "a number of deleted entries", MOST)?);
        }
        Ok(deleted)
    }

    fn answer(&mut self, index: u32, phase: u32) -> Result<(), Error> {
        let mut item = std::mem::take(&mut self.item);
        item.read(&mut self.reader)?;
        self.read_xattr_request(index, item.flags)?;
        if index >= self.content.len() {
            return Err(Malformed::OutOfRange { what: "an index", value: index.into() }.into());
        }
        self.content.reached(index);
        if item.flags.has(Flags::TRANSFER) {
            if phase >= PHASES || !self.content.has_content(index) {
                return Err(Malformed::unexpected("a request for content that there is not").into());
            }
            if !self.asked.insert(index) {
                return Err(Malformed::unexpected("a second request for the same content").into());
            }
            self.transfer(index, &item)?;
        } else {
            self.echo(index, &item)?;
        }
        self.item = item;
        Ok(())
    }

    /// Repeats the item, with the extended attributes that were asked for.
    fn echo(&mut self, index: u32, item: &Item) -> Result<(), Error> {
        self.put(|outgoing, out| {
            outgoing.write(out, Index::Entry(index));
            item.write(out);
        })?;
        let Some(numbers) = self.wanted.take() else { return Ok(()) };
        let (mut before, mut value) = (None, Vec::new());
        for number in numbers {
            if !self.content.xattr(index, number, &mut value) {
                self.tell(IoErrors::GENERAL)?;
            }
            self.scratch.clear();
            xattr::write_value(&mut self.scratch, before, number, &value);
            self.writer.put(&self.scratch)?;
            before = Some(number);
        }
        self.scratch.clear();
        xattr::write_end(&mut self.scratch);
        self.writer.put(&self.scratch)
    }

    /// Which extended attributes the peer lacks follows an item, if it lacks any.
    fn read_xattr_request(&mut self, index: u32, flags: Flags) -> Result<(), Error> {
        let Agreed { protocol, compatibility, .. } = self.agreed;
        let follows = xattr::values_follow(flags, protocol.is_31(), compatibility.has(Compatibility::XATTRS_OF_LINKS));
        self.wanted = None;
        if follows && let Some((table, set)) = self.content.xattrs(index) {
            let mut numbers = Vec::new();
            xattr::read_request(&mut self.reader, table, set, &mut numbers)?;
            self.wanted = Some(numbers);
        }
        Ok(())
    }

    fn transfer(&mut self, index: u32, item: &Item) -> Result<(), Error> {
        let head = SumHead::read(&mut self.reader, self.agreed.checksum.len())?;
        let opened = self.content.open(index);
        let size = opened.unwrap_or_default();
        let signature = if head.count == 0 { None } else { Some(Signature::read(&mut self.reader, head, size)?) };
        let size = match opened {
            Ok(size) => size,
            Err(missing) => return self.withhold(index, missing),
        };
        self.echo(index, item)?;
        self.scratch.clear();
        head.write(&mut self.scratch);
        self.writer.put(&self.scratch)?;
        self.tokens.begin();
        let sum = match &signature {
            Some(signature) => self.send_changes(signature)?,
            None => self.send_whole(size)?,
        };
        let (sum, read) = match sum {
            Ok(sum) => (sum.finish(), Ok(())),
            Err(errno) => (Strong::default(), Err(errno)),
        };
        let sum = match self.content.close(index, read) {
            Consistent::Yes => sum,
            // What was sent is no version of the file. A checksum that cannot be right makes the peer drop it, and ask
            // once more.
            Consistent::Changed => sum.map(|byte| !byte),
            Consistent::Broken => {
                self.tell(IoErrors::GENERAL)?;
                sum.map(|byte| !byte)
            }
        };
        self.tokens.end(&mut self.writer)?;
        self.writer.put(sum.get(..self.agreed.checksum.len() as usize).unwrap_or_default())?;
        self.tally.files_sent += 1;
        Ok(())
    }

    /// Sends all of the open file. The outer error is the connection's, the inner one the file's.
    fn send_whole(&mut self, size: u64) -> Result<Result<FileSum, Errno>, Error> {
        let mut sum = FileSum::Empty(self.agreed.checksum);
        let mut left = size;
        // No further than it reached when it was opened: what grows is noticed when it is closed.
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let checksum = self.agreed.checksum;
            let add = |data: &[u8]| {
                if data.len() as u64 == size {
                    sum = FileSum::whole(checksum, data);
                } else {
                    sum.update(data);
                }
            };
            let sent = if self.tokens.is_raw() { self.send_raw(most, add)? } else { self.send_packed(most, add)? };
            match sent {
                Ok(0) => break,
                Ok(count) => {
                    self.tally.literal_bytes += count as u64;
                    left -= count as u64;
                }
                Err(errno) => return Ok(Err(errno)),
            }
        }
        Ok(Ok(sum))
    }

    /// Reads from the open file straight into what is sent; how much that was.
    fn send_raw(&mut self, most: usize, add: impl FnOnce(&[u8])) -> Result<Result<usize, Errno>, Error> {
        const HEAD: usize = 4;
        let most = most.min(self.tokens.most_raw()).min(MAX_SPACE - HEAD);
        let space = self.writer.space(HEAD + most)?;
        let Some((head, data)) = space.split_first_chunk_mut::<HEAD>() else { return Ok(Ok(0)) };
        let count = match self.content.read(data) {
            Ok(0) => return Ok(Ok(0)),
            Ok(count) => count,
            Err(errno) => return Ok(Err(errno)),
        };
        add(data.get(..count).unwrap_or_default());
        *head = Token::Literal(u32::try_from(count).unwrap_or_default()).encode();
        self.writer.filled(HEAD + count);
        self.tokens.sent(count, self.writer.stalled());
        Ok(Ok(count))
    }

    /// Reads from the open file and packs it; how much that was.
    fn send_packed(&mut self, most: usize, add: impl FnOnce(&[u8])) -> Result<Result<usize, Errno>, Error> {
        self.unpacked.resize(MAX_SPACE, 0);
        let space = self.unpacked.get_mut(..most.min(MAX_SPACE)).unwrap_or_default();
        let count = match self.content.read(space) {
            Ok(count) => count,
            Err(errno) => return Ok(Err(errno)),
        };
        let data = self.unpacked.get(..count).unwrap_or_default();
        add(data);
        self.tokens.literal(data, &mut self.writer)?;
        Ok(Ok(count))
    }

    /// Sends what of the open file the peer does not have.
    fn send_changes(&mut self, signature: &Signature) -> Result<Result<FileSum, Errno>, Error> {
        enum Stop {
            Connection(Error),
            File(Errno),
        }
        let mut sum = FileSum::Empty(self.agreed.checksum);
        let Self { content, writer, tally, tokens, sums, .. } = self;
        let read = |buffer: &mut [u8]| content.read(buffer).map_err(Stop::File);
        let mut emit = |piece: Piece<'_>| match piece {
            Piece::Literal(data) => {
                sum.update(data);
                tally.literal_bytes += data.len() as u64;
                tokens.literal(data, writer)
            }
            Piece::Block(block, data) => {
                sum.update(data);
                tally.matched_bytes += data.len() as u64;
                tokens.block(block, writer)
            }
        };
        match search(signature, sums, read, |piece| emit(piece).map_err(Stop::Connection)) {
            Ok(()) => Ok(Ok(sum)),
            Err(Stop::File(errno)) => Ok(Err(errno)),
            Err(Stop::Connection(error)) => Err(error),
        }
    }

    /// Tells the peer that it will not get what it asked for.
    fn withhold(&mut self, index: u32, missing: Missing) -> Result<(), Error> {
        self.writer.message(Tag::NoSend, &index.to_le_bytes())?;
        self.tell(match missing {
            Missing::Vanished => IoErrors::VANISHED,
            Missing::Unreadable => IoErrors::GENERAL,
        })
    }

    /// Tells the peer of an error, once: it must not delete if we could not read. A Doppel is told of each entry, too.
    fn tell(&mut self, error: IoErrors) -> Result<(), Error> {
        if let Some(problem) = self.content.take_problem()
            && self.reader.messages().peer == Peer::Doppel
            && self.named < LeftOut::LISTED
        {
            self.named += 1;
            self.writer.message(Tag::ErrorTransfer, text_of(&problem.path, &problem.why).as_bytes())?;
        }
        if self.told.and(error) == self.told {
            return Ok(());
        }
        self.told = self.told.and(error);
        self.writer.message(Tag::IoError, &self.told.0.to_le_bytes())
    }
}
