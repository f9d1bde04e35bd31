//! The cache: shared with the real restic, and of no consequence when it is damaged, lost, foreign or full.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use doppel_restic::backup::BackedUp;
use doppel_restic::format::config::Version;
use doppel_restic::prune::{PruneOptions, prune};
use doppel_restic::repository::Repository;
use doppel_restic::repository::cache::Cache;
use doppel_storage::folder::Folder;
use serde_json::json;
use support::forge::{Forge, node};
use support::tree::{assert_same, make, noise};
use support::{
    PASSWORD, Repo, holder, is_root, restic_program, restics, restore_from, restore_options, restored, text, try_backup,
};
use tempfile::TempDir;

fn cached(repo: &Repo, cache: &Path) -> Repository {
    let repository = repo.open();
    let cache = Cache::open(cache, repository.id()).unwrap();
    repository.cached_in(cache)
}

/// Files of the repository that are in its cache, below the folders of each.
fn files(repo: &Repo, cache: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut found = Vec::new();
    for folder in ["snapshots", "index", "data"] {
        for file in repo.files(folder) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let copy = cache.join(repo.open().id()).join(folder).join(&name[..2]).join(name);
            if copy.exists() {
                found.push((file, copy));
            }
        }
    }
    found
}

fn backup(repo: &Repo, cache: &Path, tree: &Path) -> BackedUp {
    let done = try_backup(&cached(repo, cache), tree).unwrap();
    assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
    done
}

fn restore(repo: &Repo, cache: &Path, tree: &Path) {
    let to = tempfile::tempdir().unwrap();
    let done = restored(restore_from(&cached(repo, cache), to.path(), &restore_options()).unwrap());
    assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
    assert_same(tree, to.path());
}

