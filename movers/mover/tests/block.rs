//! Block devices, with a Doppel or with VolSync at the other end.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::fs;
use std::num::NonZeroU16;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use doppel_contract::{
    EmptySource, Report, Request, RsyncTlsDestination, RsyncTlsSource, Verdict, Verification, Volume, Work,
};
use support::diskrsync::{Source, Target};
use support::proxy::{Proxy, Then};
use support::tree::{noise, write};
use support::*;

const MIB: usize = 1 << 20;

/// Around a block, a leaf and every number of levels of diskrsync's tree.
const SIZES: [usize; 10] =
    [1, 4096, 131_072, 131_073, 300_001, MIB, 8 * MIB - 1, 8 * MIB, 17 * MIB + 512, 40 * MIB + 12_345];

/// A file that stands for a device.
fn device(stage: &Stage, name: &str, content: &[u8]) -> PathBuf {
    let path = stage.path(name);
    fs::write(&path, content).unwrap();
    path
}

/// Data, changes and zeros, in a device of this size.
fn mixed(size: usize, seed: u32) -> Vec<u8> {
    let mut content = noise(size, 1);
    let third = size / 3;
    content[third..third + size / 10].copy_from_slice(&noise(size / 10, seed));
    content[size - size / 5..size - size / 10].fill(0);
    content
}

