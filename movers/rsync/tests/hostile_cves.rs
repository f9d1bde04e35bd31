//! The known vulnerabilities of rsync, one test each: what was possible there is refused here, or cannot be said at all.
//! Those of the connection, before a session begins, are in `doppel-transport`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::outcome::Outcome;
use doppel_rsync::proto::arguments::{Arguments, Choice};
use doppel_rsync::proto::entry::{EntryEncoder, HardLink, WireEntry};
use doppel_rsync::proto::frame::{IoErrors, Tag};
use doppel_rsync::proto::index::{Index, IndexCoder};
use doppel_rsync::proto::request::{Flags, Item};
use doppel_rsync::proto::sums::SumHead;
use doppel_rsync::proto::token::Token;
use doppel_rsync::push::{PushOptions, push};
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::metadata::Kind;
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use support::hostile::{Speech, varint};
use support::wire::{
    Cage, LAYOUT, SECRET, client_preamble, daemon_preamble, done, entry, frame, heard_before_requests, list, message,
    reply, to_daemon,
};
use support::{contains, describe, noise, write};

/// Serves a client that says the rest when it was asked for something, and does something before.
fn serve_meanwhile(
    cage: &Cage,
    first: Vec<u8>,
    rest: Vec<u8>,
    act: impl FnOnce() + Send + 'static,
) -> Result<Served, Error> {
    let tree = Tree::open(&cage.destination).unwrap();
    let heard = heard_before_requests(&first);
    let (connection, _) = Speech::new(first, rest).meanwhile(act).connection(heard);
    let served = serve(connection, &Modules::new(&tree, EmptySource::Refuse), &Silent);
    cage.assert_untouched();
    served
}

/// Sends the volume of the cage to a daemon that says this; what it heard of us.
fn push_meanwhile(
    cage: &Cage,
    first: Vec<u8>,
    rest: Vec<u8>,
    act: impl FnOnce() + Send + 'static,
) -> (Result<Outcome, Error>, Arc<Mutex<Vec<u8>>>) {
    let tree = Tree::open(&cage.destination).unwrap();
    let (connection, heard) = Speech::new(first, rest).meanwhile(act).connection(usize::MAX);
    let pushed = push(
        connection,
        &tree,
        &PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None },
        &Silent,
    );
    cage.assert_untouched();
    assert!(!contains(&heard.lock().unwrap(), SECRET));
    (pushed.map(|pushed| pushed.outcome), heard)
}

fn push_to(cage: &Cage, requests: &[u8]) -> (Result<Outcome, Error>, Arc<Mutex<Vec<u8>>>) {
    push_meanwhile(cage, [daemon_preamble(), frame(requests)].concat(), Vec::new(), || {})
}

/// A request for the content of one entry, with this head.
fn request(coder: &mut IndexCoder, index: u32, item: &Item, head: SumHead) -> Vec<u8> {
    let mut bytes = Vec::new();
    coder.write(&mut bytes, Index::Entry(index));
    item.write(&mut bytes);
    head.write(&mut bytes);
    bytes
}

fn transfer() -> Item {
    Item::new(Flags::TRANSFER)
}

const FIVE: [Token; 2] = [Token::Literal(5), Token::End];

fn head(count: u32, block: u32, strong: u32) -> SumHead {
    SumHead { count, block, strong, remainder: 0 }
}

#[track_caller]
fn assert_malformed<T: std::fmt::Debug>(result: &Result<T, Error>) {
    assert!(matches!(result, Err(Error::Malformed(_))), "{result:?}");
}

/// What a client gets that gives this option.
fn with_option(option: &str) -> Result<Served, Error> {
    let cage = Cage::new();
    let bytes = format!("@RSYNCD: 31.0 md5\ndata\n--server\0-re.LsfxCIvu\0{option}\0.\0data/\0\0\x03md5");
    let served = to_daemon(&cage.destination, bytes.as_bytes());
    cage.assert_untouched();
    assert_eq!(std::fs::read_dir(&cage.destination).unwrap().count(), 0);
    served
}

