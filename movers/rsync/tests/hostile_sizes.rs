//! Peers that speak of huge things: they are refused, or handled piece by piece, without memory for them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::sync::{Mutex, PoisonError};

use doppel_rsync::error::Error;
use doppel_rsync::proto::arguments::{Arguments, Choice};
use doppel_rsync::proto::entry::{EntryEncoder, Layout, WireEntry};
use doppel_rsync::proto::frame::IoErrors;
use doppel_rsync::proto::index::{Index, IndexCoder};
use doppel_rsync::proto::integer::write_varint;
use doppel_rsync::proto::keep::Keep;
use doppel_rsync::proto::negotiate::write_string;
use doppel_rsync::proto::request::{Flags, Item};
use doppel_rsync::proto::sums::SumHead;
use doppel_rsync::serve::Served;
use doppel_volume::metadata::Kind;
use support::noise;
use support::wire::{Cage, LAYOUT, client_preamble, done, entry, frame, list, to_daemon, to_daemon_in_turn};

/// Both tests measure the memory of this process.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn huge_numbers_are_refused_without_memory_for_them() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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

#[test]
fn sizes_that_add_up_to_more_than_can_be_counted_are_counted_as_far_as_that_goes() {
    let cage = Cage::new();
    let mut bytes = Vec::new();
    let mut encoder = EntryEncoder::new(LAYOUT);
    for (path, kind) in [(&b"."[..], Kind::Directory), (b"a", Kind::File), (b"b", Kind::File), (b"c", Kind::File)] {
        encoder.write(&mut bytes, path, &WireEntry { size: i64::MAX.cast_unsigned(), ..entry(kind) }, &[]);
    }
    EntryEncoder::end(&mut bytes, IoErrors::default());
    let first = [client_preamble(false), frame(&bytes)].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &frame(&done(4)));
    let Ok(Served::Data(outcome)) = &result else { panic!("{result:?}") };
    assert_eq!((outcome.tally.bytes, outcome.left_out.count), (u64::MAX, 3));
}

/// Three bytes ask for 65,536 blocks of 128 KiB. What is not there of them counts as zeros, so that not even a full disk would end it.
/// Found by the fuzzer of daemons.
#[test]
fn a_file_is_not_made_of_more_old_content_than_it_has() {
    let cage = Cage::new();
    std::fs::write(cage.destination.join("f"), vec![0; 8192]).unwrap();
    let keep = Keep { acls: false, xattrs: false, ..Keep::ALL };
    let mut arguments = Arguments { keep, compression: Choice::Negotiated, numeric_ids: true, ..Arguments::default() };
    arguments.path = b"data/".to_vec();
    let mut first = b"@RSYNCD: 31.0 md5\ndata\n".to_vec();
    first.extend(arguments.encode());
    write_string(&mut first, b"md5");
    write_string(&mut first, b"zstd");
    let mut entries = Vec::new();
    let mut encoder = EntryEncoder::new(Layout { acls: false, xattrs: false, ..LAYOUT });
    encoder.write(&mut entries, b".", &entry(Kind::Directory), &[]);
    encoder.write(&mut entries, b"f", &WireEntry { size: 9000, ..entry(Kind::File) }, &[]);
    EntryEncoder::end(&mut entries, IoErrors::default());
    first.extend(frame(&entries));
    let mut content = Vec::new();
    IndexCoder::default().write(&mut content, Index::Entry(1));
    Item::new(Flags::TRANSFER).write(&mut content);
    SumHead { count: 1 << 16, block: 1 << 17, strong: 2, remainder: 0 }.write(&mut content);
    content.extend([0xc0, 0xff, 0xff, 0]);
    content.extend([0; 16]);
    let result = to_daemon_in_turn(&cage.destination, &first, &[frame(&content), frame(&done(4))].concat());
    let Err(Error::Malformed(error)) = &result else { panic!("{result:?}") };
    assert!(error.to_string().contains("file made of old content"), "{error}");
    assert_eq!(std::fs::metadata(cage.destination.join("f")).unwrap().len(), 8192);
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn a_zstd_bomb_is_unpacked_piece_by_piece_and_a_broken_stream_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cage = Cage::new();
    let packed = zstd::encode_all(&vec![0_u8; 256 << 20][..], 19).unwrap();
    let keep = Keep { acls: false, xattrs: false, ..Keep::ALL };
    let mut arguments = Arguments { keep, compression: Choice::Negotiated, numeric_ids: true, ..Arguments::default() };
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
