//! Trees: one with everything that is hard, and how to compare two.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use xxhash_rust::xxh3::xxh3_64;

use super::permissions;

/// Reproducible bytes that do not compress.
pub fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..length).map(|_| next()).collect()
}

pub fn write(root: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// Names, links, modes, times and sizes that have bitten somebody.
pub fn plant(root: &Path) {
    for (index, name) in [
        "plain",
        "with space",
        "#begins",
        " leading",
        "trailing ",
        "new\nline",
        "tab\t",
        "quote'\"",
        "-rf",
        "*?[a-z]",
        "\u{fc}\u{1f600}",
        "back\\slash",
        "\\#012",
        "a.b.c",
        ".hidden",
        "~tilde",
        "$(id)",
        "%41",
    ]
    .iter()
    .enumerate()
    {
        write(root, &format!("names/{name}"), &noise(100 * index, u32::try_from(index).unwrap()));
    }
    let invalid = OsStr::from_bytes(b"not\xffutf8\x9b");
    fs::write(root.join("names").join(invalid), b"x").unwrap();
    write(root, &format!("long/{}", "n".repeat(255)), b"longest name");

    for size in [0, 1, 699, 700, 701, 65_535, 65_536, 1_000_000] {
        write(root, &format!("sizes/{size}"), &noise(size, 7));
    }
    write(root, "sizes/zeros", &vec![0; 300_000]);
    let mut sparse = fs::File::create(root.join("sizes/sparse")).unwrap();
    sparse.set_len(5_000_000).unwrap();
    sparse.write_all(b"head").unwrap();

    for (name, target) in [
        ("relative", "../sizes/1"),
        ("absolute", "/etc/hostname"),
        ("dangling", "nowhere"),
        ("up", "../../../.."),
        ("directory", "../names"),
        ("munged", "/rsyncd-munged/x"),
        ("with space", "a b"),
        ("self", "self"),
    ] {
        fs::create_dir_all(root.join("links")).unwrap();
        symlink(target, root.join("links").join(name)).unwrap();
    }
    fs::create_dir_all(root.join("empty/nested/deeper")).unwrap();
    for mode in [0o400, 0o600, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o000] {
        permissions(&write(root, &format!("modes/{mode:o}"), b"m"), mode);
    }
    fs::create_dir_all(root.join("modes/directory")).unwrap();
    permissions(&root.join("modes/directory"), 0o1777);
    // Directory modes that keep nobody but root out.
    write(root, "modes/closed/inside", b"i");
    permissions(&root.join("modes/closed"), 0o500);
    for (name, seconds, nanoseconds) in
        [("old", 1, 0), ("precise", 1_600_000_000, 123_456_789), ("future", 4_000_000_000, 5)]
    {
        set_time(&write(root, &format!("times/{name}"), b"t"), seconds, nanoseconds);
    }
    // An rsync that finds a directory of the same second leaves it as it is: none of these are of this day.
    for (index, dir) in directories(root).into_iter().enumerate() {
        set_time(&dir, 1_500_000_000 + i64::try_from(index).unwrap(), 42);
    }
    // Belongs to the file system; neither sent nor deleted.
    fs::create_dir_all(root.join("lost+found")).unwrap();
}

/// All directories beneath `root`, the deepest first.
fn directories(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in
        describe(root).into_keys().map(|path| root.join(path)).filter(|path| path.is_dir() && !path.is_symlink())
    {
        all.insert(0, path);
    }
    all
}

pub fn set_time(path: &Path, tv_sec: i64, tv_nsec: i64) {
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// What is compared of a tree: path to a line that says everything of the entry that a copy must keep.
pub fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    walk(root, root, &mut all);
    all
}

fn walk(root: &Path, dir: &Path, all: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let relative = path.strip_prefix(root).unwrap().to_owned();
        if relative == Path::new("lost+found") {
            continue;
        }
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mut line = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
        if metadata.is_symlink() {
            write!(line, " -> {:?}", fs::read_link(&path).unwrap()).unwrap();
        } else {
            write!(line, " {}.{}", metadata.mtime(), metadata.mtime_nsec()).unwrap();
        }
        if metadata.is_file() {
            let content = fs::read(&path).unwrap();
            write!(line, " {} bytes {:016x}", content.len(), xxh3_64(&content)).unwrap();
        }
        all.insert(relative, line);
        if metadata.is_dir() {
            walk(root, &path, all);
        }
    }
}

#[track_caller]
pub fn assert_same(source: &Path, destination: &Path) {
    let (source, destination) = (describe(source), describe(destination));
    let mut differences = String::new();
    for (path, expected) in &source {
        let found = destination.get(path);
        if found != Some(expected) {
            writeln!(differences, "{}: {expected} became {found:?}", path.display()).unwrap();
        }
    }
    for path in destination.keys().filter(|path| !source.contains_key(*path)) {
        writeln!(differences, "{}: is too much", path.display()).unwrap();
    }
    assert!(differences.is_empty(), "{differences}");
}
