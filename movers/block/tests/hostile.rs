//! A peer that lies, in either role and both protocols: it gets an error that says what it did, and nothing else. It hurts
//! no memory: what is allocated follows from our own device.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use doppel_block::connection::Peer;
use doppel_block::error::Error;
use doppel_block::proto::Malformed;
use doppel_block::proto::direct::Hello;
use doppel_block::proto::header;
use doppel_contract::EmptySource;
use support::*;

const SIZE: u64 = 300_000;

/// What a destination makes of a source that sends this, and how much of its device is as it was.
fn source_says(peer: Peer, bytes: &[u8]) -> (Error, bool) {
    let content = noise(SIZE as usize, 2);
    let pair = Pair::new(&[], &content);
    let (socket, far) = UnixStream::pair().unwrap();
    let error = thread::scope(|scope| {
        let destination = scope.spawn(|| pair.receive(far, peer));
        speak(socket, bytes);
        destination.join().unwrap().unwrap_err()
    });
    (error, pair.destination() == content)
}

/// What a source makes of a destination that sends this.
fn destination_says(peer: Peer, bytes: &[u8]) -> Error {
    let pair = Pair::new(&noise(SIZE as usize, 1), &[]);
    let (socket, far) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let source = scope.spawn(|| pair.send(far, peer));
        speak(socket, bytes);
        source.join().unwrap().unwrap_err()
    })
}

/// Says this, then listens until the other end hangs up.
fn speak(mut socket: UnixStream, bytes: &[u8]) {
    let mut listener = socket.try_clone().unwrap();
    let listening = thread::spawn(move || std::io::copy(&mut listener, &mut std::io::sink()));
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = listening.join().unwrap();
}

fn diskrsync(size: u64, more: &[u8]) -> Vec<u8> {
    [&header::encode(size), more].concat()
}

fn doppel(size: u64, more: &[u8]) -> Vec<u8> {
    [&Hello { size, empty_source: EmptySource::Accept, key: [0; 32] }.encode(), more].concat()
}

fn counted(record: u8, count: u32) -> Vec<u8> {
    [&[record][..], &count.to_le_bytes()].concat()
}

#[test]
fn a_source_that_lies_is_told_from_one_that_is_cut_and_stores_nothing() {
    let far_too_large = Hello { size: u64::MAX, empty_source: EmptySource::Accept, key: [0; 32] }.encode();
    let cases: Vec<(Peer, Vec<u8>, &str)> = vec![
        (Peer::Diskrsync, b"@RSYNCD: 31.0 sha512\n".to_vec(), "replicates files"),
        (Peer::Diskrsync, b"BSNC0001........".to_vec(), "began with"),
        (Peer::Diskrsync, b"\0\x01\x02\x03\x1b[2J........".to_vec(), "\\x1b[2J"),
        (Peer::Diskrsync, header::encode(u64::MAX).to_vec(), "more than the protocol"),
        (Peer::Diskrsync, diskrsync(SIZE + 1, &[]), "300001"),
        (Peer::Diskrsync, diskrsync(1 << 60, &[]), "fewer than the 1152921504606846976"),
        (Peer::Diskrsync, diskrsync(0, &[]), "nothing but zeros"),
        // The root has children: it is no leaf of zeros.
        (Peer::Diskrsync, diskrsync(SIZE, &[0]), "unexpected answer 0"),
        (Peer::Diskrsync, diskrsync(SIZE, &[1]), "unexpected answer 1"),
        (Peer::Diskrsync, diskrsync(SIZE, &[3, 255]), "unexpected answer 255"),
        (Peer::Diskrsync, diskrsync(SIZE, &[3, 3, 7, 7]), "closed the connection"),
        (Peer::Doppel, far_too_large.to_vec(), "more than the protocol"),
        (Peer::Doppel, doppel(SIZE + 1, &[]), "300001"),
        (Peer::Doppel, doppel(SIZE, &[9]), "unexpected record of a source 9"),
        (Peer::Doppel, doppel(SIZE, &[3]), "done before the end"),
        (Peer::Doppel, doppel(SIZE, &counted(0, 20)), "more blocks than the device has"),
        (Peer::Doppel, doppel(SIZE, &counted(1, u32::MAX)), "more blocks than the device has"),
        (Peer::Doppel, doppel(SIZE, &[0, 1, 0]), "closed the connection"),
        (Peer::Doppel, doppel(SIZE, &[4, 3, b'n', b'o', b'\n']), "the peer failed: no\\x0a"),
        (Peer::Doppel, doppel(SIZE, &[4, 255]), "closed the connection"),
        (Peer::Doppel, b"@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n".to_vec(), "more than the protocol"),
    ];
    for (peer, bytes, expected) in cases {
        let (error, untouched) = source_says(peer, &bytes);
        assert!(error.to_string().contains(expected), "{peer:?} {bytes:?}: {error}");
        assert!(untouched, "{peer:?} {bytes:?}");
    }
}