#[track_caller]
fn assert_refused(options: &[&str]) {
    for option in options {
        let result = with_option(option);
        assert!(
            matches!(&result, Err(Error::Arguments(why)) if why.to_string().contains(option)),
            "{option}: {result:?}"
        );
    }
}

#[test]
fn cve_2024_12084_checksums_of_blocks_longer_than_the_digest_are_refused_in_both_roles() {
    for strong in [17, 20, 32, 64, u32::MAX >> 1] {
        let cage = Cage::new();
        write(&cage.destination.join("f"), noise(5000, 1));
        let bytes = [request(&mut IndexCoder::default(), 1, &transfer(), head(1, 700, strong)), vec![0; 4 + 64]];
        assert_malformed(&push_to(&cage, &bytes.concat()).0);
        let content = reply(&mut IndexCoder::default(), 1, head(1, 700, strong), &FIVE, b"hello");
        let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
        assert_malformed(&serve_meanwhile(&cage, first, frame(&content), || {}));
    }
}

#[test]
fn cve_2024_12085_checksums_are_no_longer_than_those_that_were_agreed_on() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), noise(5000, 1));
    // Both ends agree on xxh64, which has eight bytes: a ninth would be memory that nothing was written to.
    let mut bytes = b"@RSYNCD: 31.0 md5\n@RSYNCD: OK\n".to_vec();
    bytes.extend(varint(0x1fe));
    bytes.extend(b"\x05xxh64");
    bytes.extend([1, 2, 3, 4]);
    let asks = |strong| {
        let head = request(&mut IndexCoder::default(), 1, &transfer(), head(1, 700, strong));
        let requests = [head, vec![1; 4 + strong as usize]].concat();
        push_meanwhile(&cage, [bytes.clone(), frame(&requests)].concat(), Vec::new(), || {}).0
    };
    assert_malformed(&asks(9));
    assert_malformed(&asks(16));
    assert!(matches!(asks(8), Err(Error::Closed)));
}

#[test]
fn cve_2024_12086_a_daemon_cannot_name_the_file_that_it_is_told_of() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), noise(5000, 1));
    for name in [&b"../canary/file"[..], b"/etc/passwd", b"f"] {
        for basis in [0x80, 0x81, 0x82, 0x83, 0, 0xff] {
            let flags = Flags::TRANSFER.and(Flags::NAME_FOLLOWS).and(Flags::BASIS_FOLLOWS);
            let item = Item { flags, basis, name: name.to_vec() };
            let mut coder = IndexCoder::default();
            let asks = frame(&request(&mut coder, 1, &item, SumHead::NOTHING));
            let (pushed, heard) = push_meanwhile(&cage, [daemon_preamble(), asks].concat(), frame(&done(5)), || {});
            assert_eq!(pushed.unwrap().tally.files_sent, 1);
            assert!(contains(&heard.lock().unwrap(), &noise(5000, 1)));
        }
    }
}

#[test]
fn cve_2024_12086_a_client_cannot_name_the_old_content_that_blocks_are_taken_from() {
    let cage = Cage::new();
    let flags = Flags::TRANSFER.and(Flags::NAME_FOLLOWS).and(Flags::BASIS_FOLLOWS);
    let item = Item { flags, basis: 0x83, name: b"../canary/file".to_vec() };
    let len = u32::try_from(SECRET.len()).unwrap();
    let mut content = request(&mut IndexCoder::default(), 1, &item, head(1, len, 2));
    content.extend([Token::Block(0).encode(), Token::End.encode()].concat());
    // The checksum of what is outside: if that were taken, it would match.
    let sum = doppel_rsync::proto::checksum::FileSum::whole(doppel_rsync::proto::checksum::Algorithm::Md5, SECRET);
    content.extend(sum.finish());
    let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
    let served = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), || {});
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count == 1), "{served:?}");
    assert!(!cage.destination.join("f").exists());
}

