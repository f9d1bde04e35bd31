//! Going through the list: making what can be made here, and asking for the content of what differs.

mod ahead;
mod verify;

use std::collections::HashMap;
use std::io::Write;

use doppel_contract::{Line, Phase};
use doppel_volume::ahead::Seen;
use doppel_volume::attributes::Object;
use doppel_volume::dirs::Dirs;
use doppel_volume::metadata::{Kind, Metadata};
use doppel_volume::remove::Removed;
use doppel_volume::sparse::Reading;
use doppel_volume::tree::{metadata_at, metadata_of, open_file};
use rustix::io::Errno;

use crate::error::Error;
use crate::list::{Entry, NO_GROUP};
use crate::proto::checksum::BlockSum;
use crate::proto::extras;
use crate::proto::filter::Filter;
use crate::proto::frame::{IoErrors, Tag};
use crate::proto::index::{Index, IndexCoder};
use crate::proto::integer::write_bits;
use crate::proto::request::{Flags, Item};
use crate::proto::sums::SumHead;
use crate::proto::xattr::{self, Values};
use crate::serve::attributes::Attributes;
use crate::serve::directories::{Directories, Presence};
use crate::serve::extras::{Extras, Lacking};
use crate::serve::generator::ahead::{Ahead, SeenNames};
use crate::serve::partial::{Basis, Finder, LARGE};
use crate::serve::session::Job;
use crate::serve::shared::State;
use crate::serve::{deletion, entries, links, signature};
use crate::stream::writer::Writer;

/// Goes through the list.
pub(super) struct Generator<'g, W> {
    writer: &'g mut Writer<W>,
    job: Job<'g>,
    filter: &'g Filter,
    dirs: Dirs<'g>,
    directories: Directories,
    outgoing: IndexCoder,
    sums: BlockSum,
    finder: Finder,
    scratch: Vec<u8>,
    /// The entry, of those that share an inode, of which the others become links at the end.
    leaders: HashMap<u32, u32>,
    /// All entries of each group of hard links that has no leader yet; made when the first is met.
    members: HashMap<u32, Vec<u32>>,
    /// Those others, with their first.
    followers: Vec<(u32, u32)>,
    ahead: Ahead<'g>,
}

/// Old content that new content is compared with.
enum Old {
    /// The file of the name.
    Named(Reading, SumHead),
    /// With what an interrupted run left.
    Both((Basis, SumHead)),
}

/// Files shorter than this are sent whole: looking for differences costs more than it saves.
const WORTH_COMPARING: u64 = 4096;

impl<'g, W: Write> Generator<'g, W> {
    pub(super) fn new(writer: &'g mut Writer<W>, job: Job<'g>, filter: &'g Filter) -> Self {
        Self {
            writer,
            job,
            filter,
            dirs: Dirs::new(job.tree),
            directories: Directories::new(&job.received.list),
            outgoing: IndexCoder::default(),
            sums: BlockSum::new(job.agreed.checksum, job.agreed.seed),
            finder: Finder::default(),
            scratch: Vec::new(),
            leaders: HashMap::new(),
            members: HashMap::new(),
            followers: Vec::new(),
            ahead: Ahead::new(&job.received.list, job.arguments.keep),
        }
    }

    /// Until the client can be said goodbye; returns how many entries were deleted.
    pub(super) fn run(&mut self) -> Result<u64, Error> {
        let shared = self.job.shared;
        self.first_tries()?;
        self.done()?;
        self.wait_for_phase(1)?;
        let again = shared.take_again();
        for index in &again {
            self.second_try(*index)?;
        }
        self.done()?;
        // Where nothing was asked for there is nothing to wait for, and a way there and back is saved.
        if !again.is_empty() {
            self.wait_for_phase(2)?;
        }
        if self.job.arguments.doppel.is_some_and(|extras| extras.has(extras::Extras::VERIFY)) {
            self.verify()?;
        }
        self.done()?;
        // From here on the client has sent everything, and has said what it could not read.
        self.wait_for_phase(3)?;
        let removed = self.finish();
        self.job.monitor.phase(Phase::Flushing);
        self.job.tree.sync()?;
        self.tell()?;
        if self.job.agreed.protocol.is_31() {
            if self.job.arguments.delete {
                self.deletion_stats(&removed)?;
            }
            self.done()?;
            self.wait_for_phase(4)?;
        }
        self.done()?;
        self.writer.flush()?;
        Ok(removed.total())
    }

