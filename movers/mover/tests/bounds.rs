//! The program in a memory cgroup of 64 MiB, and with a limit of processor time, against peers that hold the key and make
//! it work and remember as much as they can.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use doppel_rsync::proto::negotiate::COMPRESSION_NAMES;
use doppel_transport::stream::Connection;
use support::cgroup::Cgroup;
use support::hostile::{connect, frames, heard_before_requests, listen, preamble, say, varint, zeros};
use support::tree::{assert_same, noise, write};
use support::*;

const MEMORY: u64 = 64 << 20;
/// Seconds of processor time for all that the hostile peers of one test ask for, of an unoptimised program; beyond them
/// the kernel kills it. What is quadratic, or as large as a number says, takes hours.
const SECONDS: u32 = 120;

fn limited(stage: &Stage, group: &Cgroup, role: &str, volume: &Path, port: u16) -> Mover {
    let mut command = Command::new("prlimit");
    command.arg(format!("--cpu={SECONDS}")).arg(env!("CARGO_BIN_EXE_doppel-mover")).args(["rsync-tls", role]);
    if role == "source" {
        command.args(["--address", "127.0.0.1"]);
    }
    command.arg("--volume").arg(volume).args(["--port", &port.to_string(), "--key-file"]).arg(stage.key_file());
    command.env_remove(doppel_contract::REQUEST_ENV);
    stage.start(role, group.run(&command))
}

/// A destination in 64 MiB serves these peers, and then a genuine source; what it said.
fn survives(peers: &[(&str, &dyn Fn(Connection))]) -> String {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "f", b"genuine");
    let group = Cgroup::limited(MEMORY);
    let port = free_port();
    let mut destination = limited(&stage, &group, "destination", &to, port);
    destination.wait_for("Waiting for a source");
    for (name, peer) in peers {
        peer(connect(port));
        assert_eq!(group.kills(), 0, "{name}: out of memory");
        assert!(destination.is_running(), "{name}: {}", destination.said());
    }
    stage.source(&from, port, &[]).end().expect_complete();
    let ended = destination.end();
    ended.expect_complete();
    assert_same(&from, &to);
    ended.said
}

/// A list of the root and one file, without owners.
fn list_of_one() -> Vec<u8> {
    let mut list = vec![1, 1, b'.', 0, 0, 0, 0, 1, 0, 0];
    list.extend(0o040_755_i32.to_le_bytes());
    list.extend([4, 1, b'f', 5, 0, 0]);
    list.extend([0, 1, 0, 0]);
    list.extend(0o100_644_i32.to_le_bytes());
    list.extend([0, 0]);
    list
}

#[test]
fn a_destination_bears_compressed_data_that_unpacks_to_a_gigabyte() {
    // 32 KiB on the wire, and 16 times what the destination may take; more would only take longer.
    let bomb = |connection: Connection| {
        let mut content = vec![2];
        content.extend(0x8000_u16.to_le_bytes());
        content.extend([0; 16]);
        for piece in zeros(1 << 30).chunks(0x3fff) {
            content.extend([0x40 | piece.len().to_be_bytes()[6], piece.len().to_be_bytes()[7]]);
            content.extend(piece);
        }
        // A checksum that cannot be right: nothing of it is kept.
        content.extend([0; 17]);
        content.extend([0; 4]);
        let first = [preamble("data", "-rtpz", "data/", "\u{6}xxh128\u{4}zstd"), frames(&list_of_one())].concat();
        say(connection, &first, heard_before_requests(COMPRESSION_NAMES.len() + 1), &frames(&content));
    };
    survives(&[("a gigabyte of zeros", &bomb)]);
}

