//! The source's side: sends a device.

use std::io::{Read, Write};

use doppel_contract::EmptySource;
use doppel_volume::monitor::Monitor;

use crate::connection::{Connection, Counted, Outcome, Peer};
use crate::device::Device;
use crate::error::Error;
use crate::proto::direct::KEY;
use crate::{direct, diskrsync};

/// How a device is sent.
#[derive(Debug, Clone, Copy)]
pub struct SendOptions {
    /// What to do when the device holds nothing but zeros, as one does that was lost and made anew, and the destination's
    /// holds data.
    pub empty_source: EmptySource,
    /// Random bytes, other ones for each session.
    pub key: [u8; KEY],
}

/// Makes the destination's device like this one.
///
/// Towards a Doppel, done means that the destination's device is durable. diskrsync confirms nothing: there it means that
/// all was sent, and the connection must be kept until the peer has hung up.
///
/// # Errors
/// When the session failed. What was stored until then stays.
pub fn send<R: Read, W: Write>(
    connection: Connection<R, W>,
    device: &Device,
    options: &SendOptions,
    monitor: &dyn Monitor,
) -> Result<Outcome, Error> {
    let Connection { reader, writer, peer } = connection;
    let (mut reader, mut writer) = (Counted::new(reader), Counted::new(writer));
    let mut outcome = match peer {
        Peer::Diskrsync => diskrsync::send::send(&mut reader, &mut writer, device, options.empty_source, monitor),
        Peer::Doppel => direct::send::send(&mut reader, &mut writer, device, options, monitor),
    }?;
    (outcome.tally.wire_sent, outcome.tally.wire_received) = (writer.bytes, reader.bytes);
    Ok(outcome)
}
