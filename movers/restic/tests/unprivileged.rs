//! What a mover without privileges cannot read or keep is said, and counts for what it is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use doppel_restic::forget::policy::Policy;
use doppel_restic::forget::{ForgetOptions, forget};
use doppel_restic::format::config::Version;
use doppel_restic::format::snapshot::INCOMPLETE;
use doppel_restic::repository::Repository;
use doppel_restic::snapshots::{Filter, snapshots};
use support::tree::make;
use support::{PASSWORD, Repo, holder, is_root, restic_program, restore_from, restore_options, restored, try_backup};

const NOBODY: u32 = 65_534;
/// Tell a test that it was started by itself: the repository, and the tree.
const REPOSITORY: &str = "DOPPEL_TEST_REPOSITORY";
const TREE: &str = "DOPPEL_TEST_TREE";

/// What the parent told this process, if it is a child.
fn child() -> Option<(Repository, PathBuf)> {
    let (repository, tree) = (std::env::var_os(REPOSITORY)?, std::env::var_os(TREE)?);
    let storage = doppel_storage::folder::Folder::new(repository);
    let repository = Repository::open(std::sync::Arc::new(storage), PASSWORD.as_bytes()).unwrap();
    Some((repository, tree.into()))
}

/// Runs the test of this name once more, as a user that may nothing but what is in these folders.
fn as_nobody(test: &str, repository: &Path, tree: &Path) {
    assert!(is_root(), "this test gives files away: run it as root");
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), repository, tree] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // The user may not be allowed to where the test was built.
    let program = directory.path().join("test");
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap().success());
    assert!(Command::new("chown").arg("-R").arg("65534:65534").arg(repository).status().unwrap().success());
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", test, "--nocapture"])
        .env(REPOSITORY, repository)
        .env(TREE, tree)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_backup_without_what_could_not_be_read_is_incomplete_and_displaces_no_other() {
    if let Some((repository, tree)) = child() {
        let done = try_backup(&repository, &tree).unwrap();
        let mut paths: Vec<_> = done.left_out.first.iter().map(|problem| problem.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["closed", "secret"], "{:?}", done.left_out);
        assert_eq!(done.snapshot.snapshot.tags, [INCOMPLETE]);
        return;
    }
    let repo = Repo::empty(&restic_program(), Version::V2);
    let tree = tempfile::tempdir().unwrap();
    for name in ["open", "secret"] {
        fs::write(tree.path().join(name), name).unwrap();
    }
    fs::create_dir(tree.path().join("closed")).unwrap();
    fs::write(tree.path().join("closed/inner"), "x").unwrap();
    let whole = repo.backup(tree.path());
    for name in ["secret", "closed"] {
        fs::set_permissions(tree.path().join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    as_nobody(
        "a_backup_without_what_could_not_be_read_is_incomplete_and_displaces_no_other",
        repo.folder.path(),
        tree.path(),
    );
    repo.check();
    let policy = Policy { last: 1, ..Policy::default() };
    let options = ForgetOptions { holder: holder(), filter: Filter::default(), policy };
    let done = forget(&repo.open(), &options).unwrap();
    assert!(done.removed.is_empty() && done.kept.iter().any(|stored| stored.id == whole.snapshot.id));
    // A later one that is complete takes the place of both.
    repo.backup(tree.path());
    assert_eq!(forget(&repo.open(), &options).unwrap().removed.len(), 2);
    assert_eq!(snapshots(&repo.open()).unwrap().len(), 1);
}

#[test]
fn what_only_root_can_restore_is_remarked_and_all_else_is_there() {
    if let Some((repository, to)) = child() {
        let done = restored(restore_from(&repository, &to, &restore_options()).unwrap());
        assert!(done.left_out.is_empty(), "{:?}", done.left_out);
        let remarks: Vec<String> = done
            .remarks
            .first
            .iter()
            .map(|remark| format!("{}: {}", remark.path.as_str(), remark.why.as_str()))
            .collect();
        for expected in
            ["null: a device node cannot be made without privilege", "a file: could not keep owner, group, permissions"]
        {
            assert!(remarks.iter().any(|remark| remark.starts_with(expected)), "{expected}: {remarks:?}");
        }
        return;
    }
    let repo = Repo::empty(&restic_program(), Version::V2);
    let (tree, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(tree.path());
    repo.backup(tree.path());
    chown(to.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    as_nobody("what_only_root_can_restore_is_remarked_and_all_else_is_there", repo.folder.path(), to.path());
    assert_eq!(fs::read(to.path().join("dir/noise")).unwrap(), fs::read(tree.path().join("dir/noise")).unwrap());
    assert!(!to.path().join("null").exists());
}

#[test]
fn a_repository_that_takes_no_lock_is_restored_from_without_one() {
    const NAME: &str = "a_repository_that_takes_no_lock_is_restored_from_without_one";
    if let Some((repository, to)) = child() {
        let locks = PathBuf::from(std::env::var_os(REPOSITORY).unwrap()).join("locks");
        fs::set_permissions(&locks, fs::Permissions::from_mode(0o555)).unwrap();
        let done = restored(restore_from(&repository, &to, &restore_options()).unwrap());
        assert_eq!((done.left_out.count, done.remarks.count), (0, 1), "{:?}", done.remarks);
        let remark = done.remarks.first[0].why.as_str();
        assert!(remark.starts_with("restored without a lock, since the store takes none: writing locks/"), "{remark}");
        let refused = try_backup(&repository, &to).unwrap_err();
        assert!(refused.to_string().contains("Permission denied"), "only a restore does without: {refused}");
        return;
    }
    let repo = Repo::empty(&restic_program(), Version::V2);
    let (tree, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(tree.path().join("file"), "x").unwrap();
    chown(tree.path().join("file"), Some(NOBODY), Some(NOBODY)).unwrap();
    repo.backup(tree.path());
    chown(to.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    as_nobody(NAME, repo.folder.path(), to.path());
    assert_eq!(fs::read(to.path().join("file")).unwrap(), b"x");
}
