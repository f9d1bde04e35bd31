//! Sending one small file into the module `control`, as VolSync's source does to steer its destination.

use std::io::{Read, Write};

use doppel_volume::metadata::{DeviceNumber, Kind, Moment};

use crate::error::Error;
use crate::proto::arguments::Arguments;
use crate::proto::entry::{EntryEncoder, HardLink, WireEntry};
use crate::proto::frame::IoErrors;
use crate::push::Connection;
use crate::push::content::MemoryContent;
use crate::push::scan::layout;
use crate::push::send::Sender;
use crate::session::client;
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;

/// The module that steers a destination.
pub const CONTROL: &str = "control";
/// The file whose arrival there ends the destination's run.
pub const COMPLETE: &str = "complete";
/// The file there that lists the links to be restored.
pub const SYMLINKS: &str = "symlink-munging-file";

/// Sends `content` as the file `name` into `module`.
///
/// # Errors
/// When it did not arrive.
pub fn upload<R: Read, W: Write>(
    connection: Connection<R, W>,
    module: &str,
    name: &str,
    content: &[u8],
) -> Result<(), Error> {
    let mut reader = Reader::new(connection.reader);
    let mut writer = Writer::new(connection.writer);
    let daemon = client::enter(&mut reader, &mut writer, module)?;
    reader.messages().peer = daemon.peer();
    let arguments = Arguments { path: format!("{module}/{name}").into_bytes(), ..Arguments::default() };
    let agreed = client::negotiate(&mut reader, &mut writer, &daemon, &arguments)?;
    let entry = WireEntry {
        kind: Kind::File,
        permissions: 0o644,
        size: content.len() as u64,
        // A moment that no earlier upload of the same size has: else the peer takes it for the same file.
        modified: Moment { seconds: 0, nanoseconds: agreed.seed.unsigned_abs() % 1_000_000_000 },
        uid: 0,
        gid: 0,
        device: DeviceNumber::default(),
        hard_link: HardLink::No,
        without_content: false,
    };
    let mut list = Vec::new();
    EntryEncoder::new(layout(&arguments.keep, daemon.protocol)).write(&mut list, name.as_bytes(), &entry, &[]);
    EntryEncoder::end(&mut list, IoErrors::default());
    writer.put(&list)?;
    let mut sender = Sender::new(reader, writer, agreed, MemoryContent { content, position: 0 })?;
    sender.run(IoErrors::default())?;
    let (mut reader, ..) = sender.into_parts();
    let report = reader.messages();
    if report.problems.count > 0 {
        return Err(Error::PeerFailed { code: 23, text: report.first_problem() });
    }
    Ok(())
}
