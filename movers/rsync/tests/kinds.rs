//! What is kept of entries of all kinds, and what of a tree is not part of it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::push::{PushOptions, push};
use doppel_rsync::serve::Served;
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use rustix::fs::{CWD, Mode, OFlags};
use support::programs::Rsync;
use support::stock::{Daemon, rsync, with_doppel_daemon};
use support::{assert_same, noise, set_time, sync, two, write};

const OPTIONS: PushOptions = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };
const MIB: u64 = 1 << 20;

/// Bytes that the file really takes.
fn allocated(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn a_large_hole_arrives_as_a_hole_in_a_new_file_and_in_one_that_changes() {
    let (source, destination) = two();
    let (from, to) = (source.path().join("image"), destination.path().join("image"));
    write(&from, noise(100_000, 1));
    let file = std::fs::File::options().write(true).open(&from).unwrap();
    file.write_all_at(&noise(100_000, 2), 100 * MIB).unwrap();
    file.set_len(150 * MIB).unwrap();
    set_time(&from, 1_500_000_000, 1);
    sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    assert!(allocated(&to) < MIB, "{}", allocated(&to));
    // Data becomes a hole, and another piece of the hole data; the rest comes from the old file.
    file.write_all_at(&vec![0; 100_000], 100 * MIB).unwrap();
    file.write_all_at(&noise(5000, 3), 30 * MIB).unwrap();
    set_time(&from, 1_500_000_000, 2);
    let (pushed, _) = sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    assert!(allocated(&to) < MIB, "{}", allocated(&to));
    assert!(pushed.tally.literal_bytes < MIB, "{:?}", pushed.tally);
}

#[test]
fn holes_are_made_of_what_rsync_sends() {
    let (source, destination) = two();
    write(&source.path().join("image"), noise(10_000, 1));
    std::fs::File::options().write(true).open(source.path().join("image")).unwrap().set_len(20 * MIB).unwrap();
    let from = format!("{}/", source.path().display());
    let (output, _) = with_doppel_daemon(destination.path(), 1, EmptySource::Refuse, |url| {
        rsync(&["-aS", "--numeric-ids"], &[&from, &format!("{url}/data")])
    });
    assert!(output.status.success(), "{output:?}");
    assert_same(source.path(), destination.path());
    assert!(allocated(&destination.path().join("image")) < MIB);
}

/// Makes nested directories whose path beneath `root` has `len` bytes; the innermost one.
fn make_deep(root: &Path, len: usize) -> OwnedFd {
    let mut directory = rustix::fs::openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut left = len;
    while left > 0 {
        // No name of one byte is to be left, for there would be no room for its slash.
        let name = "d".repeat(if left > 202 { 200 } else { left });
        left = left.saturating_sub(name.len() + 1);
        rustix::fs::mkdirat(&directory, &*name, Mode::RWXU).unwrap();
        directory = rustix::fs::openat(&directory, &*name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    directory
}

fn make_file(directory: &OwnedFd, name: &str, content: &[u8]) {
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)).unwrap();
    assert_eq!(rustix::io::write(file, content).unwrap(), content.len());
}

fn read_deep(root: &Path, len: usize, name: &str) -> Option<Vec<u8>> {
    let mut directory = rustix::fs::openat(CWD, root, OFlags::PATH, Mode::empty()).unwrap();
    let mut left = len;
    while left > 0 {
        let component = "d".repeat(if left > 202 { 200 } else { left });
        left = left.saturating_sub(component.len() + 1);
        directory = rustix::fs::openat(&directory, &*component, OFlags::PATH, Mode::empty()).ok()?;
    }
    let file = rustix::fs::openat(&directory, name, OFlags::RDONLY, Mode::empty()).ok()?;
    let mut content = vec![0; 100];
    let len = rustix::io::read(file, &mut content).unwrap();
    content.truncate(len);
    Some(content)
}

/// The kernel takes paths of up to this many bytes.
const LONGEST: usize = 4095;

#[test]
fn the_longest_path_arrives_and_a_longer_one_is_left_out_by_name() {
    let (source, destination) = two();
    // Room for a slash and four bytes.
    let directory = make_deep(source.path(), LONGEST - 5);
    make_file(&directory, "four", b"the longest");
    make_file(&directory, "fives", b"one byte longer");
    rustix::fs::mkdirat(&directory, "directory", Mode::RWXU).unwrap();
    write(&source.path().join("short"), "x");
    write(&destination.path().join("extra"), "x");
    let (pushed, served) = sync(source.path(), destination.path());
    for outcome in [&pushed, &served] {
        assert_eq!(outcome.left_out.count, 2, "{outcome:?}");
        assert!(outcome.left_out.first[0].path.as_str().starts_with("ddd"), "{outcome:?}");
    }
    let why = pushed.left_out.first[0].why.as_str();
    assert!(why.contains("4096 bytes"), "{why}");
    assert_eq!(read_deep(destination.path(), LONGEST - 5, "four").as_deref(), Some(&b"the longest"[..]));
    assert_eq!(read_deep(destination.path(), LONGEST - 5, "fives"), None);
    assert_eq!(std::fs::read(destination.path().join("short")).unwrap(), b"x");
    assert!(destination.path().join("extra").exists(), "nothing is deleted when something could not be sent");
}

#[test]
fn a_longer_path_than_rsyncs_daemon_takes_breaks_no_run() {
    let (source, destination) = two();
    let directory = make_deep(source.path(), LONGEST - 5);
    make_file(&directory, "fives", b"one byte longer");
    write(&source.path().join("short"), "x");
    let daemon = Daemon::start(Rsync::Installed, destination.path(), false, "");
    let outcome = push(daemon.connect(), &Tree::open(source.path()).unwrap(), &OPTIONS, &Silent).unwrap().outcome;
    assert!(outcome.left_out.count >= 1, "{outcome:?}");
    assert_eq!(std::fs::read(destination.path().join("short")).unwrap(), b"x");
}

#[test]
fn a_new_name_of_an_old_file_is_a_link_of_it_whatever_its_place_in_the_list() {
    for new in ["a-before", "z-after", "d/beneath"] {
        let (source, destination) = two();
        write(&source.path().join("old"), noise(100_000, 1));
        std::fs::create_dir(source.path().join("d")).unwrap();
        sync(source.path(), destination.path());
        let inode = std::fs::metadata(destination.path().join("old")).unwrap().ino();
        std::fs::hard_link(source.path().join("old"), source.path().join(new)).unwrap();
        let (pushed, _) = sync(source.path(), destination.path());
        assert_same(source.path(), destination.path());
        let after = std::fs::metadata(destination.path().join("old")).unwrap();
        assert_eq!((after.ino(), after.nlink()), (inode, 2));
        assert_eq!(pushed.tally.files_sent, 0, "the content is there: {new}");
    }
}

struct Mount<'p>(&'p Path);