#[test]
fn cve_2024_12087_a_link_and_a_directory_of_one_name_lead_nowhere() {
    for paths in [["./", "x>../canary", "x/", "x/file"], ["./", "x/", "x/file", "x>../canary"]] {
        let cage = Cage::new();
        let mut coder = IndexCoder::default();
        let content = reply(&mut coder, 3, SumHead::NOTHING, &FIVE, b"wrong");
        let first = [client_preamble(false), frame(&list(&paths))].concat();
        let _ = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), || {});
    }
}

#[test]
fn cve_2024_12088_no_target_of_a_link_is_ever_judged_or_followed() {
    assert_refused(&[
        "--safe-links",
        "--copy-unsafe-links",
        "--munge-links",
        "--copy-links",
        "--keep-dirlinks",
        "-L",
        "-K",
    ]);
    let cage = Cage::new();
    let first = [client_preamble(true), frame(&[0; 4]), frame(&list(&["./", "a>b/../../canary", "b>../canary"]))];
    let served = serve_meanwhile(&cage, first.concat(), frame(&done(4)), || {});
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.is_empty()), "{served:?}");
    assert_eq!(std::fs::read_link(cage.destination.join("b")).unwrap().to_str(), Some("../canary"));
}

#[test]
fn cve_2024_12747_a_file_that_becomes_a_link_before_it_is_read_is_not_followed() {
    let cage = Cage::new();
    for name in ["f", "d/g"] {
        write(&cage.destination.join(name), vec![b'x'; SECRET.len()]);
    }
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    let mut coder = IndexCoder::default();
    let requests = [1, 3].map(|index| request(&mut coder, index, &transfer(), SumHead::NOTHING)).concat();
    let (pushed, _) = push_meanwhile(&cage, daemon_preamble(), frame(&[requests, done(5)].concat()), move || {
        std::fs::remove_file(root.join("f")).unwrap();
        symlink(canary.join("file"), root.join("f")).unwrap();
        std::fs::remove_dir_all(root.join("d")).unwrap();
        symlink(&canary, root.join("d")).unwrap();
    });
    let pushed = pushed.unwrap();
    assert_eq!((pushed.tally.files_sent, pushed.remarks.count), (0, 2), "{pushed:?}");
}

#[test]
fn cve_2022_29154_a_source_takes_no_files_and_a_daemon_sends_none() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), "x");
    let before = describe(&cage.destination);
    let bytes = [
        list(&["./", "new", "../canary/file"]),
        reply(&mut IndexCoder::default(), 1, SumHead::NOTHING, &FIVE, b"wrong"),
    ];
    assert!(push_to(&cage, &bytes.concat()).0.is_err());
    assert_eq!(describe(&cage.destination), before);
    let refused = with_option("--sender").unwrap_err().to_string();
    assert!(refused.contains("only receives"), "{refused}");
}

/// Negative numbers, and those of file lists that there are not.
const BELOW: [&[u8]; 5] = [
    &[0xff, 1],
    &[0xff, 3],
    &[0xff, 0xfe, 0x80, 0x65, 0, 0],
    &[0xff, 0xfe, 0xff, 0xff, 0xff, 0xff],
    &[0xfe, 0xff, 0xff, 0xff, 0xff],
];

#[test]
fn cve_2025_10158_negative_indices_are_refused_in_both_roles() {
    for index in BELOW {
        let cage = Cage::new();
        write(&cage.destination.join("f"), "x");
        let item = [&0x8000_u16.to_le_bytes()[..], &[0; 16]].concat();
        assert_malformed(&push_to(&cage, &[index, &item].concat()).0);
        let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
        assert_malformed(&serve_meanwhile(&cage, first, frame(&[index, &item].concat()), || {}));
    }
}

#[test]
fn cve_2026_29518_a_directory_that_becomes_a_link_before_content_comes_is_not_followed() {
    let cage = Cage::new();
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    let content = reply(&mut IndexCoder::default(), 2, SumHead::NOTHING, &FIVE, b"wrong");
    let first = [client_preamble(false), frame(&list(&["./", "x/", "x/file"]))].concat();
    let served = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), move || {
        std::fs::rename(root.join("x"), root.join("aside")).unwrap();
        symlink(&canary, root.join("x")).unwrap();
    });
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count > 0), "{served:?}");
}

