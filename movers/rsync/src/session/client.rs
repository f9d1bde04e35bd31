//! The handshake as client of a daemon.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::outcome::Peer;
use crate::proto::arguments::{Arguments, Choice};
use crate::proto::extras::Extras;
use crate::proto::greeting::{Answer, MAX_LINE, PREFIX, Protocol, greeting, read_answer, read_greeting};
use crate::proto::input::{Input, Malformed};
use crate::proto::integer::read_bits;
use crate::proto::keep::Extra;
use crate::proto::negotiate::{
    Compatibility, agree_on_checksum, agree_on_compression, checksum_names, read_string, write_string,
};
use crate::session::{Agreed, Packing};
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;

/// What we offer to pack with, when we offer it.
const OFFERED: &str = "zstd none";

/// A daemon's message of the day has at most this many lines, or it is no message.
const MAX_MESSAGE_LINES: usize = 1000;

/// A daemon that let us in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Daemon {
    pub(crate) protocol: Protocol,
    /// What it can do as a Doppel, if it is one.
    pub(crate) doppel: Option<Extras>,
    /// How long it took to answer to the name of the module: the way there and back, and little else.
    pub(crate) distance: Duration,
}

impl Daemon {
    pub(crate) fn peer(&self) -> Peer {
        if self.doppel.is_some() { Peer::Doppel } else { Peer::Rsync }
    }
}

/// Enters a module.
pub(crate) fn enter<R: Read, W: Write>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    module: &str,
) -> Result<Daemon, Error> {
    let protocol = read_greeting(&reader.line_with(PREFIX.as_bytes(), MAX_LINE)?)?;
    writer.put(greeting().as_bytes())?;
    writer.put(format!("{module}\n").as_bytes())?;
    writer.flush()?;
    let asked = Instant::now();
    let mut daemon = Daemon { protocol, doppel: None, distance: Duration::ZERO };
    for number in 0..MAX_MESSAGE_LINES {
        let answer = read_answer(&reader.line(MAX_LINE)?);
        if number == 0 {
            daemon.distance = asked.elapsed();
        }
        match answer {
            Answer::Accepted => return Ok(daemon),
            Answer::Doppel(extras) => daemon.doppel = Some(extras),
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
    daemon: &Daemon,
    arguments: &Arguments,
) -> Result<Agreed, Error> {
    writer.put(&arguments.encode())?;
    writer.flush()?;
    let compatibility = Compatibility(read_bits(reader)?);
    if let Err(malformed) = compatibility.check() {
        return Err(refusal(reader, compatibility, malformed));
    }
    let (checksums, compressions) = (checksum_names(), OFFERED);
    let mut offer = Vec::new();
    if arguments.checksum == Choice::Negotiated {
        write_string(&mut offer, checksums.as_bytes());
    }
    if arguments.compression == Choice::Negotiated {
        write_string(&mut offer, compressions.as_bytes());
    }
    writer.put(&offer)?;
    writer.flush()?;
    let checksum = match arguments.checksum {
        Choice::Negotiated => agree_on_checksum(checksums.as_bytes(), read_string(reader)?)?,
        Choice::Fixed(checksum) => checksum,
    };
    let compression = match arguments.compression {
        Choice::Negotiated => agree_on_compression(compressions.as_bytes(), read_string(reader)?)?,
        Choice::Fixed(compression) => compression,
    };
    let seed = i32::from_le_bytes(reader.array()?);
    reader.begin_frames();
    writer.begin_frames();
    let packing = Packing::agreed(compression, arguments.doppel);
    let verifies = arguments.doppel.is_some_and(|extras| extras.has(Extras::VERIFY));
    Ok(Agreed { protocol: daemon.protocol, compatibility, checksum, packing, verifies, seed })
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
