use std::collections::{BTreeMap, BTreeSet};

use doppel_volume::metadata::{DeviceNumber, Moment};
use proptest::prelude::*;

use super::*;
use crate::list::{Detail, Extras};
use crate::proto::entry::{HardLink, WireEntry};

/// A list with these paths, sent in this order, and the directories that lead to them.
fn list(paths: &[(Vec<&'static str>, Kind)]) -> FileList {
    let mut list = FileList::new();
    let mut ids = BTreeMap::from([(String::new(), DirectoryId::ROOT)]);
    add(&mut list, (DirectoryId::ROOT, None), Kind::Directory, Detail::Directory(DirectoryId::ROOT));
    for (names, kind) in paths {
        let mut parent = DirectoryId::ROOT;
        for depth in 1..=names.len() {
            let name = Name::new(names[depth - 1].as_bytes()).unwrap();
            let path = names[..depth].join("/");
            if depth == names.len() && *kind == Kind::File {
                add(&mut list, (parent, Some(name)), Kind::File, Detail::None);
                continue;
            }
            // A directory may be sent twice.
            let id = match ids.get(&path) {
                Some(id) if depth < names.len() => *id,
                Some(id) => {
                    add(&mut list, (parent, Some(name)), Kind::Directory, Detail::Directory(*id));
                    *id
                }
                None => {
                    let id = list.add_directory(path.as_bytes()).unwrap();
                    add(&mut list, (parent, Some(name)), Kind::Directory, Detail::Directory(id));
                    ids.insert(path, id);
                    id
                }
            };
            parent = id;
        }
    }
    list.sort();
    list
}

fn add(list: &mut FileList, place: (DirectoryId, Option<Name<'_>>), kind: Kind, detail: Detail<'_>) {
    let wire = WireEntry {
        kind,
        permissions: 0o644,
        size: 0,
        modified: Moment { seconds: 0, nanoseconds: 0 },
        uid: 0,
        gid: 0,
        device: DeviceNumber::default(),
        hard_link: HardLink::No,
        without_content: false,
    };
    list.add(place, &wire, detail, Extras::default()).unwrap();
}

proptest! {
    #[test]
    fn what_stays_in_a_directory_is_what_the_list_has_in_it(
        paths in proptest::collection::vec(
            (proptest::collection::vec(prop_oneof![Just("a"), Just("a-b"), Just("a.b"), Just("b"), Just("z")], 1..4),
             prop_oneof![Just(Kind::File), Just(Kind::Directory)]),
            0..30),
    ) {
        let list = list(&paths);
        let subdirectories = Subdirectories::new(&list);
        let mut entries = list.entries();
        while let Some((_, entry)) = entries.next() {
            let Some(id) = entry.directory().filter(|_| entry.is_active()) else { continue };
            let inside = list.entries().filter(|(_, entry)| entry.parent == id && !entry.is_root());
            let expected: BTreeSet<Vec<u8>> = inside.map(|(_, entry)| list.name(&entry).bytes().to_vec()).collect();
            let after = entries.clone().map(|(_, entry)| entry);
            let mut wanted = wanted(&list, id, after, subdirectories.names(&list, id));
            for name in [&b"Z"[..], b"a", b"a-b", b"a.b", b"aa", b"b", b"z"] {
                prop_assert_eq!(wanted.has(name), expected.contains(name), "{} in {:?}", name.escape_ascii(), id);
            }
        }
    }
}