#[test]
fn cve_2026_41035_more_extended_attributes_than_there_can_be_are_refused() {
    for numbers in
        [[0, i32::MAX].as_slice(), &[0, -1], &[7], &[-1], &[0, 1, i32::MAX, 1], &[0, 1, 5, i32::MAX], &[0, 1, 0, 0]]
    {
        let cage = Cage::new();
        let preamble = b"@RSYNCD: 31.0 md5\ndata\n--server\0-rXe.LsfxCIvu\0--numeric-ids\0.\0data/\0\0\x03md5";
        let mut bytes = vec![1, 1, b'.', 0, 0, 0, 0, 1, 0, 0];
        bytes.extend(0o040_755_i32.to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|number| varint(*number)));
        assert_malformed(&to_daemon(&cage.destination, &[&preamble[..], &frame(&bytes)].concat()));
        cage.assert_untouched();
    }
}

#[test]
fn cve_2026_43617_who_a_peer_is_depends_on_no_name_or_address() {
    // There is nothing to say it with: neither access lists nor users. The key alone opens a session.
    let cage = Cage::new();
    for line in ["#auth user md5", "data\0admin", "@data", "data "] {
        let bytes = format!("@RSYNCD: 31.0 md5\n{line}\n");
        let result = to_daemon(&cage.destination, bytes.as_bytes());
        assert!(matches!(result, Err(Error::Refused(_))), "{line}: {result:?}");
    }
}

#[test]
fn cve_2026_43618_runs_of_compressed_tokens_cannot_count_past_what_there_is() {
    let preamble = || {
        let arguments = Arguments {
            recursive: true,
            compression: Choice::Negotiated,
            numeric_ids: true,
            path: b"data/".to_vec(),
            ..Arguments::default()
        };
        let mut bytes = b"@RSYNCD: 31.0 md5\ndata\n".to_vec();
        bytes.extend(arguments.encode());
        bytes.extend(b"\x03md5\x04zstd");
        bytes
    };
    let mut names = Vec::new();
    let layout = doppel_rsync::proto::entry::Layout {
        links: false,
        hard_links: false,
        owner: false,
        group: false,
        devices: false,
        ..LAYOUT
    };
    let mut encoder = EntryEncoder::new(layout);
    encoder.write(&mut names, b".", &entry(Kind::Directory), &[]);
    encoder.write(&mut names, b"f", &entry(Kind::File), &[]);
    EntryEncoder::end(&mut names, IoErrors::default());
    for tokens in [
        // The last number that there is, and a run after it; and back to what is known.
        &[0x21, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff][..],
        &[0x20, 0xff, 0xff, 0xff, 0x7f, 0x82],
        &[0x21, 5, 0, 0, 0, 0xff, 0xff],
        &[0xc0, 0xff, 0xff],
        &[0x20, 0, 0, 0, 0x80],
        &[0x85, 0xbf],
    ] {
        let cage = Cage::new();
        write(&cage.destination.join("f"), noise(4200, 1));
        let mut content = request(&mut IndexCoder::default(), 1, &transfer(), head(6, 700, 2));
        content.extend(tokens);
        content.extend([0; 17]);
        let first = [preamble(), frame(&names)].concat();
        assert_malformed(&serve_meanwhile(&cage, first, frame(&content), || {}));
    }
}

#[test]
fn cve_2026_43619_attributes_and_names_are_not_given_through_a_link() {
    let cage = Cage::new();
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    write(&root.join("d/file"), "x");
    write(&root.join("d/gone"), "x");
    let paths = ["./", "a", "d/", "d/file>elsewhere", "e/", "e/f"];
    let content = reply(&mut IndexCoder::default(), 1, SumHead::NOTHING, &FIVE, b"hello");
    let first = [client_preamble(true), frame(&[0; 4]), frame(&list(&paths))].concat();
    // All directories get their attributes, and lose what the list does not have, in the end.
    let served = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), move || {
        for directory in ["d", "e"] {
            std::fs::rename(root.join(directory), root.join(format!("{directory}-aside"))).unwrap();
            symlink(&canary, root.join(directory)).unwrap();
        }
    });
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count > 0), "{served:?}");
}

