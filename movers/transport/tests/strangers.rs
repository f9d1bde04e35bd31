//! Strangers at the door: they cost little, wait briefly, and keep no genuine peer out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use doppel_transport::deadlines::Deadlines;
use doppel_transport::error::Error;
use doppel_transport::server::Listener;
use support::*;

#[test]
fn a_genuine_peer_is_served_at_once_among_a_thousand_idle_connections() {
    // A thousand sockets on either side would not fit the usual limit of descriptors; what counts is that there are
    // more than the listener keeps.
    const FLOOD: usize = Listener::STRANGERS + 100;
    let patient = Deadlines { handshake: Duration::from_secs(300), ..SHORT };
    let (listener, port, stop) = listener(&psk(), patient);
    let server = std::thread::spawn(move || echo_lines(listener));
    let idle: Vec<_> = (0..FLOOD).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let started = Instant::now();
    let mut connection = connect(port, &psk(), SHORT).unwrap();
    assert_eq!(ask(&mut connection, "hello\n"), "hello\n");
    assert!(started.elapsed() < SHORT.connect, "served after {:?}", started.elapsed());

    // The oldest had to go, and were closed rather than forgotten.
    assert_eq!(read_all(idle.first().unwrap()), b"");
    drop(connection);
    stop.stop();
    let crowded = server.join().unwrap().iter().filter(|error| matches!(error, Error::Crowded { .. })).count();
    assert!((FLOOD - Listener::STRANGERS..=FLOOD - Listener::STRANGERS + 1).contains(&crowded), "{crowded}");
}

#[test]
fn a_connection_that_stalls_before_its_handshake_is_closed_at_the_deadline() {
    let (mut listener, port, _stop) = listener(&psk(), Deadlines { handshake: Duration::from_millis(300), ..SHORT });
    let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(matches!(listener.accept(), Err(Error::Slow { .. })));
    assert_eq!(read_all(silent), b"");
}

#[test]
fn a_handshake_that_trickles_in_byte_by_byte_is_closed_at_the_deadline() {
    let handshake = Duration::from_millis(500);
    let (mut listener, port, _stop) = listener(&psk(), Deadlines { handshake, ..SHORT });
    let trickle = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // The header of a handshake record of 512 bytes, then one byte of it at a time until the listener hangs up.
        let mut next = [22, 3, 1, 2, 0].into_iter().chain(std::iter::repeat(1));
        while next.next().is_some_and(|byte| socket.write_all(&[byte]).is_ok()) {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let started = Instant::now();
    assert!(matches!(listener.accept(), Err(Error::Slow { .. })));
    assert!(started.elapsed() >= handshake && started.elapsed() < handshake + SHORT.handshake);
    trickle.join().unwrap();
}

#[test]
fn bytes_of_another_protocol_are_refused_at_once() {
    let (mut listener, port, _stop) = listener(&psk(), Deadlines { handshake: Duration::from_secs(60), ..SHORT });
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"@RSYNCD: 31.0\n", b"\0\0\0\0", &[0x80; 64]] {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.write_all(garbage).unwrap();
        let error = listener.accept().err().unwrap();
        assert!(matches!(error, Error::Protocol { .. }), "{garbage:?}: {error}");
    }
}

#[test]
fn a_connection_that_goes_away_is_reported_and_the_next_one_served() {
    let (mut listener, port, _stop) = listener(&psk(), SHORT);
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    assert!(matches!(listener.accept(), Err(Error::Lost { .. })));
    let client = std::thread::spawn(move || connect(port, &psk(), SHORT).map(drop));
    assert!(listener.accept().is_ok());
    client.join().unwrap().unwrap();
}
