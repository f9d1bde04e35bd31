//! Sending a block device: one connection, at the end of which all is done. There is no module `control` and no upload of
//! `complete`: VolSync's destination knows by itself that its one session has ended.

use std::io::{self, Read};
use std::time::Duration;

use doppel_block::connection::{self, Peer};
use doppel_block::device::Device;
use doppel_block::send::{SendOptions, send};
use doppel_contract::{Fault, Retry};
use doppel_rsync::outcome::Outcome;
use doppel_transport::stream::Connection;
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Came, Source, Trouble};
use crate::device::{outcome, recognise};
use crate::failure::Failure;
use crate::run::FAREWELL;

impl Source<'_> {
    pub(super) fn send_device(&self, device: &Device) -> Result<Outcome, Trouble> {
        let failed = |failure| Trouble { came: Came::Failed, failure, not_taken: None };
        let mut connection = self.connect()?;
        let peer = recognise(&connection, device.size());
        let options = SendOptions { empty_source: self.options.empty_source, key: key().map_err(failed)? };
        let Connection { reader, writer, .. } = &mut connection;
        let sent = send(connection::Connection { reader, writer, peer }, device, &options, self.counters);
        if let (Ok(_), Peer::Diskrsync) = (&sent, peer) {
            wait_for_its_end(&mut connection);
        }
        // A Doppel has said that all is durable, or may want to know why we failed.
        if let Err(error) = connection.finish(FAREWELL) {
            tracing::debug!(%error, "The connection did not end in order");
        }
        let sent = sent.map_err(|error| failed(Failure::from(&error)))?;
        Ok(outcome(sent, peer))
    }
}

/// diskrsync confirms nothing: it hangs up when it has stored everything, and when it could not. Until then the connection
/// must stay, for its stunnel may drop what is on the way once we end it. The last data of at most 2 MiB is written
/// meanwhile; nobody waits longer for that than a minute.
fn wait_for_its_end(connection: &mut Connection) {
    const LAST_WRITE: Duration = Duration::from_secs(60);
    connection.allow_silence(LAST_WRITE);
    if let Err(error) = io::copy(&mut connection.reader.by_ref().take(1), &mut io::sink()) {
        tracing::debug!(%error, "The peer did not end in order");
    }
}

/// Bytes that nobody can foresee.
fn key() -> Result<[u8; 32], Failure> {
    let mut key = [0; 32];
    match getrandom(&mut key, GetRandomFlags::empty()) {
        // Up to 256 bytes come whole (getrandom(2)).
        Ok(_) => Ok(key),
        Err(errno) => Err(Failure::new(Fault::Ours, Retry::Later, format!("get random bytes: {errno}"))),
    }
}
