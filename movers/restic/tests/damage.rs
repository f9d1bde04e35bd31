//! Every kind of file of a repository, damaged in every way: a check finds it, and nothing wrong is ever restored.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doppel_restic::check::{CheckOptions, ReadData, check};
use doppel_restic::format::config::Version;
use doppel_restic::format::id::Id;
use doppel_restic::repository::Repository;
use doppel_restic::restore::Restored;
use doppel_storage::Storage;
use doppel_storage::folder::Folder;
use serde_json::json;
use support::forge::{Forge, node};
use support::tree::{digest, noise};
use support::{PASSWORD, Repo, holder, restic_program, restore_from, restore_options, restored};

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// A bit of the byte at this part of a thousand.
    Flip(usize),
    /// Cut at this part of a thousand.
    Cut(usize),
    Missing,
    Zeros,
    /// Another file of the same kind, or of another kind if there is none.
    Swapped,
}

const WAYS: [Damage; 9] = [
    Damage::Flip(0),
    Damage::Flip(30),
    Damage::Flip(500),
    Damage::Flip(970),
    Damage::Flip(1000),
    Damage::Cut(700),
    Damage::Missing,
    Damage::Zeros,
    Damage::Swapped,
];

fn apply(damage: Damage, file: &Path, other: &Path) {
    let mut content = fs::read(file).unwrap();
    let at = |part: usize| (content.len() * part / 1000).min(content.len() - 1);
    match damage {
        Damage::Flip(part) => {
            let at = at(part);
            content[at] ^= 0x10;
        }
        Damage::Cut(part) => content.truncate(at(part)),
        Damage::Zeros => content.fill(0),
        Damage::Swapped => content = fs::read(other).unwrap(),
        Damage::Missing => return fs::remove_file(file).unwrap(),
    }
    fs::write(file, content).unwrap();
}

#[test]
fn damage_is_found_and_never_restored_as_if_it_were_good() {
    let repo = Repo::empty(&restic_program(), Version::V2);
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("dir")).unwrap();
    fs::write(tree.path().join("dir/noise"), noise(1_500_000, 1)).unwrap();
    fs::write(tree.path().join("text"), "text ".repeat(10_000)).unwrap();
    repo.backup(tree.path());
    let good = digest(tree.path());
    let folders = ["config", "keys", "snapshots", "index", "data"];
    let files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| match *folder {
            "config" => vec![repo.folder.path().join("config")],
            folder => repo.files(folder),
        })
        .collect();
    let mut cases = 0;
    for (number, file) in files.iter().enumerate() {
        let content = fs::read(file).unwrap();
        for damage in WAYS {
            apply(damage, file, &files[(number + 1) % files.len()]);
            cases += 1;
            let what = format!("{damage:?} of {}", file.strip_prefix(repo.folder.path()).unwrap().display());
            judge(&repo, &good, &what, file.ends_with("config") || what.contains("keys/"));
            fs::write(file, &content).unwrap();
        }
    }
    assert_eq!(cases, 9 * files.len());
    repo.check();
}

fn judge(repo: &Repo, good: &std::collections::BTreeMap<String, String>, what: &str, opens_all: bool) {
    let Ok(repository) = Repository::open(repo.storage(), PASSWORD.as_bytes()) else {
        assert!(opens_all, "{what}: it does not even open");
        return;
    };
    let checked = check(&repository, &CheckOptions { holder: holder(), read: ReadData::Everything });
    // A comment in a key file is nobody's business; a snapshot that is gone cannot be missed.
    let is_found = checked.as_ref().map_or(true, |checked| !checked.damage.is_empty());
    let is_harmless = what.contains("keys/") || what.starts_with("Missing of snapshots");
    assert!(is_found || is_harmless, "{what}: {checked:?}");
    let to = tempfile::tempdir().unwrap();
    match restore_from(&repository, to.path(), &restore_options()) {
        Ok(Restored::Done(done)) if done.left_out.is_empty() => assert_eq!(digest(to.path()), *good, "{what}"),
        Ok(Restored::Done(_)) => {
            for (path, about) in digest(to.path()) {
                let is_file = about.starts_with("100");
                assert!(!is_file || good[&path] == about, "{what}: {path}");
            }
        }
        Ok(Restored::NoSnapshot(_)) => assert!(what.starts_with("Missing of snapshots"), "{what}"),
        Err(_) => {}
    }
}

/// Of its two places the first cannot be opened, and says that it has another length than it has at the second.
#[test]
fn a_blob_does_not_lie_over_the_next_whatever_its_places_say() {
    for (told, lies) in [(4, false), (3, true), (5, true)] {
        let mut forge = Forge::new();
        let id = Id::of(b"good").to_string();
        forge.raw("data", id.clone(), b"not zstd", told);
        forge.blob("data", b"good");
        let next = forge.blob("data", b"next").id;
        let tree = forge.tree(&[node("f", "file", json!({ "content": [id, next], "size": told + 4 }))]);
        let folder = forge.finish(&tree, |_| {});
        let storage: Arc<dyn Storage> = Arc::new(Folder::new(folder.path()));
        let repository = Repository::open(storage, PASSWORD.as_bytes()).unwrap();
        let to = tempfile::tempdir().unwrap();
        let done = restored(restore_from(&repository, to.path(), &restore_options()).unwrap());
        let file = fs::read(to.path().join("f")).ok();
        if lies {
            let says = format!("has 4 bytes, and an index says {told}");
            assert!(file.is_none() && format!("{:?}", done.left_out).contains(&says), "{done:?}");
        } else {
            assert!(file.as_deref() == Some(b"goodnext") && done.left_out.is_empty(), "{done:?}");
        }
    }
}