    fn done(&mut self) -> Result<(), Error> {
        self.tell()?;
        self.put(|outgoing, out| outgoing.write(out, Index::Done))
    }

    fn put(&mut self, write: impl FnOnce(&mut IndexCoder, &mut Vec<u8>)) -> Result<(), Error> {
        self.scratch.clear();
        write(&mut self.outgoing, &mut self.scratch);
        self.writer.put(&self.scratch)
    }

    fn wait_for_phase(&mut self, phase: u32) -> Result<(), Error> {
        self.writer.flush()?;
        // The receiver's own error says why, if it has one.
        if self.job.shared.wait_for_phase(phase) { Ok(()) } else { Err(Error::Closed) }
    }

    /// Tells the client what could not be stored.
    fn tell(&mut self) -> Result<(), Error> {
        for text in self.job.shared.take_texts() {
            self.writer.message(Tag::ErrorTransfer, text.as_bytes())?;
        }
        Ok(())
    }

    fn deletion_stats(&mut self, removed: &Removed) -> Result<(), Error> {
        let Removed { files, directories, symlinks, devices, specials } = *removed;
        self.put(|outgoing, out| {
            outgoing.write(out, Index::DeletionStats);
            for count in [files, directories, symlinks, devices, specials] {
                // rsync takes no more than this.
                write_bits(out, u32::try_from(count).unwrap_or(u32::MAX).min(1 << 28));
            }
        })
    }

    fn first_tries(&mut self) -> Result<(), Error> {
        let list = &self.job.received.list;
        for (index, entry) in list.entries().filter(|(_, entry)| entry.is_active()) {
            if self.job.shared.has_ended() {
                return Err(Error::Closed);
            }
            self.tell()?;
            if entry.group != NO_GROUP {
                let leader = self.leader(index, &entry);
                if leader != index {
                    self.followers.push((index, leader));
                    continue;
                }
            }
            match self.entry(index, &entry)? {
                Ok(State::Requested | State::LacksXattrs) => continue,
                Ok(state) => self.job.shared.set(index, state),
                Err(why) => self.leave_out(index, &entry, why),
            }
            self.job.monitor.done(1, if entry.kind() == Kind::File { entry.size } else { 0 });
        }
        Ok(())
    }

    /// Which entry of a group of hard links the others become links of: the first of which the content is there already, or
    /// else the first.
    fn leader(&mut self, index: u32, entry: &Entry) -> u32 {
        if let Some(leader) = self.leaders.get(&entry.group) {
            return *leader;
        }
        let leader = if entry.kind() == Kind::File { self.unchanged_member(entry.group) } else { None };
        let leader = leader.unwrap_or(index);
        self.leaders.insert(entry.group, leader);
        leader
    }

    fn unchanged_member(&mut self, group: u32) -> Option<u32> {
        let list = &self.job.received.list;
        if self.members.is_empty() {
            for (index, entry) in list.entries().filter(|(_, entry)| entry.is_active() && entry.group != NO_GROUP) {
                self.members.entry(entry.group).or_default().push(index);
            }
        }
        self.members.remove(&group)?.into_iter().find(|member| {
            let Some(entry) = list.get(*member) else { return false };
            let dir = self.dirs.open(list.directory(entry.parent));
            let old = dir.and_then(|dir| metadata_at(dir, list.name(&entry)));
            old.is_ok_and(|old| Attributes::is_unchanged(&entry, &old))
        })
    }

    fn leave_out(&self, index: u32, entry: &Entry, why: Line) {
        self.job.shared.set(index, State::Failed);
        self.job.shared.leave_out(self.job.received.list.line(entry), why);
    }