#[test]
fn a_destination_bears_numbers_that_are_as_large_as_can_be() {
    let data = || preamble("data", "-rtpl", "data/", "\u{3}md5");
    let at_once = |bytes: Vec<u8>| move |connection: Connection| say(connection, &bytes, 0, &[]);
    let count = |head: [i32; 4]| {
        let mut content = vec![2];
        content.extend(0x8000_u16.to_le_bytes());
        content.extend(head.iter().flat_map(|value| value.to_le_bytes()));
        let first = [data(), frames(&list_of_one())].concat();
        move |connection: Connection| say(connection, &first, heard_before_requests(0), &frames(&content))
    };
    let name = [&[0x40 | 4][..], &varint(i32::MAX)].concat();
    let target = [&[4, 1, b'l', 0, 0, 0, 0, 1, 0, 0][..], &0o120_777_i32.to_le_bytes(), &varint(i32::MAX)].concat();
    survives(&[
        ("a name of 2^31 bytes", &at_once([data(), frames(&name)].concat())),
        ("a link's target of 2^31 bytes", &at_once([data(), frames(&target)].concat())),
        ("a count of -1", &count([-1, 700, 2, 0])),
        ("a count of 2^31", &count([i32::MAX, 131_072, 16, 0])),
        ("a block of 2^31 bytes", &count([1, i32::MAX, 2, 0])),
        ("an endless greeting", &at_once(vec![b'@'; 64 << 20])),
        ("endless arguments", &at_once([&b"@RSYNCD: 31.0 md5\ndata\n"[..], &vec![b'a'; 64 << 20]].concat())),
        ("many arguments", &at_once([&b"@RSYNCD: 31.0 md5\ndata\n"[..], &b"a\0".repeat(32 << 20)].concat())),
        ("a message of 2^24 bytes", &at_once([data(), vec![0xff, 0xff, 0xff, 8], vec![0; 1 << 24]].concat())),
        ("many messages", &at_once([data(), [2, 0, 0, 8, b'x', b'y'].repeat(1 << 20)].concat())),
        ("frames of nothing", &at_once([data(), [0, 0, 0, 7].repeat(4 << 20)].concat())),
    ]);
}

/// As many entries as asked for, each with an owner of its own and every second one a hard link of another.
fn crowd(entries: u32) -> Vec<u8> {
    let mut list = Vec::with_capacity(entries as usize * 24);
    for number in 0..entries {
        // An entry shares all but four letters of its name with the one before.
        let name = format!("{number:04x}");
        let (shared, rest) =
            if number < 0x1_0000 { (0, name.as_str()) } else { (name.len() - 4, &name[name.len() - 4..]) };
        let flags = 1 << 9 | if number % 2 == 0 { 1 << 12 } else { 0 } | if shared > 0 { 1 << 5 } else { 0 };
        list.extend(varint(flags));
        if shared > 0 {
            list.push(u8::try_from(shared).unwrap());
        }
        list.push(u8::try_from(rest.len()).unwrap());
        list.extend(rest.as_bytes());
        if number % 2 == 0 {
            list.extend([5, 0, 0, 0, 1, 0, 0]);
            list.extend(0o100_644_i32.to_le_bytes());
            list.extend(varint(i32::try_from(number).unwrap()));
            list.extend(varint(i32::try_from(number).unwrap()));
        } else {
            list.extend(varint(i32::try_from(number - 1).unwrap()));
        }
    }
    list
}

#[test]
fn a_destination_does_not_keep_a_list_of_files_where_one_is_expected() {
    // The list of an upload has one entry. Eight connections at a time could make it keep eight long ones.
    let list = frames(&crowd(400_000));
    let first = [preamble("control", "-", "control/complete", "\u{3}md5"), list].concat();
    let upload = |connection: Connection| say(connection, &first, 0, &[]);
    survives(&[("one upload", &upload), ("another", &upload)]);
}

#[test]
fn a_destination_bears_long_access_control_lists() {
    let mut list = Vec::new();
    for number in 0..1_000_u32 {
        let name = format!("{number:04x}");
        list.extend([4, 4]);
        list.extend(name.bytes());
        list.extend([0, 0, 0, 0, 1, 0, 0]);
        list.extend(0o100_644_i32.to_le_bytes());
        // A new list of as many named users as one can have, none of which is like another.
        list.extend([0, 0x10]);
        list.extend(varint(8191));
        for user in 0..8191_u32 {
            list.extend([user.to_le_bytes()[0] & 0x7f, 0x1e]);
        }
        let at = list.len() - 2;
        list[at] = number.to_le_bytes()[0] & 0x7f;
    }
    list.extend([0, 0]);
    let first = [preamble("data", "-rtpA", "data/", "\u{3}md5"), frames(&list)].concat();
    let lists = |connection: Connection| say(connection, &first, heard_before_requests(0), &frames(&[0; 4]));
    survives(&[("access control lists", &lists)]);
}

