//! What both ends of rsync say, byte by byte, for peers that say what they should not.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use doppel_contract::EmptySource;
use doppel_rsync::error::Error;
use doppel_rsync::proto::arguments::Arguments;
use doppel_rsync::proto::checksum::{Algorithm, FileSum};
use doppel_rsync::proto::entry::{EntryEncoder, HardLink, Layout, WireEntry};
use doppel_rsync::proto::extras::DOPPEL;
use doppel_rsync::proto::frame::{Header, IoErrors, Tag};
use doppel_rsync::proto::greeting::greeting;
use doppel_rsync::proto::index::{Index, IndexCoder};
use doppel_rsync::proto::integer::write_bits;
use doppel_rsync::proto::keep::Keep;
use doppel_rsync::proto::negotiate::{COMPRESSION_NAMES, checksum_names, write_string};
use doppel_rsync::proto::request::{Flags, Item};
use doppel_rsync::proto::sums::SumHead;
use doppel_rsync::proto::token::Token;
use doppel_rsync::push::Connection;
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::metadata::{DeviceNumber, Kind, Moment};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;

use super::{describe, directory, write};

pub const LAYOUT: Layout = Layout {
    links: true,
    hard_links: true,
    owner: true,
    group: true,
    devices: true,
    numbered_specials: false,
    acls: false,
    xattrs: false,
};

/// The bytes of a client, up to the first frame.
pub fn client_preamble(delete: bool) -> Vec<u8> {
    let arguments = Arguments {
        keep: Keep { acls: false, xattrs: false, ..Keep::ALL },
        recursive: true,
        numeric_ids: true,
        delete,
        path: b"data/".to_vec(),
        ..Arguments::default()
    };
    let mut bytes = b"@RSYNCD: 31.0 md5\ndata\n".to_vec();
    bytes.extend(arguments.encode());
    write_string(&mut bytes, b"md5");
    bytes
}

/// The bytes of a daemon, up to the first frame.
pub fn daemon_preamble() -> Vec<u8> {
    let mut bytes = b"@RSYNCD: 31.0 md5\n@RSYNCD: OK\n".to_vec();
    write_bits(&mut bytes, 0x1fe);
    write_string(&mut bytes, b"md5");
    bytes.extend([1, 2, 3, 4]);
    bytes
}

pub fn frame(data: &[u8]) -> Vec<u8> {
    message(Tag::Data, data)
}

pub fn message(tag: Tag, payload: &[u8]) -> Vec<u8> {
    [&Header { tag, len: payload.len() }.encode()[..], payload].concat()
}

pub fn entry(kind: Kind) -> WireEntry {
    WireEntry {
        kind,
        permissions: 0o755,
        size: 5,
        modified: Moment { seconds: 1, nanoseconds: 0 },
        uid: 0,
        gid: 0,
        device: DeviceNumber::default(),
        hard_link: HardLink::No,
        without_content: false,
    }
}

/// A list of these paths; one that ends in a slash is a directory, `name>target` a link.
pub fn list(paths: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = EntryEncoder::new(LAYOUT);
    for path in paths {
        let (path, kind, target) = match (path.strip_suffix('/'), path.split_once('>')) {
            (Some(path), _) => (path, Kind::Directory, ""),
            (None, Some((path, target))) => (path, Kind::Symlink, target),
            (None, None) => (*path, Kind::File, ""),
        };
        encoder.write(&mut bytes, path.as_bytes(), &entry(kind), target.as_bytes());
    }
    EntryEncoder::end(&mut bytes, IoErrors::default());
    bytes
}

/// What a sender says of the content of an entry.
pub fn reply(coder: &mut IndexCoder, index: u32, head: SumHead, tokens: &[Token], content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    coder.write(&mut bytes, Index::Entry(index));
    Item::new(Flags::TRANSFER.and(Flags::NEW)).write(&mut bytes);
    head.write(&mut bytes);
    for token in tokens {
        bytes.extend(token.encode());
        if matches!(token, Token::Literal(_)) {
            bytes.extend(content);
        }
    }
    bytes.extend(&FileSum::whole(Algorithm::Md5, content).finish()[..16]);
    bytes
}

