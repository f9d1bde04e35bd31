use super::*;
use crate::proto::entry::EntryEncoder;
use crate::stream::reader::Reader;
use doppel_volume::metadata::{DeviceNumber, Moment};
use proptest::prelude::*;

const IDS: IdNames = IdNames { follow: false, root_is_named: false };
const LIMITS: Limits = Limits { entries: 100, memory: 100_000 };
const LAYOUT: Layout = Layout {
    links: true,
    hard_links: true,
    owner: false,
    group: false,
    devices: false,
    numbered_specials: false,
    acls: false,
    xattrs: false,
};

fn entry(kind: Kind) -> WireEntry {
    WireEntry {
        kind,
        permissions: 0o755,
        size: 0,
        modified: Moment::default(),
        uid: 0,
        gid: 0,
        device: DeviceNumber::default(),
        hard_link: HardLink::No,
        without_content: false,
    }
}

/// Paths that end in a slash are directories, those that end in `@` links.
fn receive(paths: &[&[u8]]) -> Result<FileList, Error> {
    let mut bytes = Vec::new();
    let mut encoder = EntryEncoder::new(LAYOUT);
    for path in paths {
        let (path, kind) = match path {
            [path @ .., b'/'] => (path, Kind::Directory),
            [path @ .., b'@'] => (path, Kind::Symlink),
            path => (*path, Kind::File),
        };
        encoder.write(&mut bytes, path, &entry(kind), b"target");
    }
    EntryEncoder::end(&mut bytes, IoErrors::default());
    let mut reader = Reader::new(&bytes[..]);
    Received::read(&mut reader, LAYOUT, IDS, LIMITS).map(|received| received.list)
}

fn paths(list: &FileList) -> Vec<String> {
    let mut path = Vec::new();
    let active = list.entries().filter(|(_, entry)| entry.is_active());
    active
        .map(|(_, entry)| {
            list.path(&entry, &mut path);
            String::from_utf8(path.clone()).unwrap()
        })
        .collect()
}

#[test]
fn a_list_is_brought_into_rsyncs_order() {
    let sent: &[&[u8]] = &[
        b"foo/",
        b"foo/sub/",
        b"foo/sub/z",
        b"./",
        b"foo/x",
        b"zzz",
        b"foo-bar/",
        b"foo-bar/y",
        b"a/",
        b"foo.txt",
        b"l@",
    ];
    let expected = ["", "foo.txt", "l", "zzz", "a", "foo-bar", "foo-bar/y", "foo", "foo/x", "foo/sub", "foo/sub/z"];
    assert_eq!(paths(&receive(sent).unwrap()), expected);
}

#[test]
fn of_two_entries_with_one_path_the_first_counts_and_numbers_stay() {
    let list = receive(&[b"a", b"a", b"b"]).unwrap();
    assert_eq!(list.len(), 3);
    assert_eq!(paths(&list), ["a", "b"]);
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let bad: [&[&[u8]]; 11] = [
        &[b"../a"],
        &[b"/etc/passwd"],
        &[b"a/", b"a/../../b"],
        &[b"a/", b"a//b"],
        &[b".."],
        &[b"a/", b"a/."],
        &[b""],
        // Beneath a link, beneath a file, beneath nothing.
        &[b"l@", b"l/f"],
        &[b"f", b"f/f"],
        &[b"missing/f"],
        // A root that is not a directory.
        &[b"."],
    ];
    for list in bad {
        assert!(matches!(receive(list), Err(Error::Malformed(_))), "{list:?}");
    }
}

#[test]
fn a_link_with_nul_in_its_target_is_refused() {
    let mut bytes = Vec::new();
    EntryEncoder::new(LAYOUT).write(&mut bytes, b"l", &entry(Kind::Symlink), b"a\0b");
    EntryEncoder::end(&mut bytes, IoErrors::default());
    let mut reader = Reader::new(&bytes[..]);
    assert!(Received::read(&mut reader, LAYOUT, IDS, LIMITS).is_err());
}

proptest! {
    /// The walk of the volume and the list agree about the order, whatever the names.
    #[test]
    fn a_walked_tree_is_a_list_in_order(names in proptest::collection::vec("[a.-]{1,2}(/[a.-]{1,2}){0,3}", 1..12)) {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            if name.split('/').any(|part| part == "." || part == "..") {
                continue;
            }
            let path = root.path().join(&name);
            let _ = std::fs::create_dir_all(path.parent().unwrap());
            let _ = std::fs::write(path, "");
        }
        let tree = doppel_volume::tree::Tree::open(root.path()).unwrap();
        let mut walk = doppel_volume::walk::Walk::new(&tree).unwrap();
        let mut directories = vec![String::new()];
        let mut walked = Vec::new();
        while let Some(doppel_volume::walk::Visit::Entry(found)) = walk.next() {
            let name = std::str::from_utf8(found.name.bytes()).unwrap();
            let path = format!("{}{name}", directories[found.parent.0 as usize]);
            if found.metadata.kind == Kind::Directory {
                directories.push(format!("{path}/"));
                walked.push(format!("{path}/").into_bytes());
            } else {
                walked.push(path.into_bytes());
            }
        }
        let mut sent: Vec<&[u8]> = walked.iter().map(Vec::as_slice).collect();
        sent.reverse();
        let plain = |path: &Vec<u8>| String::from_utf8(path.clone()).unwrap().trim_end_matches('/').to_owned();
        let expected: Vec<String> = walked.iter().map(plain).collect();
        prop_assert_eq!(paths(&receive(&sent).unwrap()), expected);
    }
}