#[test]
fn cve_2026_43620_the_first_entry_need_not_be_the_root_and_an_incremental_list_is_not_spoken() {
    // Entry 0 is whatever it is, and nothing is before it; whoever speaks of another has another list.
    for index in [0, 1, 0x7fff_ffff] {
        let cage = Cage::new();
        let mut bytes = Vec::new();
        IndexCoder::default().write(&mut bytes, Index::Entry(index));
        Item::default().write(&mut bytes);
        let first = [client_preamble(false), frame(&list(&["f"]))].concat();
        let served = serve_meanwhile(&cage, first, frame(&[bytes, done(4)].concat()), || {});
        if index == 0 {
            assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count == 1), "{served:?}");
        } else {
            assert_malformed(&served);
        }
    }
    let cage = Cage::new();
    let mut bytes = b"@RSYNCD: 31.0 md5\n@RSYNCD: OK\n".to_vec();
    bytes.extend(varint(0x1ff));
    bytes.extend(b"\x03md5\x01\x02\x03\x04");
    assert_malformed(&push_meanwhile(&cage, bytes, Vec::new(), || {}).0);
}

#[test]
fn cve_2026_53789_nothing_is_deleted_beyond_what_the_session_is_about() {
    let arguments = |letters: &str, more: &str| {
        format!("@RSYNCD: 31.0 md5\ndata\n--server\0-{letters}e.LsfxCIvu\0{more}--numeric-ids\0.\0data/\0\0\x03md5")
            .into_bytes()
    };
    let mut plain = Vec::new();
    let mut without_content = Vec::new();
    let layout = doppel_rsync::proto::entry::Layout {
        links: false,
        hard_links: false,
        owner: false,
        group: false,
        devices: false,
        ..LAYOUT
    };
    for (bytes, passed_by) in [(&mut plain, false), (&mut without_content, true)] {
        let mut encoder = EntryEncoder::new(layout);
        for path in [&b"."[..], b"d"] {
            let directory = WireEntry { without_content: passed_by, ..entry(Kind::Directory) };
            encoder.write(bytes, path, &directory, &[]);
        }
        EntryEncoder::end(bytes, IoErrors::default());
    }
    let kept = |first: Vec<u8>, rest: Vec<u8>| {
        let cage = Cage::new();
        write(&cage.destination.join("d/f"), "x");
        write(&cage.destination.join("lost+found/f"), "x");
        write(&cage.destination.join("g"), "x");
        let served = serve_meanwhile(&cage, first, rest, || {});
        assert!(served.is_ok(), "{served:?}");
        assert!(cage.destination.join("lost+found/f").exists());
        cage.destination.join("d/f").exists() && cage.destination.join("g").exists()
    };
    let end = || frame(&done(4));
    // It works, or the rest would show nothing.
    assert!(!kept([arguments("r", "--delete\0"), frame(&[0; 4]), frame(&plain)].concat(), end()));
    // Without the option, without recursion, for directories whose content is not in the list, after an error.
    assert!(kept([arguments("r", ""), frame(&plain)].concat(), end()));
    assert!(kept([arguments("", "--delete\0"), frame(&[0; 4]), frame(&plain)].concat(), end()));
    assert!(kept([arguments("r", "--delete\0"), frame(&[0; 4]), frame(&without_content)].concat(), end()));
    let error = message(Tag::IoError, &[1, 0, 0, 0]);
    assert!(kept([arguments("r", "--delete\0"), frame(&[0; 4]), frame(&plain)].concat(), [error, end()].concat()));
}

