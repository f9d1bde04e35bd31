//! What the tests share: devices, and sessions over a pair of sockets.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses its part of this")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail their test")]
#![allow(clippy::needless_pass_by_value, reason = "an end of a session closes its socket")]

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use doppel_block::connection::{Connection, Outcome, Peer};
use doppel_block::device::Device;
use doppel_block::error::Error;
use doppel_block::receive::{Destination, receive};
use doppel_block::send::{SendOptions, send};
use doppel_contract::EmptySource;
use doppel_volume::monitor::Silent;
use tempfile::TempDir;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;

pub const PEERS: [Peer; 2] = [Peer::Diskrsync, Peer::Doppel];

/// What an empty source may do, for each end.
pub struct Options {
    pub source: EmptySource,
    pub destination: EmptySource,
}

pub const REFUSE: Options = Options { source: EmptySource::Refuse, destination: EmptySource::Refuse };
pub const ACCEPT: Options = Options { source: EmptySource::Accept, destination: EmptySource::Accept };

impl Options {
    fn source(&self) -> SendOptions {
        SendOptions { empty_source: self.source, key: [3; 32] }
    }
}

/// A folder with two devices, which are files.
pub struct Pair {
    dir: TempDir,
    pub source: PathBuf,
    pub destination: PathBuf,
}

impl Pair {
    pub fn new(source: &[u8], destination: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        Self { source: path("source", source), destination: path("destination", destination), dir }
    }

    /// Two devices of which nothing but the sizes is known yet.
    pub fn sparse(source: u64, destination: u64) -> Self {
        let pair = Self::new(&[], &[]);
        for (path, size) in [(&pair.source, source), (&pair.destination, destination)] {
            std::fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap();
        }
        pair
    }

    pub fn source(&self) -> Vec<u8> {
        std::fs::read(&self.source).unwrap()
    }

    pub fn destination(&self) -> Vec<u8> {
        std::fs::read(&self.destination).unwrap()
    }

    /// One session between two of ours.
    pub fn session(&self, peer: Peer, options: &Options) -> (Result<Outcome, Error>, Result<Outcome, Error>) {
        let (near, far) = UnixStream::pair().unwrap();
        let device = Device::open_source(&self.source).unwrap();
        thread::scope(|scope| {
            let destination = scope.spawn(|| self.receive_as(far, peer, options.destination));
            let sent = send(connection(&near, peer), &device, &options.source(), &Silent);
            near.shutdown(Shutdown::Both).unwrap();
            (sent, destination.join().unwrap())
        })
    }

    /// The destination's end of a session.
    pub fn receive(&self, socket: UnixStream, peer: Peer) -> Result<Outcome, Error> {
        self.receive_as(socket, peer, EmptySource::Refuse)
    }

    fn receive_as(&self, socket: UnixStream, peer: Peer, empty_source: EmptySource) -> Result<Outcome, Error> {
        let destination = Destination::new(Device::open_destination(&self.destination).unwrap(), empty_source);
        let received = receive(connection(&socket, peer), &destination, &Silent);
        let _ = socket.shutdown(Shutdown::Both);
        received
    }

    /// The source's end of a session.
    pub fn send(&self, socket: UnixStream, peer: Peer) -> Result<Outcome, Error> {
        let sent =
            send(connection(&socket, peer), &Device::open_source(&self.source).unwrap(), &ACCEPT.source(), &Silent);
        let _ = socket.shutdown(Shutdown::Both);
        sent
    }
}

pub fn connection(socket: &UnixStream, peer: Peer) -> Connection<BufReader<UnixStream>, BufWriter<UnixStream>> {
    let reader = BufReader::with_capacity(16 << 10, socket.try_clone().unwrap());
    let writer = BufWriter::with_capacity(128 << 10, socket.try_clone().unwrap());
    Connection { reader, writer, peer }
}

/// Bytes that look random and are the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    std::fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

/// Copies from one socket to another, `limit` bytes at most. The next byte closes both instead.
pub fn pipe(mut from: UnixStream, mut to: UnixStream, limit: u64) {
    let mut left = limit;
    let mut buffer = [0; 4096];
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap());
        match from.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
                left -= length as u64;
            }
        }
    }
    let _ = from.read(&mut buffer[..1]);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