    /// Does what is to be done for an entry. The outer error is the connection's, the inner one the entry's.
    fn entry(&mut self, index: u32, entry: &Entry) -> Result<Result<State, Line>, Error> {
        if entry.is_root() {
            self.directories.open_root(&self.job);
            let lacking = self.job.attributes.lacking(entry, Object::Open(self.job.tree.descriptor()));
            return self.ask_for_xattrs(index, lacking.map(|lacking| (State::Stored, lacking)), entry.kind());
        }
        match self.directories.get(entry.parent) {
            Presence::Old | Presence::New => {}
            Presence::Absent => {
                self.directories.set_own(entry, Presence::Absent);
                return Ok(Ok(State::Idle));
            }
            Presence::Broken => {
                self.directories.set_own(entry, Presence::Broken);
                return Ok(Err(Line::new("its directory could not be made")));
            }
        }
        let made = match entry.kind() {
            Kind::File => return self.file(index, entry),
            Kind::Directory => self.directories.make(entry, &self.job, &mut self.dirs),
            Kind::Symlink | Kind::Fifo | Kind::Socket | Kind::CharacterDevice | Kind::BlockDevice => {
                let is_new = self.directories.get(entry.parent) == Presence::New;
                entries::make(entry, &self.job, &mut self.dirs, is_new)
            }
        };
        self.ask_for_xattrs(index, made, entry.kind())
    }

    /// Asks for the extended attributes that the entry lacks, now that all else about it is done.
    fn ask_for_xattrs(
        &mut self,
        index: u32,
        made: Result<(State, Lacking), Errno>,
        kind: Kind,
    ) -> Result<Result<State, Line>, Error> {
        let (state, lacking) = match made {
            Ok(made) => made,
            Err(errno) => {
                let why = format!("make the {}: {}", kind.words(), std::io::Error::from(errno));
                return Ok(Err(Line::new(why)));
            }
        };
        if lacking == Lacking::default() {
            return Ok(Ok(state));
        }
        self.job.shared.set(index, State::LacksXattrs);
        self.put(|outgoing, out| {
            outgoing.write(out, Index::Entry(index));
            Item::new(Flags::XATTRS).write(out);
            xattr::write_request(out, lacking.0);
        })?;
        Ok(Ok(State::LacksXattrs))
    }

    fn file(&mut self, index: u32, entry: &Entry) -> Result<Result<State, Line>, Error> {
        let (old, names) = match self.old_file(index, entry) {
            Ok(old) => old.map_or((None, None), |(old, names)| (Some(old), names)),
            Err(errno) => return Ok(Err(Line::new(format!("look at the file: {}", std::io::Error::from(errno))))),
        };
        let arguments = self.job.arguments;
        let flags = match &old {
            None if arguments.ignore_missing => return Ok(Ok(State::Idle)),
            Some(_) if arguments.ignore_existing => return Ok(Ok(State::Idle)),
            Some(old) if Attributes::is_unchanged(entry, old) => {
                let lacking = self.adjust(entry, old, names);
                return self.ask_for_xattrs(index, lacking.map(|lacking| (State::Stored, lacking)), entry.kind());
            }
            None => Flags::NEW,
            Some(old) if old.kind == Kind::File && old.size == entry.size => Flags::TIME,
            Some(_) => Flags::SIZE,
        };
        self.job.shared.set(index, State::Requested);
        let comparable = old.filter(|old| old.kind == Kind::File && old.size.min(entry.size) >= WORTH_COMPARING);
        self.request(index, entry, flags, comparable.is_some(), false)?;
        Ok(Ok(State::Requested))
    }

    /// What is there under the name of a file, with the names of its extended attributes if they were looked at.
    fn old_file(&mut self, index: u32, entry: &Entry) -> Result<Option<(Metadata, Option<SeenNames>)>, Errno> {
        // There is nothing in a directory that was only just made.
        if self.directories.get(entry.parent) == Presence::New {
            return Ok(None);
        }
        let list = &self.job.received.list;
        let dir = self.dirs.open(list.directory(entry.parent))?;
        let Seen { metadata, attributes } = self.ahead.look(index, entry, dir);
        match metadata {
            Err(Errno::NOENT) => Ok(None),
            old => old.map(|old| Some((old, attributes))),
        }
    }

