//! The source's side: a client of a daemon, that sends a tree into the module `data`.
//!
//! One pass does the copying and the deleting. The list is sent first; then the daemon asks for what it lacks, in the
//! order of the list, while it receives what it asked for before: neither waits for the other. All of it runs on the
//! caller's thread.

pub(crate) mod content;
mod extras;
pub(crate) mod pace;
pub(crate) mod scan;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod tokens;

use std::io::{Read, Write};
use std::time::Duration;

use doppel_contract::{EmptySource, LeftOut, Line, Phase, Verification};
use doppel_volume::monitor::Monitor;
use doppel_volume::tree::{LOST_AND_FOUND, Tree};

use crate::error::Error;
use crate::links::Fragile;
use crate::list;
use crate::outcome::{Outcome, Peer};
use crate::proto::arguments::{Arguments, Choice};
use crate::proto::extras::Extras;
use crate::proto::filter::Filter;
use crate::proto::frame::IoErrors;
use crate::proto::keep::{Extra, Keep};
use crate::proto::negotiate::Compression;
use crate::push::content::TreeContent;
use crate::push::send::{End, Sender};
use crate::session::client::{self, Daemon};
use crate::stream::messages::{PeerReport, text_of};
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;

/// A connection to a peer: both directions, each of which may be used by a thread of its own.
#[derive(Debug)]
pub struct Connection<R, W> {
    /// The peer's bytes.
    pub reader: R,
    /// Bytes to the peer. Large pieces are written at once; a flush means that the peer waits for them.
    pub writer: W,
}

/// How a tree is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushOptions {
    /// What to do when the tree is empty. Refused, it is sent all the same, so that a destination that is empty too is
    /// a success; but nothing is deleted there.
    pub empty_source: EmptySource,
    /// Whether both ends are compared in the end.
    pub verification: Verification,
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// How it ended.
    pub outcome: Outcome,
    /// The paths of all symbolic links that were sent, each ended by a newline, if the peer may have to be told of them:
    /// VolSync's daemon disguises links while it receives them, and undoes it for those in the file
    /// `symlink-munging-file` of its module `control`. A Doppel stores links as they are.
    pub symlinks: Vec<u8>,
    /// Links that a daemon which does not disguise them would change; none for a Doppel.
    pub fragile: Fragile,
}

/// The module that receives the volume.
pub(crate) const DATA: &str = "data";

/// Sends the tree.
///
/// # Errors
/// When the session failed. What was stored until then stays; nothing is half written.
pub fn push<R: Read, W: Write>(
    connection: Connection<R, W>,
    tree: &Tree,
    options: &PushOptions,
    monitor: &dyn Monitor,
) -> Result<Pushed, Error> {
    push_keeping(connection, tree, options, Keep::ALL, monitor)
}