#[test]
fn a_destination_bears_a_million_entries_each_unlike_all_others() {
    // What the list takes is counted, and refused by name before the kernel kills.
    let list = [&crowd(1_000_000)[..], &[0, 0]].concat();
    let first = [preamble("data", "-rtpogHl", "data/", "\u{3}md5"), frames(&list)].concat();
    let crowd = |connection: Connection| say(connection, &first, 0, &[]);
    // Directories whose long paths share all but a few letters, which is all that is said of each.
    let mut list = Vec::new();
    for number in 0..1_000_000_u32 {
        let name = format!("{number:06}");
        if number == 0 {
            list.extend([4, 250]);
            list.extend([b'd'; 244]);
        } else {
            list.extend([1 << 5, 244, 6]);
        }
        list.extend(name.bytes());
        list.extend([0, 0, 0, 0, 1, 0, 0]);
        list.extend(0o040_755_i32.to_le_bytes());
    }
    let first = [preamble("data", "-rtp", "data/", "\u{3}md5"), frames(&list)].concat();
    let paths = |connection: Connection| say(connection, &first, 0, &[]);
    let said = survives(&[("a million entries", &crowd), ("a million paths", &paths)]);
    assert_eq!(said.matches("takes more than 32 MiB of memory").count(), 2, "{said}");
}

#[test]
fn a_peer_that_talks_on_after_its_session_failed_does_not_undo_what_its_successor_sent() {
    // More than the destination reads of a session that it gave up on, and what is on its way besides.
    const ENOUGH: usize = 80 << 20;
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "f", &noise(100_000, 1));
    let port = free_port();
    let destination = stage.destination(&to, port, &[]);
    wait_for_port(port);
    let Connection { mut reader, mut writer, .. } = connect(port);
    let (said, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| while matches!(reader.read(&mut [0; 65_536]), Ok(1..)) {});
        scope.spawn(|| {
            // A list, and an entry that is not on it.
            let begin =
                [preamble("data", "-rtp", "data/", "\u{3}md5"), frames(&list_of_one()), frames(&[9; 64])].concat();
            let nonsense = vec![0; 1 << 20];
            let mut result = writer.write_all(&begin);
            while result.is_ok() && !done.load(Ordering::Acquire) {
                result = writer.write_all(&nonsense);
                said.fetch_add(nonsense.len(), Ordering::AcqRel);
            }
            said.store(ENOUGH, Ordering::Release);
            drop(writer);
        });
        wait_until("it said enough", || said.load(Ordering::Acquire) >= ENOUGH);
        stage.source(&from, port, &[]).end().expect_complete();
        done.store(true, Ordering::Release);
        destination.end().expect_complete();
    });
    assert_same(&from, &to);
}

#[test]
fn a_source_bears_more_checksums_than_its_file_has_bytes() {
    let stage = Stage::new();
    let from = stage.volume("from");
    write(&from, "f", &noise(100_000, 1));
    let group = Cgroup::limited(MEMORY);
    let (mut listener, port) = listen();
    let source = limited(&stage, &group, "source", &from, port);
    let connection = listener.accept().unwrap();
    // Four million blocks, each of 20 bytes of checksums, for a file of a hundred thousand bytes.
    let count = 4_000_000;
    let mut first = b"@RSYNCD: 31.0 md5\n@RSYNCD: OK\n".to_vec();
    first.extend(varint(0x1fe));
    first.extend(b"\x03md5\x01\x02\x03\x04");
    let mut requests = vec![2];
    requests.extend(0x8000_u16.to_le_bytes());
    for value in [count, 1, 16, 0] {
        requests.extend(i32::to_le_bytes(value));
    }
    for number in 0..count {
        let digest = u64::try_from(number).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        requests.extend([&digest[..4], &digest, &digest].concat());
    }
    requests.extend([0; 5]);
    first.extend(frames(&requests));
    say(connection, &first, 0, &[]);
    assert_eq!(group.kills(), 0, "out of memory: {}", source.said());
    drop(source);
}

#[test]
fn a_process_killed_for_its_memory_leaves_a_volume_that_the_next_one_completes() {
    // The OOM row of the faults: a limit that is too low for the program, in the middle of its work.
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    for number in 0..200 {
        write(&from, &format!("d{}/f{number}", number % 7), &noise(20_000, number));
    }
    write(&from, "big", &noise(3_000_000, 3));
    write(&to, "big", &noise(2_900_000, 3));
    fs::create_dir(to.join("stale")).unwrap();
    let port = free_port();
    let proxy;
    {
        let group = Cgroup::limited(MEMORY);
        let mut destination = limited(&stage, &group, "destination", &to, port);
        destination.wait_for("Waiting for a source");
        destination.first_to_be_killed();
        proxy = support::proxy::Proxy::start(port, 1_000_000);
        let source = stage.source(&from, proxy.port, &[]);
        proxy.wait();
        // Something else takes all the memory that there is: it reads a line without an end.
        group.run(Command::new("tail").arg("/dev/zero")).output().unwrap();
        wait_until("the kernel to kill", || !destination.is_running());
        assert!(group.kills() > 0);
        source.kill();
    }
    let destination = stage.destination(&to, port, &[]);
    stage.source(&from, port, &[]).end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
}
