//! Tells whoever connects how far the run is: the operator, which has no other way to learn it that needs no right to read logs
//! and gives movers no token.
//!
//! One line and the end, and nothing is read, so there is nothing to attack but the numbers themselves: sizes and counts.
//! Connections are answered one after the other; a line fits into any socket's buffer, so none keeps others waiting.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::progress::Counters;

/// Answers at this port until the process ends. A run without it is as good, so a port that cannot be had is only logged.
pub(crate) fn answer_at(port: NonZeroU16, counters: &Arc<Counters>) {
    let counters = Arc::clone(counters);
    let started = listen(port).and_then(|listener| {
        thread::Builder::new().name("tell".to_owned()).spawn(move || answer_all(&listener, &counters))
    });
    if let Err(error) = started {
        tracing::warn!(port, %error, "Nobody can be told how far the run is");
    }
}

/// On all addresses of both IP versions, on IPv4 alone where IPv6 is off.
fn listen(port: NonZeroU16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port.get()))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.get())))
}

fn answer_all(listener: &TcpListener, counters: &Counters) {
    /// Accepting fails while there are no descriptors left; then time frees some.
    const PAUSE: Duration = Duration::from_millis(50);
    for connection in listener.incoming() {
        match connection {
            // Who does not want to know any more misses nothing.
            Ok(connection) => drop(answer(connection, counters)),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn answer(mut connection: TcpStream, counters: &Counters) -> io::Result<()> {
    const AT_MOST: Duration = Duration::from_secs(1);
    connection.set_write_timeout(Some(AT_MOST))?;
    let mut line = serde_json::to_vec(&counters.now())?;
    line.push(b'\n');
    connection.write_all(&line)
}
