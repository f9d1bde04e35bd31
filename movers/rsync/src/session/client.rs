//! The handshake as client of a daemon.

use std::io::{Read, Write};

use crate::error::Error;
use crate::outcome::Peer;
use crate::proto::arguments::{Arguments, Extra};
use crate::proto::greeting::{Answer, MAX_LINE, PREFIX, Protocol, greeting, read_answer, read_greeting};
use crate::proto::input::{Input, Malformed};
use crate::proto::integer::read_bits;
use crate::proto::negotiate::{
    COMPRESSION_NAMES, Compatibility, Compression, agree_on_checksum, agree_on_compression, checksum_names,
    read_string, write_string,
};
use crate::session::Agreed;
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;

/// A daemon's message of the day has at most this many lines, or it is no message.
const MAX_MESSAGE_LINES: usize = 1000;

/// Enters a module.
pub(crate) fn enter<R: Read, W: Write>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    module: &str,
) -> Result<(Protocol, Peer), Error> {
    let protocol = read_greeting(&reader.line_with(PREFIX.as_bytes(), MAX_LINE)?)?;
    writer.put(greeting().as_bytes())?;
    writer.put(format!("{module}\n").as_bytes())?;
    writer.flush()?;
    let mut peer = Peer::Rsync;
    for _ in 0..MAX_MESSAGE_LINES {
        match read_answer(&reader.line(MAX_LINE)?) {
            Answer::Accepted => return Ok((protocol, peer)),
            Answer::Doppel => peer = Peer::Doppel,
            Answer::Text(_) => {}
            Answer::Refused(why) => return Err(Error::Refused(why)),
            Answer::Password => return Err(Error::Refused("it wants a password, and there is none".into())),
            Answer::Exit => return Err(Error::Refused(format!("it has no module {module}").into())),
        }
    }
    Err(Malformed::unexpected("an endless message of the day").into())
}

/// Gives the daemon its arguments and agrees on everything else; frames begin after it.
pub(crate) fn negotiate<R: Read, W: Write>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    protocol: Protocol,
    arguments: &Arguments,
) -> Result<Agreed, Error> {
    writer.put(&arguments.encode())?;
    writer.flush()?;
    let compatibility = Compatibility(read_bits(reader)?);
    if let Err(malformed) = compatibility.check() {
        return Err(refusal(reader, compatibility, malformed));
    }
    let (checksums, compressions) = (checksum_names(), COMPRESSION_NAMES);
    let mut offer = Vec::new();
    write_string(&mut offer, checksums.as_bytes());
    if arguments.compress {
        write_string(&mut offer, compressions.as_bytes());
    }
    writer.put(&offer)?;
    writer.flush()?;
    let checksum = agree_on_checksum(checksums.as_bytes(), read_string(reader)?)?;
    let compression = if arguments.compress {
        agree_on_compression(compressions.as_bytes(), read_string(reader)?)?
    } else {
        Compression::None
    };
    let seed = i32::from_le_bytes(reader.array()?);
    reader.begin_frames();
    writer.begin_frames();
    Ok(Agreed { protocol, compatibility, checksum, compression, seed })
}

/// A daemon that refuses the arguments agrees on nothing that they speak of, and says why in its first frames.
fn refusal<R: Read>(reader: &mut Reader<R>, compatibility: Compatibility, malformed: Malformed) -> Error {
    // An old one that understood them has this, and waits for us.
    if compatibility.has(Compatibility::SEED_FIRST) {
        return malformed.into();
    }
    let seed: Result<[u8; 4], Error> = reader.array();
    reader.begin_frames();
    match seed.and_then(|_| reader.byte()) {
        Err(Error::PeerFailed { code, text }) => match Extra::named_in(text.as_str()) {
            Some(extra) => Error::NotTaken(extra),
            None => Error::PeerFailed { code, text },
        },
        _ => malformed.into(),
    }
}
