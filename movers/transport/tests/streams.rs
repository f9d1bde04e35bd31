//! What an engine may rely on once a connection is established.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use doppel_transport::client::Client;
use doppel_transport::deadlines::Deadlines;
use doppel_transport::stop::Stop;
use doppel_transport::stream::{Connection, StreamError};
use support::*;

/// Both ends of one connection.
fn pair(deadlines: Deadlines) -> (Connection, Connection, Stop) {
    let (mut listener, port, stop) = listener(&psk(), deadlines);
    let client = thread::spawn(move || connect(port, &psk(), deadlines).unwrap());
    let server = listener.accept().unwrap();
    (client.join().unwrap(), server, stop)
}

/// Reproducible bytes without a pattern of the record size.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn bytes_arrive_unchanged_in_both_directions_at_once_whatever_the_sizes_of_the_calls() {
    let (client, server, _stop) = pair(SHORT);
    let total = 24 << 20;
    thread::scope(|scope| {
        for (connection, seed, expected) in [(client, 1, 2), (server, 2, 1)] {
            let Connection { mut reader, mut writer, .. } = connection;
            scope.spawn(move || {
                let mut sizes = [1, 7, 500, 16_384, 131_072, 200_000, 3].into_iter().cycle();
                let all = noise(total, seed);
                let mut rest = all.as_slice();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(sizes.next().unwrap()));
                    writer.write_all(now).unwrap();
                    rest = later;
                }
                writer.end().unwrap();
            });
            scope.spawn(move || {
                let mut sizes = [100_000, 10, 16_384, 1].into_iter().cycle();
                let (mut all, mut buffer) = (Vec::new(), vec![0; 100_000]);
                loop {
                    let length = reader.read(&mut buffer[..sizes.next().unwrap()]).unwrap();
                    if length == 0 {
                        break;
                    }
                    all.extend_from_slice(&buffer[..length]);
                }
                assert!(all == noise(total, expected));
            });
        }
    });
}

#[test]
fn a_flush_is_delivered_at_once_every_time() {
    let (mut client, mut server, _stop) = pair(SHORT);
    let rounds = 500;
    let echo = thread::spawn(move || {
        let mut question = [0; 100];
        for _ in 0..rounds {
            server.reader.read_exact(&mut question).unwrap();
            // Two writes and one flush: the second must not wait for the acknowledgement of the first.
            server.writer.write_all(&question[..50]).unwrap();
            server.writer.flush().unwrap();
            server.writer.write_all(&question[50..]).unwrap();
            server.writer.flush().unwrap();
        }
    });
    let started = Instant::now();
    for round in 0..rounds {
        let question = [u8::try_from(round % 251).unwrap(); 100];
        client.writer.write_all(&question).unwrap();
        client.writer.flush().unwrap();
        let mut answer = [0; 100];
        client.reader.read_exact(&mut answer).unwrap();
        assert_eq!(answer, question);
    }
    echo.join().unwrap();
    // Delayed acknowledgements (40 ms each) would make it 20 s.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn many_small_writes_become_full_records() {
    let (listener, port, stop) = listener(&psk(), SHORT);
    let server = thread::spawn(move || {
        let mut listener = listener;
        io::copy(&mut listener.accept().unwrap().reader, &mut io::sink()).unwrap()
    });
    let (front, wire) = meter(port);
    let mut connection = connect(front, &psk(), SHORT).unwrap();
    let total: u64 = 8 << 20;
    for _ in 0..total / 16 {
        connection.writer.write_all(&[7; 16]).unwrap();
    }
    connection.writer.end().unwrap();
    assert_eq!(server.join().unwrap(), total);
    drop(connection);
    let sent = wire.join().unwrap();
    // 22 bytes for each record of 16 KiB, and a handshake.
    assert!(sent < total + total / 500, "{sent} bytes on the wire");
    stop.stop();
}

/// Forwards one connection to `port`; returns the bytes that went there.
fn meter(port: u16) -> (u16, thread::JoinHandle<u64>) {
    proxy(port, |_, _| {})
}

