//! What the tests of the engine share: trees, their comparison, and connections.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

pub mod faulty;
pub mod hostile;
#[path = "../../../transport/tests/support/port.rs"]
pub mod port;
pub mod programs;
pub mod stock;
pub mod wire;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::outcome::Outcome;
use doppel_rsync::push::{Connection, PushOptions, Pushed, push};
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use xxhash_rust::xxh3::xxh3_64;

/// A test that waits longer than this for a peer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that is to be kept of an entry, as text.
pub fn describe(root: &Path) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let mut inodes: BTreeMap<u64, String> = BTreeMap::new();
    walk(root, Path::new(""), &mut entries, &mut inodes);
    entries
}

fn walk(root: &Path, relative: &Path, entries: &mut BTreeMap<String, String>, inodes: &mut BTreeMap<u64, String>) {
    let path = root.join(relative);
    let metadata = std::fs::symlink_metadata(&path).unwrap();
    let name = relative.as_os_str().as_bytes().escape_ascii().to_string();
    let file_type = metadata.file_type();
    let content = if file_type.is_file() {
        format!("file {} {:016x}", metadata.len(), xxh3_64(&std::fs::read(&path).unwrap()))
    } else if file_type.is_symlink() {
        format!("link {}", std::fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii())
    } else if file_type.is_dir() {
        "directory".to_owned()
    } else if file_type.is_fifo() {
        "fifo".to_owned()
    } else if file_type.is_socket() {
        "socket".to_owned()
    } else {
        format!("device {:x}", metadata.rdev())
    };
    let linked = if metadata.nlink() > 1 && !file_type.is_dir() {
        format!(" same as {}", inodes.entry(metadata.ino()).or_insert_with(|| name.clone()))
    } else {
        String::new()
    };
    let mode = if file_type.is_symlink() { 0 } else { metadata.mode() & 0o7777 };
    entries.insert(
        name,
        format!(
            "{content} {mode:o} {}:{} {}.{:09}{linked}{}",
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            attributes(&path)
        ),
    );
    if file_type.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            if relative.as_os_str().is_empty() && name == "lost+found" {
                continue;
            }
            walk(root, &relative.join(name), entries, inodes);
        }
    }
}

/// Extended attributes, access control lists among them.
fn attributes(path: &Path) -> String {
    let mut names = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut names: Vec<&[u8]> = names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.iter().map(|name| format!(" {}={:016x}", name.escape_ascii(), xxh3_64(&xattr(path, name).unwrap()))).collect()
}

