//! Storing what the client sends. Never writes to the client.

use std::io::Read;
use std::sync::atomic::Ordering;

use doppel_contract::Line;
use doppel_volume::attributes::Object;
use doppel_volume::dirs::Dirs;
use doppel_volume::metadata::Kind;
use doppel_volume::monitor::OneFile;
use doppel_volume::replace::{NewFile, commit_over};
use doppel_volume::tree::{metadata_at, metadata_of};
use rustix::io::Errno;

use crate::error::Error;
use crate::list::Entry;
use crate::list::receive::Received;
use crate::proto::checksum::FileSum;
use crate::proto::frame::IoErrors;
use crate::proto::index::{Index, IndexCoder};
use crate::proto::input::{Input, Malformed};
use crate::proto::integer::read_count;
use crate::proto::negotiate::Compatibility;
use crate::proto::request::{Flags, Item};
use crate::proto::sums::SumHead;
use crate::proto::xattr::{self, Values};
use crate::serve::partial::{Basis, LARGE, WORTH_KEEPING};
use crate::serve::session::Job;
use crate::serve::shared::State;
use crate::serve::tokens::{Piece, Tokens};
use crate::session::Agreed;
use crate::stream::reader::Reader;

/// Stores what the client sends.
pub(super) struct Receiver<'r, R> {
    reader: &'r mut Reader<R>,
    job: Job<'r>,
    dirs: Dirs<'r>,
    incoming: IndexCoder,
    tokens: Tokens,
    block: Vec<u8>,
}

/// What became of a file's content.
enum Outcome {
    Stored,
    /// The checksum does not match.
    Wrong,
    /// It could not be written.
    Failed(Errno),
}

impl<'r, R: Read> Receiver<'r, R> {
    pub(super) fn new(reader: &'r mut Reader<R>, job: Job<'r>) -> Result<Self, Error> {
        let tokens = Tokens::new(job.agreed.packing)?;
        Ok(Self { reader, job, dirs: Dirs::new(job.tree), incoming: IndexCoder::default(), tokens, block: Vec::new() })
    }

