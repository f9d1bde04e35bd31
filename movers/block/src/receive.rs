//! The destination's side: its device becomes like the source's.

use std::io::{Read, Write};
use std::sync::{Mutex, MutexGuard, TryLockError};

use doppel_contract::{EmptySource, Line};
use doppel_volume::monitor::Monitor;

use crate::connection::{Connection, Counted, Outcome, Peer};
use crate::device::Device;
use crate::error::Error;
use crate::{direct, diskrsync};

/// A destination's device, for sessions that may overlap: the second one is turned away, for two would mix their sources.
#[derive(Debug)]
pub struct Destination {
    device: Mutex<Device>,
    size: u64,
    empty_source: EmptySource,
}

impl Destination {
    /// This device, opened by [`Device::open_destination`].
    /// `empty_source` is what a source of nothing but zeros may do to it; diskrsync's cannot be asked, but for one without a
    /// single byte.
    #[must_use]
    pub fn new(device: Device, empty_source: EmptySource) -> Self {
        Self { size: device.size(), device: Mutex::new(device), empty_source }
    }

    /// Bytes that it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn empty_source(&self) -> EmptySource {
        self.empty_source
    }

    /// The device, for a source whose device has this many bytes.
    pub(crate) fn claim_for(&self, source: u64) -> Result<MutexGuard<'_, Device>, Error> {
        if self.size < source {
            return Err(Error::TooSmall { source_size: source, destination: self.size });
        }
        match self.device.try_lock() {
            Ok(device) => Ok(device),
            // A session that panicked left nothing behind that another one could not go on from.
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Error::Busy),
        }
    }
}

/// Receives one source's device, and makes it durable. The monitor hears of phases only once the peer has shown that it is
/// a source that fits: what is written from then on changes the device.
///
/// # Errors
/// When the session failed. What was stored until then stays.
pub fn receive<R: Read + Send, W: Write + Send>(
    connection: Connection<R, W>,
    destination: &Destination,
    monitor: &dyn Monitor,
) -> Result<Outcome, Error> {
    let Connection { reader, writer, peer } = connection;
    let (mut reader, mut writer) = (Counted::new(reader), Counted::new(writer));
    let mut outcome = match peer {
        Peer::Diskrsync => diskrsync::receive::receive(&mut reader, &mut writer, destination, monitor),
        Peer::Doppel => direct::receive::receive(&mut reader, &mut writer, destination, monitor),
    }?;
    (outcome.tally.wire_sent, outcome.tally.wire_received) = (writer.bytes, reader.bytes);
    Ok(outcome)
}

/// What lies behind the source's end: a file loses it, a device cannot.
pub(crate) fn settle_the_rest(device: &Device, source: u64, outcome: &mut Outcome) -> Result<(), Error> {
    let more = device.size().saturating_sub(source);
    if more > 0 {
        let why = if device.cut(source)? {
            format!("is {more} bytes larger than the source; was cut to the source's size")
        } else {
            format!("is {more} bytes larger than the source; what it holds behind the source's end was left as it is")
        };
        outcome.remarks.add(device.path().clone(), Line::new(why));
    }
    Ok(())
}
