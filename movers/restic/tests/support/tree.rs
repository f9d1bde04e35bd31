//! Trees: one with everything in it, and what is to be equal of two.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use doppel_restic::format::id::Id;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::is_root;

/// Bytes that do not compress and that any reader can make again.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..len).map(step).collect()
}

/// Makes a tree with every kind of entry, odd names, odd modes, attributes, links and holes.
pub fn make(root: &Path) {
    fs::create_dir_all(root.join("dir/inner/deeper")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("a file"), "hello\n").unwrap();
    fs::write(root.join("nothing"), "").unwrap();
    fs::write(root.join("dir/noise"), noise(5_000_000, 1)).unwrap();
    fs::write(root.join("dir/text"), "all work and no play\n".repeat(100_000)).unwrap();
    fs::write(root.join("dir/inner/edge"), noise(512 * 1024, 2)).unwrap();
    fs::write(root.join("dir/inner/over"), noise(512 * 1024 + 1, 3)).unwrap();
    for (number, name) in [&b"back\\slash"[..], b"quo\"te", b"new\nline", b"\xff\xfe", "ümlaut 日本".as_bytes(), b"<&>"]
        .iter()
        .enumerate()
    {
        fs::write(root.join("dir/inner").join(OsStr::from_bytes(name)), format!("{number}")).unwrap();
    }
    for number in 0..300 {
        fs::write(root.join(format!("dir/inner/deeper/{number}")), noise(number * 7, number as u64)).unwrap();
    }
    let holes = File::create(root.join("holes")).unwrap();
    holes.set_len(20 << 20).unwrap();
    holes.write_all_at(&noise(10_000, 4), 9 << 20).unwrap();
    symlink("dir/noise", root.join("link")).unwrap();
    symlink("/no/where", root.join("dangling")).unwrap();
    fs::hard_link(root.join("dir/noise"), root.join("dir/inner/same noise")).unwrap();
    fs::hard_link(root.join("a file"), root.join("zzz same file")).unwrap();
    rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    xattr(&root.join("dir/text"), "user.note", b"bytes \x00\xff");
    xattr(&root.join("dir"), "user.on-a-directory", b"yes");
    if is_root() {
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, root.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), null)
            .unwrap();
        let loop0 = rustix::fs::makedev(7, 300);
        rustix::fs::mknodat(CWD, root.join("loop"), FileType::BlockDevice, Mode::from_raw_mode(0o600), loop0).unwrap();
        for (path, owner) in [("a file", 1234), ("link", 4321), ("empty", 70_000)] {
            std::os::unix::fs::lchown(root.join(path), Some(owner), Some(owner + 1)).unwrap();
        }
    }
    for (path, mode) in
        [("nothing", 0o000), ("a file", 0o4755), ("empty", 0o1777), ("dir/inner", 0o2750), ("holes", 0o444)]
    {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    for (path, seconds) in
        [("nothing", -5), ("dir/text", 1_000_000_000), ("link", 7), ("dir/inner", 86_400), ("pipe", 99)]
    {
        set_time(&root.join(path), seconds);
    }
}

/// A link whose target is no text: restic keeps such since 0.16.
pub fn make_odd_link(root: &Path) {
    symlink(OsStr::from_bytes(b"/no/\xffwhere"), root.join("odd link")).unwrap();
}

pub fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

pub fn set_time(path: &Path, seconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Everything that is to be equal of two trees, by path. The root's own attributes are not part of a snapshot.
pub fn digest(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    walk(root, root, &mut first_names, &mut found);
    found
}

fn walk(root: &Path, folder: &Path, firsts: &mut BTreeMap<u64, String>, found: &mut BTreeMap<String, String>) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_file() {
            Id::of(&fs::read(&path).unwrap()).to_string()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec().escape_ascii().to_string()
        } else {
            format!("device {:x}", metadata.rdev())
        };
        let first = match kind.is_dir() {
            true => String::new(),
            false => firsts.entry(metadata.ino()).or_insert_with(|| name.clone()).clone(),
        };
        let about = format!(
            "{:o} {}:{} {} {}.{:09} {} first={first} {content}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            if kind.is_file() { metadata.len() } else { 0 },
            metadata.mtime(),
            metadata.mtime_nsec(),
            xattrs(&path),
        );
        found.insert(name, about);
        if kind.is_dir() {
            walk(root, &path, firsts, found);
        }
    }
}

fn xattrs(path: &Path) -> String {
    let mut names = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut all = Vec::new();
    for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let len = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        all.push(format!("{}={}", name.escape_ascii(), value[..len].escape_ascii()));
    }
    all.sort();
    all.join(",")
}

pub fn assert_same(expected: &Path, found: &Path) {
    let (expected, found) = (digest(expected), digest(found));
    for (path, about) in &expected {
        assert_eq!(found.get(path), Some(about), "{path}");
    }
    let extra: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
    assert!(extra.is_empty(), "{extra:?}");
}