    /// Until the client has ended its last phase.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        // First tries, second tries, the end of requests, and since protocol 31 the goodbye.
        let phases = if self.job.agreed.protocol.is_31() { 4 } else { 3 };
        let mut phase = 0;
        let mut item = Item::default();
        while phase < phases {
            let index = self.incoming.read(self.reader)?;
            self.note_messages();
            match index {
                Index::Done => {
                    phase += 1;
                    self.job.shared.end_phase();
                }
                Index::DeletionStats => {
                    for _ in 0..5 {
                        read_count(self.reader, "a number of deleted entries", i32::MAX.cast_unsigned())?;
                    }
                }
                Index::Entry(index) => {
                    if index >= self.job.received.list.len() {
                        return Err(Malformed::OutOfRange { what: "an index", value: index.into() }.into());
                    }
                    item.read(self.reader)?;
                    let values = self.values(index, item.flags)?;
                    if item.flags.has(Flags::TRANSFER) {
                        self.file(index, phase, &values)?;
                    } else if item.flags.has(Flags::XATTRS) && self.job.arguments.keep.xattrs {
                        self.late_xattrs(index, &values)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes what was said beside the data.
    fn note_messages(&mut self) {
        let messages = self.reader.messages();
        let shared = self.job.shared;
        if messages.errors != IoErrors::default() {
            shared.add_errors(messages.errors);
        }
        for index in messages.withheld.drain(..) {
            if shared.state(index) == State::Requested {
                shared.set(index, State::Withheld);
            }
        }
    }

    /// Extended attributes that follow an item.
    fn values(&mut self, index: u32, flags: Flags) -> Result<Values, Error> {
        let Agreed { protocol, compatibility, .. } = self.job.agreed;
        let links = compatibility.has(Compatibility::XATTRS_OF_LINKS);
        if !self.job.arguments.keep.xattrs || !xattr::values_follow(flags, protocol.is_31(), links) {
            return Ok(Values::default());
        }
        let Received { list, xattrs, .. } = self.job.received;
        let entry = list.get(index).ok_or_else(|| out_of_turn(index))?;
        let set = list.owner(&entry).extras.xattrs.ok_or_else(|| out_of_turn(index))?;
        Values::read(self.reader, xattrs, set)
    }

    /// Gives an entry that is stored otherwise the extended attributes that it lacked.
    fn late_xattrs(&mut self, index: u32, values: &Values) -> Result<(), Error> {
        let shared = self.job.shared;
        let list = &self.job.received.list;
        if shared.state(index) != State::LacksXattrs {
            return Err(out_of_turn(index).into());
        }
        let entry = list.get(index).ok_or_else(|| out_of_turn(index))?;
        let given = if entry.is_root() {
            let root = self.job.tree.descriptor();
            metadata_of(root).and_then(|have| self.job.attributes.give_late(&entry, Object::Open(root), &have, values))
        } else {
            let name = list.name(&entry);
            self.dirs.open(list.directory(entry.parent)).and_then(|dir| {
                let have = metadata_at(dir, name)?;
                self.job.attributes.give_late(&entry, Object::Named(dir, name), &have, values)
            })
        };
        match given {
            Ok(()) => shared.set(index, State::Stored),
            Err(errno) => {
                let why = format!("set the extended attributes: {}", std::io::Error::from(errno));
                self.leave_out(index, &entry, Line::new(why));
            }
        }
        self.job.monitor.done(1, if entry.kind() == Kind::File { entry.size } else { 0 });
        Ok(())
    }

    fn file(&mut self, index: u32, phase: u32, values: &Values) -> Result<(), Error> {
        let shared = self.job.shared;
        // Only what was asked for is taken, and only once.
        if shared.state(index) != State::Requested {
            return Err(out_of_turn(index).into());
        }
        let list = &self.job.received.list;
        let entry = list.get(index).ok_or_else(|| out_of_turn(index))?;
        let head = SumHead::read(self.reader, self.job.agreed.checksum.len())?;
        // What comes a second time was counted the first time.
        let mut moved = OneFile::new(self.job.monitor, if phase == 0 { entry.size } else { 0 });
        match self.store(index, &entry, (head, values), &mut moved)? {
            Outcome::Stored => {
                shared.set(index, State::Stored);
                shared.files.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Wrong if phase == 0 => {
                shared.ask_again(index);
                return Ok(());
            }
            Outcome::Wrong => {
                let why =
                    "its content changed while it was read, or was damaged on the way, twice; the old one was kept";
                self.leave_out(index, &entry, Line::new(why));
            }
            Outcome::Failed(errno) => {
                self.leave_out(index, &entry, Line::new(format!("store: {}", std::io::Error::from(errno))));
            }
        }
        moved.end();
        Ok(())
    }

    fn leave_out(&mut self, index: u32, entry: &Entry, why: Line) {
        self.job.shared.set(index, State::Failed);
        self.job.shared.leave_out(self.job.received.list.line(entry), why);
    }

    /// Reads the content to its end, whatever becomes of it. The outer error is the connection's.
    fn store(
        &mut self,
        index: u32,
        entry: &Entry,
        (head, values): (SumHead, &Values),
        moved: &mut OneFile<'_>,
    ) -> Result<Outcome, Error> {
        let list = &self.job.received.list;
        let (name, directory) = (list.name(entry), list.directory(entry.parent));
        let kept = self.job.partials.get(index);
        // The descriptor is needed longer than other directories may be opened in between.
        let mut basis = Basis::none();
        let new = self.dirs.open(directory).and_then(|dir| {
            if head.count > 0 {
                basis = Basis::open(kept.as_ref(), dir, name);
            }
            match entry.size {
                LARGE.. => NewFile::create_partial(dir, self.job.names, name),
                _ => NewFile::create(dir, self.job.names),
            }
        });
        let most_matched = entry.size.saturating_mul(2).saturating_add(GROWTH);
        let sum = FileSum::Empty(self.job.agreed.checksum);
        let mut content = Content { new, basis, sum, bytes: [0, 0], most_matched, moved };
        let read = content.read(self.reader, &mut self.tokens, &head, &mut self.block);
        let Content { new, sum, bytes: [literal, matched], .. } = content;
        let shared = self.job.shared;
        shared.literal.fetch_add(literal, Ordering::Relaxed);
        shared.matched.fetch_add(matched, Ordering::Relaxed);
        let mut new = match (new, &read) {
            (Ok(new), Err(_)) if literal + matched < WORTH_KEEPING => {
                new.discard();
                Err(Errno::CANCELED)
            }
            (new, _) => new,
        };
        let expected = match read {
            Ok(()) => self.reader.take(self.job.agreed.checksum.len() as usize)?,
            Err(error) => return Err(error),
        };
        let sum = sum.finish();
        let outcome = match &mut new {
            Err(errno) => Outcome::Failed(*errno),
            Ok(_) if sum.get(..expected.len()) != Some(expected) => Outcome::Wrong,
            Ok(new) => match self.job.finish(entry, new, values) {
                Ok(()) => Outcome::Stored,
                Err(errno) => Outcome::Failed(errno),
            },
        };
        match (&outcome, new) {
            (Outcome::Stored, Ok(new)) => kept.iter().for_each(|kept| kept.remove(new.place().0)),
            (Outcome::Wrong | Outcome::Failed(_), Ok(new)) => new.discard(),
            (_, Err(_)) => {}
        }
        Ok(outcome)
    }
}

/// New content on its way into a file.
struct Content<'d, 'c, 'm> {
    /// The file, or why it cannot be written.
    new: Result<NewFile<'d>, Errno>,
    basis: Basis,
    sum: FileSum,
    /// Bytes that came, and bytes of the old content.
    bytes: [u64; 2],
    /// So many bytes of the old content may be used.
    most_matched: u64,
    moved: &'c mut OneFile<'m>,
}

/// A file may grow while it is sent. But three bytes are enough to ask for 65,536 blocks: what is made of old
/// content is bounded by twice the size that the list says, and this.
const GROWTH: u64 = 1 << 20;

impl Content<'_, '_, '_> {
    fn read<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        tokens: &mut Tokens,
        head: &SumHead,
        block: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let [literal, matched] = &mut self.bytes;
        tokens.begin(head.count);
        loop {
            let data = match tokens.next(reader)? {
                Piece::End => return Ok(()),
                Piece::Literal(data) => {
                    *literal += data.len() as u64;
                    data
                }
                Piece::Block(number) => {
                    self.basis.read_block(head, number, block);
                    tokens.saw_block(block)?;
                    *matched += block.len() as u64;
                    if *matched > self.most_matched {
                        let (len, limit) = (*matched, self.most_matched);
                        return Err(Malformed::TooLong { what: "file made of old content", len, limit }.into());
                    }
                    block.as_slice()
                }
            };
            self.moved.moved(data.len() as u64);
            if let Ok(new) = &mut self.new {
                self.sum.update(data);
                if let Err(errno) = new.append(data)
                    && let Ok(new) = std::mem::replace(&mut self.new, Err(errno))
                {
                    new.discard();
                }
            }
        }
    }
}

impl Job<'_> {
    /// Gives a file whose content is complete its attributes and its name.
    fn finish(&self, entry: &Entry, new: &mut NewFile<'_>, values: &Values) -> Result<(), Errno> {
        let name = self.received.list.name(entry);
        let (dir, _) = new.place();
        let old = if self.arguments.keep.permissions { None } else { metadata_at(dir, name).ok() };
        new.finish()?;
        let wanted = self.attributes.wanted(entry, old.as_ref());
        let have = metadata_of(new.fd())?;
        self.attributes.apply_all(entry, Object::Open(new.fd()), &have, &wanted, values)?;
        commit_over(dir, name, |name| new.commit(name))
    }
}

fn out_of_turn(index: u32) -> Malformed {
    Malformed::OutOfRange { what: "an index that was not asked for", value: index.into() }
}
