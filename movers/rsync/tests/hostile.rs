//! Peers that mean harm, in either role: whatever they send, nothing outside the volume is touched, nothing panics and
//! nothing hangs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doppel_contract::EmptySource;
use doppel_rsync::error::Error;
use doppel_rsync::proto::arguments::{Arguments, Keep};
use doppel_rsync::proto::checksum::{Algorithm, FileSum};
use doppel_rsync::proto::entry::{EntryEncoder, HardLink, Layout, WireEntry};
use doppel_rsync::proto::frame::{Header, IoErrors, Tag};
use doppel_rsync::proto::greeting::{DOPPEL, greeting};
use doppel_rsync::proto::index::{Index, IndexCoder};
use doppel_rsync::proto::integer::{write_bits, write_varint};
use doppel_rsync::proto::negotiate::{COMPRESSION_NAMES, checksum_names, write_string};
use doppel_rsync::proto::request::{Flags, Item};
use doppel_rsync::proto::sums::SumHead;
use doppel_rsync::proto::token::Token;
use doppel_rsync::push::{Connection, PushOptions, push};
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::metadata::{DeviceNumber, Kind, Moment};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use proptest::prelude::*;
use support::{describe, noise, tree_of_everything, two, write};

const LAYOUT: Layout =
    Layout { links: true, owner: true, group: true, devices: true, numbered_specials: false, acls: false };

