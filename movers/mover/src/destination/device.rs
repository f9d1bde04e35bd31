//! Receiving a block device: one session that ends in order ends the run. VolSync's source says no more than that.

use std::sync::OnceLock;

use doppel_block::connection;
use doppel_block::error::Error;
use doppel_block::receive::{Destination as Device, receive};
use doppel_contract::Phase;
use doppel_rsync::outcome::Outcome;
use doppel_transport::stream::Connection;
use doppel_volume::monitor::Monitor;

use super::ledger::Then;
use super::{Destination, Session};
use crate::device::{outcome, recognise};
use crate::failure::Failure;
use crate::run::FAREWELL;

impl Destination<'_> {
    pub(super) fn device_session(&self, mut connection: Connection, device: &Device) -> Then {
        let from = connection.peer;
        let peer = recognise(&connection, device.size());
        let session = Session { destination: self, number: OnceLock::new() };
        let Connection { reader, writer, .. } = &mut connection;
        let received = receive(connection::Connection { reader, writer, peer }, device, &session);
        if let Err(error) = connection.finish(FAREWELL) {
            tracing::debug!(peer = %from, %error, "The connection did not end in order");
        }
        let number = session.number.into_inner();
        if number.is_some() {
            self.counters.phase(Phase::Waiting);
        }
        match received {
            Ok(received) => {
                tracing::info!(peer = %from, bytes = received.tally.bytes, "Received the source's device");
                self.data_ends(number, Outcome { complete: true, ..outcome(received, peer) })
            }
            Err(error) => {
                if let Error::Busy = error {
                    self.doubt_the_others();
                }
                let volume_failed = matches!(error, Error::Device(_));
                self.note_failure(from, Failure::from(&error), volume_failed, number)
            }
        }
    }
}