#[test]
fn a_destination_that_lies_is_told_from_one_that_is_cut() {
    let mut nonsense = diskrsync(SIZE, &[]);
    nonsense.extend([0; 64]);
    let cases: Vec<(Peer, Vec<u8>, &str)> = vec![
        (Peer::Diskrsync, b"@RSYNCD: 31.0 sha512\n".to_vec(), "replicates files"),
        (Peer::Diskrsync, header::encode(u64::MAX).to_vec(), "more than the protocol"),
        (Peer::Diskrsync, diskrsync(SIZE - 1, &[]), "has 299999 bytes"),
        (Peer::Diskrsync, diskrsync(SIZE, &[5; 63]), "closed the connection"),
        (Peer::Diskrsync, nonsense, "closed the connection"),
        (Peer::Doppel, doppel(SIZE - 1, &[]), "has 299999 bytes"),
        (Peer::Doppel, doppel(SIZE, &counted(0, 0)), "unexpected count 0"),
        (Peer::Doppel, doppel(SIZE, &counted(0, 20)), "more blocks than the device has"),
        (Peer::Doppel, doppel(SIZE, &[2]), "done before the end"),
        (Peer::Doppel, doppel(SIZE, &[7]), "unexpected record of a destination 7"),
        (Peer::Doppel, doppel(SIZE, &[1, 1, 2, 3]), "closed the connection"),
        (Peer::Doppel, doppel(SIZE, &[3, 2, 27, 27]), "the peer failed: \\x1b\\x1b"),
        (Peer::Doppel, [doppel(SIZE, &counted(0, 19)), counted(0, 1)].concat(), "more blocks than the device has"),
    ];
    for (peer, bytes, expected) in cases {
        let error = destination_says(peer, &bytes);
        assert!(error.to_string().contains(expected), "{peer:?} {bytes:?}: {error}");
    }
}

/// More than there is to say is never waited for, and never stored.
#[test]
fn a_source_without_an_end_is_cut_off_at_the_end_of_the_device() {
    for peer in PEERS {
        let content = noise(SIZE as usize, 2);
        let pair = Pair::new(&[], &content);
        let (mut socket, far) = UnixStream::pair().unwrap();
        let head = match peer {
            Peer::Diskrsync => diskrsync(SIZE, &[]),
            Peer::Doppel => doppel(SIZE, &[]),
        };
        let received = thread::scope(|scope| {
            let destination = scope.spawn(|| pair.receive(far, peer));
            let mut listener = socket.try_clone().unwrap();
            scope.spawn(move || std::io::copy(&mut listener, &mut std::io::sink()));
            socket.write_all(&head).unwrap();
            let endless = std::iter::repeat_n([2; 4096], 1 << 20).find(|piece| socket.write_all(piece).is_err());
            assert!(endless.is_some(), "{peer:?}: took 4 GiB");
            destination.join().unwrap()
        });
        match peer {
            // Two is "equal", and the root's is all there is to say.
            Peer::Diskrsync => assert_eq!(received.unwrap().tally.matched_bytes, SIZE),
            Peer::Doppel => assert!(matches!(received, Err(Error::Malformed(Malformed::TooFar))), "{received:?}"),
        }
        assert_eq!(pair.destination().len() as u64, SIZE);
    }
}

/// Every byte of a good session, changed: an error or a device that differs, and never a panic or a wait.
#[test]
fn a_session_with_one_byte_changed_ends() {
    for peer in PEERS {
        let (source, destination) = (noise(40_000, 1), noise(40_000, 2));
        let recorded = record(peer, &source, &destination);
        for at in (0..60).chain((60..recorded.len()).step_by(1999)) {
            let mut bytes = recorded.clone();
            bytes[at] ^= 0x81;
            let pair = Pair::new(&[], &destination);
            let (socket, far) = UnixStream::pair().unwrap();
            thread::scope(|scope| {
                let receiving = scope.spawn(|| pair.receive(far, peer));
                speak(socket, &bytes);
                let _ = receiving.join().unwrap();
            });
        }
    }
}

/// What a source of ours says in a session.
fn record(peer: Peer, source: &[u8], destination: &[u8]) -> Vec<u8> {
    let pair = Pair::new(source, destination);
    let ((near, mut near_end), (far, mut far_end)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    thread::scope(|scope| {
        let receiving = scope.spawn(|| pair.receive(far, peer));
        let sending = scope.spawn(|| pair.send(near, peer));
        let (mut back_from, mut back_to) = (far_end.try_clone().unwrap(), near_end.try_clone().unwrap());
        scope.spawn(move || std::io::copy(&mut back_from, &mut back_to));
        let mut said = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = near_end.read(&mut buffer) {
            said.extend(&buffer[..length]);
            if far_end.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = far_end.shutdown(std::net::Shutdown::Both);
        sending.join().unwrap().unwrap();
        receiving.join().unwrap().unwrap();
        said
    })
}
