//! A file list with hard links, access control lists and extended attributes. The first byte says what the session keeps.
#![no_main]

use doppel_contract::Line;
use doppel_rsync::proto::acl::AclTable;
use doppel_rsync::proto::entry::{Decoded, EntryDecoder, EntryEncoder, HardLink, Layout, WireEntry, skip_names};
use doppel_rsync::proto::frame::IoErrors;
use doppel_rsync::proto::xattr::XattrTable;
use doppel_volume::metadata::Kind;
use doppel_volume::names;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kept, mut input)) = bytes.split_first() else { return };
    let keeps = |bit: u8| kept & 1 << bit != 0;
    let layout = Layout {
        links: keeps(0),
        hard_links: keeps(1),
        owner: keeps(2),
        group: keeps(3),
        devices: keeps(4),
        numbered_specials: keeps(5),
        acls: keeps(6),
        xattrs: keeps(7),
    };
    let mut decoder = EntryDecoder::new(layout);
    let mut tables = [AclTable::default(), AclTable::default()];
    let mut xattrs = XattrTable::default();
    let mut entries: Vec<(Vec<u8>, WireEntry, Vec<u8>)> = Vec::new();
    loop {
        let sent = |position: u32| entries.get(position as usize).map(|(_, entry, _)| *entry);
        match decoder.read(&mut input, sent) {
            Err(_) => return,
            Ok(Decoded::End(_)) => break,
            Ok(Decoded::Entry(entry)) => {
                let _ = names::split(decoder.path());
                let _ = Line::from_bytes(decoder.path());
                entries.push((decoder.path().to_vec(), entry, decoder.target().to_vec()));
                if layout.acls && entry.kind != Kind::Symlink {
                    let lists = if entry.kind == Kind::Directory { 2 } else { 1 };
                    for table in tables.iter_mut().take(lists) {
                        let Ok(number) = table.read(&mut input) else { return };
                        assert!(table.get(number).is_some());
                    }
                }
                if layout.xattrs {
                    let Ok(set) = xattrs.read(&mut input) else { return };
                    let _ = xattrs.get(set).count();
                }
            }
        }
    }
    let _ = skip_names(&mut input, keeps(2));
    come_back(layout, &entries);
});

/// A list that was read is written so that it is read again as the same.
fn come_back(layout: Layout, entries: &[(Vec<u8>, WireEntry, Vec<u8>)]) {
    let mut bytes = Vec::new();
    let mut encoder = EntryEncoder::new(layout);
    for (path, entry, target) in entries {
        encoder.write(&mut bytes, path, entry, target);
    }
    EntryEncoder::end(&mut bytes, IoErrors::default());
    let (mut decoder, mut input) = (EntryDecoder::new(layout), &bytes[..]);
    for (path, entry, target) in entries {
        let sent = |position: u32| entries.get(position as usize).map(|(_, entry, _)| *entry);
        let Ok(Decoded::Entry(again)) = decoder.read(&mut input, sent) else {
            panic!("an entry of our own is refused")
        };
        assert_eq!((decoder.path(), &again), (&path[..], entry));
        if entry.kind == Kind::Symlink && !matches!(entry.hard_link, HardLink::Of(_)) {
            assert_eq!(decoder.target(), target);
        }
    }
}
