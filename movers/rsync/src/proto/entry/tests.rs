use super::*;
use proptest::prelude::*;

const ARCHIVE: Layout = Layout {
    links: true,
    hard_links: true,
    owner: true,
    group: true,
    devices: true,
    numbered_specials: false,
    acls: false,
    xattrs: false,
};

/// Path, fields and target of an entry.
type Whole = (Vec<u8>, WireEntry, Vec<u8>);

fn decode_all(bytes: &[u8], layout: Layout) -> Result<Vec<Whole>, Malformed> {
    let mut input = bytes;
    let mut decoder = EntryDecoder::new(layout);
    let mut entries: Vec<Whole> = Vec::new();
    loop {
        let sent = |position: u32| entries.get(position as usize).map(|(_, entry, _)| *entry);
        match decoder.read(&mut input, sent)? {
            Decoded::End(_) => return Ok(entries),
            Decoded::Entry(entry) => {
                entries.push((decoder.path().to_vec(), entry, decoder.target().to_vec()));
            }
        }
    }
}

/// The start of the list of `rsync -aHx --numeric-ids src/ rsync://.../data`, captured from rsync 3.5.0.
#[test]
fn a_captured_list_is_understood_and_written_again_to_the_byte() {
    #[rustfmt::skip]
    let captured = [
        0xa0, 0x01, 0x01, 0x2e, 0x00, 0x00, 0x10, 0x6b, 0xd8, 0xa5, 0x04, 0xef, 0xb0, 0x9b, 0xc2, 0xed, 0x41, 0x00,
        0x00, 0x00, 0x00,
        0xa0, 0x98, 0x04, 0x74, 0x65, 0x78, 0x74, 0x04, 0xe0, 0x93, 0xf0, 0x65, 0x15, 0x24, 0x10, 0xb8, 0x81, 0x00, 0x00,
        0xb2, 0x98, 0x05, 0x68, 0x61, 0x72, 0x64, 0x32, 0x00, 0x06, 0x00, 0xee, 0xb0, 0x6e, 0x91, 0xa4, 0x81, 0x00, 0x00,
        0xa0, 0x98, 0x04, 0x66, 0x69, 0x66, 0x6f, 0x00, 0x00, 0x00, 0xef, 0xb0, 0x80, 0x0b, 0xa4, 0x11, 0x00, 0x00,
        0xa0, 0x98, 0x04, 0x6c, 0x69, 0x6e, 0x6b, 0x00, 0x09, 0x00, 0xee, 0xb0, 0x77, 0xce, 0xff, 0xa1, 0x00, 0x00,
        0x09, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x2e, 0x74, 0x78, 0x74,
        0xa2, 0x98, 0x09, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x2e, 0x74, 0x78, 0x74, 0x02,
        0x00, 0x00,
    ];
    let entries = decode_all(&captured, ARCHIVE).unwrap();
    let paths: Vec<&[u8]> = entries.iter().map(|(path, ..)| &path[..]).collect();
    assert_eq!(paths, [&b"."[..], b"text", b"hard2", b"fifo", b"link", b"hello.txt"]);
    assert_eq!(entries[1].1.size, 300_000);
    assert_eq!(entries[3].1.kind, Kind::Fifo);
    assert_eq!(entries[4].2, b"hello.txt");
    assert_eq!(entries[5].1.hard_link, HardLink::Of(2));
    assert_eq!(entries[5].1.size, 6);
    let mut encoder = EntryEncoder::new(ARCHIVE);
    let mut written = Vec::new();
    for (path, entry, target) in &entries {
        encoder.write(&mut written, path, entry, target);
    }
    EntryEncoder::end(&mut written, IoErrors::default());
    assert_eq!(written, captured);
}

#[test]
fn what_cannot_be_an_entry_is_refused() {
    let bad: [&[u8]; 6] = [
        // A shared name longer than the one before.
        &[0x20, 5, 1, b'a', 0, 0, 0],
        // A mode of no type.
        &[0x98, 1, b'a', 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        // A path of 2^20 bytes.
        &[0x40, 0xd0, 0, 0],
        // Flags of options that are not ours.
        &[0xc0, 0, 0x40],
        // A hard link of an entry that was not sent.
        &[0x82, 0x00, 1, b'a', 7],
        // The end without the errors.
        &[0],
    ];
    for bytes in bad {
        assert!(decode_all(bytes, ARCHIVE).is_err(), "{bytes:x?}");
    }
}

prop_compose! {
    fn wire_entry()(
        kind in prop::sample::select(vec![
            Kind::File, Kind::Directory, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharacterDevice, Kind::BlockDevice,
        ]),
        permissions in 0_u32..0o10000,
        size in 0_u64..1 << 50,
        seconds in prop_oneof![Just(0_i64), -5_i64..5, any::<i64>()],
        nanoseconds in prop_oneof![Just(0_u32), 0_u32..1_000_000_000],
        uid in prop_oneof![0_u32..3, any::<u32>()],
        gid in prop_oneof![0_u32..3, any::<u32>()],
        major in 0_u32..300,
        minor: u32,
        first: bool,
        without_content: bool,
    ) -> WireEntry {
        let device = if kind.is_device() { DeviceNumber { major, minor } } else { DeviceNumber::default() };
        WireEntry {
            kind, permissions, uid, gid, device,
            size: if kind.is_device() { 0 } else { size },
            modified: Moment { seconds, nanoseconds },
            hard_link: if first && kind != Kind::Directory { HardLink::First } else { HardLink::No },
            without_content: without_content && kind == Kind::Directory,
        }
    }
}

proptest! {
    #[test]
    fn entries_come_back(
        entries in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 1..600), wire_entry(), proptest::collection::vec(any::<u8>(), 0..300)),
            0..20,
        ),
    ) {
        let mut encoder = EntryEncoder::new(ARCHIVE);
        let mut bytes = Vec::new();
        for (path, entry, target) in &entries {
            encoder.write(&mut bytes, path, entry, target);
        }
        EntryEncoder::end(&mut bytes, IoErrors::GENERAL);
        let decoded = decode_all(&bytes, ARCHIVE).unwrap();
        prop_assert_eq!(decoded.len(), entries.len());
        for (decoded, (path, entry, target)) in decoded.iter().zip(&entries) {
            prop_assert_eq!(&decoded.0, path);
            prop_assert_eq!(&decoded.1, entry);
            let target: &[u8] = if entry.kind == Kind::Symlink { target } else { &[] };
            prop_assert_eq!(&decoded.2, target);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_all(&bytes, ARCHIVE);
    }
}
