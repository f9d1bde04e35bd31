use super::*;
use proptest::prelude::*;
use std::os::unix::fs::MetadataExt;

#[test]
fn only_our_own_names_are_temporary() {
    let names = TemporaryNames::default();
    assert!(is_temporary(names.next(PREFIX).name().bytes()));
    assert_ne!(names.next(PREFIX).name(), names.next(PREFIX).name());
    for other in [&b".doppel-tmp."[..], b".doppel-tmp.0123456789abcdeg", b".doppel-tmp.0123456789abcdef0", b"a"] {
        assert!(!is_temporary(other));
    }
}

#[test]
fn a_file_that_is_not_committed_leaves_nothing_and_the_old_one_stays() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("f"), "old").unwrap();
    let dir = std::fs::File::open(root.path()).unwrap();
    let mut new = NewFile::create(dir.as_fd(), &TemporaryNames::default()).unwrap();
    new.append(b"new").unwrap();
    drop(new);
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read(root.path().join("f")).unwrap(), b"old");
}

#[test]
fn a_partial_file_stays_until_it_has_its_name_or_is_discarded() {
    let root = tempfile::tempdir().unwrap();
    let dir = std::fs::File::open(root.path()).unwrap();
    let (names, target) = (TemporaryNames::default(), Name::new(b"f").unwrap());
    let listed = || -> Vec<Vec<u8>> {
        use std::os::unix::ffi::OsStringExt;
        std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name().into_vec()).collect()
    };
    let new = || {
        let mut new = NewFile::create_partial(dir.as_fd(), &names, target).unwrap();
        new.append(b"new").unwrap();
        new
    };
    drop(new());
    let left = listed();
    assert_eq!(left.len(), 1);
    assert!(is_temporary(&left[0]) && is_partial(&left[0]) && is_partial_of(&left[0], target));
    assert!(!is_partial_of(&left[0], Name::new(b"g").unwrap()));
    new().discard();
    assert_eq!(listed(), left);
    new().commit(target).unwrap();
    assert_eq!(listed().len(), 2);
    assert_eq!(std::fs::read(root.path().join("f")).unwrap(), b"new");
}

#[test]
fn names_that_only_look_temporary_are_not() {
    for name in [
        "",
        ".doppel-tmp.",
        ".doppel-tmp.0123456789abcde",
        ".doppel-tmp.+123456789abcdef",
        ".doppel-part.0123456789abcdef",
    ] {
        assert!(!is_temporary(name.as_bytes()), "{name}");
    }
    assert!(is_temporary(b".doppel-tmp.0123456789abcdef") && !is_partial(b".doppel-tmp.0123456789abcdef"));
    assert!(is_partial(b".doppel-part.0123456789abcdef.0123456789abcdef"));
    assert!(!is_partial(b".doppel-part.0123456789abcdef.0123456789abcdefg"));
}

#[test]
fn zeros_become_holes() {
    let root = tempfile::tempdir().unwrap();
    let dir = std::fs::File::open(root.path()).unwrap();
    let mut new = NewFile::create(dir.as_fd(), &TemporaryNames::default()).unwrap();
    // In pieces that do not end where blocks do.
    for _ in 0..16 {
        new.append(&vec![0; (1 << 16) - 4]).unwrap();
    }
    new.append(b"end").unwrap();
    new.append(&vec![0; 1 << 20]).unwrap();
    new.finish().unwrap();
    new.commit(Name::new(b"f").unwrap()).unwrap();
    let metadata = std::fs::metadata(root.path().join("f")).unwrap();
    assert_eq!(metadata.len(), (2 << 20) - 64 + 3);
    assert!(metadata.blocks() * 512 <= 8 * 1024, "{} blocks", metadata.blocks());
}

proptest! {
    #[test]
    fn what_was_appended_is_read(pieces in pieces()) {
        let mut expected = Vec::new();
        let read = written(|new| {
            for (piece, _) in &pieces {
                new.append(piece).unwrap();
                expected.extend_from_slice(piece);
            }
        });
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn what_was_put_in_any_order_is_read(pieces in pieces()) {
        let (mut expected, mut places) = (Vec::new(), Vec::new());
        for (piece, order) in &pieces {
            places.push((order, expected.len(), piece));
            expected.extend_from_slice(piece);
        }
        places.sort();
        let read = written(|new| {
            for (_, position, piece) in places {
                new.put(position as u64, piece).unwrap();
            }
        });
        prop_assert_eq!(read, expected);
    }
}

/// Pieces of a file, zeros or data, each with a number to order them by.
fn pieces() -> impl Strategy<Value = Vec<(Vec<u8>, u8)>> {
    let piece = (any::<bool>(), 0_usize..20_000)
        .prop_map(|(zero, len)| if zero { vec![0; len] } else { (1..=len).map(|i| i.to_le_bytes()[0]).collect() });
    proptest::collection::vec((piece, any::<u8>()), 0..8)
}

/// The content of a file that `write` made.
fn written(write: impl FnOnce(&mut NewFile<'_>)) -> Vec<u8> {
    let root = tempfile::tempdir().unwrap();
    let dir = std::fs::File::open(root.path()).unwrap();
    let mut new = NewFile::create(dir.as_fd(), &TemporaryNames::default()).unwrap();
    write(&mut new);
    new.finish().unwrap();
    new.commit(Name::new(b"f").unwrap()).unwrap();
    std::fs::read(root.path().join("f")).unwrap()
}