/// Forwards one connection to `port` and shows each piece to `change` with its offset; returns the bytes forwarded.
fn proxy(port: u16, mut change: impl FnMut(u64, &mut [u8]) + Send + 'static) -> (u16, thread::JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap().port();
    let forward = move || {
        let (mut client, mut server) = (listener.accept().unwrap().0, TcpStream::connect(("127.0.0.1", port)).unwrap());
        let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let back = thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let (mut buffer, mut offset) = (vec![0; 65_536], 0);
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            change(offset, &mut buffer[..length]);
            offset += length as u64;
            if server.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Write);
        back.join().unwrap();
        offset
    };
    (front, thread::spawn(forward))
}

fn reason(error: &io::Error) -> &StreamError {
    StreamError::of(error).unwrap_or_else(|| panic!("{error:?} has no reason"))
}

#[test]
fn a_changed_byte_on_the_wire_is_an_error_and_never_data() {
    let (mut listener, port, _stop) = listener(&psk(), SHORT);
    let (front, _proxy) = proxy(port, |offset, bytes| {
        // Past the handshake of less than 1 KiB, in the middle of the data.
        if (offset..offset + bytes.len() as u64).contains(&50_000) {
            bytes[usize::try_from(50_000 - offset).unwrap()] ^= 1;
        }
    });
    let client = thread::spawn(move || {
        let mut connection = connect(front, &psk(), SHORT).unwrap();
        let _ = connection.writer.write_all(&noise(1 << 20, 3)).and_then(|()| connection.writer.flush());
    });
    let mut connection = listener.accept().unwrap();
    let mut all = Vec::new();
    let error = connection.reader.read_to_end(&mut all).unwrap_err();
    assert!(matches!(reason(&error), StreamError::Damaged(_)), "{error}");
    assert!(noise(1 << 20, 3).starts_with(&all));
    drop(connection);
    client.join().unwrap();
}

#[test]
fn an_end_without_an_end_mark_is_an_error_and_not_the_end() {
    let (client, mut server, _stop) = pair(SHORT);
    let Connection { mut writer, reader, .. } = client;
    writer.write_all(b"half a sen").unwrap();
    writer.flush().unwrap();
    drop((writer, reader));
    let mut all = Vec::new();
    let error = server.reader.read_to_end(&mut all).unwrap_err();
    assert_eq!(all, b"half a sen");
    assert!(matches!(reason(&error), StreamError::Cut | StreamError::Broken(_)), "{error}");
    // Wrapped by an engine it is still found.
    let wrapped = io::Error::other(error);
    assert!(matches!(reason(&wrapped), StreamError::Cut | StreamError::Broken(_)));
}

#[test]
fn a_silent_connection_ends_at_the_idle_deadline() {
    let (mut client, _server, _stop) = pair(Deadlines { idle: Duration::from_millis(300), ..SHORT });
    let started = Instant::now();
    let error = client.reader.read(&mut [0; 10]).unwrap_err();
    assert!(matches!(reason(&error), StreamError::Idle { .. }), "{error}");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() >= Duration::from_millis(290), "{:?}", started.elapsed());
}

#[test]
fn a_peer_that_stops_reading_ends_a_write_at_the_idle_deadline() {
    let (mut client, _server, _stop) = pair(Deadlines { idle: Duration::from_millis(300), ..SHORT });
    let chunk = vec![0; 1 << 20];
    let error = (0..1_000).find_map(|_| client.writer.write_all(&chunk).err()).expect("socket buffers are finite");
    assert!(matches!(reason(&error), StreamError::Idle { .. }), "{error}");
}

#[test]
fn a_connection_on_which_only_one_side_speaks_is_not_idle() {
    let idle = Duration::from_millis(400);
    let (client, server, stop) = pair(Deadlines { idle, ..SHORT });
    let Connection { mut writer, mut reader, .. } = client;
    let silent = thread::spawn(move || reader.read(&mut [0; 10]));
    let sink = thread::spawn(move || {
        let Connection { mut reader, writer, .. } = server;
        let _ = io::copy(&mut reader, &mut io::sink());
        drop(writer);
    });
    let started = Instant::now();
    while started.elapsed() < 3 * idle {
        writer.write_all(b"still here").unwrap();
        writer.flush().unwrap();
        assert!(!silent.is_finished());
        thread::sleep(idle / 20);
    }
    stop.stop();
    drop(writer);
    sink.join().unwrap();
    assert!(silent.join().unwrap().is_err());
}

