//! Both roles towards diskrsync 1.3.0, which is what VolSync's `diskrsync-tcp` speaks.
//!
//! diskrsync's last part, the tail of a source that is larger than its target, is left out: a device does not grow, so such
//! a source is refused, before anything is written.

pub(crate) mod receive;
pub(crate) mod send;

use std::io::{Read, Write};

use crate::error::Error;
use crate::proto::header;

/// Tells the peer our size and reads its own.
fn exchange(reader: &mut impl Read, writer: &mut impl Write, size: u64) -> Result<u64, Error> {
    writer.write_all(&header::encode(size))?;
    writer.flush()?;
    let mut theirs = [0; header::LENGTH];
    reader.read_exact(&mut theirs)?;
    Ok(header::decode(theirs)?)
}
