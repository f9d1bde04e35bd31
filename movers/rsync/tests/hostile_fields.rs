//! Peers that hold a valid session but for one field of it, in both roles: every such session ends in an error or in a
//! correct transfer, and nothing beside the volume is touched or read. The scripts are the list of fields.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

#[path = "hostile_fields/daemons.rs"]
mod daemons;
mod support;

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::proto::checksum::{Algorithm, BlockSum, FileSum, Weak};
use doppel_rsync::push::{PushOptions, push};
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use rustix::process::{Resource, Rlimit, setrlimit};
use support::hostile::Stage::{First, Handshake, Rest};
use support::hostile::{ANYTHING, Field, Length, Speech, Stage, try_all};
use support::wire::{Cage, SECRET, heard_before_requests};
use support::{contains, describe, noise, write};

const DEVICE: i32 = 0o020_644;
const DIRECTORY: i32 = 0o040_755;
const FILE: i32 = 0o100_644;
const LINK: i32 = 0o120_777;

/// Flags of an entry.
const NO_FLAGS: i32 = 1 << 2;
const SAME_NAME: i32 = 1 << 5;
const LONG_NAME: i32 = 1 << 6;
const HARD_LINKED: i32 = 1 << 9;
const HARD_LINK_FIRST: i32 = 1 << 12;
const NANOSECONDS: i32 = 1 << 13;

/// Flags of an item.
const TRANSFER: u16 = 0x8000;
const NAME_FOLLOWS: u16 = 0x1000;
const BASIS_FOLLOWS: u16 = 0x0800;

/// What `file2` is at the destination.
fn old() -> Vec<u8> {
    noise(4200, 1)
}

fn md5(content: &[u8]) -> [u8; 16] {
    FileSum::whole(Algorithm::Md5, content).finish()
}

/// A client up to its first frame.
fn client_handshake(module: &'static [u8], path: &'static [u8], options: &'static [u8]) -> Vec<Field> {
    vec![
        Handshake.text("the begin of the greeting", b"@RSYNCD: "),
        Handshake.text("the version", b"31"),
        // Digests for passwords, of which there are none.
        Handshake.text("the rest of the greeting", b".0 md5").may_be(ANYTHING),
        Handshake.fixed(b"\n"),
        Handshake.text("the module", module),
        Handshake.fixed(b"\n"),
        Handshake.text("the first argument", b"--server"),
        Handshake.fixed(b"\0"),
        Handshake.text("the options", options),
        Handshake.fixed(b"\0"),
        Handshake.text("a long option", b"--numeric-ids"),
        Handshake.fixed(b"\0"),
        Handshake.text("the dot", b"."),
        Handshake.fixed(b"\0"),
        Handshake.text("the path", path),
        Handshake.fixed(b"\0\0"),
        Handshake.sized("the names of checksums", Length::String, b"md5"),
    ]
}

/// Other permissions of the same kind.
const OTHER_BITS: &[&str] = &["one less", "one more"];
/// Names that a file system can keep, and that do not change the order.
const STRANGE: &[&str] = &["a newline", "control characters"];

/// A link may lead anywhere that a path can say.
const TARGETS: &[&str] = &[
    "a dot",
    "dots",
    "the parent",
    "from the root",
    "down and up",
    "up inside",
    "two slashes",
    "a slash",
    "beneath",
    "a newline",
    "control",
    "of 255",
    "of 256",
    "of 4095",
    "deep",
];