impl<'p> Mount<'p> {
    fn new(path: &'p Path) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(path).status().unwrap();
        assert!(mounted.success(), "this test mounts a file system: run it as root");
        Self(path)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn another_file_system_is_neither_sent_nor_deleted() {
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    std::fs::create_dir(source.path().join("mounted")).unwrap();
    write(&destination.path().join("mounted/kept"), "x");
    write(&destination.path().join("extra"), "x");
    let place = source.path().join("mounted");
    let _mount = Mount::new(&place);
    write(&place.join("of another"), "x");
    let (pushed, served) = sync(source.path(), destination.path());
    assert!(pushed.left_out.is_empty() && served.left_out.is_empty(), "{pushed:?} {served:?}");
    assert!(!destination.path().join("mounted/of another").exists());
    assert!(destination.path().join("mounted/kept").exists(), "what is beneath it is not known");
    assert!(!destination.path().join("extra").exists());
}

#[test]
fn a_file_system_that_is_mounted_in_the_destination_is_not_deleted_and_that_is_said() {
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    std::fs::create_dir(destination.path().join("mounted")).unwrap();
    let place = destination.path().join("mounted");
    let _mount = Mount::new(&place);
    write(&place.join("precious"), "x");
    let (pushed, served) = sync(source.path(), destination.path());
    for outcome in [&pushed, &served] {
        assert_eq!(outcome.left_out.count, 1, "{outcome:?}");
        assert_eq!(outcome.left_out.first[0].path.as_str(), "mounted");
    }
    assert!(place.join("precious").exists());
}

#[test]
fn lost_and_found_of_the_root_alone_is_left_alone() {
    let (source, destination) = two();
    write(&source.path().join("lost+found/of the source's file system"), "x");
    write(&source.path().join("d/lost+found/data"), "x");
    write(&destination.path().join("lost+found/of the destination's file system"), "x");
    write(&destination.path().join("d/lost+found/extra"), "x");
    sync(source.path(), destination.path());
    assert!(destination.path().join("lost+found/of the destination's file system").exists());
    assert!(!destination.path().join("lost+found/of the source's file system").exists());
    assert!(destination.path().join("d/lost+found/data").exists());
    assert!(!destination.path().join("d/lost+found/extra").exists());
}

#[test]
fn devices_and_sockets_are_made_and_none_is_opened() {
    assert!(rustix::process::geteuid().is_root(), "this test makes device nodes: run it as root");
    let (source, destination) = two();
    for (name, kind, number) in [
        ("null", rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("block", rustix::fs::FileType::BlockDevice, rustix::fs::makedev(259, 70_000)),
        ("socket", rustix::fs::FileType::Socket, 0),
        ("pipe", rustix::fs::FileType::Fifo, 0),
    ] {
        rustix::fs::mknodat(CWD, source.path().join(name), kind, Mode::from_raw_mode(0o620), number).unwrap();
        std::fs::hard_link(source.path().join(name), source.path().join(format!("{name}-link"))).unwrap();
    }
    for _ in 0..2 {
        let (pushed, served) = sync(source.path(), destination.path());
        assert!(pushed.left_out.is_empty() && served.left_out.is_empty(), "{pushed:?} {served:?}");
        assert!(pushed.remarks.is_empty() && served.remarks.is_empty(), "{pushed:?} {served:?}");
        assert_same(source.path(), destination.path());
    }
    // And with rsync, in both roles.
    let from = format!("{}/", source.path().display());
    let destination = support::directory();
    let (output, served) = with_doppel_daemon(destination.path(), 1, EmptySource::Refuse, |url| {
        rsync(&["-aH", "--numeric-ids"], &[&from, &format!("{url}/data")])
    });
    assert!(output.status.success() && matches!(&served[0], Ok(Served::Data(_))), "{output:?} {served:?}");
    assert_same(source.path(), destination.path());
    let destination = support::directory();
    let daemon = Daemon::start(Rsync::Installed, destination.path(), false, "");
    push(daemon.connect(), &Tree::open(source.path()).unwrap(), &OPTIONS, &Silent).unwrap();
    assert_same(source.path(), destination.path());
}
