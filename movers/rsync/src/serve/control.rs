//! The module `control`: one small file, kept in memory.

use std::io::{Read, Write};

use doppel_contract::Line;
use doppel_volume::metadata::Kind;

use crate::error::Error;
use crate::list::receive::{IdNames, Limits, Received};
use crate::proto::arguments::Refused;
use crate::proto::checksum::FileSum;
use crate::proto::index::{Index, IndexCoder};
use crate::proto::input::{Input, Malformed};
use crate::proto::keep::Keep;
use crate::proto::request::{Flags, Item};
use crate::proto::sums::SumHead;
use crate::push::scan;
use crate::serve::Served;
use crate::serve::tokens::{Piece, Tokens};
use crate::session::Agreed;
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;
use crate::upload::{COMPLETE, SYMLINKS};

/// So much of a file is kept. `complete` may hold anything, VolSync sends its script; and the list of links is of no use
/// to a destination that stores links as they are.
const KEPT: usize = 64 * 1024;

/// Much more than the list of one file takes.
const LIST_MEMORY: u64 = 64 * 1024;

/// Receives a file of one of the known names.
pub(super) fn receive<R: Read, W: Write>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    agreed: Agreed,
    name: &[u8],
) -> Result<Served, Error> {
    let name = [COMPLETE, SYMLINKS]
        .into_iter()
        .find(|known| known.as_bytes() == name)
        .ok_or_else(|| Refused::Option(Line::new(format!("control/{}", Line::from_bytes(name)))))?;
    // The arguments of an upload keep nothing, so entries have nothing but size, time and mode.
    let layout = scan::layout(&Keep::default(), agreed.protocol);
    let limits = Limits { entries: 1, memory: LIST_MEMORY };
    let received = Received::read(reader, layout, IdNames { follow: false, root_is_named: false }, limits)?;
    let one = received.list.get(0).is_some_and(|entry| entry.kind() == Kind::File);
    if !one {
        return Err(Malformed::unexpected("something else than one file").into());
    }
    let mut outgoing = IndexCoder::default();
    let mut incoming = IndexCoder::default();
    let mut out = Vec::new();
    outgoing.write(&mut out, Index::Entry(0));
    Item::new(Flags::TRANSFER.and(Flags::NEW)).write(&mut out);
    SumHead::NOTHING.write(&mut out);
    outgoing.write(&mut out, Index::Done);
    writer.put(&out)?;
    writer.flush()?;
    let mut content = None;
    let phases = if agreed.protocol.is_31() { 4 } else { 3 };
    let mut phase = 0;
    while phase < phases {
        match incoming.read(reader)? {
            Index::Entry(0) if phase == 0 && content.is_none() => content = Some(read_file(reader, agreed)?),
            Index::Done => {
                phase += 1;
                // The second and third end a phase without requests each, the fourth is the goodbye.
                let answers: &[Index] = match phase {
                    1 => &[Index::Done, Index::Done, Index::Done],
                    _ => &[],
                };
                answer(writer, &mut outgoing, answers)?;
            }
            _ => return Err(Malformed::unexpected("something that was not asked for").into()),
        }
    }
    if agreed.protocol.is_31() {
        answer(writer, &mut outgoing, &[Index::Done])?;
    }
    let content = content.ok_or(Malformed::unexpected("no content of the file"))?;
    Ok(Served::Control { name: name.to_owned(), content })
}

fn answer<W: Write>(writer: &mut Writer<W>, outgoing: &mut IndexCoder, answers: &[Index]) -> Result<(), Error> {
    let mut out = Vec::new();
    for index in answers {
        outgoing.write(&mut out, *index);
    }
    writer.put(&out)?;
    writer.flush()
}

fn read_file<R: Read>(reader: &mut Reader<R>, agreed: Agreed) -> Result<Vec<u8>, Error> {
    let mut item = Item::default();
    item.read(reader)?;
    if !item.flags.has(Flags::TRANSFER) || SumHead::read(reader, agreed.checksum.len())? != SumHead::NOTHING {
        return Err(Malformed::unexpected("something else than the file").into());
    }
    let mut tokens = Tokens::new(agreed.packing)?;
    tokens.begin(0);
    let mut content = Vec::new();
    let mut sum = FileSum::Empty(agreed.checksum);
    while let Piece::Literal(data) = tokens.next(reader)? {
        sum.update(data);
        let room = KEPT - content.len();
        content.extend(data.iter().take(room));
    }
    let expected = reader.take(agreed.checksum.len() as usize)?;
    if sum.finish().get(..expected.len()) != Some(expected) {
        return Err(Malformed::unexpected("a file that does not match its checksum").into());
    }
    Ok(content)
}
