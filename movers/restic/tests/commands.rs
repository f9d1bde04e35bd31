//! What commands do when there is no repository, another password, a lock, nothing to restore, or nothing new.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::channel;

use doppel_restic::error::Error;
use doppel_restic::forget::policy::Policy;
use doppel_restic::forget::{ForgetOptions, forget};
use doppel_restic::format::config::Version;
use doppel_restic::prune::{PruneOptions, prune};
use doppel_restic::repository::Repository;
use doppel_restic::repository::lock::{Holder, Unlock, unlock};
use doppel_restic::restore::{Others, RestoreOptions, Restored};
use doppel_restic::snapshots::{Filter, Which, snapshots};
use doppel_storage::folder::Folder;
use support::storage::{Dying, Waiting};
use support::tree::{assert_same, make, make_odd_link, noise};
use support::{PASSWORD, Repo, holder, restic_program, restore_from, restore_options, restored, try_backup};

fn prune_options() -> PruneOptions {
    PruneOptions { holder: holder(), max_unused_percent: 0, max_repack: u64::MAX, pack_size: 16 << 20 }
}

fn keep_last(last: u32) -> ForgetOptions {
    ForgetOptions { holder: holder(), filter: Filter::default(), policy: Policy { last, ..Policy::default() } }
}

#[test]
fn the_five_states_of_a_restore_are_apart() {
    let program = restic_program();
    let nothing = Repo::new(&program);
    let open = |repo: &Repo, password: &str| Repository::open(repo.storage(), password.as_bytes()).err();
    assert!(matches!(open(&nothing, PASSWORD), Some(Error::NoRepository)));
    let repo = Repo::empty(&program, Version::V2);
    assert!(matches!(open(&repo, "wrong"), Some(Error::WrongPassword)));
    let dead = Arc::new(support::storage::Unreachable);
    assert!(Repository::open(dead, b"x").err().is_some_and(|error| error.is_unreachable()));
    let to = tempfile::tempdir().unwrap();
    let none = restore_from(&repo.open(), to.path(), &restore_options()).unwrap();
    assert!(matches!(none, Restored::NoSnapshot(none) if none.matching == 0));
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("f"), "x").unwrap();
    repo.backup(tree.path());
    assert_eq!(repo.restore(to.path()).files_written, 1);
    // Nothing was left behind, and nothing is locked.
    assert!(repo.files("locks").is_empty());
    let too_early = RestoreOptions {
        which: Which::Newest { as_of: Some("1980-01-01T00:00:00Z".parse().unwrap()), previous: 0 },
        ..restore_options()
    };
    let none = restore_from(&repo.open(), to.path(), &too_early).unwrap();
    assert!(matches!(none, Restored::NoSnapshot(none) if none.matching == 1 && none.oldest.is_some()));
}

#[test]
fn a_repository_is_made_once_and_an_unknown_version_is_named() {
    let repo = Repo::made_by_us(&restic_program(), Version::V2);
    let again = Repository::init(repo.storage(), PASSWORD.as_bytes(), Version::V2).err();
    assert!(matches!(again, Some(Error::AlreadyThere)));
    assert!(repo.restic(&["cat", "config"]).contains("\"version\": 2"));
}

#[test]
fn every_key_of_a_repository_opens_it() {
    let repo = Repo::made_by_restic(&restic_program(), Version::V2);
    let password = tempfile::NamedTempFile::new().unwrap();
    fs::write(password.path(), "another").unwrap();
    repo.restic(&["key", "add", "--new-password-file", password.path().to_str().unwrap()]);
    for password in [PASSWORD, "another"] {
        Repository::open(repo.storage(), password.as_bytes()).unwrap();
    }
}