/// A repository with a backup, and the cache that it left.
fn stage() -> (Repo, TempDir, TempDir) {
    let (tree, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(tree.path());
    let repo = Repo::empty(&restic_program(), Version::V2);
    backup(&repo, cache.path(), tree.path());
    (repo, tree, cache)
}

fn zero(file: &Path) {
    let content = fs::read(file).unwrap();
    fs::remove_file(file).unwrap();
    fs::write(file, vec![0; content.len()]).unwrap();
}

/// Runs restic with its cache in this folder, which must succeed.
fn restic(repo: &Repo, cache: &Path, args: &[&str]) -> String {
    let mut command = Command::new(repo.program());
    command.arg("--cache-dir").arg(cache).arg("--repo").arg(repo.folder.path()).args(args);
    command.env("RESTIC_PASSWORD", support::PASSWORD).env("HOME", "/nonexistent");
    text(command.output().unwrap(), args)
}

/// Damages what both programs need to find a file and can have from a cache: the index and the trees.
fn damage_all_but_content(repo: &Repo, cache: &Path) {
    let copies = files(repo, cache);
    assert!(copies.iter().any(|(file, _)| file.starts_with(repo.folder.path().join("data"))), "{copies:?}");
    for (file, copy) in copies {
        assert_eq!(fs::read(&file).unwrap(), fs::read(&copy).unwrap());
        zero(&file);
    }
}

#[test]
fn restic_works_with_what_we_cached() {
    for program in restics() {
        let (tree, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(tree.path().join("text"), "text").unwrap();
        let repo = Repo::empty(&program, Version::V2);
        backup(&repo, cache.path(), tree.path());
        damage_all_but_content(&repo, cache.path());
        assert!(!repo.command(&["ls", "latest"]).output().unwrap().status.success());
        assert!(restic(&repo, cache.path(), &["ls", "latest"]).contains("/text"));
        let tag = fs::read_to_string(cache.path().join("CACHEDIR.TAG")).unwrap();
        assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"), "{tag}");
    }
}

#[test]
fn we_work_with_what_restic_cached() {
    for program in restics() {
        let (tree, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(tree.path().join("text"), "text").unwrap();
        let repo = Repo::empty(&program, Version::V2);
        restic(&repo, cache.path(), &["backup", tree.path().to_str().unwrap()]);
        damage_all_but_content(&repo, cache.path());
        let to = tempfile::tempdir().unwrap();
        assert!(restore_from(&repo.open(), to.path(), &restore_options()).is_err());
        let done = restored(restore_from(&cached(&repo, cache.path()), to.path(), &restore_options()).unwrap());
        assert!(done.left_out.is_empty(), "{done:?}");
        let there = to.path().join(tree.path().strip_prefix("/").unwrap());
        assert_eq!(fs::read(there.join("text")).unwrap(), b"text");
    }
}

#[test]
fn a_check_looks_at_the_repository_and_at_no_cache() {
    use doppel_restic::check::{CheckOptions, ReadData, check};
    let (repo, _tree, cache) = stage();
    zero(&repo.files("index")[0]);
    let options = CheckOptions { holder: holder(), read: ReadData::Nothing };
    assert!(!check(&cached(&repo, cache.path()), &options).unwrap().damage.is_empty());
}

#[test]
fn a_cache_that_is_damaged_is_noticed_and_mended() {
    let (repo, tree, cache) = stage();
    let damages: [fn(&Path); 4] = [
        zero,
        |file| fs::remove_file(file).unwrap(),
        |file| fs::File::options().write(true).open(file).unwrap().set_len(10).unwrap(),
        |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        let copies = files(&repo, cache.path());
        assert!(copies.len() >= 3, "{copies:?}");
        copies.iter().for_each(|(_, copy)| {
            let _ = fs::set_permissions(copy, std::os::unix::fs::PermissionsExt::from_mode(0o600));
            damage(copy);
        });
        restore(&repo, cache.path(), tree.path());
        let done = backup(&repo, cache.path(), tree.path());
        assert_eq!((done.counts.files_new, done.counts.data_blobs, done.counts.tree_blobs), (0, 0, 0), "{number}");
        // A folder in a file's place is left alone.
        for (file, copy) in copies.iter().filter(|_| number != 3) {
            assert_eq!(fs::read(file).unwrap(), fs::read(copy).unwrap(), "{number}: {}", copy.display());
        }
    }
    fs::remove_dir_all(cache.path()).unwrap();
    restore(&repo, cache.path(), tree.path());
    repo.check();
}

#[test]
fn what_the_repository_has_no_more_leaves_the_cache() {
    let (repo, tree, cache) = stage();
    fs::write(tree.path().join("more"), noise(100_000, 9)).unwrap();
    backup(&repo, cache.path(), tree.path());
    let before = files(&repo, cache.path());
    repo.restic(&["forget", "--keep-last", "1"]);
    let options = PruneOptions { holder: holder(), max_unused_percent: 0, max_repack: u64::MAX, pack_size: 4 << 20 };
    prune(&cached(&repo, cache.path()), &options).unwrap();
    restore(&repo, cache.path(), tree.path());
    let after = files(&repo, cache.path());
    let gone = before.iter().filter(|(file, _)| !file.exists()).collect::<Vec<_>>();
    assert!(gone.len() >= 2 && gone.iter().all(|(_, copy)| !copy.exists()), "{gone:?} {after:?}");
    repo.check();
}

#[test]
fn a_cache_that_is_full_takes_nothing_more_and_fails_nothing() {
    assert!(is_root(), "mount needs root");
    let (repo, tree, _) = stage();
    let small = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=400k", "doppel-test"]).arg(small.path()).status();
    assert!(mounted.unwrap().success());
    let worked = std::panic::catch_unwind(|| {
        for number in 0..20 {
            fs::write(tree.path().join("dir/inner/deeper/0"), format!("{number}")).unwrap();
            backup(&repo, small.path(), tree.path());
            restore(&repo, small.path(), tree.path());
        }
    });
    let room = rustix::fs::statvfs(small.path()).unwrap();
    assert!(Command::new("umount").arg(small.path()).status().unwrap().success());
    worked.unwrap();
    // Something is there, and a tenth stays free, but for the folders that it is in.
    let (free, all) = (room.f_bavail, room.f_blocks);
    assert!(free > 0 && free < all / 3, "{free} of {all} blocks are free");
    repo.check();
}

#[test]
fn a_cache_of_a_later_layout_is_left_alone() {
    let (repo, _tree, cache) = stage();
    let id = repo.open().id().to_owned();
    fs::write(cache.path().join(&id).join("version"), "2").unwrap();
    let error = Cache::open(cache.path(), &id).err().unwrap();
    assert!(error.to_string().contains("its layout is 2"), "{error}");
    // One that a dying program left unfinished is finished.
    fs::write(cache.path().join(&id).join("version"), "").unwrap();
    Cache::open(cache.path(), &id).unwrap();
    assert_eq!(fs::read_to_string(cache.path().join(&id).join("version")).unwrap(), "1");
}

#[test]
fn an_index_that_is_wrong_about_one_blob_hides_no_tree_of_its_pack() {
    let mut forge = Forge::new();
    let data = forge.blob("data", b"text").id;
    let root = forge.tree(&[node("f", "file", json!({"content": [data], "size": 4}))]);
    let folder = forge.finish(&root, |blobs| blobs[0].offset = 1 << 19);
    let (cache, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Out of the store, and then out of the cache.
    for _ in 0..2 {
        let repository = Repository::open(Arc::new(Folder::new(folder.path())), PASSWORD.as_bytes()).unwrap();
        let own = Cache::open(cache.path(), repository.id()).unwrap();
        let done = restored(restore_from(&repository.cached_in(own), to.path(), &restore_options()).unwrap());
        let left_out: Vec<&str> = done.left_out.first.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(left_out, ["f"], "{:?}", done.left_out);
    }
}
