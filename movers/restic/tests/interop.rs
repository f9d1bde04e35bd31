//! Both ways with the real restic: what one writes the other reads, and neither stores what the other has stored.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::path::Path;

use doppel_restic::check::{CheckOptions, ReadData, check};
use doppel_restic::format::config::Version;
use support::tree::{assert_same, make, make_odd_link, noise};
use support::{Repo, holder, restic_program, restics};

const BOTH: [Version; 2] = [Version::V1, Version::V2];

/// Each restic with each version of the format.
fn everywhere(test: impl Fn(&Path, Version)) {
    for program in restics() {
        for version in BOTH {
            println!("{} {version:?}", program.display());
            test(&program, version);
        }
    }
}

/// A tree with everything in it that this restic can keep.
fn tree(program: &Path) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    make(tree.path());
    if program != restic_program() {
        make_odd_link(tree.path());
    }
    tree
}

#[test]
fn restic_restores_what_we_backed_up() {
    everywhere(|program, version| {
        let (tree, to) = (tree(program), tempfile::tempdir().unwrap());
        let repo = Repo::empty(program, version);
        let done = repo.backup(tree.path());
        assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
        repo.check();
        repo.restic_restore(to.path());
        assert_same(tree.path(), to.path());
    });
}

#[test]
fn we_restore_what_restic_backed_up() {
    everywhere(|program, version| {
        let (tree, to) = (tree(program), tempfile::tempdir().unwrap());
        let repo = Repo::empty(program, version);
        repo.restic_backup(tree.path());
        let done = repo.restore(to.path());
        assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
        assert_same(tree.path(), to.path());
    });
}

#[test]
fn we_restore_what_we_backed_up() {
    everywhere(|program, version| {
        let (tree, to) = (tree(program), tempfile::tempdir().unwrap());
        let repo = Repo::empty(program, version);
        repo.backup(tree.path());
        let done = repo.restore(to.path());
        assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
        assert_same(tree.path(), to.path());
        // Everything is there already: nothing is written again but what has other names.
        let again = repo.restore(to.path());
        assert_eq!((again.files_written, again.files), (2, done.files), "{again:?}");
        assert_same(tree.path(), to.path());
    });
}

#[test]
fn neither_stores_content_that_the_other_has_stored() {
    everywhere(|program, version| {
        let tree = tree(program);
        let repo = Repo::empty(program, version);
        assert!(repo.restic_backup(tree.path()) > 300);
        let ours = repo.backup(tree.path());
        assert_eq!(ours.counts.data_blobs, 0, "{ours:?}");
        repo.check();

        let repo = Repo::empty(program, version);
        assert!(repo.backup(tree.path()).counts.data_blobs > 300);
        assert_eq!(repo.restic_backup(tree.path()), 0);
        repo.check();
    });
}

#[test]
fn trees_are_written_byte_for_byte_as_restic_writes_them() {
    // restic 0.14 has no such command.
    for program in restics().into_iter().filter(|program| *program != restic_program()) {
        let tree = tree(&program);
        let repo = Repo::empty(&program, Version::V2);
        repo.backup(tree.path());
        // It decodes and encodes every tree, and refuses if that changes one.
        repo.restic(&["rewrite", "--exclude", "/dir/inner/edge", "--forget", "latest"]);
        repo.check();
    }
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let tree = tree(&restic_program());
    let repo = Repo::empty(&restic_program(), Version::V2);
    let first = repo.backup(tree.path());
    let files = first.counts.total_files_processed;
    assert_eq!((first.counts.files_new, first.counts.files_unmodified), (files, 0));
    let second = repo.backup(tree.path());
    assert_eq!((second.counts.files_unmodified, second.counts.tree_blobs), (files, 0), "{second:?}");
    assert_eq!(second.snapshot.snapshot.parent, Some(first.snapshot.id));
    assert_eq!(second.snapshot.snapshot.tree, first.snapshot.snapshot.tree);
    fs::write(tree.path().join("dir/text"), noise(1_000_000, 5)).unwrap();
    fs::write(tree.path().join("new"), "new").unwrap();
    let third = repo.backup(tree.path());
    let counts = third.counts;
    assert_eq!((counts.files_new, counts.files_changed, counts.files_unmodified), (1, 1, files - 1), "{counts:?}");
    repo.check();
}

#[test]
fn a_check_of_ours_finds_nothing_wrong_with_either() {
    everywhere(|program, version| {
        let tree = tree(program);
        let repo = Repo::empty(program, version);
        repo.restic_backup(tree.path());
        repo.backup(tree.path());
        let checked = check(&repo.open(), &CheckOptions { holder: holder(), read: ReadData::Everything }).unwrap();
        assert!(checked.damage.is_empty() && checked.remarks.is_empty(), "{checked:?}");
        assert_eq!((checked.snapshots, checked.packs_read), (2, checked.packs));
    });
}
