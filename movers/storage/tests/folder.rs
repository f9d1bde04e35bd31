//! A folder against a map in memory, and what it does about names, links, modes and full disks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use doppel_storage::folder::Folder;
use doppel_storage::{Kind, LARGEST_OBJECT, Object, Storage};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

#[derive(Debug, Clone)]
enum Operation {
    Write(usize, Vec<u8>),
    Remove(usize),
    Read(usize),
    ReadRange(usize, u64, usize),
    List(&'static str),
}

const NAMES: [&str; 6] = ["config", "keys/ab", "data/00/00ff", "data/00/00fe", "data/ff/ffee", "locks/1"];

fn operation() -> impl Strategy<Value = Operation> {
    let name = 0..NAMES.len();
    let content = proptest::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        3 => (name.clone(), content).prop_map(|(name, content)| Operation::Write(name, content)),
        1 => name.clone().prop_map(Operation::Remove),
        2 => name.clone().prop_map(Operation::Read),
        2 => (name, 0..400_u64, 0..400_usize).prop_map(|(name, from, length)| Operation::ReadRange(name, from, length)),
        1 => prop_oneof![Just(""), Just("data"), Just("data/00"), Just("keys"), Just("index")].prop_map(Operation::List),
    ]
}

proptest! {
    #[test]
    fn a_folder_does_as_a_map_does(operations in proptest::collection::vec(operation(), 0..60)) {
        let stage = tempdir().unwrap();
        let folder = Folder::new(stage.path().join("deep/down/repository"));
        let mut map: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for operation in operations {
            match operation {
                Operation::Write(name, content) => {
                    folder.write(NAMES[name], Bytes::from(content.clone())).unwrap();
                    map.insert(NAMES[name], content);
                }
                Operation::Remove(name) => {
                    folder.remove(NAMES[name]).unwrap();
                    map.remove(NAMES[name]);
                }
                Operation::Read(name) => match map.get(NAMES[name]) {
                    Some(content) => prop_assert_eq!(&folder.read(NAMES[name]).unwrap()[..], &content[..]),
                    None => prop_assert_eq!(folder.read(NAMES[name]).unwrap_err().kind, Kind::NotFound),
                },
                Operation::ReadRange(name, from, length) => {
                    let read = folder.read_range(NAMES[name], from, length);
                    let start = usize::try_from(from).unwrap();
                    match map.get(NAMES[name]) {
                        None => prop_assert_eq!(read.unwrap_err().kind, Kind::NotFound),
                        Some(content) if start + length > content.len() => {
                            prop_assert_eq!(read.unwrap_err().kind, Kind::Truncated);
                        }
                        Some(content) => prop_assert_eq!(&read.unwrap()[..], &content[start..start + length]),
                    }
                }
                Operation::List(below) => {
                    let mut listed = folder.list(below).unwrap();
                    listed.sort_by(|a, b| a.name.cmp(&b.name));
                    let of_map = |(name, content): (&&str, &Vec<u8>)| {
                        let below = below.is_empty() || name.starts_with(&format!("{below}/"));
                        below.then(|| Object { name: (*name).to_owned(), size: content.len() as u64 })
                    };
                    prop_assert_eq!(listed, map.iter().filter_map(of_map).collect::<Vec<_>>());
                }
            }
        }
    }
}

fn stage() -> (TempDir, Folder) {
    let stage = tempdir().unwrap();
    let folder = Folder::new(stage.path());
    (stage, folder)
}

fn check_kind<T: std::fmt::Debug>(result: Result<T, doppel_storage::Error>, kind: Kind, parts: &[&str]) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(error.kind == kind && parts.iter().all(|part| text.contains(part)), "{:?} {text}", error.kind);
}

#[test]
fn a_folder_that_is_not_there_has_no_objects_and_is_not_made_by_looking() {
    let (stage, _) = stage();
    let path = stage.path().join("none");
    let folder = Folder::new(&path);
    assert_eq!(folder.list("").unwrap(), []);
    check_kind(folder.read("config"), Kind::NotFound, &["reading config in ", "none"]);
    folder.remove("config").unwrap();
    assert!(!path.exists());
}

#[test]
fn a_relative_folder_is_made_in_the_working_directory() {
    // Of this process, so of no other test: it is never changed.
    let name = format!("target-of-a-test-{}", std::process::id());
    let folder = Folder::new(format!("{name}/repository"));
    folder.write("config", Bytes::from_static(b"x")).unwrap();
    let made = fs::read(format!("{name}/repository/config"));
    fs::remove_dir_all(&name).unwrap();
    assert_eq!(made.unwrap(), b"x");
}

#[test]
fn an_unfinished_file_of_anybody_is_no_object() {
    let (stage, folder) = stage();
    folder.write("data/aa/aaff", Bytes::from_static(b"whole")).unwrap();
    fs::write(stage.path().join("data/aa/aabb-tmp-123"), "half").unwrap();
    assert_eq!(folder.list("data").unwrap(), [Object { name: "data/aa/aaff".to_owned(), size: 5 }]);
}