#[test]
fn stopping_ends_a_blocked_read_and_a_waiting_listener() {
    let stop = Stop::new();
    let mut listener =
        doppel_transport::server::Listener::bind(0, &keys(&psk()), Deadlines::MOVER, stop.clone()).unwrap();
    let port = listener.local_address().unwrap().port();
    let client = thread::spawn(move || connect(port, &psk(), SHORT).unwrap());
    let mut connection = listener.accept().unwrap();
    let blocked = thread::spawn(move || connection.reader.read(&mut [0; 10]).unwrap_err());
    let waiting = thread::spawn(move || listener.accept().err().unwrap());
    stop.stop();
    assert!(matches!(reason(&blocked.join().unwrap()), StreamError::Stopped));
    assert!(matches!(waiting.join().unwrap(), doppel_transport::error::Error::Stopped));
    drop(client.join().unwrap());
}

#[test]
fn two_ends_agree_on_a_protocol_only_if_both_name_it() {
    for (near, far, expected) in [
        (Some("a/1"), Some("a/1"), true),
        (Some("a/1"), None, false),
        (None, Some("a/1"), false),
        (Some("a/1"), Some("a/2"), false),
        (None, None, false),
    ] {
        let (listener, port, _stop) = listener(&psk(), SHORT);
        let mut listener = match far {
            Some(protocol) => listener.naming(protocol),
            None => listener,
        };
        let server = thread::spawn(move || listener.accept().unwrap().agreed);
        let client = Client::new(&keys(&psk()), SHORT, Stop::new()).unwrap();
        let client = match near {
            Some(protocol) => client.naming(protocol),
            None => client,
        };
        let agreed = client.connect(&local(port)).unwrap().agreed;
        assert_eq!((agreed, server.join().unwrap()), (expected, expected), "{near:?} {far:?}");
    }
}

#[test]
fn a_silence_that_was_allowed_does_not_end_a_connection() {
    let (mut client, _server, _stop) = pair(Deadlines { idle: Duration::from_millis(100), ..SHORT });
    client.allow_silence(Duration::from_millis(600));
    let begin = Instant::now();
    assert!(matches!(reason(&client.reader.read(&mut [0; 10]).unwrap_err()), StreamError::Idle { .. }));
    assert!(begin.elapsed() >= Duration::from_millis(500));
}

#[test]
fn the_last_words_arrive_although_the_peer_is_still_sending() {
    let (client, server, _stop) = pair(SHORT);
    let Connection { mut writer, mut reader, .. } = client;
    let sending = thread::spawn(move || while writer.write_all(&[1; 65_536]).is_ok() {});
    let Connection { writer: mut last, reader: unread, peer, agreed } = server;
    last.write_all(b"@ERROR: no\n").unwrap();
    let finished = thread::spawn(move || Connection { writer: last, reader: unread, peer, agreed }.finish(SHORT.idle));
    let mut words = Vec::new();
    reader.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"@ERROR: no\n");
    drop(reader);
    // The sender learns it when the other end has closed.
    finished.join().unwrap().unwrap();
    sending.join().unwrap();
}

#[test]
fn a_peer_whose_process_is_stopped_ends_reads_and_writes_at_the_idle_deadline() {
    use rustix::process::{Pid, Signal, kill_process};
    let dir = tempfile::tempdir().unwrap();
    let (stunnel, front) = stunnel_server(dir.path(), plain_echo(), &psk(), "");
    for writes in [false, true] {
        let mut client = connect(front, &psk(), Deadlines { idle: Duration::from_millis(500), ..SHORT }).unwrap();
        assert_eq!(ask(&mut client, "hello\n"), "hello\n");
        kill_process(Pid::from_child(&stunnel.0), Signal::STOP).unwrap();
        let started = Instant::now();
        // The kernel takes some megabytes for a process that is stopped.
        let write = |client: &mut Connection| (0..1000).find_map(|_| client.writer.write_all(&[1; 100_000]).err());
        let error = if writes { write(&mut client) } else { client.reader.read(&mut [0]).err() }.unwrap();
        assert!(matches!(reason(&error), StreamError::Idle { .. }), "{error}");
        assert!(started.elapsed() < SHORT.idle * 3, "{:?}", started.elapsed());
        kill_process(Pid::from_child(&stunnel.0), Signal::CONT).unwrap();
    }
}
