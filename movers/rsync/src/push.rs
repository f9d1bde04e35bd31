//! The source's side: a client of a daemon, that sends a tree into the module `data`.
//!
//! One pass does the copying and the deleting. The list is sent first; then the daemon asks for what it lacks, in the
//! order of the list, while it receives what it asked for before: neither waits for the other. All of it runs on the
//! caller's thread.

pub(crate) mod content;
mod extras;
pub(crate) mod scan;
pub(crate) mod search;
pub(crate) mod send;

use std::io::{Read, Write};

use doppel_contract::{EmptySource, LeftOut, Line, Phase};
use doppel_volume::monitor::Monitor;
use doppel_volume::tree::{LOST_AND_FOUND, Tree};

use crate::error::Error;
use crate::outcome::{Outcome, Peer};
use crate::proto::arguments::{Arguments, Extra, Keep};
use crate::proto::filter::Filter;
use crate::proto::frame::IoErrors;
use crate::push::content::TreeContent;
use crate::push::send::{End, Sender};
use crate::session::client;
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
}

/// The module that receives the volume.
const DATA: &str = "data";

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
    let (protocol, peer) = client::enter(&mut reader, &mut writer, DATA)?;
    reader.messages().peer = peer;
    let guarded = options.empty_source == EmptySource::Refuse && tree.entries_in_root()? == 0;
    let arguments = arguments(peer, keep, guarded);
    let agreed = client::negotiate(&mut reader, &mut writer, protocol, &arguments)?;

    monitor.phase(Phase::Walking);
    let mut scratch = Vec::new();
    Filter::root_entry(LOST_AND_FOUND).write(&mut scratch);
    writer.put(&scratch)?;
    let scan::Scanned { list, xattrs, mut left_out, mut remarks, errors } =
        scan::send_list(tree, &mut writer, scan::layout(&arguments.keep, protocol), monitor)?;
    if peer == Peer::Doppel {
        for problem in &left_out.first {
            writer.message(crate::proto::frame::Tag::ErrorTransfer, text_of(&problem.path, &problem.why).as_bytes())?;
        }
    }

    monitor.phase(Phase::Transferring);
    let content = TreeContent::new(tree, &list, &xattrs, monitor);
    let mut sender = Sender::new(reader, writer, agreed, content);
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
        remarks.add(Line::new("the volume's root"), Line::new(why));
    }
    tally.entries = u64::from(list.len());
    tally.bytes = scan::bytes(&list);
    tally.deleted = deleted;
    tally.wire_sent = writer.sent();
    tally.wire_received = reader.received();
    let symlinks = match peer {
        Peer::Doppel => Vec::new(),
        Peer::Rsync => scan::symlinks(&list, &mut left_out),
    };
    Ok(Pushed { outcome: Outcome { tally, left_out, remarks, peer }, symlinks })
}

fn arguments(peer: Peer, keep: Keep, guarded: bool) -> Arguments {
    Arguments {
        keep,
        recursive: true,
        one_file_system: true,
        sparse: true,
        numeric_ids: true,
        delete: true,
        delete_nothing: guarded,
        doppel: peer == Peer::Doppel,
        path: format!("{DATA}/").into_bytes(),
        ..Arguments::default()
    }
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