#[test]
fn what_writers_that_died_left_is_swept_away_after_a_day_and_nothing_else_is() {
    let (stage, folder) = stage();
    let id = "ab".repeat(32);
    let names = [
        format!("data/ab/{id}-tmp-0123456789abcdef"),
        format!("data/ab/{id}"),
        "data/ab/notes-tmp-of-mine".to_owned(),
        format!("index/{id}-tmp-12"),
        "config-tmp-1".to_owned(),
    ];
    for (number, name) in names.iter().enumerate() {
        let path = stage.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "half").unwrap();
        let age = Duration::from_secs(if number == 3 { 23 * 3600 } else { 25 * 3600 });
        fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }
    symlink(stage.path().join(&names[1]), stage.path().join(format!("{id}-tmp-link"))).unwrap();
    assert_eq!(folder.sweep("").unwrap(), 2);
    let is_there: Vec<_> = names.iter().map(|name| stage.path().join(name).exists()).collect();
    assert_eq!(is_there, [false, true, true, true, false]);
    assert!(stage.path().join(format!("{id}-tmp-link")).exists());
    assert_eq!(Folder::new(stage.path().join("none")).sweep("").unwrap(), 0);
}

#[test]
fn modes_are_those_of_restic_and_the_groups_where_config_is() {
    let (stage, folder) = stage();
    let mode = |name: &str| fs::metadata(stage.path().join(name)).unwrap().permissions().mode() & 0o777;
    folder.write("config", Bytes::from_static(b"c")).unwrap();
    folder.write("data/aa/aaff", Bytes::from_static(b"d")).unwrap();
    assert_eq!((mode("config"), mode("data/aa/aaff"), mode("data/aa"), mode("data")), (0o400, 0o400, 0o700, 0o700));
    fs::set_permissions(stage.path().join("config"), PermissionsExt::from_mode(0o440)).unwrap();
    folder.write("keys/ab", Bytes::from_static(b"k")).unwrap();
    // The process' umask takes away from what a folder is made with, as it does with restic's.
    assert_eq!((mode("keys/ab"), mode("keys") & 0o750), (0o440, 0o750));
}

#[test]
fn links_lead_nowhere_and_are_named() {
    let (stage, folder) = stage();
    let outside = tempdir().unwrap();
    fs::write(outside.path().join("secret"), "not for you").unwrap();
    symlink(outside.path(), stage.path().join("data")).unwrap();
    symlink(outside.path().join("secret"), stage.path().join("config")).unwrap();
    check_kind(folder.read("config"), Kind::Other, &["reading config", "symbolic links"]);
    check_kind(folder.read_range("data/secret", 0, 3), Kind::Other, &["data/secret", "symbolic links"]);
    check_kind(folder.write("data/aa", Bytes::new()), Kind::Other, &["writing data/aa", "symbolic links"]);
    check_kind(folder.remove("data/secret"), Kind::Other, &["removing data/secret", "symbolic links"]);
    check_kind(folder.list(""), Kind::Other, &["listing", "config"]);
    check_kind(folder.list("data"), Kind::Other, &["listing data", "symbolic links"]);
    for name in ["../secret", "data/../../secret", "/etc/passwd", "", "data/..", "."] {
        assert!(folder.read(name).is_err() && folder.write(name, Bytes::new()).is_err(), "{name:?}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    // To replace the link is to write into the folder, not through the link.
    folder.write("config", Bytes::from_static(b"mine")).unwrap();
    assert_eq!(folder.read("config").unwrap(), "mine");
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"not for you");
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let (stage, folder) = stage();
    fs::create_dir(stage.path().join("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(stage.path().join("pipe")).status().unwrap().success());
    for name in ["folder", "pipe"] {
        check_kind(folder.read(name), Kind::Other, &[name, "is not a file"]);
    }
    assert_eq!(folder.list("").unwrap(), []);
}

#[test]
fn what_no_object_can_be_is_not_read_into_memory() {
    let (stage, folder) = stage();
    fs::File::create(stage.path().join("bomb")).unwrap().set_len(LARGEST_OBJECT + 1).unwrap();
    check_kind(folder.read("bomb"), Kind::Other, &["bomb", "is larger than 256 MiB"]);
    fs::write(stage.path().join("small"), "12345").unwrap();
    check_kind(folder.read_range("small", 2, usize::MAX), Kind::Truncated, &["small", "has 5 bytes"]);
    check_kind(folder.read_range("small", u64::MAX, 2), Kind::Truncated, &["small", "has 5 bytes"]);
}

#[test]
fn a_full_disk_is_said_to_be_full_and_nothing_unfinished_is_left_on_it() {
    let (stage, _) = stage();
    let path = stage.path().join("small");
    fs::create_dir(&path).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "doppel-test"]).arg(&path).status();
    assert!(mounted.unwrap().success(), "mount needs root");
    let folder = Folder::new(&path);
    folder.write("data/aa/first", Bytes::from(vec![1; 1 << 19])).unwrap();
    let second = folder.write("data/aa/second", Bytes::from(vec![2; 1 << 20]));
    let left: Vec<_> = fs::read_dir(path.join("data/aa")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let first = folder.read("data/aa/first");
    drop(folder);
    assert!(Command::new("umount").arg(&path).status().unwrap().success());
    check_kind(second, Kind::Full, &["writing data/aa/second in ", "small", "MiB are free"]);
    assert_eq!(left, ["first"]);
    assert_eq!(first.unwrap(), vec![1; 1 << 19]);
}

#[test]
fn writers_of_one_name_do_not_mix() {
    let (stage, folder) = stage();
    std::thread::scope(|scope| {
        for writer in 0..8_u8 {
            let folder = &folder;
            scope.spawn(move || {
                for _ in 0..20 {
                    folder.write("index/aa", Bytes::from(vec![writer; 10_000])).unwrap();
                    let content = folder.read("index/aa").unwrap();
                    assert!(content.len() == 10_000 && content.iter().all(|byte| *byte == content[0]));
                }
            });
        }
    });
    assert_eq!(fs::read_dir(stage.path().join("index")).unwrap().count(), 1);
}
