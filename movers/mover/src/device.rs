//! What both ends do alike where the volume is a block device.

use std::time::Duration;

use doppel_block::connection::Peer;
use doppel_rsync::outcome::{self, Outcome};
use doppel_transport::deadlines::Deadlines;
use doppel_transport::stream::Connection;

/// Who is at the other end of a connection on which `doppel_block`'s protocol was named. diskrsync's needs more patience:
/// there both ends are silent until both have read their devices.
pub(crate) fn recognise(connection: &Connection, size: u64) -> Peer {
    if connection.agreed {
        return Peer::Doppel;
    }
    connection.allow_silence(silence(size));
    Peer::Diskrsync
}

/// How long a peer may take to read as many bytes as we have, beside the usual silences. 16 MiB/s are the throttled network
/// disks; a peer that is gone is found by keepalive within minutes, whatever this is.
fn silence(size: u64) -> Duration {
    const SLOWEST_DISK: u64 = 16 << 20;
    /// stunnel's own limit (`TIMEOUTidle`): VolSync's end would not wait for longer.
    const LONGEST: Duration = Duration::from_secs(12 * 3600);
    (Deadlines::MOVER.idle + Duration::from_secs(size / SLOWEST_DISK)).min(LONGEST)
}

/// An engine's outcome in the words of the other one: a device has no entries of its own that could be left out.
pub(crate) fn outcome(outcome: doppel_block::connection::Outcome, peer: Peer) -> Outcome {
    let doppel_block::connection::Outcome { tally, remarks } = outcome;
    let peer = match peer {
        Peer::Diskrsync => outcome::Peer::Rsync,
        Peer::Doppel => outcome::Peer::Doppel,
    };
    Outcome { tally, remarks, peer, ..Outcome::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_reads_a_large_device_may_be_silent_for_longer_but_not_for_ever() {
        assert_eq!(silence(0), Deadlines::MOVER.idle);
        assert_eq!(silence(64 << 30), Deadlines::MOVER.idle + Duration::from_secs(4096));
        assert_eq!(silence(u64::MAX), Duration::from_secs(12 * 3600));
    }
}