#[test]
fn cve_2026_53792_blocks_of_no_length_are_refused_in_both_roles() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), noise(5000, 1));
    for count in [1, 2, u32::MAX >> 1] {
        let bytes = [request(&mut IndexCoder::default(), 1, &transfer(), head(count, 0, 2)), vec![0; 12]].concat();
        assert_malformed(&push_to(&cage, &bytes).0);
        let content = reply(&mut IndexCoder::default(), 1, head(count, 0, 2), &[Token::Block(0), Token::End], b"");
        let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
        assert_malformed(&serve_meanwhile(&cage, first, frame(&content), || {}));
    }
}

#[test]
fn cve_2026_53794_limits_are_not_the_peers_to_set() {
    assert_refused(&["--max-alloc=0", "--max-alloc=1", "--max-size=1", "--block-size=0", "--bwlimit=1"]);
}

#[test]
fn cve_2026_53799_access_control_lists_are_not_given_through_a_link() {
    let cage = Cage::new();
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    let preamble = b"@RSYNCD: 31.0 md5\ndata\n--server\0-tprAe.LsfxCIvu\0--numeric-ids\0.\0data/\0\0\x03md5";
    let mut bytes = Vec::new();
    // Plain entries, each followed by a list for user 1234, and directories by one that is inherited.
    let mut fields = |path: &[u8], mode: i32, default: bool| {
        bytes.extend([0x04, u8::try_from(path.len()).unwrap()]);
        bytes.extend([path, &[0, 0, 0], &[0, 1, 0, 0], &mode.to_le_bytes()].concat());
        for _ in 0..=usize::from(default) {
            bytes.extend([&[0, 0x10, 1][..], &varint(1234), &[0x1e]].concat());
        }
    };
    fields(b".", 0o040_755, true);
    fields(b"file", 0o100_644, false);
    fields(b"d", 0o040_700, true);
    bytes.extend([0, 0]);
    let content = reply(&mut IndexCoder::default(), 1, SumHead::NOTHING, &FIVE, b"hello");
    let first = [&preamble[..], &frame(&bytes)].concat();
    let served = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), move || {
        std::fs::remove_dir(root.join("d")).unwrap();
        symlink(&canary, root.join("d")).unwrap();
    });
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count > 0), "{served:?}");
    assert_eq!(acl(&cage.canary), None);
    assert!(acl(&cage.destination.join("file")).is_some(), "where there is no link they are given");
}

fn acl(path: &std::path::Path) -> Option<usize> {
    rustix::fs::lgetxattr(path, "system.posix_acl_access", &mut [0; 200][..]).ok()
}

#[test]
fn cve_2026_53801_what_a_link_leads_to_is_not_even_listed() {
    let cage = Cage::new();
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    write(&root.join("d/sub/f"), "x");
    let first = [client_preamble(true), frame(&[0; 4]), frame(&list(&["./", "d/", "d/sub/"]))].concat();
    // The directory cannot be opened to read it, so that only whoever does not look for links first would get there.
    std::fs::set_permissions(&canary, PermissionsExt::from_mode(0o711)).unwrap();
    let cage = cage.renewed();
    let served = serve_meanwhile(&cage, first, frame(&done(4)), move || {
        std::fs::remove_dir_all(root.join("d")).unwrap();
        symlink(&canary, root.join("d")).unwrap();
    });
    let Ok(Served::Data(outcome)) = &served else { panic!("{served:?}") };
    assert_eq!(outcome.tally.deleted, 0, "{outcome:?}");
    let whys: Vec<_> = outcome.left_out.first.iter().map(|problem| problem.why.as_str()).collect();
    assert!(whys.iter().any(|why| why.contains("list the directory")), "{whys:?}");
}