/// The bytes of a client, up to the first frame.
fn client_preamble(delete: bool) -> Vec<u8> {
    let arguments = Arguments {
        keep: Keep::ALL,
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
fn daemon_preamble() -> Vec<u8> {
    let mut bytes = b"@RSYNCD: 31.0 md5\n@RSYNCD: OK\n".to_vec();
    write_bits(&mut bytes, 0x1fe);
    write_string(&mut bytes, b"md5");
    bytes.extend([1, 2, 3, 4]);
    bytes
}

fn frame(data: &[u8]) -> Vec<u8> {
    message(Tag::Data, data)
}

fn message(tag: Tag, payload: &[u8]) -> Vec<u8> {
    [&Header { tag, len: payload.len() }.encode()[..], payload].concat()
}

fn entry(kind: Kind) -> WireEntry {
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
fn list(paths: &[&str]) -> Vec<u8> {
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
fn reply(coder: &mut IndexCoder, index: u32, head: SumHead, tokens: &[Token], content: &[u8]) -> Vec<u8> {
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

fn done(times: usize) -> Vec<u8> {
    vec![0; times]
}

/// Says `first` to one end of a pair, and `rest` once more than `heard` bytes came back, while `run` has the other end.
fn against<T>(
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
fn to_daemon(destination: &Path, bytes: &[u8]) -> Result<Served, Error> {
    to_daemon_in_turn(destination, bytes, &[])
}

/// A client that says the rest when it was asked for something.
fn to_daemon_in_turn(destination: &Path, first: &[u8], rest: &[u8]) -> Result<Served, Error> {
    // What the daemon says before its requests: two lines and its answer, flags, names, seed.
    let answer = format!("{DOPPEL}\n@RSYNCD: OK\n");
    let packed = first.windows(5).any(|window| window == b"\x04zstd");
    let names = checksum_names().len() + 1 + if packed { COMPRESSION_NAMES.len() + 1 } else { 0 };
    let preamble = greeting().len() + answer.len() + 2 + names + 4;
    let tree = Tree::open(destination).unwrap();
    let heard = if rest.is_empty() { 0 } else { preamble + 1 };
    against((first, heard, rest), |connection| serve(connection, &Modules::new(&tree, EmptySource::Refuse), &Silent))
}

/// A destination beside a canary that nobody may touch.
struct Cage {
    _directory: tempfile::TempDir,
    destination: std::path::PathBuf,
    canary: std::path::PathBuf,
}

impl Cage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (destination, canary) = (directory.path().join("destination"), directory.path().join("canary"));
        std::fs::create_dir(&destination).unwrap();
        write(&canary.join("file"), "canary");
        Self { _directory: directory, destination, canary }
    }

    fn assert_untouched(&self) {
        let canary = describe(&self.canary);
        assert_eq!(canary.len(), 2, "{canary:?}");
        assert_eq!(std::fs::read(self.canary.join("file")).unwrap(), b"canary");
    }
}

#[test]
fn an_honest_client_of_this_test_is_served() {
    let cage = Cage::new();
    let mut coder = IndexCoder::default();
    let content = reply(&mut coder, 1, SumHead::NOTHING, &[Token::Literal(5), Token::End], b"hello");
    let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
    let rest = [frame(&content), frame(&done(4))].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &rest);
    assert!(matches!(result, Ok(Served::Data(_))), "{result:?}");
    assert_eq!(std::fs::read(cage.destination.join("f")).unwrap(), b"hello");
}

#[test]
fn paths_that_lead_out_are_refused_before_anything_is_made() {
    for paths in [
        &["../canary/file"][..],
        &["./", "a/", "a/../../canary/file"],
        &["/canary/file"],
        &["./", "x>../canary", "x/file"],
        &["./", "x>../canary", "x/", "x/file"],
        &["./", "x/", "x>../canary", "x/file"],
        &["./", "a//b"],
        &["./", "missing/file"],
    ] {
        let cage = Cage::new();
        let mut coder = IndexCoder::default();
        let content = reply(&mut coder, 2, SumHead::NOTHING, &[Token::Literal(5), Token::End], b"wrong");
        let bytes = [client_preamble(true), frame(&[0; 4]), frame(&list(paths)), frame(&content), frame(&done(4))];
        let result = to_daemon(&cage.destination, &bytes.concat());
        cage.assert_untouched();
        // A link and a directory of one name are not what a file system has; whichever wins, nothing is followed.
        if paths.iter().filter(|path| path.starts_with('x')).count() < 3 {
            assert!(matches!(result, Err(Error::Malformed(_))), "{paths:?}: {result:?}");
            assert_eq!(std::fs::read_dir(&cage.destination).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_link_that_is_there_already_is_not_followed() {
    let cage = Cage::new();
    symlink("../canary", cage.destination.join("x")).unwrap();
    let mut coder = IndexCoder::default();
    let content = reply(&mut coder, 2, SumHead::NOTHING, &[Token::Literal(5), Token::End], b"hello");
    let first = [client_preamble(false), frame(&list(&["./", "x/", "x/file"]))].concat();
    let rest = [frame(&content), frame(&done(4))].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &rest);
    assert!(result.is_ok(), "{result:?}");
    cage.assert_untouched();
    assert_eq!(std::fs::read(cage.destination.join("x/file")).unwrap(), b"hello");
    assert!(cage.destination.join("x").symlink_metadata().unwrap().is_dir());
}

#[test]
fn deletion_stays_within_the_volume() {
    let cage = Cage::new();
    symlink("../canary", cage.destination.join("x")).unwrap();
    write(&cage.destination.join("d/f"), "x");
    symlink("../../canary", cage.destination.join("d/y")).unwrap();
    let first = [client_preamble(true), frame(&[0; 4]), frame(&list(&["./", "z/"]))].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &frame(&done(4)));
    assert!(result.is_ok(), "{result:?}");
    cage.assert_untouched();
    assert_eq!(std::fs::read_dir(&cage.destination).unwrap().count(), 1);
}

#[test]
fn content_that_was_not_asked_for_is_refused() {
    let literal = [Token::Literal(5), Token::End];
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("an index out of the list", vec![reply(&mut IndexCoder::default(), 7, SumHead::NOTHING, &literal, b"hello")]),
        ("a directory", vec![reply(&mut IndexCoder::default(), 2, SumHead::NOTHING, &literal, b"hello")]),
        ("twice", {
            let mut coder = IndexCoder::default();
            let mut once = || reply(&mut coder, 1, SumHead::NOTHING, &literal, b"hello");
            vec![once(), once()]
        }),
        ("a block of nothing", vec![reply(&mut IndexCoder::default(), 1, SumHead::NOTHING, &[Token::Block(0)], b"")]),
        (
            "a block beyond the last",
            vec![reply(
                &mut IndexCoder::default(),
                1,
                SumHead { count: 2, block: 700, strong: 2, remainder: 0 },
                &[Token::Block(2)],
                b"",
            )],
        ),
        (
            "blocks of no length (CVE-2026-53792)",
            vec![reply(
                &mut IndexCoder::default(),
                1,
                SumHead { count: 2, block: 0, strong: 2, remainder: 0 },
                &[Token::Block(1), Token::End],
                b"",
            )],
        ),
        (
            "blocks that are too long",
            vec![reply(
                &mut IndexCoder::default(),
                1,
                SumHead { count: 1, block: 1 << 30, strong: 2, remainder: 0 },
                &[Token::Block(0), Token::End],
                b"",
            )],
        ),
        (
            "long checksums (CVE-2024-12084)",
            vec![reply(
                &mut IndexCoder::default(),
                1,
                SumHead { count: 1, block: 700, strong: 64, remainder: 0 },
                &[Token::End],
                b"",
            )],
        ),
        ("a withheld entry that is not in the list", vec![message(Tag::NoSend, &[1, 0, 0, 0]).repeat(10)]),
    ];
    for (name, replies) in cases {
        let cage = Cage::new();
        let replies = replies.concat();
        let replies = if name.starts_with("a withheld") { replies } else { frame(&replies) };
        let first = [client_preamble(false), frame(&list(&["./", "f", "d/"]))].concat();
        let result = to_daemon_in_turn(&cage.destination, &first, &[replies, frame(&done(4))].concat());
        assert!(matches!(result, Err(Error::Malformed(_))), "{name}: {result:?}");
        cage.assert_untouched();
        let temporary = describe(&cage.destination).keys().any(|path| path.contains("doppel-tmp"));
        assert!(!temporary, "{name}");
    }
}

#[test]
fn a_client_that_does_not_send_what_it_was_asked_for_is_no_success() {
    let cage = Cage::new();
    let first = [client_preamble(false), frame(&list(&["./", "f", "g", "h"]))].concat();
    let rest = [message(Tag::NoSend, &[2, 0, 0, 0]), frame(&done(4))].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &rest);
    let Ok(Served::Data(outcome)) = &result else { panic!("{result:?}") };
    assert_eq!(outcome.left_out.count, 3, "{outcome:?}");
}

#[test]
fn wrong_content_is_not_stored() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), "old content");
    let mut coder = IndexCoder::default();
    let mut wrong = || {
        let mut bytes = reply(&mut coder, 1, SumHead::NOTHING, &[Token::Literal(5), Token::End], b"wrong");
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let replies = [wrong(), done(1), wrong(), done(3)].concat();
    let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
    // What it says the second time was not asked for yet, or is wrong again.
    match to_daemon_in_turn(&cage.destination, &first, &frame(&replies)) {
        Ok(Served::Data(outcome)) => assert_eq!(outcome.left_out.count, 1, "{outcome:?}"),
        Err(Error::Malformed(_)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(cage.destination.join("f")).unwrap(), b"old content");
}

#[test]
fn huge_numbers_are_refused_without_memory_for_them() {
    let before = resident();
    let mut huge_name = vec![0x60, 255];
    write_varint(&mut huge_name, i32::MAX);
    let mut huge_target = list(&["./"]);
    huge_target.truncate(huge_target.len() - 2);
    huge_target.extend([0x98, 1, b'l', 0, 0, 0, 0xff, 0xa1, 0, 0]);
    write_varint(&mut huge_target, i32::MAX);
    for data in [
        frame(&huge_name),
        frame(&huge_target),
        // A filter rule, a message and a frame of impossible lengths.
        frame(&[0xff, 0xff, 0xff, 0x7f]),
        vec![0xff, 0xff, 0xff, 7 + 1],
        vec![0xff, 0xff, 0xff, 0xff],
        vec![0xff; 1 << 20],
    ] {
        let cage = Cage::new();
        let bytes = [client_preamble(true), data].concat();
        assert!(to_daemon(&cage.destination, &bytes).is_err());
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn a_zstd_bomb_is_unpacked_piece_by_piece_and_a_broken_stream_refused() {
    let cage = Cage::new();
    let packed = zstd::encode_all(&vec![0_u8; 256 << 20][..], 19).unwrap();
    let mut arguments = Arguments { keep: Keep::ALL, compress: true, numeric_ids: true, ..Arguments::default() };
    arguments.path = b"data/".to_vec();
    let mut preamble = b"@RSYNCD: 31.0 md5\ndata\n".to_vec();
    preamble.extend(arguments.encode());
    write_string(&mut preamble, b"md5");
    write_string(&mut preamble, b"zstd");
    let send = |packed: &[u8]| {
        let mut coder = IndexCoder::default();
        let mut content = Vec::new();
        coder.write(&mut content, Index::Entry(1));
        Item::new(Flags::TRANSFER).write(&mut content);
        SumHead::NOTHING.write(&mut content);
        for piece in packed.chunks(0x3fff) {
            content.extend([0x40 | piece.len().to_be_bytes()[6], piece.len().to_be_bytes()[7]]);
            content.extend(piece);
        }
        content.push(0);
        // A wrong checksum: nothing is kept.
        content.extend([0; 16]);
        let first = [&preamble[..], &frame(&list(&["./", "f"]))].concat();
        to_daemon_in_turn(&cage.destination, &first, &[frame(&content), frame(&done(4))].concat())
    };
    let before = resident();
    let result = send(&packed);
    // It was unpacked to its end, found wrong, and not sent again.
    let Ok(Served::Data(outcome)) = &result else { panic!("{result:?}") };
    assert_eq!((outcome.left_out.count, outcome.tally.literal_bytes), (1, 256 << 20), "{outcome:?}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes more");
    assert!(!cage.destination.join("f").exists());
    assert!(matches!(send(&noise(1000, 1)), Err(Error::Malformed(_))));
}

/// A directory is swapped for a link that leads out, again and again, while a synchronization runs.
#[test]
fn a_racer_that_swaps_directories_for_links_gains_nothing() {
    let cage = Cage::new();
    let source = tempfile::tempdir().unwrap();
    for directory in 0..20 {
        for file in 0..20 {
            write(&source.path().join(format!("d{directory}/sub/f{file}")), noise(2000, file));
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut flips = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let path = cage.destination.join(format!("d{}", flips % 20));
                let aside = cage.destination.join("aside");
                if std::fs::rename(&path, &aside).is_ok() {
                    let _ = symlink(&cage.canary, &path);
                    let _ = std::fs::remove_file(&path);
                    let _ = std::fs::rename(&aside, &path);
                }
                flips += 1;
            }
        });
        for round in 0..10 {
            write(&source.path().join(format!("d{round}/sub/f1")), noise(2000, 100 + round));
            // It may fail for what the racer does; it may not follow.
            let _ = support::sync_with(source.path(), &cage.destination, (EmptySource::Refuse, EmptySource::Refuse));
            cage.assert_untouched();
        }
        stop.store(true, Ordering::Relaxed);
    });
    cage.assert_untouched();
}

fn from_daemon(source: &Path, bytes: &[u8]) -> Result<doppel_rsync::push::Pushed, Error> {
    let tree = Tree::open(source).unwrap();
    let options = PushOptions { empty_source: EmptySource::Refuse };
    against((bytes, 0, &[]), |connection| push(connection, &tree, &options, &Silent))
}

fn request(index: u32, flags: Flags, head: &[i32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    IndexCoder::default().write(&mut bytes, Index::Entry(index));
    Item::new(flags).write(&mut bytes);
    bytes.extend(head.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[test]
fn a_daemon_that_asks_for_what_there_is_not_is_refused() {
    let source = tempfile::tempdir().unwrap();
    write(&source.path().join("f"), "content");
    std::fs::create_dir(source.path().join("d")).unwrap();
    symlink("/etc/passwd", source.path().join("l")).unwrap();
    let transfer = Flags::TRANSFER;
    for (name, requests) in [
        ("an index out of the list", request(1000, transfer, &[0, 0, 0, 0])),
        ("the largest index", request(u32::MAX >> 1, transfer, &[0, 0, 0, 0])),
        ("the content of a directory", request(3, transfer, &[0, 0, 0, 0])),
        ("the content of a link", request(2, transfer, &[0, 0, 0, 0])),
        ("the content of the root", request(0, transfer, &[0, 0, 0, 0])),
        ("blocks of no length", request(1, transfer, &[5, 0, 2, 0])),
        ("negative numbers", request(1, transfer, &[-1, 700, 2, 0])),
        ("checksums longer than they are", request(1, transfer, &[1, 700, 17, 0])),
        ("a remainder longer than a block", request(1, transfer, &[1, 700, 2, 701])),
        ("content after the last phase", [done(2), request(1, transfer, &[0, 0, 0, 0])].concat()),
        ("a request after the goodbye", [done(3), request(1, Flags::default(), &[])].concat()),
        ("too many deleted", [done(2), vec![0xff, 2], vec![0xf0, 0xff, 0xff, 0xff, 0xff]].concat()),
    ] {
        let bytes = [daemon_preamble(), frame(&requests)].concat();
        let result = from_daemon(source.path(), &bytes);
        assert!(matches!(result, Err(Error::Malformed(_))), "{name}: {result:?}");
    }
    // Two thousand million blocks, of which only the first is sent.
    let bytes = [daemon_preamble(), frame(&request(1, transfer, &[i32::MAX, 700, 2, 0, 1, 1]))].concat();
    assert!(matches!(from_daemon(source.path(), &bytes), Err(Error::Closed)));
}

#[test]
fn a_daemon_that_falls_silent_or_speaks_another_language_is_named() {
    let source = tempfile::tempdir().unwrap();
    for (bytes, expected) in [
        (&b""[..], "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not the greeting of rsync"),
        (b"@RSYNCD: 29.0\n", "protocol 29"),
        (b"@RSYNCD: 31.0\n@ERROR: max connections (4) reached\n", "max connections"),
        (b"@RSYNCD: 31.0\n@RSYNCD: AUTHREQD abc\n", "password"),
        (b"@RSYNCD: 31.0\n@RSYNCD: OK\n\x7e", "rsync 3.2 or later"),
    ] {
        let error = from_daemon(source.path(), bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_truncated_stream_is_no_success() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    // What a daemon said to a real run, cut everywhere.
    let recorded = record(source.path(), destination.path());
    for cut in (0..recorded.len()).step_by(1 + recorded.len() / 60) {
        assert!(from_daemon(source.path(), &recorded[..cut]).is_err(), "cut after {cut}");
    }
}

/// What a Doppel daemon says when it receives `source`.
fn record(source: &Path, destination: &Path) -> Vec<u8> {
    struct Tee<'t>(UnixStream, &'t mut Vec<u8>);
    impl Read for Tee<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.extend_from_slice(&buffer[..count]);
            Ok(count)
        }
    }
    let mut heard = Vec::new();
    let (client, server) = support::pair();
    let client = Connection { reader: Tee(client.reader, &mut heard), writer: client.writer };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let tree = Tree::open(destination).unwrap();
            serve(server, &Modules::new(&tree, EmptySource::Refuse), &Silent).unwrap();
        });
        let options = PushOptions { empty_source: EmptySource::Refuse };
        push(client, &Tree::open(source).unwrap(), &options, &Silent).unwrap();
    });
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_daemon_survives_any_bytes(preamble in 0_usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let cage = Cage::new();
        let start = [Vec::new(), client_preamble(true), [client_preamble(false), frame(&list(&["./", "f", "d/", "d/g"]))].concat()];
        let body = if bytes.first().is_some_and(|byte| byte % 2 == 0) { frame(&bytes) } else { bytes };
        let _ = to_daemon(&cage.destination, &[&start[preamble][..], &body].concat());
        cage.assert_untouched();
    }

    #[test]
    fn a_source_survives_any_bytes(preamble: bool, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let source = tempfile::tempdir().unwrap();
        write(&source.path().join("f"), "content");
        let start = if preamble { daemon_preamble() } else { Vec::new() };
        let body = if bytes.first().is_some_and(|byte| byte % 2 == 0) { frame(&bytes) } else { bytes };
        prop_assert!(from_daemon(source.path(), &[start, body].concat()).is_err());
    }
}