/// As [`push`], without what a daemon does not take: see [`Error::NotTaken`].
///
/// # Errors
/// As there.
pub fn push_keeping<R: Read, W: Write>(
    connection: Connection<R, W>,
    tree: &Tree,
    options: &PushOptions,
    keep: Keep,
    monitor: &dyn Monitor,
) -> Result<Pushed, Error> {
    monitor.phase(Phase::Connecting);
    let mut reader = Reader::new(connection.reader);
    let mut writer = Writer::new(connection.writer);
    let daemon = client::enter(&mut reader, &mut writer, DATA)?;
    let (peer, protocol) = (daemon.peer(), daemon.protocol);
    reader.messages().peer = peer;
    let verifies = options.verification == Verification::Checksums;
    if verifies && !daemon.doppel.is_some_and(|extras| extras.has(Extras::VERIFY)) {
        return Err(Error::CannotVerify);
    }
    let guarded = options.empty_source == EmptySource::Refuse && tree.entries_in_root()? == 0;
    let arguments = arguments(&daemon, keep, guarded, options.verification);
    let agreed = client::negotiate(&mut reader, &mut writer, &daemon, &arguments)?;

    monitor.phase(Phase::Walking);
    let mut scratch = Vec::new();
    Filter::root_entry(LOST_AND_FOUND).write(&mut scratch);
    writer.put(&scratch)?;
    let scan::Scanned { list, xattrs, mut left_out, mut remarks, errors, fragile } =
        scan::send_list(tree, &mut writer, scan::layout(&arguments.keep, protocol), monitor)?;
    if peer == Peer::Doppel {
        for problem in &left_out.first {
            writer.message(crate::proto::frame::Tag::ErrorTransfer, text_of(&problem.path, &problem.why).as_bytes())?;
        }
    }

    monitor.phase(Phase::Transferring);
    let content = TreeContent::new(tree, &list, &xattrs, monitor);
    let mut sender = Sender::new(reader, writer, agreed, content)?;
    let end = sender.run(errors);
    let (mut reader, writer, content) = sender.into_parts();
    let End { mut tally, deleted } = end?;
    content.finish(&mut left_out, &mut remarks);
    let report = std::mem::take(reader.messages());
    // rsync warns that it was not allowed to delete, and calls it a success.
    if guarded && (report.warnings > 0 || report.problems.count > 0 || report.errors != IoErrors::default()) {
        return Err(Error::EmptySource { destination: None });
    }
    add_peers_problems(&mut left_out, &report);
    add_all(&mut remarks, &report.remarks);
    for extra in [Extra::Acls, Extra::Xattrs].into_iter().filter(|extra| !keep.has(*extra)) {
        let why = format!("{} are not kept: the destination refuses them", extra.words());
        remarks.add(list::root(), Line::new(why));
    }
    tally.entries = u64::from(list.len());
    tally.bytes = scan::bytes(&list);
    tally.deleted = deleted;
    tally.wire_sent = writer.sent();
    tally.wire_received = reader.received();
    let (symlinks, fragile) = match peer {
        Peer::Doppel => (Vec::new(), Fragile::default()),
        Peer::Rsync => (scan::symlinks(&list, &mut left_out), fragile),
    };
    let complete = left_out.is_empty() && arguments.doppel.is_some_and(|extras| extras.has(Extras::COMPLETE));
    Ok(Pushed { outcome: Outcome { tally, left_out, remarks, peer, complete }, symlinks, fragile })
}

fn arguments(daemon: &Daemon, keep: Keep, guarded: bool, verification: Verification) -> Arguments {
    let used = Extras::PACK.and(Extras::COMPLETE);
    let used = match verification {
        Verification::None => used,
        Verification::Checksums => used.and(Extras::VERIFY),
    };
    Arguments {
        keep,
        recursive: true,
        one_file_system: true,
        sparse: true,
        numeric_ids: true,
        delete: true,
        delete_nothing: guarded,
        compression: compression(daemon),
        doppel: daemon.doppel.map(|extras| extras.common(used)),
        path: format!("{DATA}/").into_bytes(),
        ..Arguments::default()
    }
}

/// rsync packs all of a session or nothing, and it is said before anything could be measured. A daemon that takes this
/// long to answer is in another place than we are: light in glass goes a thousand kilometres meanwhile, and comes back;
/// within one place an answer takes less than 2 ms. Lines between places are seldom faster than zstd, which packs some
/// 300 MB/s; within a place packing costs more than it brings.
const FAR: Duration = Duration::from_millis(10);

fn compression(daemon: &Daemon) -> Choice<Compression> {
    let packs = daemon.doppel.is_none() && daemon.distance >= FAR;
    if packs { Choice::Negotiated } else { Choice::Fixed(Compression::None) }
}

fn add_peers_problems(left_out: &mut LeftOut, report: &PeerReport) {
    add_all(left_out, &report.problems);
    let silent = report.problems.is_empty() && report.errors.has(IoErrors::GENERAL);
    if silent {
        left_out.add(Line::new("said by the peer"), Line::new("something could not be stored"));
    }
}

fn add_all(to: &mut LeftOut, from: &LeftOut) {
    for problem in &from.first {
        to.add(problem.path.clone(), problem.why.clone());
    }
    to.count += from.count - from.first.len() as u64;
}
