//! Daemons that mean harm: whatever they ask for, they get nothing but the tree, nothing panics and nothing hangs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::proto::checksum::{Algorithm, FileSum};
use doppel_rsync::proto::index::{Index, IndexCoder};
use doppel_rsync::proto::request::{Flags, Item};
use doppel_rsync::push::{Connection, PushOptions, push};
use doppel_rsync::serve::{Modules, serve};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use proptest::prelude::*;
use support::wire::{against, daemon_preamble, done, frame};
use support::{tree_of_everything, two, write};

fn from_daemon(source: &Path, bytes: &[u8]) -> Result<doppel_rsync::push::Pushed, Error> {
    let tree = Tree::open(source).unwrap();
    let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };
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
    let source = support::directory();
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
    let source = support::directory();
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
fn a_daemon_that_verifies_only_some_files_has_verified_only_these() {
    let source = support::directory();
    for name in ["a", "b", "c"] {
        write(&source.path().join(name), "content");
    }
    std::fs::hard_link(source.path().join("c"), source.path().join("d")).unwrap();
    let sum = &FileSum::whole(Algorithm::Md5, b"content").finish()[..16];
    let preamble = daemon_preamble();
    let greeting = preamble.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let says = [&preamble[..greeting], b"doppel 1 verify\n", &preamble[greeting..]].concat();
    // The root has number 0.
    let told = |told: &[u32]| {
        let mut bytes = done(2);
        let mut coder = IndexCoder::default();
        for index in told {
            coder.write(&mut bytes, Index::Entry(*index));
            Item::new(Flags::CHECKSUM).write(&mut bytes);
            bytes.extend(sum);
        }
        bytes.extend(done(3));
        let tree = Tree::open(source.path()).unwrap();
        let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::Checksums };
        let bytes = [&says[..], &frame(&bytes)].concat();
        against((&bytes, 0, &[]), |connection| push(connection, &tree, &options, &Silent))
    };
    for (some, expected) in
        [(&[1, 2, 3][..], &[][..]), (&[1, 2, 4], &[]), (&[1, 3], &["b"]), (&[1, 2], &["c"]), (&[], &["a", "b", "c"])]
    {
        let left_out = told(some).unwrap().outcome.left_out.first;
        let paths: Vec<_> = left_out.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, expected, "{some:?}: {left_out:?}");
        assert!(left_out.iter().all(|problem| problem.why.as_str().contains("not verified")), "{left_out:?}");
    }
    let twice = told(&[1, 1, 2, 3]);
    assert!(matches!(twice, Err(Error::Malformed(_))), "{twice:?}");
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
        let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };
        push(client, &Tree::open(source).unwrap(), &options, &Silent).unwrap();
    });
    heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_source_survives_any_bytes(preamble: bool, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let source = support::directory();
        write(&source.path().join("f"), "content");
        let start = if preamble { daemon_preamble() } else { Vec::new() };
        let body = if bytes.first().is_some_and(|byte| byte % 2 == 0) { frame(&bytes) } else { bytes };
        prop_assert!(from_daemon(source.path(), &[start, body].concat()).is_err());
    }
}