#[test]
fn cve_2026_70453_equal_weak_checksums_do_not_make_the_source_quadratic() {
    let cage = Cage::new();
    // One weak checksum everywhere in the file, and no strong one that fits.
    write(&cage.destination.join("f"), vec![0; 8 << 20]);
    let block = 128 * 1024;
    let sums: Vec<u8> = (0..20_000_u32).flat_map(|n| [0_u32.to_le_bytes(), n.to_le_bytes()].concat()).collect();
    let ask = request(&mut IndexCoder::default(), 1, &transfer(), head(20_000, block, 4));
    let before = cpu();
    let (pushed, _) = push_to(&cage, &[ask, sums, done(5)].concat());
    assert_eq!(pushed.unwrap().tally.literal_bytes, 8 << 20);
    // Hashing a block at each position would be 2^40 bytes: minutes. What the budget allows takes a second, unoptimised.
    let spent = cpu() - before;
    assert!(spent < Duration::from_secs(30), "{spent:?}");
}

/// What this thread has computed, whatever else the machine does.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn cve_2026_70455_the_threads_of_a_compressor_are_not_the_peers_to_set() {
    assert_refused(&["--zt=1000000", "--compress-threads=1000000", "--zl=22", "--zc=zstd"]);
    // Nor are decompressors for many uploads at a time, each with its window.
    let cage = Cage::new();
    let bytes = b"@RSYNCD: 31.0 md5\ncontrol\n--server\0-ze.LsfxCIvu\0.\0control/complete\0\0\x03md5\x04zstd";
    let result = to_daemon(&cage.destination, bytes);
    assert!(matches!(&result, Err(Error::Arguments(why)) if why.to_string().contains("-z")), "{result:?}");
}

#[test]
fn cve_2026_70458_hard_links_are_refused_where_the_session_keeps_none() {
    for flags in [1 << 9, (1 << 9) | (1 << 12)] {
        let cage = Cage::new();
        let preamble = b"@RSYNCD: 31.0 md5\ndata\n--server\0-re.LsfxCIvu\0--numeric-ids\0.\0data/\0\0\x03md5";
        let mut bytes = Vec::new();
        let mut encoder = EntryEncoder::new(doppel_rsync::proto::entry::Layout {
            links: false,
            hard_links: false,
            owner: false,
            group: false,
            devices: false,
            ..LAYOUT
        });
        encoder.write(&mut bytes, b".", &entry(Kind::Directory), &[]);
        encoder.write(&mut bytes, b"f", &entry(Kind::File), &[]);
        bytes.extend(varint(flags));
        bytes.extend(b"\x01g");
        bytes.extend(if flags == 1 << 9 {
            varint(1)
        } else {
            [&[0; 3][..], &[0; 4], &0o100_644_i32.to_le_bytes()].concat()
        });
        bytes.extend([0, 0]);
        assert_malformed(&to_daemon(&cage.destination, &[&preamble[..], &frame(&bytes)].concat()));
        assert_eq!(std::fs::read_dir(&cage.destination).unwrap().count(), 0);
    }
}

#[test]
fn cve_2026_70459_a_root_that_is_no_directory_is_refused() {
    for kind in [Kind::File, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharacterDevice, Kind::BlockDevice] {
        for hard_link in [HardLink::No, HardLink::First] {
            let cage = Cage::new();
            let mut bytes = Vec::new();
            let mut encoder = EntryEncoder::new(LAYOUT);
            encoder.write(&mut bytes, b".", &WireEntry { hard_link, ..entry(kind) }, b"../canary");
            EntryEncoder::end(&mut bytes, IoErrors::default());
            assert_malformed(&to_daemon(&cage.destination, &[client_preamble(false), frame(&bytes)].concat()));
            cage.assert_untouched();
        }
    }
}

#[test]
fn cve_2026_70460_no_directory_for_parts_or_backups_can_be_named() {
    assert_refused(&[
        "--partial-dir=../canary",
        "--backup-dir=/tmp",
        "--backup",
        "-b",
        "--suffix=/../../x",
        "--temp-dir=/tmp",
        "--delay-updates",
        "--inplace",
        "--append",
        "--append-verify",
    ]);
}