    fn adjust(&mut self, entry: &Entry, old: &Metadata, names: Option<SeenNames>) -> Result<Lacking, Errno> {
        let list = &self.job.received.list;
        let dir = self.dirs.open(list.directory(entry.parent))?;
        let (attributes, object) = (self.job.attributes, Object::Named(dir, list.name(entry)));
        let extras = match names {
            Some(names) => Extras::known(attributes, object, names?),
            None => Extras::read(attributes, object)?,
        };
        attributes.apply_known(entry, (extras, old), &attributes.wanted(entry, Some(old)), &Values::default())
    }

    fn second_try(&mut self, index: u32) -> Result<(), Error> {
        let Some(entry) = self.job.received.list.get(index) else { return Ok(()) };
        self.job.shared.set(index, State::Requested);
        self.request(index, &entry, Flags::TIME, true, true)
    }

    /// Asks for content, with a description of the old one if there is one to compare with.
    fn request(&mut self, index: u32, entry: &Entry, flags: Flags, compare: bool, again: bool) -> Result<(), Error> {
        let (list, partials) = (&self.job.received.list, self.job.partials);
        let digest = self.job.agreed.checksum.len();
        let is_new = self.directories.get(entry.parent) == Presence::New;
        let dir = self.dirs.open(list.directory(entry.parent)).ok();
        let old = dir.filter(|_| compare).and_then(|dir| {
            let file = open_file(dir, list.name(entry)).ok()?;
            let have = metadata_of(&file).ok().filter(|have| have.kind == Kind::File && have.size > 0)?;
            Some((file, have.size))
        });
        let partial = dir.filter(|_| entry.size >= LARGE && !is_new);
        let partial = partial.and_then(|dir| self.finder.find(entry.parent, dir, list.name(entry)));
        let describe = |len| SumHead::for_basis(len, digest, again);
        let both = match partial {
            Some(found) => Basis::describe(partials, index, found, old, describe),
            None => Err(old),
        };
        let old = match both {
            Ok(both) => Some(Old::Both(both)),
            Err(old) => old.map(|(file, len)| Old::Named(Reading::new(file, len), describe(len))),
        };
        let head = match &old {
            Some(Old::Named(_, head) | Old::Both((_, head))) => *head,
            None => SumHead::NOTHING,
        };
        // The content makes a new file, which has no attributes.
        let lacking = self.job.attributes.all_lacking(entry);
        self.put(|outgoing, out| {
            outgoing.write(out, Index::Entry(index));
            if lacking == Lacking::default() {
                Item::new(flags.and(Flags::TRANSFER)).write(out);
            } else {
                Item::new(flags.and(Flags::TRANSFER).and(Flags::XATTRS)).write(out);
                xattr::write_request(out, lacking.0);
            }
            head.write(out);
        })?;
        match old {
            Some(Old::Named(file, head)) => signature::write(self.writer, &head, &self.sums, file),
            Some(Old::Both((basis, head))) => signature::write_of_both(self.writer, &head, &self.sums, &basis),
            None => Ok(()),
        }
    }

    /// Everything that was asked for must have come, or the client must have said why not.
    fn account(&self) {
        let shared = self.job.shared;
        for (index, entry) in self.job.received.list.entries() {
            let missing = match shared.state(index) {
                State::Requested | State::Again | State::LacksXattrs => true,
                State::Withheld => shared.errors() == IoErrors::default(),
                State::Idle | State::Stored | State::Failed => false,
            };
            if missing {
                self.leave_out(index, &entry, Line::new("the source did not send it"));
            }
        }
    }

    /// What is left when all content is there: hard links, deletions, and the attributes of directories, which all of
    /// that changes.
    fn finish(&mut self) -> Removed {
        self.account();
        self.dirs = Dirs::new(self.job.tree);
        links::make(&self.followers, &self.job, &mut self.dirs, &self.directories);
        let removed = deletion::sweep(&self.job, self.filter, &self.directories);
        self.directories.finish(&self.job, &mut self.dirs);
        removed
    }
}
