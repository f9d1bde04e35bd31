//! Directories and files that are too large to be held in memory, and volumes that are too small for what is restored.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use doppel_restic::error::Error;
use doppel_restic::format::config::Version;
use doppel_restic::repository::Repository;
use doppel_restic::restore::{Others, RestoreOptions};
use doppel_storage::folder::Folder;
use support::storage::Forgetful;
use support::tree::{assert_same, noise};
use support::{PASSWORD, Repo, is_root, restic_program, restics, restore_from, restore_options, restored};

/// More entries than are kept as they are, and with so long names that their tree is read entry by entry. Directories lie
/// between files in the order of names, and one before the other only by its name's end.
fn make_large(root: &Path) {
    let long = "x".repeat(200);
    let directory = root.join("large");
    for number in 0..9_000 {
        if number % 1000 == 0 {
            for end in ["", ".", "-"] {
                fs::create_dir_all(directory.join(format!("{number:05}{long}{end}/inner"))).unwrap();
            }
        }
        fs::write(directory.join(format!("{number:05}{long}.json")), format!("{number}")).unwrap();
    }
}

#[test]
fn a_directory_with_very_many_entries_is_kept_as_restic_keeps_it() {
    for (program, version) in restics().iter().flat_map(|program| [(program, Version::V1), (program, Version::V2)]) {
        let (tree, ours, theirs) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make_large(tree.path());
        let repo = Repo::empty(program, version);
        let first = repo.backup(tree.path());
        assert!(first.left_out.is_empty() && first.remarks.is_empty(), "{first:?}");
        assert_eq!((first.counts.files_new, first.counts.data_blobs), (9_000, 9_000));
        repo.check();
        repo.restic_restore(theirs.path());
        assert_same(tree.path(), theirs.path());
        let done = repo.restore(ours.path());
        assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
        assert_same(tree.path(), ours.path());

        // What is there already is found among them, files and directories alike.
        let again = repo.backup(tree.path()).counts;
        assert_eq!((again.files_unmodified, again.dirs_unmodified, again.tree_blobs), (9_000, 56, 0), "{again:?}");
        let long = "x".repeat(200);
        let changed = tree.path().join("large").join(format!("04321{long}.json"));
        fs::write(&changed, "changed").unwrap();
        fs::remove_file(tree.path().join("large").join(format!("04322{long}.json"))).unwrap();
        let third = repo.backup(tree.path()).counts;
        assert_eq!((third.files_changed, third.files_unmodified, third.tree_blobs), (1, 8_998, 2), "{third:?}");
        let options = RestoreOptions { others: Others::Delete, ..restore_options() };
        let done = restored(restore_from(&repo.open(), ours.path(), &options).unwrap());
        assert_eq!((done.files_written, done.deleted), (1, 1), "{done:?}");
        assert_same(tree.path(), ours.path());
        // restic finds the same trees.
        assert_eq!(repo.restic_backup(tree.path()), 0);
        repo.check();
    }
}

/// Its blobs are written as they come from their packs, not in their order, and what is in it several times, zeros among it, at each
/// of its places.
#[test]
fn a_file_of_many_windows_is_whole_or_not_there() {
    let (tree, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (again, zeros) = (noise(9 << 20, 1), vec![0; 24 << 20]);
    let pieces = [&again, &zeros, &noise(11_000_000, 2), &again, &noise(30_000_000, 3), &zeros, &again];
    let content: Vec<u8> = pieces.into_iter().flatten().copied().chain(*b"end").collect();
    fs::write(tree.path().join("file"), &content).unwrap();
    let repo = Repo::empty(&restic_program(), Version::V2);
    let blobs = repo.backup(tree.path()).counts.data_blobs;
    let done = repo.restore(there.path());
    assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
    assert!(fs::read(there.path().join("file")).unwrap() == content, "of {blobs} blobs");
    let taken = fs::metadata(there.path().join("file")).unwrap().blocks() * 512;
    assert!(taken < content.len() as u64 - (40 << 20), "{taken} bytes");

    for pack in repo.files("data") {
        let good = fs::read(&pack).unwrap();
        if good.len() < 1 << 20 {
            continue;
        }
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&pack, bad).unwrap();
        let there = tempfile::tempdir().unwrap();
        let done = repo.restore(there.path());
        fs::write(&pack, good).unwrap();
        assert!(
            done.left_out.count == 1 && format!("{:?}", done.left_out).contains("its MAC does not match"),
            "{done:?}"
        );
        assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);
    }
}

/// A large file, whose blobs are written as they come, and small ones, whose blobs are held together.
#[test]
fn what_is_left_out_of_an_answer_is_asked_for_alone() {
    let (tree, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(tree.path().join("large"), noise(40_000_000, 1)).unwrap();
    for number in 0..20 {
        fs::write(tree.path().join(format!("small-{number}")), noise(10_000, 2 + number)).unwrap();
    }
    let repo = Repo::empty(&restic_program(), Version::V2);
    repo.backup(tree.path());
    let store = Arc::new(Forgetful::new(Folder::new(repo.folder.path())));
    let repository = Repository::open(Arc::clone(&store) as _, PASSWORD.as_bytes()).unwrap();
    let done = restored(restore_from(&repository, there.path(), &restore_options()).unwrap());
    assert!(store.left_out() > 2, "{} parts", store.left_out());
    assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
    assert_same(tree.path(), there.path());
}

#[test]
fn a_volume_that_is_too_small_ends_the_restore_with_one_clear_word() {
    assert!(is_root(), "mount needs root");
    let tree = tempfile::tempdir().unwrap();
    for number in 0..100 {
        fs::write(tree.path().join(format!("file-{number}")), noise(100_000, number)).unwrap();
    }
    let repo = Repo::empty(&restic_program(), Version::V2);
    repo.backup(tree.path());
    for (size, expected) in [("size=1m", " of 1 MiB"), ("size=100m,nr_inodes=20", "0 of 20 inodes are free")] {
        let volume = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", size, "doppel-test"]).arg(volume.path()).status();
        assert!(mounted.unwrap().success());
        let outcome = restore_from(&repo.open(), volume.path(), &restore_options());
        let left: Vec<_> = fs::read_dir(volume.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
            .collect();
        assert!(Command::new("umount").arg(volume.path()).status().unwrap().success());
        let error = outcome.unwrap_err();
        let words = error.to_string();
        assert!(matches!(error, Error::VolumeFull { .. }), "{words}");
        for part in ["the volume is full: file-", "No space left on device", expected, "Make the volume larger"] {
            assert!(words.contains(part), "{words}");
        }
        // Whole files, and nothing else.
        assert!(!left.is_empty() && left.iter().all(|(name, len)| name.starts_with("file-") && *len == 100_000));
    }
}
