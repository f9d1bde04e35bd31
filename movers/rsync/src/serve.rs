//! The destination's side: a daemon that receives a tree into its module `data`, and small files that steer the run
//! into `control`, which is kept in memory.
//!
//! Two threads share a connection. The generator goes through the list, makes directories and links, and asks for the
//! content of what differs; the receiver stores what comes. Neither waits for the other within a phase, so that data
//! flows while requests are still being made; and the receiver never writes to the peer, so that it always drains what
//! the peer sends: two full directions cannot block each other.
//!
//! Before its module is accepted the daemon says the line `doppel 1`, with its extras, which rsync prints like any message of the day,
//! and by which a Doppel knows that links need no disguise and that errors can be taken apart.

mod attributes;
mod control;
mod deletion;
mod directories;
mod entries;
mod extras;
mod generator;
mod links;
mod partial;
mod receiver;
mod session;
mod shared;
mod signature;
mod tokens;

use std::io::{Read, Write};
use std::sync::{Mutex, TryLockError};

use doppel_contract::EmptySource;
use doppel_volume::monitor::Monitor;
use doppel_volume::tree::Tree;

use crate::error::Error;
use crate::outcome::{Outcome, Peer};
use crate::proto::arguments::{Arguments, Choice, Refused};
use crate::proto::frame::Tag;
use crate::push::Connection;
use crate::session::server::{self, Module};
use crate::session::{Agreed, Packing};
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;

/// A list of as many entries as there may be, with names of usual length, takes less.
const LIST_MEMORY: u64 = 2 << 30;

/// What the daemon serves. One for all connections: it sees to it that only one at a time writes to the volume.
#[derive(Debug)]
pub struct Modules<'t> {
    tree: &'t Tree,
    empty_source: EmptySource,
    list_memory: u64,
    /// Held by the session that writes to the volume.
    writes: Mutex<()>,
}

impl<'t> Modules<'t> {
    /// Receives into this tree.
    #[must_use]
    pub fn new(tree: &'t Tree, empty_source: EmptySource) -> Self {
        Self { tree, empty_source, list_memory: LIST_MEMORY, writes: Mutex::default() }
    }

    /// Refuses a tree whose list takes more memory than this, instead of 2 GiB.
    #[must_use]
    pub fn with_list_memory(self, bytes: u64) -> Self {
        Self { list_memory: bytes, ..self }
    }
}

/// What a client came for, once it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// It sent a tree.
    Data(Outcome),
    /// It sent a small file into `control`.
    Control {
        /// [`crate::upload::COMPLETE`] or [`crate::upload::SYMLINKS`].
        name: String,
        /// The beginning of its content.
        content: Vec<u8>,
    },
    /// It asked what modules there are.
    Listing,
}

/// rsync's exit codes, as a client ends with them when we say so.
mod exit {
    pub(super) const SYNTAX: i32 = 1;
    pub(super) const PROTOCOL: i32 = 2;
    pub(super) const FILE_IO: i32 = 11;
    pub(super) const STREAM: i32 = 12;
}

/// How much of a client that we gave up on is read and dropped, so that it gets to read why: what is under way in a
/// fast network with large buffers.
const DRAINED: u64 = 64 << 20;

/// Serves one connection.
///
/// # Errors
/// When the session failed. What was stored until then stays; nothing is half written.
pub fn serve<R: Read + Send, W: Write>(
    connection: Connection<R, W>,
    modules: &Modules<'_>,
    monitor: &dyn Monitor,
) -> Result<Served, Error> {
    let mut reader = Reader::new(connection.reader);
    let mut writer = Writer::new(connection.writer);
    let (protocol, module) = server::greet(&mut reader, &mut writer)?;
    if module == Module::Listing {
        return Ok(Served::Listing);
    }
    let (agreed, parsed) = server::negotiate(&mut reader, &mut writer, protocol)?;
    if parsed.arguments.doppel.is_some() {
        reader.messages().peer = Peer::Doppel;
    }
    if let Some(refused) = parsed.refused {
        return Err(give_up(&mut reader, &mut writer, refused.into()));
    }
    let arguments = parsed.arguments;
    let (named, rest) = arguments.module_and_rest();
    match (module, named, rest) {
        // A decompressor for each of many uploads at a time is memory that nobody needs.
        (Module::Control, ..) if packs(&arguments, agreed) => {
            let error = Refused::Option(doppel_contract::Line::new("-z for the module control")).into();
            Err(give_up(&mut reader, &mut writer, error))
        }
        (Module::Control, b"control", name) => control::receive(&mut reader, &mut writer, agreed, name)
            .map_err(|error| give_up(&mut reader, &mut writer, error)),
        (Module::Data, b"data", b"") => {
            let _writes = match modules.writes.try_lock() {
                Ok(guard) => guard,
                // A session that panicked left nothing behind that another one could not go on from.
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Err(give_up(&mut reader, &mut writer, Error::Busy)),
            };
            let Modules { empty_source, list_memory, .. } = *modules;
            let options = session::Options { agreed, arguments: &arguments, empty_source, list_memory };
            session::receive(&mut reader, &mut writer, modules.tree, &options, monitor)
                .map(Served::Data)
                .map_err(|error| give_up(&mut reader, &mut writer, error))
        }
        _ => {
            let error = Refused::Form("the path is not the module's root").into();
            Err(give_up(&mut reader, &mut writer, error))
        }
    }
}

/// Whether content may come packed: as rsync does it, whatever was agreed on then, or as Doppels do.
fn packs(arguments: &Arguments, agreed: Agreed) -> bool {
    arguments.compression != Choice::default() || agreed.packing == Packing::Mixed
}

/// Tells the client why we give up, if it can still be told, and lets it read that.
fn give_up<R: Read, W: Write>(reader: &mut Reader<R>, writer: &mut Writer<W>, error: Error) -> Error {
    if tell(writer, &error) {
        reader.drain(DRAINED);
    }
    error
}

/// Tells the client why we give up; whether it was told.
fn tell<W: Write>(writer: &mut Writer<W>, error: &Error) -> bool {
    let code = match error {
        // There is nobody to tell.
        Error::Network(_) | Error::Closed | Error::PeerFailed { .. } => return false,
        Error::Arguments(_) => exit::SYNTAX,
        Error::Malformed(_) => exit::PROTOCOL,
        Error::Volume(_) => exit::FILE_IO,
        // The client was told already, entry by entry or in as many words.
        Error::EmptySource { .. } | Error::CannotVerify => return false,
        Error::Refused(_)
        | Error::NotTaken(_)
        | Error::TooLarge { .. }
        | Error::ListMemory { .. }
        | Error::Resources(_)
        | Error::Busy => exit::STREAM,
    };
    let text = doppel_contract::Line::new(error.to_string());
    let told = writer
        .message(Tag::Error, format!("doppel: {text}\n").as_bytes())
        .and_then(|()| writer.message(Tag::ErrorExit, &code.to_le_bytes()))
        .and_then(|()| writer.flush());
    told.is_ok()
}
