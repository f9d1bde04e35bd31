//! A peer that holds the key and says what it likes.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::time::Duration;

use doppel_rsync::proto::extras::DOPPEL;
use doppel_rsync::proto::frame::{Header, Tag};
use doppel_rsync::proto::greeting::greeting;
use doppel_rsync::proto::integer::write_varint;
use doppel_rsync::proto::negotiate::checksum_names;
use doppel_transport::address::Address;
use doppel_transport::client::Client;
use doppel_transport::deadlines::Deadlines;
use doppel_transport::keys::Keys;
use doppel_transport::server::Listener;
use doppel_transport::stop::Stop;
use doppel_transport::stream::Connection;

use super::KEY;

fn keys() -> Keys {
    Keys::parse(format!("volsync:{KEY}").as_bytes()).unwrap()
}

fn deadlines() -> Deadlines {
    let patience = super::PATIENCE;
    Deadlines { connect: patience, handshake: patience, idle: 2 * patience }
}

/// Connects to a destination.
pub fn connect(port: u16) -> Connection {
    let address = Address::new("127.0.0.1", NonZeroU16::new(port).unwrap()).unwrap();
    Client::new(&keys(), deadlines(), Stop::new()).unwrap().connect(&address).unwrap()
}

/// A destination for a source to connect to, and its port.
pub fn listen() -> (Listener, u16) {
    let listener = Listener::bind(0, &keys(), deadlines(), Stop::new()).unwrap();
    let port = listener.local_address().unwrap().port();
    (listener, port)
}

/// Says the first, and the rest when the other end has said more than `heard` bytes; waits for its end.
pub fn say(connection: Connection, first: &[u8], heard: usize, rest: &[u8]) {
    let Connection { mut reader, mut writer, .. } = connection;
    std::thread::scope(|scope| {
        let (enough, wait) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let said = writer.write_all(first).and_then(|()| writer.flush());
            let _ = wait.recv_timeout(Duration::from_secs(60));
            // It may have had enough.
            let _ = said.and_then(|()| writer.write_all(rest)).and_then(|()| writer.end());
        });
        let (mut total, mut buffer, mut enough) = (0, vec![0; 65_536], Some(enough));
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            total += count;
            if total > heard {
                drop(enough.take());
            }
        }
    });
}

/// How much a destination says before its requests.
pub fn heard_before_requests(more_names: usize) -> usize {
    greeting().len() + format!("{DOPPEL}\n@RSYNCD: OK\n").len() + 2 + checksum_names().len() + 1 + more_names + 4
}

/// The begin of a client's session.
pub fn preamble(module: &str, options: &str, path: &str, names: &str) -> Vec<u8> {
    format!("@RSYNCD: 31.0 md5\n{module}\n--server\0{options}e.LsfxCIvu\0--numeric-ids\0.\0{path}\0\0{names}")
        .into_bytes()
}

pub fn frames(data: &[u8]) -> Vec<u8> {
    data.chunks(1 << 20)
        .flat_map(|piece| [&Header { tag: Tag::Data, len: piece.len() }.encode()[..], piece].concat())
        .collect()
}

pub fn varint(value: i32) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(&mut out, value);
    out
}

/// A zstd frame of so many bytes, all of them zero: four bytes for each 128 KiB. (RFC 8878, sections 3.1.1.1 and 3.1.1.2.)
pub fn zeros(bytes: u64) -> Vec<u8> {
    const BLOCK: u64 = 128 * 1024;
    // A window of 128 KiB, no content size, no checksum.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3];
    let blocks = bytes / BLOCK;
    for block in 0..blocks {
        let last = u64::from(block + 1 == blocks);
        let header = last | 1 << 1 | BLOCK << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}