#[test]
fn an_older_snapshot_is_chosen_by_time_and_by_number() {
    let repo = Repo::empty(&restic_program(), Version::V2);
    let (tree, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in ["one", "two", "three"] {
        fs::write(tree.path().join("f"), number).unwrap();
        repo.backup(tree.path());
    }
    let all = snapshots(&repo.open()).unwrap();
    let restore = |which: Which| {
        let options = RestoreOptions { which, ..restore_options() };
        restored(restore_from(&repo.open(), to.path(), &options).unwrap());
        fs::read_to_string(to.path().join("f")).unwrap()
    };
    assert_eq!(restore(Which::Newest { as_of: None, previous: 1 }), "two");
    assert_eq!(restore(Which::Id(all[0].id.short())), "one");
    assert_eq!(restore(Which::Newest { as_of: None, previous: 0 }), "three");
}

#[test]
fn what_the_snapshot_has_not_is_deleted_only_when_asked_for() {
    let repo = Repo::empty(&restic_program(), Version::V2);
    let (tree, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(tree.path());
    repo.backup(tree.path());
    fs::create_dir_all(to.path().join("lost+found")).unwrap();
    fs::create_dir_all(to.path().join("dir/extra/more")).unwrap();
    fs::write(to.path().join("dir/extra/more/file"), "x").unwrap();
    fs::create_dir(to.path().join("nothing")).unwrap();
    fs::write(to.path().join("empty"), "a file where a directory is to be").unwrap();
    repo.restore(to.path());
    assert!(to.path().join("dir/extra/more/file").exists());
    let options = RestoreOptions { others: Others::Delete, ..restore_options() };
    let done = restored(restore_from(&repo.open(), to.path(), &options).unwrap());
    assert_eq!(done.deleted, 3);
    fs::remove_dir(to.path().join("lost+found")).unwrap();
    assert_same(tree.path(), to.path());
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let tree = tempfile::tempdir().unwrap();
    make(tree.path());
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
fn what_is_there_is_not_restored_again() {
    let repo = Repo::empty(&restic_program(), Version::V2);
    let (tree, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(tree.path());
    make_odd_link(tree.path());
    repo.backup(tree.path());
    let done = repo.restore(to.path());
    assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
    assert_same(tree.path(), to.path());
    // Nothing is written again but what has other names.
    let again = repo.restore(to.path());
    assert_eq!((again.files_written, again.files), (2, done.files), "{again:?}");
    assert_same(tree.path(), to.path());
}

#[test]
fn a_lock_of_a_pod_that_is_gone_is_in_nobodys_way() {
    let repo = Repo::empty(&restic_program(), Version::V2);
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("f"), "x").unwrap();
    let gone = Holder { host: "pod-1".into(), ..holder() };
    let ((waits, waiting), (go_on, goes_on)) = (channel(), channel());
    let storage = Arc::new(Waiting::new(Folder::new(repo.folder.path()), waits, goes_on));
    let repository = Repository::open(storage, PASSWORD.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        let options = doppel_restic::backup::BackupOptions { holder: gone, ..support::backup_options() };
        let volume = doppel_volume::tree::Tree::open(tree.path()).unwrap();
        let backup = scope.spawn(move || {
            doppel_restic::backup::backup(&repository, &volume, &options, &doppel_volume::monitor::Silent)
        });
        waiting.recv().unwrap();
        assert!(matches!(prune(&repo.open(), &prune_options()), Err(Error::Locked(_))));
        assert_eq!(unlock(&repo.open(), &holder(), Unlock::Stale).unwrap(), 0);
        let knows = Holder { gone: vec!["pod-1".into()], ..holder() };
        prune(&repo.open(), &PruneOptions { holder: knows, ..prune_options() }).unwrap();
        assert!(repo.files("locks").is_empty());
        go_on.send(()).unwrap();
        backup.join().unwrap().unwrap();
    });
}

#[test]
fn a_prune_keeps_what_snapshots_need_and_nothing_else() {
    for program in support::restics() {
        let repo = Repo::empty(&program, Version::V2);
        let (tree, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(tree.path());
        repo.backup(tree.path());
        fs::write(tree.path().join("dir/noise"), noise(3_000_000, 77)).unwrap();
        repo.restic_backup(tree.path());
        repo.backup(tree.path());
        let before: u64 = repo.files("data").iter().map(|file| file.metadata().unwrap().len()).sum();
        let done = forget(&repo.open(), &keep_last(1)).unwrap();
        // restic's snapshot is of other paths, and so of another group.
        assert_eq!((done.kept.len(), done.removed.len()), (2, 1));
        let pruned = prune(&repo.open(), &prune_options()).unwrap();
        assert!(pruned.bytes_unused == 0 && pruned.packs_repacked > 0, "{pruned:?}");
        let after: u64 = repo.files("data").iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(after + 4_900_000 < before, "{before} {after}");
        repo.check();
        repo.restore(to.path());
        assert_same(tree.path(), to.path());
        assert_eq!(prune(&repo.open(), &prune_options()).unwrap().packs_removed, 0);
        assert!(repo.restic(&["prune", "--max-unused", "0"]).contains("to delete:             0 blobs"));
    }
}

#[test]
fn whenever_it_is_killed_the_repository_is_whole() {
    let repo = Repo::empty(&restic_program(), Version::V2);
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("stays"), noise(700_000, 1)).unwrap();
    fs::write(tree.path().join("goes"), noise(2_000_000, 2)).unwrap();
    repo.backup(tree.path());
    fs::remove_file(tree.path().join("goes")).unwrap();
    let (mut changes, mut finished) = (0, false);
    while !finished {
        changes += 1;
        let storage = Arc::new(Dying::after(Folder::new(repo.folder.path()), changes));
        let repository = Repository::open(Arc::clone(&storage) as _, PASSWORD.as_bytes()).unwrap();
        // Each time there is something new to store, and something old to remove.
        fs::write(tree.path().join("new"), noise(900_000, 1000 + u64::try_from(changes).unwrap())).unwrap();
        let _ = try_backup(&repository, tree.path())
            .and_then(|_| forget(&repository, &keep_last(1)))
            .and_then(|_| prune(&repository, &prune_options()));
        finished = storage.survived();
        // The dead one's locks; its process is this one, and lives.
        unlock(&repo.open(), &holder(), Unlock::All).unwrap();
        repo.check();
    }
    assert!(changes > 10, "{changes}");
    assert_eq!(snapshots(&repo.open()).unwrap().len(), 1);
}
