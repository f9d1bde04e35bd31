//! Copies of snapshots to other repositories: whole, taken for copies by restic, and safe whenever they are killed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use doppel_restic::copy::{CopyOptions, copy};
use doppel_restic::error::Error;
use doppel_restic::format::config::Version;
use doppel_restic::repository::Repository;
use doppel_restic::snapshots::snapshots;
use doppel_storage::folder::Folder;
use doppel_volume::monitor::Silent;
use support::copying::{copy_options, restic_copy, try_copy};
use support::storage::{Dying, Forgetful};
use support::tree::{assert_same, make, noise};
use support::{PASSWORD, Repo, restic_program, restics};

#[test]
fn a_copy_is_whole_and_neither_program_makes_it_twice() {
    for program in restics() {
        for (version, copied_to) in [(Version::V1, Version::V2), (Version::V2, Version::V1)] {
            let tree = tempfile::tempdir().unwrap();
            make(tree.path());
            let from = Repo::empty(&program, version);
            from.restic_backup(tree.path());
            fs::write(tree.path().join("dir/text"), noise(1_000_000, 5)).unwrap();
            from.backup(tree.path());
            let to = Repo::empty(&program, copied_to);
            let done = try_copy(&from.open(), &to.open()).unwrap();
            assert!(done.copied.len() == 2 && done.there.is_empty() && done.blobs > 300, "{done:?}");
            to.check();
            for (source, copy) in &done.copied {
                let all = snapshots(&to.open()).unwrap();
                let copy = all.iter().find(|stored| stored.id == *copy).unwrap();
                assert_eq!((copy.snapshot.original, copy.snapshot.parent), (Some(*source), None));
            }
            for restore in [Repo::restic_restore, |repo: &Repo, to: &Path| drop(repo.restore(to))] {
                let restored = tempfile::tempdir().unwrap();
                restore(&to, restored.path());
                assert_same(tree.path(), restored.path());
            }
            let again = try_copy(&from.open(), &to.open()).unwrap();
            assert!(again.copied.is_empty() && again.there.len() == 2 && again.blobs == 0, "{again:?}");
            assert_eq!(restic_copy(&from, &to).matches("was already copied").count(), 2);

            let by_restic = Repo::empty(&program, copied_to);
            restic_copy(&from, &by_restic);
            let again = try_copy(&from.open(), &by_restic.open()).unwrap();
            assert!(again.copied.is_empty() && again.there.len() == 2, "{again:?}");
            // A copy of a copy is a copy of the first.
            let back = try_copy(&to.open(), &from.open()).unwrap();
            assert!(back.copied.is_empty() && back.there.len() == 2, "{back:?}");
        }
    }
}

#[test]
fn only_snapshots_that_are_asked_for_are_copied() {
    let from = Repo::empty(&restic_program(), Version::V2);
    let to = Repo::empty(&restic_program(), Version::V2);
    let tree = tempfile::tempdir().unwrap();
    for number in ["one", "two", "three"] {
        fs::write(tree.path().join("f"), number).unwrap();
        from.backup(tree.path());
    }
    let all = snapshots(&from.open()).unwrap();
    let copied = |ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let options = CopyOptions { ids, ..copy_options() };
        copy(&from.open(), &to.open(), &options, &Silent)
    };
    let done = copied(&[&all[1].id.short()]).unwrap();
    assert_eq!((done.copied.len(), done.copied[0].0, done.blobs), (1, all[1].id, 2));
    assert_eq!(copied(&["latest"]).unwrap().copied[0].0, all[2].id);
    assert!(matches!(copied(&["0000"]), Err(Error::NoSnapshot(_))));
    to.check();
}

#[test]
fn what_is_damaged_is_not_copied() {
    let from = Repo::empty(&restic_program(), Version::V2);
    let to = Repo::empty(&restic_program(), Version::V2);
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("noise"), noise(700_000, 1)).unwrap();
    from.backup(tree.path());
    let packs = from.files("data");
    let largest = packs.iter().max_by_key(|pack| pack.metadata().unwrap().len()).unwrap();
    let mut content = fs::read(largest).unwrap();
    content[1000] ^= 1;
    fs::write(largest, content).unwrap();
    let failed = try_copy(&from.open(), &to.open());
    assert!(matches!(&failed, Err(Error::Damaged { file, .. }) if file.starts_with("blob ")), "{failed:?}");
    assert!(snapshots(&to.open()).unwrap().is_empty() && to.files("locks").is_empty());
    to.check();
}

#[test]
fn what_is_left_out_of_an_answer_is_copied_all_the_same() {
    let (from, to) = (Repo::empty(&restic_program(), Version::V2), Repo::empty(&restic_program(), Version::V2));
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("noise"), noise(20_000_000, 1)).unwrap();
    from.backup(tree.path());
    let store = Arc::new(Forgetful::new(Folder::new(from.folder.path())));
    let forgetful = Repository::open(Arc::clone(&store) as _, PASSWORD.as_bytes()).unwrap();
    let done = try_copy(&forgetful, &to.open()).unwrap();
    assert!(store.left_out() > 0 && done.copied.len() == 1, "{} parts, {done:?}", store.left_out());
    to.check();
}

#[test]
fn whenever_a_copy_is_killed_both_repositories_are_whole() {
    let from = Repo::empty(&restic_program(), Version::V2);
    let tree = tempfile::tempdir().unwrap();
    for number in 0..3 {
        fs::write(tree.path().join("noise"), noise(900_000, number)).unwrap();
        from.backup(tree.path());
    }
    let source = from.files("").iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>();
    let made = Repo::empty(&restic_program(), Version::V2);
    let (mut changes, mut finished) = (0, false);
    while !finished {
        changes += 1;
        let to = Repo::new(&restic_program());
        assert!(
            Command::new("cp")
                .arg("-a")
                .arg(made.folder.path().join("."))
                .arg(to.folder.path())
                .status()
                .unwrap()
                .success()
        );
        let storage = Arc::new(Dying::after(Folder::new(to.folder.path()), changes));
        let killed = Repository::open(Arc::clone(&storage) as _, PASSWORD.as_bytes()).unwrap();
        let done = try_copy(&from.open(), &killed);
        finished = storage.survived();
        assert!(done.is_ok() || !finished, "{changes}: {done:?}");
        // Whatever is there is whole, and the next run brings the rest.
        to.restic(&["unlock", "--remove-all"]);
        to.check();
        let again = try_copy(&from.open(), &to.open()).unwrap();
        assert_eq!(again.copied.len() + again.there.len(), 3);
        assert!(!finished || again.copied.is_empty(), "{again:?}");
        to.check();
        let restored = tempfile::tempdir().unwrap();
        to.restore(restored.path());
        assert_same(tree.path(), restored.path());
    }
    assert_eq!(changes, 8, "a lock, two packs, an index, three snapshots, the lock again");
    assert_eq!(from.files("").iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>(), source);
    from.check();
}
