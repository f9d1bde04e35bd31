//! Runs that are cut short at points swept over a whole transfer, and movers that get in each other's way: whatever is
//! there is whole, and the next run completes it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use doppel_contract::Phase;
use support::away::Away;
use support::proxy::{Proxy, Then};
use support::tree::{assert_same, noise, plant, write};
use support::*;

/// So many points of a transfer, and so many of them at a time: most of a run's time is pauses between attempts.
const POINTS: u64 = 10;
const AT_A_TIME: usize = 5;

/// A new version of a tree, and a destination that has the old one.
fn versions(stage: &Stage) -> (std::path::PathBuf, std::path::PathBuf) {
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    for (root, seed) in [(&to, 1), (&from, 2)] {
        plant(root);
        write(root, "big", &[noise(500_000, 1), noise(500_000, seed)].concat());
        for number in 0..20 {
            write(root, &format!("changed/f{number}"), &noise(5_000, 100 * seed + number));
        }
    }
    write(&to, "stale/deep/file", b"of an earlier life");
    write(&from, "fresh/deep/file", &noise(50_000, 9));
    (from, to)
}

/// The content of every file.
fn contents(root: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let (mut all, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                open.push(path);
            } else if metadata.is_file() {
                all.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Every file is the whole old one or the whole new one; only temporary files are anything else.
fn assert_whole(to: &Path, old: &BTreeMap<std::path::PathBuf, Vec<u8>>, new: &BTreeMap<std::path::PathBuf, Vec<u8>>) {
    for (path, content) in contents(to) {
        let temporary = path.file_name().unwrap().to_string_lossy().starts_with(".doppel-tmp.");
        let whole = old.get(&path) == Some(&content) || new.get(&path) == Some(&content);
        assert!(whole || temporary, "{} is neither old nor new", path.display());
    }
}

/// Bytes that a source sends for these versions.
fn size_of_transfer() -> u64 {
    let stage = Stage::new();
    let (from, to) = versions(&stage);
    copy(&stage, &from, &to).0.tally.wire_sent
}

/// Runs `interrupt` at points over a whole transfer, several at a time.
fn sweep(interrupt: impl Fn(u64) + Sync) {
    let total = size_of_transfer();
    let points: Vec<u64> = (1..=POINTS).map(|point| 400 + total * point / (POINTS + 1)).collect();
    for some in points.chunks(AT_A_TIME) {
        std::thread::scope(|scope| {
            for point in some {
                scope.spawn(|| interrupt(*point));
            }
        });
    }
}

#[test]
fn a_source_that_is_killed_at_any_point_leaves_whole_files_and_the_next_one_completes() {
    sweep(|point| {
        let stage = Stage::new();
        let (from, to) = versions(&stage);
        let (old, new) = (contents(&to), contents(&from));
        let port = free_port();
        let mut destination = stage.destination(&to, port, &[]);
        destination.wait_for("Waiting for a source");
        let proxy = Proxy::start(port, point);
        let source = stage.source(&from, proxy.port, &[]);
        proxy.wait();
        source.kill();
        proxy.then(Then::Cut);
        destination.wait_for("A session failed");
        assert_whole(&to, &old, &new);
        stage.source(&from, port, &[]).end().expect_complete();
        destination.end().expect_complete();
        assert_same(&from, &to);
    });
}

#[test]
fn a_destination_that_is_killed_at_any_point_leaves_whole_files_and_the_next_one_completes() {
    sweep(|point| {
        let stage = Stage::new();
        let (from, to) = versions(&stage);
        let (old, new) = (contents(&to), contents(&from));
        let port = free_port();
        let mut destination = stage.destination(&to, port, &[]);
        destination.wait_for("Waiting for a source");
        let proxy = Proxy::start(port, point);
        let source = stage.source(&from, proxy.port, &[]);
        proxy.wait();
        destination.kill();
        assert_whole(&to, &old, &new);
        let destination = stage.destination(&to, port, &[]);
        proxy.then(Then::GoOn);
        source.end().expect_complete();
        destination.end().expect_complete();
        assert_same(&from, &to);
    });
}

#[test]
fn a_connection_that_is_reset_at_any_point_is_made_again_and_files_are_whole() {
    sweep(|point| {
        let stage = Stage::new();
        let (from, to) = versions(&stage);
        let (old, new) = (contents(&to), contents(&from));
        let port = free_port();
        let mut destination = stage.destination(&to, port, &[]);
        let proxy = Proxy::start(port, point);
        let mut source = stage.source(&from, proxy.port, &[]);
        proxy.wait();
        proxy.then(Then::Reset);
        source.wait_for("Will try again");
        destination.wait_for("A session failed");
        assert_whole(&to, &old, &new);
        let ended = source.end();
        ended.expect_complete();
        destination.end().expect_complete();
        assert_same(&from, &to);
    });
}

#[test]
fn of_two_sources_that_overlap_one_is_let_in_and_the_other_waits_its_turn() {
    // The old pod of a source and its successor, with the volume as it was then and as it is now.
    let stage = Stage::new();
    let (from, to) = versions(&stage);
    let before = stage.volume("before");
    plant(&before);
    write(&before, "big", &noise(3_000_000, 7));
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let proxy = Proxy::start(port, 1_000_000);
    let old = stage.source(&before, proxy.port, &[]);
    proxy.wait();
    // While the old one is in the middle of its work nobody else writes.
    let mut new = stage.source(&from, port, &[]);
    new.wait_for("another source is being received");
    assert!(!to.join("fresh").exists(), "the second source was let in as well");
    old.kill();
    proxy.then(Then::Cut);
    let ended = new.end();
    ended.expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
}

#[test]
fn a_source_that_lost_its_network_without_a_word_does_not_keep_out_its_successor() {
    let stage = Stage::new();
    let (from, to) = versions(&stage);
    write(&from, "large", &noise(8_000_000, 8));
    let away = Away::new(8);
    let port = free_port();
    let destination = stage.destination(&to, port, &[]);
    wait_for_port(port);
    let mut command = away.command(env!("CARGO_BIN_EXE_doppel-mover"));
    command.args(["rsync-tls", "source", "--address", &away.address, "--port", &port.to_string()]);
    command.arg("--volume").arg(&from).arg("--key-file").arg(stage.key_file());
    let lost = stage.start("source", command);
    let receives = || destination.progress().last().is_some_and(|progress| progress.phase == Phase::Transferring);
    wait_until("the transfer", receives);
    away.fall_silent();
    lost.kill();
    // Left alone it would be taken for a source that thinks, for ten minutes.
    let successor = stage.source(&from, port, &[]).end();
    successor.expect_complete();
    assert!(successor.said.contains("another source is being received"), "{}", successor.said);
    destination.end().expect_complete();
    assert_same(&from, &to);
}

#[test]
fn both_movers_start_again_at_once_and_meet() {
    let stage = Stage::new();
    let (from, to) = versions(&stage);
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let proxy = Proxy::start(port, 600_000);
    let source = stage.source(&from, proxy.port, &[]);
    proxy.wait();
    source.kill();
    destination.kill();
    // Whoever is first waits for the other.
    let source = stage.source(&from, port, &[]);
    let destination = stage.destination(&to, port, &[]);
    source.end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
}

#[test]
fn a_destination_without_inodes_is_named_and_goes_on_when_it_has_some() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    for number in 0..100 {
        write(&from, &format!("f{number}"), b"content");
    }
    let volume = Mount::tmpfs_with(&to, "size=20m,nr_inodes=50");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    let ended = stage.source(&from, port, &[]).end();
    assert!(ended.code == Some(3) && ended.said.contains("No space left"), "{}", ended.said);
    for entry in fs::read_dir(&to).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.file_name().to_string_lossy().starts_with('f'), "{:?}", entry.file_name());
        assert_eq!(entry.metadata().unwrap().size(), 7, "a file under its name is whole");
    }
    assert!(destination.is_running());
    volume.remount("size=20m,nr_inodes=500");
    stage.source(&from, port, &[]).end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
}
