//! A racer that swaps directories and files for links to what is beside the volume, 10^5 times and more, while
//! synchronizations run: whatever they come to, nothing there is changed, and nothing there is read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use doppel_contract::EmptySource;
use rustix::fs::{Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with};
use support::wire::{Cage, SECRET};
use support::{contains, describe, noise, sync_with, write};

/// At least so many swaps, and at least so many synchronizations.
const SWAPS: u64 = 100_000;
const ROUNDS: u64 = 8;

const DIRECTORIES: usize = 8;
const FILES: usize = 6;

const REFUSE: (EmptySource, EmptySource) = (EmptySource::Refuse, EmptySource::Refuse);

fn directory(number: usize) -> String {
    format!("d{number}")
}

/// A tree in which everything has a namesake outside.
fn tree(root: &Path, round: u64) {
    for d in 0..DIRECTORIES {
        for f in 0..FILES {
            let path = root.join(directory(d)).join(format!("sub/f{f}"));
            // Of the same length as what is outside, so that nothing gives a swap away too early.
            write(&path, noise(SECRET.len(), round * 100 + f as u64));
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600 + u32::try_from(round % 8).unwrap()))
                .unwrap();
        }
        let mode = if round.is_multiple_of(2) { 0o755 } else { 0o1777 };
        std::fs::set_permissions(root.join(directory(d)), PermissionsExt::from_mode(mode)).unwrap();
    }
    write(&root.join("top"), noise(SECRET.len(), round));
}

/// What links lead to: the same names, with the secret in every file, and something that is only there.
fn outside(canary: &Path) {
    for f in 0..FILES {
        write(&canary.join(format!("sub/f{f}")), SECRET);
    }
    write(&canary.join("only-outside/file"), SECRET);
}

/// Everything of a tree, with the times of the last change of any attribute, which nobody can set back.
fn whole(root: &Path) -> (BTreeMap<String, String>, Vec<(i64, i64)>) {
    let entries = describe(root);
    let changed = entries.keys().map(|path| {
        let metadata = root.join(path).symlink_metadata().unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    });
    let changed = changed.collect();
    (entries, changed)
}

/// Swaps each of `victims` beneath `root` for a link to its namesake outside and back, until it is told to stop. The links
/// wait in the root's `lost+found`, which no synchronization touches.
fn race(root: &Path, victims: &[(PathBuf, PathBuf)], stop: &AtomicBool, swaps: &AtomicU64) {
    let bench = root.join("lost+found");
    std::fs::create_dir_all(&bench).unwrap();
    let (top, hold) = (std::fs::File::open(root).unwrap(), std::fs::File::open(&bench).unwrap());
    for (number, (victim, namesake)) in victims.iter().enumerate().cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("link{number}");
        let link = bench.join(&name);
        if !link.is_symlink() {
            // The synchronization has replaced what was swapped in.
            let _ = std::fs::remove_dir_all(&link);
            let _ = std::fs::remove_file(&link);
            if symlink(namesake, &link).is_err() {
                continue;
            }
        }
        // The racer itself must not follow what it put there.
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let parent = openat2(&top, victim.parent().unwrap().join("."), OFlags::PATH, Mode::empty(), beneath);
        let Ok(parent) = parent else { continue };
        for _ in 0..4 {
            let last = victim.file_name().unwrap();
            if renameat_with(&hold, &name, &parent, last, RenameFlags::EXCHANGE).is_ok() {
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn victims(canary: &Path) -> Vec<(PathBuf, PathBuf)> {
    let directories = (0..DIRECTORIES).map(|d| (PathBuf::from(directory(d)), canary.to_owned()));
    let inner = (0..DIRECTORIES).map(|d| (PathBuf::from(directory(d)).join("sub"), canary.join("sub")));
    let files = (0..DIRECTORIES).map(|d| (PathBuf::from(directory(d)).join("sub/f1"), canary.join("sub/f1")));
    directories.chain(inner).chain(files).collect()
}

/// Runs `round` again and again beside the racer.
fn beside_a_racer(raced: &Path, canary: &Path, mut round: impl FnMut(u64)) {
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| race(raced, &victims(canary), &stop, &swaps));
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut rounds = 0;
            while rounds < ROUNDS || swaps.load(Ordering::Relaxed) < SWAPS {
                rounds += 1;
                round(rounds);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        rounds.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn a_racer_at_the_destination_has_nothing_changed_outside() {
    let cage = Cage::new();
    let source = support::directory();
    outside(&cage.canary);
    tree(&cage.destination, 0);
    let before = whole(&cage.canary);
    beside_a_racer(&cage.destination, &cage.canary, |round| {
        tree(source.path(), round);
        if round % 3 == 0 {
            // Something to delete, by names that are outside, too.
            std::fs::remove_dir_all(source.path().join("d7")).unwrap();
        }
        // It may fail for what the racer does.
        let _ = sync_with(source.path(), &cage.destination, REFUSE);
        assert_eq!(whole(&cage.canary), before, "round {round}");
    });
    // Left alone, it comes to the same.
    let (pushed, served) = sync_with(source.path(), &cage.destination, REFUSE);
    assert!(pushed.unwrap().outcome.left_out.is_empty() && served.is_ok());
    support::assert_same(source.path(), &cage.destination);
}

#[test]
fn a_racer_at_the_source_has_nothing_read_outside() {
    let cage = Cage::new();
    let destination = support::directory();
    outside(&cage.canary);
    tree(&cage.destination, 0);
    let before = whole(&cage.canary);
    let mut sent = 0;
    beside_a_racer(&cage.destination, &cage.canary, |round| {
        let (pushed, _) = sync_with(&cage.destination, destination.path(), REFUSE);
        sent += pushed.map_or(0, |pushed| pushed.outcome.tally.files_sent);
        for path in describe(destination.path()).keys() {
            assert!(!path.contains("only-outside"), "round {round}: {path}");
            let path = destination.path().join(path);
            if path.symlink_metadata().unwrap().is_file() {
                assert!(!contains(&std::fs::read(&path).unwrap(), SECRET), "round {round}: {}", path.display());
                // So that it is sent again.
                std::fs::write(&path, "old").unwrap();
            }
        }
        assert_eq!(whole(&cage.canary), before, "round {round}");
    });
    assert!(sent > 0, "nothing was sent at all");
}