/// An entry's fields from its size to its mode.
fn common(name: [&'static str; 3], size: i64, mode: i32) -> Vec<Field> {
    vec![
        // A file may have another size by the time that it is sent; of other entries it means nothing.
        First.varlong(name[0], size, 3).may_be(&["none", "one", "greatest"]),
        // Times that the file system cannot keep are remarked on.
        First.varlong(name[1], 1, 4).may_be(ANYTHING),
        First.int(name[2], mode).may_be(if mode == DIRECTORY {
            &["one less", "one more", "a million"]
        } else {
            OTHER_BITS
        }),
    ]
}

fn owner(uid: &'static str, gid: &'static str) -> Vec<Field> {
    // Whoever it is: an id without a meaning is not kept, and remarked on.
    vec![First.varint(uid, 0).may_be(ANYTHING), First.varint(gid, 0).may_be(ANYTHING)]
}

/// The file list of a client.
fn list() -> Vec<Field> {
    let path = |name: &'static str, path: &'static [u8]| First.sized(name, Length::Byte, path);
    let mut fields = vec![First.varint("the flags of the root", 1), First.sized("the root", Length::Byte, b".")];
    fields.extend(common(["the size of the root", "the time of the root", "the mode of the root"], 0, DIRECTORY));
    fields.extend(owner("the owner of the root", "the group of the root"));
    fields.extend([
        First.varint("the flags of a device", NO_FLAGS).may_be(&["one"]),
        path("a device", b"dev").may_be(STRANGE),
    ]);
    fields.extend(common(["the size of a device", "the time of a device", "the mode of a device"], 0, DEVICE));
    fields.extend(owner("the owner of a device", "the group of a device"));
    fields.push(First.varint("the major number of a device", 1).may_be(ANYTHING));
    fields.push(First.varint("the minor number of a device", 3).may_be(ANYTHING));
    fields.extend([First.varint("the flags of a file", NO_FLAGS).may_be(&["one"]), path("a file", b"file")]);
    fields.extend(common(["the size of a file", "the time of a file", "the mode of a file"], 5, FILE));
    fields.extend(owner("the owner of a file", "the group of a file"));
    fields.extend([
        First.varint("the flags of a file with nanoseconds", SAME_NAME | LONG_NAME | NANOSECONDS).may_be(&["one more"]),
        First.byte("the shared length of a path", 4),
        First.sized("the rest of a path", Length::Varint, b"2"),
    ]);
    fields.push(First.varlong("a size", 705, 3).may_be(&["none", "one", "greatest"]));
    fields.push(First.varlong("a time", 1, 4).may_be(ANYTHING));
    fields.push(First.varint("nanoseconds", 7).may_be(&["none", "one", "a million"]));
    fields.push(First.int("a mode", FILE).may_be(OTHER_BITS));
    fields.extend(owner("an owner", "a group"));
    fields.push(
        First.varint("the flags of the first of two hard links", HARD_LINKED | HARD_LINK_FIRST).may_be(&["one more"]),
    );
    fields.push(path("the first of two hard links", b"hard").may_be(&["of 255"]));
    fields.extend(common(["the size of a link", "the time of a link", "the mode of a link"], 5, FILE));
    fields.extend(owner("the owner of a link", "the group of a link"));
    fields.push(First.varint("the flags of the second of two hard links", HARD_LINKED).may_be(&["one more"]));
    fields.push(path("the second of two hard links", b"hard2").may_be(&["of 255"]));
    fields.push(First.varint("the position of a hard link", 4).may_be(&["one"]));
    fields.extend([
        First.varint("the flags of a symbolic link", NO_FLAGS).may_be(&["one"]),
        path("a symbolic link", b"link").may_be(&["of 255"]),
    ]);
    fields.extend(common(["the size of a symlink", "the time of a symlink", "the mode of a symlink"], 4, LINK));
    fields.extend(owner("the owner of a symlink", "the group of a symlink"));
    // A link may lead anywhere; nobody follows it.
    fields.push(First.sized("the target of a symbolic link", Length::Varint, b"file").may_be(TARGETS));
    fields.extend([First.varint("the flags of a directory", NO_FLAGS).may_be(&["one"]), path("a directory", b"dir")]);
    fields.extend(common(
        ["the size of a directory", "the time of a directory", "the mode of a directory"],
        0,
        DIRECTORY,
    ));
    fields.extend(owner("the owner of a directory", "the group of a directory"));
    fields
        .extend([First.varint("the flags of a file in it", NO_FLAGS).may_be(&["one"]), path("a file in it", b"dir/g")]);
    fields.extend(common(
        ["the size of a file in it", "the time of a file in it", "the mode of a file in it"],
        5,
        FILE,
    ));
    fields.extend(owner("the owner of a file in it", "the group of a file in it"));
    fields.push(First.byte("the end of the list", 0));
    fields.push(First.varint("the errors of the list", 0));
    fields
}

/// What a client sends of a file's content, in the order of the list.
fn content(index: [&'static str; 2], first: u8) -> Vec<Field> {
    vec![
        Rest.index(index[0], first),
        Rest.short(index[1], TRANSFER),
        Rest.fixed(&[0; 16]),
        Rest.fixed(&[5, 0, 0, 0]),
        Rest.fixed(b"hello"),
        Rest.fixed(&[0; 4]),
        Rest.fixed(&md5(b"hello")),
    ]
}

fn client() -> Vec<Field> {
    let mut fields = client_handshake(b"data", b"data/", b"-lHogDtpre.LsfxCIvu");
    fields.insert(10, Handshake.fixed(b"--delete\0"));
    fields.push(First.sized("a filter rule", Length::Int, b"- lost+found"));
    fields.push(First.int("the end of the filter rules", 0));
    fields.extend(list());
    fields.extend(content(["the first index", "the flags of an item"], 3));
    fields.extend([
        Rest.index("an index", 1),
        Rest.short("the flags of an item with a name", TRANSFER | NAME_FOLLOWS | BASIS_FOLLOWS).may_be(&["0xffff"]),
        // Where the old content is from is ours to know, whatever the peer says.
        Rest.byte("the kind of the basis", 0x80).may_be(ANYTHING),
        Rest.sized("the name of the basis", Length::String, b"file").may_be(ANYTHING),
        // Blocks are taken from what is there; more of them than there are, or other checksums, change nothing.
        Rest.int("the count of blocks", 6).may_be(&["one", "a million", "greatest"]),
        Rest.int("the length of blocks", 700),
        Rest.int("the length of checksums", 2).may_be(&["none", "one"]),
        Rest.int("the length of the last block", 0).may_be(&["one"]),
        Rest.int("a literal token", 5),
        Rest.raw("literal data", b"hello"),
        Rest.int("a block token", -1),
        Rest.int("the end of the tokens", 0),
        // A byte more is the end of a phase.
        Rest.raw("the checksum", &md5(&[b"hello", &old()[..700]].concat())).may_be(&["one byte more"]),
    ]);
    fields.extend(content(["the index of a hard link", "the flags of a hard link"], 1));
    fields.extend(content(["the last index", "the flags of the last item"], 4));
    fields.extend([
        Rest.index("the end of the first phase", 0),
        Rest.index("the end of the second phase", 0),
        // What is said of an entry without content changes nothing.
        Rest.index("the end of the third phase", 0).may_be(&["the first entry", "the one before again"]),
        Rest.fixed(&[0xff]),
        Rest.byte("statistics", 2),
        Rest.varint("deleted files", 1).may_be(&["none", "one", "a million", "greatest"]),
        Rest.varint("deleted directories", 0).may_be(&["one", "a million", "greatest"]),
        Rest.fixed(&[0; 3]),
        Rest.index("the goodbye", 0),
    ]);
    fields
}

/// Serves one session in a cage; what came of it, in words if it was refused or was not whole.
fn serve_in_cage(speech: Speech) -> Result<(), String> {
    let cage = Cage::new();
    write(&cage.destination.join("file2"), old());
    write(&cage.destination.join("extra"), "x");
    let destination = cage.destination.clone();
    let served = in_time(move || {
        let tree = Tree::open(&destination).unwrap();
        let (connection, _) = speech.connection(heard_before_requests(&[]));
        serve(connection, &Modules::new(&tree, EmptySource::Refuse), &Silent)
    });
    cage.assert_untouched();
    let after = describe(&cage.destination);
    assert!(!after.keys().any(|path| path.contains("doppel-tmp")), "{after:?}");
    match served {
        Err(error) => Err(said(&error)),
        Ok(Served::Data(outcome)) if outcome.left_out.is_empty() => Ok(()),
        Ok(Served::Data(outcome)) => Err(format!("{:?}", outcome.left_out)),
        Ok(Served::Control { name, content }) if name == "complete" && content == b"done\n" => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
    }
}

/// Whatever a peer did, the error blames it or the connection, never us.
fn said(error: &Error) -> String {
    let text = error.to_string();
    assert!(text.len() < 1000, "{text}");
    assert!(!text.bytes().any(|byte| byte < 0x20 || byte == 0x7f), "{text:?}");
    text
}

/// No session takes long, whatever is said in it.
fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    let running = std::thread::spawn(move || {
        let _ = done.send(run());
    });
    match wait.recv_timeout(Duration::from_secs(30)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a session does not end"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(running.join().unwrap_err()),
    }
}

/// An allocation by a peer's number would meet this limit and end the process.
fn limit_memory() {
    let limit = Some(4 << 30);
    setrlimit(Resource::As, Rlimit { current: limit, maximum: limit }).unwrap();
}

#[test]
fn a_client_that_changes_one_field_is_refused_or_served_correctly() {
    limit_memory();
    let sessions = try_all(&client(), serve_in_cage);
    assert!(sessions > 900, "{sessions}");
}

#[test]
fn a_client_that_uploads_with_one_field_changed_is_refused_or_served_correctly() {
    limit_memory();
    let mut fields = client_handshake(b"control", b"control/complete", b"-e.LsfxCIvu");
    fields.extend([
        First.varint("the flags of the file", NO_FLAGS).may_be(&["one"]), // The arguments name the file; what the list calls it is of no interest.
        First.sized("the file", Length::Byte, b"complete").may_be(&[
            "a newline",
            "control",
            "the name of another",
            "of 255",
        ]),
    ]);
    fields.extend(common(["the size of the file", "the time of the file", "the mode of the file"], 5, FILE));
    fields.extend([First.byte("the end of the list", 0), First.varint("the errors of the list", 0).may_be(&["one"])]);
    fields.extend([
        Rest.index("the index", 1).may_be(&["the first entry"]),
        Rest.short("the flags of the item", TRANSFER),
        Rest.int("the count of blocks", 0),
        Rest.int("the length of blocks", 0),
        Rest.int("the length of checksums", 0),
        Rest.int("the length of the last block", 0),
        Rest.int("a literal token", 5),
        Rest.raw("literal data", b"done\n"),
        Rest.int("the end of the tokens", 0),
        Rest.raw("the checksum", &md5(b"done\n")).may_be(&["one byte more"]),
        Rest.index("the end of the first phase", 0),
        Rest.index("the end of the second phase", 0),
        Rest.index("the end of the third phase", 0),
        Rest.index("the goodbye", 0),
    ]);
    let sessions = try_all(&fields, serve_in_cage);
    assert!(sessions > 400, "{sessions}");
}

#[test]
fn frames_of_other_lengths_and_kinds_are_refused_or_harmless() {
    limit_memory();
    let headers = (0..=u8::MAX).flat_map(|kind| {
        [[0, 0, 0, kind], [1, 0, 0, kind], [4, 0, 0, kind], [0xff, 0x3f, 0, kind], [0xff, 0xff, 0xff, kind]]
    });
    let mut accepted = Vec::new();
    for header in headers {
        for stage in [First, Rest] {
            if serve_in_cage(Speech::with_header(&client(), stage, header)).is_ok() {
                accepted.push((stage, header));
            }
        }
        if daemons::push_to(Speech::with_header(&daemons::daemon(), Stage::First, header)).is_ok() {
            accepted.push((Stage::First, header));
        }
    }
    // What was data is not any more, or has other bounds. Only where a frame promises more than comes, and nothing more is
    // needed, does it not matter.
    let promises_more = |header: &[u8; 4]| header[3] == 7 && header[1] != 0;
    accepted.retain(|(_, header)| !promises_more(header));
    assert!(accepted.is_empty(), "{accepted:x?}");
}