pub fn done(times: usize) -> Vec<u8> {
    vec![0; times]
}

/// Says `first` to one end of a pair, and `rest` once `heard` bytes came back, while `run` has the other end.
pub fn against<T>(
    (first, heard, rest): (&[u8], usize, &[u8]),
    run: impl FnOnce(Connection<UnixStream, UnixStream>) -> T,
) -> T {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for stream in [&ours, &theirs] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    let (enough, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let mut speaking = theirs.try_clone().unwrap();
        scope.spawn(move || {
            let _ = speaking.write_all(first);
            // An end without an answer is an answer, too.
            let _ = wait.recv();
            let _ = speaking.write_all(rest);
            let _ = speaking.shutdown(std::net::Shutdown::Write);
        });
        let mut hearing = theirs;
        scope.spawn(move || {
            let mut buffer = [0; 4096];
            let mut total = 0;
            let mut enough = Some(enough);
            loop {
                if total >= heard {
                    drop(enough.take());
                }
                match hearing.read(&mut buffer) {
                    Ok(count @ 1..) => total += count,
                    _ => return,
                }
            }
        });
        let result = run(Connection { reader: ours.try_clone().unwrap(), writer: ours.try_clone().unwrap() });
        let _ = ours.shutdown(std::net::Shutdown::Both);
        result
    })
}

/// A client that says all at once.
pub fn to_daemon(destination: &Path, bytes: &[u8]) -> Result<Served, Error> {
    to_daemon_in_turn(destination, bytes, &[])
}

/// How much our daemon says before its requests: two lines and its answer, flags, names, seed.
pub fn heard_before_requests(first: &[u8]) -> usize {
    let answer = format!("{DOPPEL}\n@RSYNCD: OK\n");
    let packed = super::contains(first, b"\x04zstd");
    let names = checksum_names().len() + 1 + if packed { COMPRESSION_NAMES.len() + 1 } else { 0 };
    greeting().len() + answer.len() + 2 + names + 4
}

/// A client that says the rest when it was asked for something.
pub fn to_daemon_in_turn(destination: &Path, first: &[u8], rest: &[u8]) -> Result<Served, Error> {
    let tree = Tree::open(destination).unwrap();
    let heard = if rest.is_empty() { 0 } else { heard_before_requests(first) + 1 };
    against((first, heard, rest), |connection| serve(connection, &Modules::new(&tree, EmptySource::Refuse), &Silent))
}

/// What is beside the volume, and must never be read.
pub const SECRET: &[u8] = b"not of the volume";

/// A volume beside a canary that nobody may touch.
pub struct Cage {
    directory: tempfile::TempDir,
    pub destination: std::path::PathBuf,
    pub canary: std::path::PathBuf,
    before: BTreeMap<String, String>,
}

impl Cage {
    pub fn new() -> Self {
        let directory = directory();
        let (destination, canary) = (directory.path().join("destination"), directory.path().join("canary"));
        std::fs::create_dir(&destination).unwrap();
        write(&canary.join("file"), SECRET);
        super::set_time(&canary.join("file"), 1_000_000, 1);
        super::set_time(&canary, 1_000_000, 2);
        let before = describe(&canary);
        Self { directory, destination, canary, before }
    }

    /// What it must stay like is what it is now.
    pub fn renewed(self) -> Self {
        Self { before: describe(&self.canary), ..self }
    }

    /// Content, owners, permissions and times of the canary are as they were, and nothing is new beside it.
    pub fn assert_untouched(&self) {
        assert_eq!(describe(&self.canary), self.before);
        assert_eq!(std::fs::read_dir(self.directory.path()).unwrap().count(), 2);
    }
}