#[test]
fn cve_2026_70462_a_peers_timeout_changes_nothing() {
    for seconds in [0, 1, -1, i32::MIN, i32::MAX] {
        let cage = Cage::new();
        write(&cage.destination.join("f"), "x");
        let timeout = message(Tag::IoTimeout, &seconds.to_le_bytes());
        let first = [daemon_preamble(), timeout.clone(), frame(&done(5))].concat();
        let (pushed, _) = push_meanwhile(&cage, first, Vec::new(), || {});
        assert!(pushed.is_ok(), "{pushed:?}");
        let first = [client_preamble(false), timeout, frame(&list(&["./"]))].concat();
        assert!(serve_meanwhile(&cage, first, frame(&done(4)), || {}).is_ok());
    }
    assert_refused(&["--contimeout=1", "--stop-after=1"]);
}

#[test]
fn cve_2026_70464_a_stall_in_the_handshake_ends_with_the_connections_deadline() {
    struct Stalled;
    impl std::io::Read for Stalled {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::TimedOut.into())
        }
    }
    let cage = Cage::new();
    let tree = Tree::open(&cage.destination).unwrap();
    let said = client_preamble(false);
    for length in 0..said.len() {
        let reader = std::io::Read::chain(&said[..length], Stalled);
        let connection = doppel_rsync::push::Connection { reader, writer: Vec::new() };
        let modules = Modules::new(&tree, EmptySource::Refuse);
        let served = serve(connection, &modules, &Silent);
        assert!(matches!(served, Err(Error::Network(_))), "{length}: {served:?}");
        // It locks nobody out.
        let first = [client_preamble(false), frame(&list(&["./"]))].concat();
        let heard = heard_before_requests(&first);
        let (connection, _) = Speech::new(first, frame(&done(4))).connection(heard);
        assert!(serve(connection, &modules, &Silent).is_ok());
    }
}

#[test]
fn cve_2026_119741_a_daemon_cannot_have_the_same_content_read_again_and_again() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), noise(100_000, 1));
    let mut coder = IndexCoder::default();
    let again = |coder: &mut IndexCoder| request(coder, 1, &transfer(), SumHead::NOTHING);
    // Once, and once more when it was damaged on the way.
    let twice = [again(&mut coder), done(1), again(&mut coder), done(4)].concat();
    assert_eq!(push_to(&cage, &twice).0.unwrap().tally.files_sent, 2);
    for phase in [0, 1] {
        let mut coder = IndexCoder::default();
        let requests = [done(phase), again(&mut coder), again(&mut coder)].concat();
        let (pushed, heard) = push_to(&cage, &requests);
        assert_malformed(&pushed);
        assert!(heard.lock().unwrap().len() < 150_000);
    }
}

#[test]
fn options_that_name_files_programs_or_other_roles_are_refused() {
    // CVE-2026-53783 to 53803, as far as they begin with an argument.
    assert_refused(&[
        "--files-from=/etc/passwd",
        "--log-file=/tmp/x",
        "--write-batch=x",
        "--password-file=/etc/shadow",
        "--link-dest=/tmp",
        "--copy-dest=../canary",
        "--compare-dest=../canary",
        "--filter=merge /etc/passwd",
        "--remove-source-files",
        "--copy-devices",
        "--write-devices",
        "--fake-super",
        "--super",
        "--rsync-path=sh",
        "-s",
        "-a",
        "-n",
        "--usermap=*:root",
        "--chown=root",
        "--mkpath",
        "--daemon",
        "--config=/tmp/x",
        "--iconv=utf8",
    ]);
}

#[test]
fn a_path_that_is_not_the_modules_root_is_refused() {
    for path in
        ["data/../canary", "data//", "data/.", "data/./..", "/", "control/", "../data/", "data/a/./b", "data\u{1}"]
    {
        let cage = Cage::new();
        let bytes = format!("@RSYNCD: 31.0 md5\ndata\n--server\0-re.LsfxCIvu\0.\0{path}\0\0\x03md5");
        let result = to_daemon(&cage.destination, bytes.as_bytes());
        assert!(matches!(result, Err(Error::Arguments(_))), "{path}: {result:?}");
        cage.assert_untouched();
    }
}
