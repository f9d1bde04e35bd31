//! Attacks on the handshake by whoever is between two peers, or pretends to be one of them, with stock tools and raw
//! sockets: changed, replayed, early and reflected bytes, keys that are none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doppel_transport::deadlines::Deadlines;
use doppel_transport::error::Error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::*;

/// What somebody in the middle does to a connection, byte by byte.
type Alter = Arc<dyn Fn(usize, u8) -> u8 + Send + Sync>;

/// Somebody in the middle, who leads to `port` and may alter what the client or the server says. Remembers what clients
/// said.
struct Middle {
    port: u16,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Middle {
    fn new(port: u16, client: Alter, server: Alter) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = listener.local_addr().unwrap().port();
        let said = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&said);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
                let (near_twin, far_twin) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (client, server, remember) = (Arc::clone(&client), Arc::clone(&server), Arc::clone(&remember));
                std::thread::spawn(move || pump(near, far, &client, Some(&remember)));
                std::thread::spawn(move || pump(far_twin, near_twin, &server, None));
            }
        });
        Self { port: front, said }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, alter: &Alter, remember: Option<&Mutex<Vec<u8>>>) {
    let (mut buffer, mut position) = ([0; 4096], 0);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        for byte in &mut buffer[..length] {
            *byte = alter(position, *byte);
            position += 1;
        }
        if let Some(remember) = remember {
            remember.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

fn honest() -> Alter {
    Arc::new(|_, byte| byte)
}

/// Changes one byte.
fn at(place: usize) -> Alter {
    Arc::new(move |position, byte| if position == place { byte ^ 0x11 } else { byte })
}

/// Whether a line got from a client through the middle to a server and back.
fn talks(middle: &Middle) -> bool {
    let brief = Deadlines { handshake: Duration::from_millis(500), ..SHORT };
    connect(middle.port, &psk(), brief).is_ok_and(|mut connection| {
        let sent = connection.writer.write_all(b"hello\n").and_then(|()| connection.writer.flush());
        let mut answer = [0; 6];
        sent.is_ok() && connection.reader.read_exact(&mut answer).is_ok() && &answer == b"hello\n"
    })
}

#[test]
fn a_handshake_of_which_any_byte_was_changed_on_the_way_is_refused() {
    let brief = Deadlines { handshake: Duration::from_millis(500), ..SHORT };
    let (listener, port, stop) = listener(&psk(), brief);
    let server = std::thread::spawn(move || echo_lines(listener));
    assert!(talks(&Middle::new(port, honest(), honest())));
    // The first flights of both sides, up to the client's Finished: a few hundred bytes. Only the version in the header of
    // a plain record, which RFC 8446 section 5.1 says must be ignored, may differ.
    let changed = |place: usize, of_client: bool| {
        let (client, server) = if of_client { (at(place), honest()) } else { (honest(), at(place)) };
        Middle::new(port, client, server)
    };
    for of_client in [true, false] {
        let places: Vec<usize> = (0..200).filter(|place| !(1..3).contains(place)).collect();
        let accepted: Vec<usize> = std::thread::scope(|scope| {
            // Most of the time goes by in waiting for bytes that a changed length promises.
            let parts: Vec<_> = places
                .chunks(places.len().div_ceil(16))
                .map(|part| {
                    scope.spawn(move || {
                        part.iter().filter(|place| talks(&changed(**place, of_client))).collect::<Vec<_>>()
                    })
                })
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).copied().collect()
        });
        assert!(accepted.is_empty(), "accepted with other bytes at {accepted:?}, of the client: {of_client}");
    }
    stop.stop();
    server.join().unwrap();
}

#[test]
fn a_recorded_session_cannot_be_replayed() {
    let (listener, port, stop) = listener(&psk(), SHORT);
    let server = std::thread::spawn(move || echo_lines(listener));
    let middle = Middle::new(port, honest(), honest());
    assert!(talks(&middle));
    let said = middle.said.lock().unwrap().clone();
    assert!(said.len() > 200);
    let mut replay = TcpStream::connect(("127.0.0.1", port)).unwrap();
    replay.write_all(&said).unwrap();
    replay.shutdown(Shutdown::Write).unwrap();
    let answer = read_all(replay);
    // The server hello, and its refusal: no record that would be an answer to the line.
    assert!(!answer.is_empty() && answer.len() < 400, "{}", answer.len());
    // Who is genuine is served, after it.
    assert!(talks(&middle));
    stop.stop();
    let refused = server.join().unwrap();
    assert_eq!(refused.len(), 1, "{refused:?}");
}

#[test]
fn early_data_is_never_taken() {
    let dir = tempfile::tempdir().unwrap();
    let key = psk().split_once(':').unwrap().1.to_owned();
    let (session, early) = (dir.path().join("session"), dir.path().join("early"));
    std::fs::write(&early, "sent before the handshake\n").unwrap();
    let (session, early) = (session.to_str().unwrap(), early.to_str().unwrap());
    // A session that allows early data, of a server that holds the same key.
    let generous = free_port();
    let accept = generous.to_string();
    let _server = openssl(&[
        "s_server",
        "-quiet",
        "-nocert",
        "-accept",
        &accept,
        "-psk",
        &key,
        "-psk_identity",
        "volsync",
        "-early_data",
        "-max_early_data",
        "16384",
    ]);
    wait_for_port(generous);
    let proof = ["-tls1_3", "-psk", &key, "-psk_identity", "volsync"];
    let run = |port: u16, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).args(proof).args(more);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    };
    // A ticket comes after the handshake: the client has to stay for it.
    let mut keep = openssl(
        &[&["s_client", "-connect", &format!("127.0.0.1:{generous}"), "-sess_out", session][..], &proof].concat(),
    );
    let deadline = Instant::now() + SHORT.connect * 5;
    while !std::path::Path::new(session).exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(keep.0.stdin.take());
    assert!(std::path::Path::new(session).exists(), "no session");
    let offered = run(generous, &["-sess_in", session, "-early_data", early]);
    let offered = String::from_utf8_lossy(&offered.stdout).into_owned();
    assert!(offered.contains("Early data was accepted"), "the offer is a real one: {offered}");

    let (mut listener, port, _stop) = listener(&psk(), SHORT);
    let client = std::thread::scope(|scope| {
        let client = scope.spawn(|| run(port, &["-sess_in", session, "-early_data", early]));
        if let Ok(connection) = listener.accept() {
            // It may go on without: then what was sent early is gone.
            assert_eq!(read_all(connection.reader), b"");
        }
        client.join().unwrap()
    });
    let said = String::from_utf8_lossy(&client.stdout).into_owned();
    assert!(!said.contains("Early data was accepted"), "{said}");
}

