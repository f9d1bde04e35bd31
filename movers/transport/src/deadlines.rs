//! How long each wait may take.

use std::time::Duration;

/// The waits of a connection. Each ends in an error that says which one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the first address tried to an established TCP connection. A name may have many addresses; they share it.
    pub connect: Duration,
    /// From an established TCP connection to a finished handshake.
    pub handshake: Duration,
    /// Without a byte in either direction. Only a connection on which both are silent is idle.
    pub idle: Duration,
}

impl Deadlines {
    /// The deadlines of a mover.
    ///
    /// Connect and handshake: 10 s, stunnel's own `TIMEOUTconnect`; a lost SYN is sent again after 1, 3 and 7 s.
    ///
    /// Idle: 10 minutes. A healthy peer is silent while it walks a tree, compares a large file without a difference or
    /// flushes its volume. The slowest of these, a `syncfs` of what the page cache may hold (20 % of 64 GiB to a disk of
    /// 50 MB/s), takes under 5 minutes; twice that. Stunnel's 12 h would leave a Job hanging for half a day.
    pub const MOVER: Self =
        Self { connect: Duration::from_secs(10), handshake: Duration::from_secs(10), idle: Duration::from_secs(600) };
}