fn edit(path: &Path, offset: u64, bytes: &[u8]) {
    fs::File::options().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

#[track_caller]
fn assert_equal(from: &Path, to: &Path) {
    assert!(fs::read(from).unwrap() == fs::read(to).unwrap(), "{} differs from {}", to.display(), from.display());
}

/// Both of ours, over files or devices.
#[track_caller]
fn copy_device(stage: &Stage, from: &Path, to: &Path) -> (Report, Report) {
    let port = free_port();
    let destination = stage.device_destination(to, port, &[]);
    let source = stage.device_source(from, port, &[]).end();
    (source.expect_complete().clone(), destination.end().expect_complete().clone())
}

#[test]
fn a_volsync_destination_gets_devices_of_every_size() {
    let stage = Stage::new();
    for size in SIZES {
        let from = device(&stage, "from", &mixed(size, 2));
        let to = device(&stage, "to", &mixed(size, 3));
        for round in 0..2 {
            let target = Target::start(&stage, &to);
            let ended = stage.device_source(&from, target.port, &[]).end();
            let report = ended.expect_complete();
            assert!(target.succeeds(), "{size}");
            assert_equal(&from, &to);
            assert_eq!((report.tally.bytes, report.tally.devices), (size as u64, 1));
            assert!(round == 0 || report.tally.literal_bytes == 0, "{size}: {report:?}");
        }
    }
}

#[test]
fn a_volsync_source_fills_our_device_of_every_size_and_ends_our_run() {
    let stage = Stage::new();
    for size in SIZES {
        let from = device(&stage, "from", &mixed(size, 2));
        let to = device(&stage, "to", &mixed(size, 3));
        for round in 0..2 {
            let port = free_port();
            let mut destination = stage.device_destination(&to, port, &[]);
            destination.wait_for("Waiting for a source");
            // Its stunnel stays until the last bytes have gone through it.
            let source = Source::start(&stage, &from, port);
            let output = source.sync();
            assert!(output.status.success(), "{size}: {output:?}");
            let ended = destination.end();
            let report = ended.expect_complete();
            assert_equal(&from, &to);
            assert!(round == 0 || report.tally.matched_bytes == size as u64, "{size}: {report:?}");
        }
    }
}

#[test]
fn two_of_ours_find_each_other_and_send_no_more_than_what_changed() {
    let stage = Stage::new();
    let from = device(&stage, "from", &noise(32 * MIB, 1));
    let to = device(&stage, "to", &vec![0; 32 * MIB]);
    let (source, destination) = copy_device(&stage, &from, &to);
    assert_equal(&from, &to);
    assert_eq!(source.tally.literal_bytes, 32 * MIB as u64);
    assert_eq!(
        (source.tally.wire_sent, source.tally.wire_received),
        (destination.tally.wire_received, destination.tally.wire_sent)
    );
    edit(&from, 5 * MIB as u64 + 77, &[9; 1000]);
    let (source, destination) = copy_device(&stage, &from, &to);
    assert_equal(&from, &to);
    // A block of theirs, not a leaf of diskrsync's.
    assert_eq!(source.tally.literal_bytes, 16 << 10, "{source:?}");
    assert_eq!(destination.tally.read_bytes, 32 * MIB as u64);
    let wire = source.tally.wire_sent + source.tally.wire_received;
    assert!(wire < 32 * MIB as u64 / 16_384 * 17 + 17_000, "{wire}");
}

#[test]
fn a_pod_is_told_of_a_device_and_reports_on_it() {
    let stage = Stage::new();
    let (from, to) = (device(&stage, "from", &noise(MIB, 1)), device(&stage, "to", &noise(MIB, 2)));
    let port = NonZeroU16::new(free_port()).unwrap();
    let (key_file, empty_source) = (stage.key_file(), EmptySource::Refuse);
    let destination = Work::RsyncTlsDestination(RsyncTlsDestination { port, key_file: key_file.clone(), empty_source });
    let source = Work::RsyncTlsSource(RsyncTlsSource {
        address: "localhost".into(),
        port,
        key_file,
        empty_source,
        verification: Verification::None,
    });
    let run = |role: &str, device: &Path, work| {
        stage.run(
            role,
            &Request { volume: Volume::device(device), work, deadline_seconds: None, progress_port: None },
            &stage.path(role),
        )
    };
    let (destination, source) = (run("destination", &to, destination), run("source", &from, source));
    for (ended, file) in [(source.end(), "source"), (destination.end(), "destination")] {
        let report = Report::from_termination_message(&fs::read_to_string(stage.path(file)).unwrap()).unwrap();
        assert_eq!(&report, ended.expect_complete());
        assert_eq!((report.tally.entries, report.tally.devices, report.tally.bytes), (1, 1, MIB as u64));
    }
    assert_equal(&from, &to);
}

#[test]
fn a_destination_that_is_too_small_is_refused_before_anything_is_written_and_both_sizes_are_named() {
    let stage = Stage::new();
    let from = device(&stage, "from", &noise(2 * MIB, 1));
    let to = device(&stage, "to", &noise(MIB, 2));
    let before = fs::read(&to).unwrap();
    let named = |message: &str| message.contains("1048576 bytes") && message.contains("2097152");
    let port = free_port();
    let mut destination = stage.device_destination(&to, port, &[]);
    let ended = stage.device_source(&from, port, &[]).end();
    assert!(named(ended.expect_failure(11)), "{}", ended.said);
    destination.wait_for("nothing was written");
    assert!(!Source::start(&stage, &from, port).sync().status.success());
    assert!(destination.is_running() && named(&destination.said()), "{}", destination.said());

    let target = Target::start(&stage, &to);
    let ended = stage.device_source(&from, target.port, &[]).end();
    assert!(named(ended.expect_failure(11)), "{}", ended.said);
    assert!(!target.succeeds());
    assert_eq!(fs::read(&to).unwrap(), before);
}

#[test]
fn a_destination_that_is_larger_says_so_and_is_a_success() {
    let stage = Stage::new();
    let from = device(&stage, "from", &noise(MIB, 1));
    let to = device(&stage, "to", &noise(MIB + 5, 2));
    let (_, destination) = copy_device(&stage, &from, &to);
    assert!(destination.remarks.first[0].why.as_str().contains("is 5 bytes larger than the source"), "{destination:?}");
    assert_equal(&from, &to);
    let to = device(&stage, "to", &noise(MIB + 5, 2));
    let target = Target::start(&stage, &to);
    stage.device_source(&from, target.port, &[]).end().expect_complete();
    assert!(target.succeeds());
    assert_equal(&from, &to);
}

#[test]
fn a_source_of_zeros_wipes_nothing() {
    let stage = Stage::new();
    let from = device(&stage, "from", &vec![0; MIB]);
    let to = device(&stage, "to", &noise(MIB, 2));
    let before = fs::read(&to).unwrap();
    let port = free_port();
    let mut destination = stage.device_destination(&to, port, &[]);
    for more in [&[][..], &["--allow-empty-source"]] {
        let ended = stage.device_source(&from, port, more).end();
        assert!(ended.expect_failure(11).contains("nothing but zeros"), "{}", ended.said);
    }
    assert!(destination.is_running());
    destination.kill();
    let target = Target::start(&stage, &to);
    let ended = stage.device_source(&from, target.port, &[]).end();
    assert!(ended.expect_failure(11).contains("nothing but zeros"), "{}", ended.said);
    assert!(!target.succeeds());
    assert_eq!(fs::read(&to).unwrap(), before);

    let destination = stage.device_destination(&to, port, &["--allow-empty-source"]);
    stage.device_source(&from, port, &["--allow-empty-source"]).end().expect_complete();
    destination.end().expect_complete();
    assert_equal(&from, &to);
}

#[test]
fn files_at_one_end_and_a_device_at_the_other_are_told_apart() {
    let stage = Stage::new();
    let tree = stage.volume("tree");
    write(&tree, "a", b"1");
    let disk = device(&stage, "disk", &noise(MIB, 1));
    let port = free_port();
    let mut destination = stage.destination(&tree, port, &[]);
    let ended = stage.device_source(&disk, port, &[]).end();
    assert!(ended.expect_failure(11).contains("volumeMode"), "{}", ended.said);
    assert!(destination.is_running());
    destination.kill();
    let mut destination = stage.device_destination(&disk, port, &[]);
    let mut source = stage.source(&tree, port, &[]);
    source.wait_for("replicates a block device");
    assert!(destination.is_running());
}

#[test]
fn a_session_that_is_killed_or_cut_at_any_byte_is_completed_by_the_next() {
    let stage = Stage::new();
    let from = device(&stage, "from", &noise(4 * MIB, 1));
    let before = noise(4 * MIB, 2);
    for stop_at in [300, 10_000, 1_000_000, 3_000_000] {
        let to = device(&stage, "to", &before);
        let port = free_port();
        let mut destination = stage.device_destination(&to, port, &[]);
        destination.wait_for("Waiting for a source");
        let proxy = Proxy::start(port, stop_at);
        let source = stage.device_source(&from, proxy.port, &[]);
        proxy.wait();
        source.kill();
        proxy.then(Then::Cut);
        let ended = stage.device_source(&from, port, &[]).end();
        let literal = ended.expect_complete().tally.literal_bytes;
        assert!(
            literal <= 4 * MIB as u64 && (stop_at < MIB as u64 * 2 || literal < 3 * MIB as u64),
            "{stop_at}: {literal}"
        );
        destination.end().expect_complete();
        assert_equal(&from, &to);
    }
}

#[test]
fn a_destination_that_is_killed_is_met_again_when_it_is_back() {
    let stage = Stage::new();
    let from = device(&stage, "from", &noise(4 * MIB, 1));
    let to = device(&stage, "to", &noise(4 * MIB, 2));
    let port = free_port();
    let destination = stage.device_destination(&to, port, &[]);
    let proxy = Proxy::start(port, 1_000_000);
    let source = stage.device_source(&from, proxy.port, &[]);
    proxy.wait();
    destination.kill();
    proxy.then(Then::Cut);
    let destination = stage.device_destination(&to, port, &[]);
    source.end().expect_complete();
    destination.end().expect_complete();
    assert_equal(&from, &to);
}

#[test]
fn a_volsync_source_that_is_killed_leaves_our_destination_waiting_for_the_next() {
    let stage = Stage::new();
    let from = device(&stage, "from", &noise(8 * MIB, 1));
    let to = device(&stage, "to", &noise(8 * MIB, 2));
    let port = free_port();
    let mut destination = stage.device_destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let source = Source::start(&stage, &from, port);
    let proxy = Proxy::start(source.front, 2_000_000);
    let mut attempt = source.attempt(proxy.port);
    proxy.wait();
    attempt.kill().unwrap();
    attempt.wait().unwrap();
    proxy.then(Then::Cut);
    destination.wait_for("the peer closed the connection before");
    assert!(destination.is_running());
    assert!(source.sync().status.success());
    destination.end().expect_complete();
    assert_equal(&from, &to);
}

#[test]
fn a_device_without_room_is_named_by_both_ends() {
    let stage = Stage::new();
    let from = device(&stage, "from", &noise(8 * MIB, 1));
    let small = stage.volume("small");
    let _mount = Mount::tmpfs(&small, "2m");
    let to = small.join("to");
    fs::File::create(&to).unwrap().set_len(8 * MIB as u64).unwrap();
    let port = free_port();
    let destination = stage.device_destination(&to, port, &[]);
    let mut source = stage.device_source(&from, port, &[]);
    let ended = destination.end();
    let message = ended.expect_failure(10);
    assert!(message.contains("write") && message.contains("No space left on device"), "{message}");
    source.wait_for("the peer failed: write");
}

/// A block device, until it is dropped. Needs root.
struct Loop(PathBuf);

impl Loop {
    fn over(file: &Path) -> Self {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().unwrap();
        assert!(output.status.success(), "losetup needs root: {output:?}");
        Self(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn real_devices_become_equal_holes_included_and_none_is_taken_that_is_in_use() {
    let stage = Stage::new();
    let mut content = noise(16 * MIB, 1);
    content[4 * MIB..12 * MIB].fill(0);
    let (from, to) = (device(&stage, "from", &content), device(&stage, "to", &noise(20 * MIB, 2)));
    let (source, destination) = (Loop::over(&from), Loop::over(&to));
    let (report, received) = copy_device(&stage, &source.0, &destination.0);
    let mut copied = fs::read(&destination.0).unwrap();
    assert_eq!(copied.split_off(16 * MIB), noise(20 * MIB, 2)[16 * MIB..]);
    assert!(copied == content);
    assert_eq!(report.tally.zeroed_bytes, 8 * MIB as u64);
    assert!(received.remarks.first[0].why.as_str().contains("was left as it is"), "{received:?}");
    // The zeros went through the device to the file as a hole.
    let stored = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&to).unwrap()) * 512;
    assert!(stored < 14 * MIB as u64, "{stored}");

    let target = Target::start(&stage, &destination.0);
    edit(&source.0, 1000, b"changed");
    stage.device_source(&source.0, target.port, &[]).end().expect_complete();
    assert!(target.succeeds());
    assert!(fs::read(&destination.0).unwrap()[..16 * MIB] == fs::read(&source.0).unwrap());

    let place = stage.volume("mounted");
    assert!(Command::new("mkfs.ext4").arg("-q").arg(&destination.0).status().unwrap().success());
    assert!(Command::new("mount").arg(&destination.0).arg(&place).status().unwrap().success());
    let ended = stage.device_destination(&destination.0, free_port(), &[]).end();
    assert!(Command::new("umount").arg(&place).status().unwrap().success());
    assert!(ended.expect_failure(10).contains("it is in use"), "{}", ended.said);
}

#[test]
fn a_device_that_cannot_be_opened_is_named() {
    let stage = Stage::new();
    for (path, expected) in [
        (stage.path("absent"), "No such file or directory"),
        (stage.volume("folder"), "neither a block device nor a regular file"),
    ] {
        for ended in [
            stage.device_source(&path, free_port(), &[]).end(),
            stage.device_destination(&path, free_port(), &[]).end(),
        ] {
            assert!(ended.expect_failure(11).contains(expected), "{}", ended.said);
            assert!(!matches!(ended.report().verdict, Verdict::Complete));
        }
    }
}