#[test]
fn keys_that_are_none_open_nothing() {
    for text in ["volsync:", "volsync", ":", "volsync:00", "volsync:0", &format!("volsync:{}", "0".repeat(30))] {
        assert!(doppel_transport::keys::Keys::parse(text.as_bytes()).is_err(), "{text}");
    }
    let (mut listener, port, _stop) = listener(&psk(), SHORT);
    for key in ["00", "0000000000000000", &"00".repeat(64)] {
        let connect_to = format!("127.0.0.1:{port}");
        let client =
            openssl(&["s_client", "-tls1_3", "-connect", &connect_to, "-psk", key, "-psk_identity", "volsync"]);
        let error = listener.accept().err().expect("must be refused");
        assert!(matches!(error, Error::Authentication { .. }), "{key}: {error}");
        drop(client);
        let port = free_port();
        let accept = port.to_string();
        let _server =
            openssl(&["s_server", "-quiet", "-nocert", "-accept", &accept, "-psk", key, "-psk_identity", "volsync"]);
        wait_for_port(port);
        let error = connect(port, &psk(), SHORT).err().expect("must be refused");
        assert!(matches!(error, Error::Authentication { .. }), "{key}: {error}");
    }
}

#[test]
fn what_a_server_of_ours_says_reflected_to_another_client_of_ours_is_refused() {
    // RFC 9257 section 4.1: the other half of the reflection. A server's flight fits the hello that it answers, and no other.
    let (listener, port, stop) = listener(&psk(), SHORT);
    let server = std::thread::spawn(move || echo_lines(listener));
    let answer = {
        let middle = Middle::new(port, honest(), honest());
        assert!(talks(&middle));
        let hello = middle.said.lock().unwrap().clone();
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.write_all(&hello).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        read_all(socket)
    };
    let impostor = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = impostor.local_addr().unwrap().port();
    let replaying = std::thread::spawn(move || {
        let mut socket = impostor.accept().unwrap().0;
        socket.write_all(&answer).unwrap();
        read_all(socket)
    });
    let error = connect(front, &psk(), SHORT).err().expect("must be refused");
    assert!(matches!(error, Error::Protocol { .. } | Error::Authentication { .. } | Error::Lost { .. }), "{error}");
    replaying.join().unwrap();
    stop.stop();
    server.join().unwrap();
}

#[test]
fn a_proxy_header_makes_nobody_somebody_else() {
    // CVE-2026-53791 of rsync: an address in such a header was believed.
    let (mut listener, port, _stop) = listener(&psk(), SHORT);
    for header in [
        &b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x02",
    ] {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.write_all(header).unwrap();
        let error = listener.accept().err().expect("must be refused");
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
}

#[test]
fn a_thousand_connections_idle_or_trickling_keep_no_genuine_peer_out() {
    const FLOOD: usize = 1_000;
    let limit = getrlimit(Resource::Nofile);
    let enough = Some(4 * FLOOD as u64);
    if limit.current.is_some_and(|current| Some(current) < enough) {
        let maximum = limit.maximum;
        assert!(maximum.is_none() || maximum >= enough, "this test needs more open files: {limit:?}");
        setrlimit(Resource::Nofile, Rlimit { current: enough, maximum }).unwrap();
    }
    let patient = Deadlines { handshake: Duration::from_secs(300), ..SHORT };
    let (listener, port, stop) = listener(&psk(), patient);
    let server = std::thread::spawn(move || echo_lines(listener));
    // Half of them say a byte now and then of a hello that never ends.
    let mut strangers: Vec<TcpStream> = (0..FLOOD).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let mut hello = vec![22, 3, 1, 2, 0, 1, 0, 1, 252];
    hello.resize(64, 3);
    for byte in &hello {
        for stranger in strangers.iter_mut().step_by(2) {
            // Those that were given up are gone.
            let _ = stranger.write_all(&[*byte]);
        }
        if byte == &252 {
            let started = Instant::now();
            let mut connection = connect(port, &psk(), SHORT).unwrap();
            assert_eq!(ask(&mut connection, "hello\n"), "hello\n");
            assert!(started.elapsed() < SHORT.connect, "served after {:?}", started.elapsed());
        }
    }
    let mut connection = connect(port, &psk(), SHORT).unwrap();
    assert_eq!(ask(&mut connection, "hello\n"), "hello\n");
    drop(connection);
    stop.stop();
    let crowded = server.join().unwrap().iter().filter(|error| matches!(error, Error::Crowded { .. })).count();
    assert!(crowded > FLOOD / 2, "{crowded}");
}
