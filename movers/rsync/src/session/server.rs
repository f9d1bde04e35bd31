//! The handshake as daemon.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};

use doppel_contract::Line;

use crate::error::Error;
use crate::proto::arguments::{self, Arguments, Choice, Parsed};
use crate::proto::extras::{DOPPEL, Extras};
use crate::proto::greeting::{MAX_LINE, PREFIX, Protocol, greeting, read_greeting};
use crate::proto::integer::write_bits;
use crate::proto::negotiate::{
    COMPRESSION_NAMES, Compatibility, agree_on_checksum, agree_on_compression, checksum_names, read_string,
    write_string,
};
use crate::session::{Agreed, Packing};
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;

/// What a client came for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    /// The volume.
    Data,
    /// Small files that steer the run.
    Control,
    /// The list of modules.
    Listing,
}

/// Greets a client, and lets it into the module that it asks for.
pub(crate) fn greet<R: Read, W: Write>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
) -> Result<(Protocol, Module), Error> {
    writer.put(greeting().as_bytes())?;
    writer.flush()?;
    let protocol = read_greeting(&reader.line(MAX_LINE)?)?;
    let name = reader.line(MAX_LINE)?;
    let (module, answer) = match &name[..] {
        b"data" => (Module::Data, format!("{DOPPEL}\n{PREFIX}OK\n")),
        b"control" => (Module::Control, format!("{DOPPEL}\n{PREFIX}OK\n")),
        b"" | b"#list" => (Module::Listing, listing()),
        _ => {
            let name = Line::from_bytes(&name);
            writer.put(format!("@ERROR: Unknown module '{name}'\n").as_bytes())?;
            writer.flush()?;
            return Err(Error::Refused(format!("it asked for a module {name}").into()));
        }
    };
    writer.put(answer.as_bytes())?;
    writer.flush()?;
    Ok((protocol, module))
}

/// As rsync lists modules: names are filled up to 15 characters.
fn listing() -> String {
    let line = |name: &str, comment: &str| format!("{name:<15}\t{comment}\n");
    format!("{}{}{PREFIX}EXIT\n", line("data", "PVC data"), line("control", ""))
}

/// Reads the arguments of a client and agrees with it on everything else; frames begin after it. Arguments that are not
/// supported are refused by the caller, within frames, where the client expects errors.
pub(crate) fn negotiate<R: Read, W: Write>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    protocol: Protocol,
) -> Result<(Agreed, Parsed), Error> {
    let parsed = Arguments::parse(&arguments::read(reader)?);
    let arguments = &parsed.arguments;
    let compatibility = Compatibility::for_letters(&arguments.letters);
    let (checksums, compressions) = (checksum_names(), COMPRESSION_NAMES);
    let seed = seed();
    let mut offer = Vec::new();
    write_bits(&mut offer, compatibility.0);
    if compatibility.check().is_ok() {
        if arguments.checksum == Choice::Negotiated {
            write_string(&mut offer, checksums.as_bytes());
        }
        if arguments.compression == Choice::Negotiated {
            write_string(&mut offer, compressions.as_bytes());
        }
    }
    offer.extend(seed.to_le_bytes());
    writer.put(&offer)?;
    writer.flush()?;
    compatibility.check()?;
    let checksum = match arguments.checksum {
        Choice::Negotiated => agree_on_checksum(read_string(reader)?, checksums.as_bytes())?,
        Choice::Fixed(checksum) => checksum,
    };
    let compression = match arguments.compression {
        Choice::Negotiated => agree_on_compression(read_string(reader)?, compressions.as_bytes())?,
        Choice::Fixed(compression) => compression,
    };
    reader.begin_frames();
    writer.begin_frames();
    let packing = Packing::agreed(compression, arguments.doppel);
    let verifies = arguments.doppel.is_some_and(|extras| extras.has(Extras::VERIFY));
    Ok((Agreed { protocol, compatibility, checksum, packing, verifies, seed }, parsed))
}

/// A seed that a peer cannot foresee, so that it cannot prepare blocks whose checksums meet.
fn seed() -> i32 {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
