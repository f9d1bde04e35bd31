//! Both roles between Doppels, in the protocol of [`crate::proto::direct`].

mod pace;
pub(crate) mod receive;
mod scan;
pub(crate) mod send;

use std::io::{Read, Write};

use doppel_contract::Line;

use crate::error::Error;
use crate::proto::direct::Hello;

/// Tells the peer of us and reads of it.
fn exchange(reader: &mut impl Read, writer: &mut impl Write, ours: &Hello) -> Result<Hello, Error> {
    writer.write_all(&ours.encode())?;
    writer.flush()?;
    let mut theirs = [0; Hello::LENGTH];
    reader.read_exact(&mut theirs)?;
    Ok(Hello::decode(theirs)?)
}

fn read_byte(reader: &mut impl Read) -> Result<u8, Error> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    let [byte] = byte;
    Ok(byte)
}

fn read_count(reader: &mut impl Read) -> Result<u64, Error> {
    let mut count = [0; 4];
    reader.read_exact(&mut count)?;
    Ok(u32::from_le_bytes(count).into())
}

/// Writes records that count, as many as it takes.
fn write_counts(writer: &mut impl Write, record: u8, mut count: u64) -> Result<(), Error> {
    while count > 0 {
        let part = u32::try_from(count).unwrap_or(u32::MAX);
        writer.write_all(&[record])?;
        writer.write_all(&part.to_le_bytes())?;
        count -= u64::from(part);
    }
    Ok(())
}

/// What the peer said of its failure.
fn read_failure(reader: &mut impl Read) -> Result<Error, Error> {
    let mut text = vec![0; read_byte(reader)?.into()];
    reader.read_exact(&mut text)?;
    Ok(Error::PeerFailed(Line::from_bytes(&text)))
}

/// Tells the peer of a failure that is none of its own, of which it cannot know. Whether it arrives does not matter any
/// more.
fn tell_failure(writer: &mut impl Write, record: u8, error: &Error) {
    if let Error::EmptySource | Error::Device(_) | Error::Busy = error {
        let _ = write_failure(writer, record, &Line::new(error.to_string()));
    }
}

fn write_failure(writer: &mut impl Write, record: u8, why: &Line) -> Result<(), Error> {
    let text = why.as_str().as_bytes();
    // A line is shorter than 256 bytes.
    writer.write_all(&[record, u8::try_from(text.len()).unwrap_or(u8::MAX)])?;
    writer.write_all(text)?;
    Ok(writer.flush()?)
}
