//! One session of the module `data`.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;

use doppel_contract::{EmptySource, Line, Phase, Tally};
use doppel_volume::attributes::Powers;
use doppel_volume::monitor::Monitor;
use doppel_volume::replace::TemporaryNames;
use doppel_volume::tree::Tree;

use crate::error::Error;
use crate::list::MAX_ENTRIES;
use crate::list::receive::{IdNames, Limits, Received};
use crate::outcome::{Outcome, Peer};
use crate::proto::arguments::Arguments;
use crate::proto::extras::Extras;
use crate::proto::filter::Filter;
use crate::proto::frame::IoErrors;
use crate::proto::negotiate::Compatibility;
use crate::push::scan;
use crate::serve::attributes::Attributes;
use crate::serve::generator::Generator;
use crate::serve::partial::Partials;
use crate::serve::receiver::Receiver;
use crate::serve::shared::Shared;
use crate::session::Agreed;
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;

/// How a session is to be held.
pub(super) struct Options<'o> {
    pub(super) agreed: Agreed,
    pub(super) arguments: &'o Arguments,
    pub(super) empty_source: EmptySource,
    /// So many bytes the list may take.
    pub(super) list_memory: u64,
}

/// What both threads work with.
#[derive(Clone, Copy)]
pub(super) struct Job<'j> {
    pub(super) tree: &'j Tree,
    pub(super) agreed: Agreed,
    pub(super) arguments: &'j Arguments,
    pub(super) received: &'j Received,
    pub(super) attributes: &'j Attributes<'j>,
    pub(super) shared: &'j Shared,
    pub(super) names: &'j TemporaryNames,
    pub(super) partials: &'j Partials,
    pub(super) monitor: &'j dyn Monitor,
    /// Nothing is deleted, because this many entries would be the whole of the destination.
    pub(super) empty: Option<u64>,
}

/// Receives a tree.
pub(super) fn receive<R: Read + Send, W: Write>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    tree: &Tree,
    options: &Options<'_>,
    monitor: &dyn Monitor,
) -> Result<Outcome, Error> {
    let Options { agreed, arguments, empty_source, list_memory } = options;
    let filter = if arguments.delete { Filter::read(reader)? } else { Filter::default() };
    let layout = scan::layout(&arguments.keep, agreed.protocol);
    let ids = IdNames {
        follow: !arguments.numeric_ids,
        root_is_named: agreed.compatibility.has(Compatibility::ROOT_IS_NAMED),
    };
    let received = Received::read(reader, layout, ids, Limits { entries: MAX_ENTRIES, memory: *list_memory })?;
    let list = &received.list;
    let bytes = scan::bytes(list);
    monitor.found(list.len().into(), bytes);
    monitor.all_found();
    monitor.phase(Phase::Transferring);

    let early = std::mem::take(reader.messages());
    reader.messages().peer = early.peer;
    reader.messages().most_withheld = list.len();
    let shared = Shared::new(list.len(), early.peer, received.errors.and(early.errors));
    for problem in early.problems.first {
        shared.note_left_out(problem.path, problem.why);
    }
    let powers = Powers::default();
    let privileged = rustix::process::geteuid().is_root();
    let keep = arguments.keep;
    let attributes = Attributes { list, received: &received, keep, privileged, powers: &powers, shared: &shared };
    let names = TemporaryNames::default();
    let partials = Partials::default();
    let empty = if arguments.delete && *empty_source == EmptySource::Refuse && is_empty(&received) {
        Some(tree.entries_in_root()?).filter(|entries| *entries > 0)
    } else {
        None
    };
    let job = Job {
        tree,
        agreed: *agreed,
        arguments,
        received: &received,
        attributes: &attributes,
        shared: &shared,
        names: &names,
        partials: &partials,
        monitor,
        empty,
    };
    let removed = hold(reader, writer, job, &filter)?;

    let mut tally = Tally {
        entries: list.len().into(),
        bytes,
        files_sent: shared.files.load(Ordering::Acquire),
        literal_bytes: shared.literal.load(Ordering::Acquire),
        matched_bytes: shared.matched.load(Ordering::Acquire),
        deleted: removed,
        ..Tally::default()
    };
    // "Sent" is the direction of the tree, here as at the other end.
    tally.wire_sent = writer.sent();
    tally.wire_received = reader.received();
    for problem in std::mem::take(reader.messages()).problems.first {
        shared.note_left_out(problem.path, problem.why);
    }
    if let Some(destination) = empty {
        return Err(Error::EmptySource { destination: Some(destination) });
    }
    // A Doppel says what it could not read; rsync only says that there is something.
    if shared.errors().has(IoErrors::GENERAL) && (shared.peer == Peer::Rsync || !shared.has_left_out()) {
        let why = "the source could not read all of its tree; nothing was deleted here";
        shared.note_left_out(Line::new("said by the source"), Line::new(why));
    }
    let peer = shared.peer;
    let (left_out, remarks) = shared.into_reports();
    let complete = left_out.is_empty() && arguments.doppel.is_some_and(|extras| extras.has(Extras::COMPLETE));
    Ok(Outcome { tally, left_out, remarks, peer, complete })
}

/// Whether the list has nothing but, perhaps, the root.
fn is_empty(received: &Received) -> bool {
    received.list.entries().all(|(_, entry)| entry.is_root())
}

/// Runs both threads until the client has said goodbye; returns how many entries were deleted.
fn hold<R: Read + Send, W: Write>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    job: Job<'_>,
    filter: &Filter,
) -> Result<u64, Error> {
    let shared = job.shared;
    std::thread::scope(|scope| {
        let receiver = std::thread::Builder::new().name("receiver".to_owned()).spawn_scoped(scope, move || {
            let result = Receiver::new(reader, job).and_then(|mut receiver| receiver.run());
            shared.end();
            result
        });
        let receiver = receiver.map_err(Error::Resources)?;
        let generated = Generator::new(writer, job, filter).run();
        if let Err(error) = &generated {
            // The receiver reads on until the client ends, which waits for us.
            super::tell(writer, error);
        }
        let received = receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (received, generated) {
            // That the client went away follows from what the generator told it.
            (_, Err(error)) if !matches!(error, Error::Closed | Error::Network(_)) => Err(error),
            // What the receiver met is the cause; that the generator could not go on follows from it.
            (Err(error), _) => Err(error),
            (Ok(()), generated) => generated,
        }
    })
}