/// An extended attribute of the entry itself.
pub fn xattr(path: &Path, name: &[u8]) -> Option<Vec<u8>> {
    let mut value = vec![0; 65536];
    let len = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

pub fn set_xattr(path: &Path, name: &str, value: impl AsRef<[u8]>) {
    rustix::fs::lsetxattr(path, name, value.as_ref(), rustix::fs::XattrFlags::empty()).unwrap();
}

/// The attribute of an access control list that names a user and a group; its mode is 0670.
pub fn acl(may: u8) -> Vec<u8> {
    use doppel_volume::acl::{Rule, Whom, encode};
    let rules = [
        (Whom::Owner, 6),
        (Whom::User(1234), may),
        (Whom::OwningGroup, 4),
        (Whom::Group(77), 1),
        (Whom::Mask, 7),
        (Whom::Other, 0),
    ];
    encode(rules.map(|(whom, may)| Rule { whom, may }).to_vec())
}

pub const ACCESS: &str = "system.posix_acl_access";
pub const DEFAULT: &str = "system.posix_acl_default";

/// Gives entries of [`tree_of_everything`] extended attributes and access control lists, of all lengths and on all kinds;
/// those of the system's programs if we may.
pub fn attributes_of_everything(root: &Path) {
    let privileged = rustix::process::geteuid().is_root();
    let times = describe_times(root);
    for (path, name, value) in [
        ("hello.txt", "user.short", &b"short"[..]),
        ("hello.txt", "user.empty", b""),
        ("hello.txt", "user.32", &[b'x'; 32]),
        ("hello.txt", "user.33", &[b'y'; 33]),
        ("large", "user.short", b"short"),
        ("large", "user.long", &[b'l'; 2000]),
        ("empty", "user.of.a.setuid.file", b"1"),
        ("dir", "user.of a directory \u{1b}", b"2"),
        ("dir/sub", "user.long", &[b'd'; 500]),
        ("", "user.of.the.root", &[b'r'; 100]),
        ("", "user.short", b"short"),
    ] {
        set_xattr(&root.join(path), name, value);
    }
    if privileged {
        for (path, name, value) in [
            ("hello.txt", "trusted.short", &b"t"[..]),
            ("link", "trusted.of.a.link", b"l"),
            ("dir/dangling", "trusted.long.of.a.link", &[b'L'; 300]),
            ("fifo", "trusted.long.of.a.pipe", &[b'P'; 300]),
            // Capabilities of a program: version 2, cap_net_bind_service+ep.
            ("text", "security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ] {
            set_xattr(&root.join(path), name, value);
        }
    }
    set_xattr(&root.join("sparse"), ACCESS, acl(5));
    set_xattr(&root.join("dir-/x"), ACCESS, acl(7));
    set_xattr(&root.join("dir-"), DEFAULT, acl(5));
    set_xattr(&root.join("empty-dir"), ACCESS, acl(5));
    set_xattr(root, DEFAULT, acl(4));
    for (path, seconds, nanoseconds) in times {
        set_time(&path, seconds, nanoseconds);
    }
}

fn describe_times(root: &Path) -> Vec<(PathBuf, i64, i64)> {
    ["large", "text", "link", "dir/sub", ""]
        .map(|path| {
            let metadata = std::fs::symlink_metadata(root.join(path)).unwrap();
            (root.join(path), metadata.mtime(), metadata.mtime_nsec())
        })
        .to_vec()
}

/// Fails with the entries that differ.
pub fn assert_same(source: &Path, destination: &Path) {
    assert_same_but(source, destination, &[]);
}

/// As [`assert_same`], but for these entries.
pub fn assert_same_but(source: &Path, destination: &Path, but: &[&str]) {
    let (source, destination) = (describe(source), describe(destination));
    let mut differences = Vec::new();
    for name in source.keys().chain(destination.keys().filter(|name| !source.contains_key(*name))) {
        let (ours, theirs) = (source.get(name), destination.get(name));
        if ours != theirs && !but.contains(&name.as_str()) {
            differences.push(format!("{name}:\n  source      {ours:?}\n  destination {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Whether the bytes have these among them.
pub fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Bytes that do not compress and do not repeat.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(len)
    .collect()
}

/// A tree of one of everything.
pub fn tree_of_everything(root: &Path) {
    write(&root.join("hello.txt"), "hello\n");
    write(&root.join("empty"), "");
    write(&root.join("dir/sub/deep/file"), noise(5000, 1));
    write(&root.join("large"), noise(900_000, 2));
    write(&root.join("text"), "all work and no play\n".repeat(20_000));
    let mut sparse = noise(10_000, 3);
    sparse.resize(2_000_000, 0);
    sparse.extend(noise(10, 4));
    write(&root.join("sparse"), sparse);
    std::fs::create_dir_all(root.join("empty-dir")).unwrap();
    std::fs::create_dir_all(root.join("dir-")).unwrap();
    write(&root.join("dir-/x"), "x");
    symlink("hello.txt", root.join("link")).unwrap();
    symlink("/etc/passwd", root.join("dir/absolute")).unwrap();
    symlink("../../nowhere", root.join("dir/dangling")).unwrap();
    std::fs::hard_link(root.join("hello.txt"), root.join("dir/hard")).unwrap();
    std::fs::hard_link(root.join("hello.txt"), root.join("zzz-hard")).unwrap();
    make_fifo(&root.join("fifo"));
    odd_names(&root.join("odd"));
    std::fs::set_permissions(root.join("empty"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(root.join("text"), std::fs::Permissions::from_mode(0o400)).unwrap();
    std::fs::set_permissions(root.join("dir-"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    std::fs::set_permissions(root.join("empty-dir"), std::fs::Permissions::from_mode(0o500)).unwrap();
    set_time(&root.join("large"), -1_000_000_000, 1);
    set_time(&root.join("text"), 5_000_000_000, 999_999_999);
    set_time(&root.join("link"), 1_500_000_000, 5);
    set_time(&root.join("dir/sub"), 1_400_000_000, 7);
    set_time(root, 1_300_000_000, 9);
}

pub fn make_fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o640), 0)
        .unwrap();
}

/// Names that programs stumble over.
pub fn odd_names(root: &Path) {
    use std::ffi::OsStr;
    let names: [&[u8]; 11] = [
        b"new\nline",
        b"esc\x1b[31m",
        b"\xff\xfe invalid",
        b"-rf",
        b" leading and trailing ",
        b"#hash",
        b"back\\slash",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
        b"...",
        &[b'n'; 255],
    ];
    for name in names {
        write(&root.join(OsStr::from_bytes(name)), name);
    }
    let mut deep = root.to_path_buf();
    for _ in 0..60 {
        deep.push("d");
    }
    write(&deep.join("file"), "deep");
}

/// Both ends of a connection, which fail when the other is silent for long.
pub fn pair() -> (Connection<UnixStream, UnixStream>, Connection<UnixStream, UnixStream>) {
    let (a, b) = UnixStream::pair().unwrap();
    (connection(a), connection(b))
}

fn connection(stream: UnixStream) -> Connection<UnixStream, UnixStream> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    Connection { reader: stream.try_clone().unwrap(), writer: stream }
}

/// Sends one tree to another, Doppel to Doppel; what each end says of it.
pub fn sync_with(
    source: &Path,
    destination: &Path,
    (at_source, at_destination): (EmptySource, EmptySource),
) -> (Result<Pushed, Error>, Result<Served, Error>) {
    let (client, server) = pair();
    let destination = destination.to_path_buf();
    let serving = std::thread::spawn(move || {
        let tree = Tree::open(&destination).unwrap();
        serve(server, &Modules::new(&tree, at_destination), &Silent)
    });
    let tree = Tree::open(source).unwrap();
    let pushed =
        push(client, &tree, &PushOptions { empty_source: at_source, verification: Verification::None }, &Silent);
    (pushed, serving.join().unwrap())
}

/// As [`sync_with`], where all goes well.
pub fn sync(source: &Path, destination: &Path) -> (Outcome, Outcome) {
    let (pushed, served) = sync_with(source, destination, (EmptySource::Refuse, EmptySource::Refuse));
    let Served::Data(served) = served.unwrap() else { panic!("it served something else") };
    (pushed.unwrap().outcome, served)
}

/// An empty directory, in memory where that can be had: the tests are not about the disk.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Two empty directories.
pub fn two() -> (tempfile::TempDir, tempfile::TempDir) {
    (directory(), directory())
}

/// A path that is not yet there, in a directory that goes away.
pub fn within(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    directory.path().join(name)
}
