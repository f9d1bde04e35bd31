//! `docs/restic-interop.md`: what restic and Doppel do in each other's repositories, found by doing it. The test fails when the
//! document is stale; with `DOPPEL_WRITE_DOCS=1` it writes it. What other restics than that of the machine do is found if
//! `RESTIC_NEWEST` names one; without it their column of the document is not looked at.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;

use doppel_restic::check::{CheckOptions, ReadData, check};
use doppel_restic::error::Error;
use doppel_restic::forget::policy::Policy;
use doppel_restic::forget::{ForgetOptions, forget};
use doppel_restic::format::config::Version;
use doppel_restic::prune::{PruneOptions, prune};
use doppel_restic::repository::Repository;
use doppel_restic::snapshots::{Filter, snapshots};
use doppel_storage::folder::Folder;
use support::copying::{restic_copy, try_copy};
use support::storage::Waiting;
use support::tree::{assert_same, make, make_odd_link, noise};
use support::{PASSWORD, Repo, holder, restic_program, restics, try_backup};
use tempfile::TempDir;

/// Does it with this restic; panics if it does not work.
type Deed = fn(&Path);

/// What is done; Doppel after restic or to what is restic's, and restic after Doppel or to what is Doppel's.
const ROWS: [(&str, Deed, Deed); 8] = [
    ("`init`: the repository of one opens for the other, in versions 1 and 2", open_restics, open_ours),
    ("`restore` of what the other backed up, with all that a tree can hold", restore_restics, restore_ours),
    (
        "`backup` of what the other backed up stores no data again: chunks are identical",
        chunks_of_restic,
        chunks_of_ours,
    ),
    ("`check` of what the other wrote, all data read, finds nothing", check_restics, check_ours),
    ("`forget` of the other's snapshots", forget_restics, forget_ours),
    ("`prune` of the other's packs: what is needed stays, what is not goes", prune_restics, prune_ours),
    ("locks of the other keep a prune out, and no backup", locks_of_restic, locks_of_ours),
    ("`copy` from the other's repository; the other takes it for a copy", copy_restics, copy_ours),
];

const HEAD: &str = "\
# What restic and Doppel do in each other's repositories

Written by `movers/restic/tests/interop.rs`, which does what it says here, with the real restic. Each program has a column
for what it does to what the other one made.

";

const FOOT: &str = "
Version 2 of the format, which compresses, is restic's since 0.14. Targets of links that are not UTF-8 are kept by restic since
0.16, and by Doppel.
";

const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

/// A tree with everything in it that this restic can keep.
fn tree(program: &Path) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    make(tree.path());
    if program != restic_program() {
        make_odd_link(tree.path());
    }
    tree
}

fn restored(restore: impl FnOnce(&Path), expected: &Path) {
    let to = tempfile::tempdir().unwrap();
    restore(to.path());
    assert_same(expected, to.path());
}

fn open_restics(program: &Path) {
    for version in VERSIONS {
        assert_eq!(Repo::made_by_restic(program, version).open().version(), version);
    }
}

fn open_ours(program: &Path) {
    for version in VERSIONS {
        Repo::made_by_us(program, version).check();
    }
}

fn restore_restics(program: &Path) {
    for version in VERSIONS {
        let (repo, tree) = (Repo::empty(program, version), tree(program));
        repo.restic_backup(tree.path());
        restored(|to| restore(&repo, to), tree.path());
    }
}

fn restore(repo: &Repo, to: &Path) {
    let done = repo.restore(to);
    assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
}

fn restore_ours(program: &Path) {
    for version in VERSIONS {
        let (repo, tree) = (Repo::empty(program, version), tree(program));
        let done = repo.backup(tree.path());
        assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
        restored(|to| repo.restic_restore(to), tree.path());
    }
}

fn chunks_of_restic(program: &Path) {
    for version in VERSIONS {
        let (repo, tree) = (Repo::empty(program, version), tree(program));
        assert!(repo.restic_backup(tree.path()) > 300);
        assert_eq!(repo.backup(tree.path()).counts.data_blobs, 0);
    }
}

fn chunks_of_ours(program: &Path) {
    for version in VERSIONS {
        let (repo, tree) = (Repo::empty(program, version), tree(program));
        assert!(repo.backup(tree.path()).counts.data_blobs > 300);
        assert_eq!(repo.restic_backup(tree.path()), 0);
    }
}

fn assert_sound(repo: &Repo) {
    let checked = check(&repo.open(), &CheckOptions { holder: holder(), read: ReadData::Everything }).unwrap();
    assert!(checked.damage.is_empty() && checked.remarks.is_empty(), "{checked:?}");
    assert!(checked.packs_read == checked.packs && checked.packs > 0, "{checked:?}");
}

fn check_restics(program: &Path) {
    for version in VERSIONS {
        let repo = Repo::empty(program, version);
        repo.restic_backup(tree(program).path());
        assert_sound(&repo);
    }
}

fn check_ours(program: &Path) {
    for version in VERSIONS {
        let repo = Repo::empty(program, version);
        repo.backup(tree(program).path());
        repo.check();
    }
}

fn keep_last() -> ForgetOptions {
    ForgetOptions { holder: holder(), filter: Filter::default(), policy: Policy { last: 1, ..Policy::default() } }
}

/// Three contents of a file, backed up one after the other; the tree as it is at last.
fn three<T>(backup: impl Fn(&Path) -> T) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        fs::write(tree.path().join("noise"), noise(900_000, seed)).unwrap();
        backup(tree.path());
    }
    tree
}

fn forget_restics(program: &Path) {
    let repo = Repo::empty(program, Version::V2);
    let tree = three(|tree| repo.restic_backup(tree));
    let forgotten = forget(&repo.open(), &keep_last()).unwrap();
    assert_eq!((forgotten.kept.len(), forgotten.removed.len()), (1, 2));
    repo.check();
    restored(|to| repo.restic_restore(to), tree.path());
}

fn forget_ours(program: &Path) {
    let repo = Repo::empty(program, Version::V2);
    let tree = three(|tree| repo.backup(tree));
    repo.restic(&["forget", "--keep-last", "1"]);
    assert_eq!(snapshots(&repo.open()).unwrap().len(), 1);
    restored(|to| restore(&repo, to), tree.path());
}

fn prune_options() -> PruneOptions {
    PruneOptions { holder: holder(), max_unused_percent: 0, max_repack: u64::MAX, pack_size: 16 << 20 }
}

fn bytes(repo: &Repo) -> u64 {
    repo.files("data").iter().map(|file| file.metadata().unwrap().len()).sum()
}

fn prune_restics(program: &Path) {
    let repo = Repo::empty(program, Version::V2);
    let tree = three(|tree| repo.restic_backup(tree));
    repo.restic(&["forget", "--keep-last", "1"]);
    let before = bytes(&repo);
    prune(&repo.open(), &prune_options()).unwrap();
    assert!(bytes(&repo) + 1_700_000 < before);
    repo.check();
    restored(|to| repo.restic_restore(to), tree.path());
}

fn prune_ours(program: &Path) {
    let repo = Repo::empty(program, Version::V2);
    let tree = three(|tree| repo.backup(tree));
    forget(&repo.open(), &keep_last()).unwrap();
    let before = bytes(&repo);
    repo.restic(&["prune", "--max-unused", "0"]);
    assert!(bytes(&repo) + 1_700_000 < before);
    assert_sound(&repo);
    restored(|to| restore(&repo, to), tree.path());
}

fn locks_of_restic(program: &Path) {
    let (repo, tree) = (Repo::empty(program, Version::V2), tree(program));
    let mut waiting = repo.command(&["backup", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // One that is whole: until then it has another name.
    let is_lock = |file: &PathBuf| !file.to_str().unwrap().contains("-tmp-");
    while !repo.files("locks").iter().any(is_lock) {
        std::thread::yield_now();
    }
    // A prune must wait, a backup need not.
    let refused = prune(&repo.open(), &prune_options());
    assert!(matches!(&refused, Err(Error::Locked(by)) if by.as_str().contains("locked by process")), "{refused:?}");
    repo.backup(tree.path());
    waiting.stdin.take().unwrap().write_all(b"content").unwrap();
    assert!(waiting.wait().unwrap().success());
    prune(&repo.open(), &prune_options()).unwrap();
}

fn locks_of_ours(program: &Path) {
    let (repo, tree) = (Repo::empty(program, Version::V2), tree(program));
    let ((waits, waiting), (go_on, goes_on)) = (channel(), channel());
    let storage = Arc::new(Waiting::new(Folder::new(repo.folder.path()), waits, goes_on));
    let repository = Repository::open(storage, PASSWORD.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| try_backup(&repository, tree.path()));
        waiting.recv().unwrap();
        let refused = repo.command(&["prune"]).output().unwrap();
        assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("already locked"));
        repo.restic_backup(tree.path());
        go_on.send(()).unwrap();
        backup.join().unwrap().unwrap();
    });
    repo.restic(&["prune"]);
}

fn copy_restics(program: &Path) {
    let (from, to) = (Repo::empty(program, Version::V2), Repo::empty(program, Version::V2));
    let tree = tree(program);
    from.restic_backup(tree.path());
    assert_eq!(try_copy(&from.open(), &to.open()).unwrap().copied.len(), 1);
    assert!(restic_copy(&from, &to).contains("was already copied"));
    to.check();
    restored(|into| to.restic_restore(into), tree.path());
}

fn copy_ours(program: &Path) {
    let (from, to) = (Repo::empty(program, Version::V2), Repo::empty(program, Version::V2));
    let tree = tree(program);
    from.backup(tree.path());
    restic_copy(&from, &to);
    assert_eq!(try_copy(&from.open(), &to.open()).unwrap().there.len(), 1);
    assert_sound(&to);
    restored(|into| restore(&to, into), tree.path());
}

#[test]
fn trees_are_written_byte_for_byte_as_restic_writes_them() {
    // restic 0.14 has no such command.
    for program in restics().into_iter().filter(|program| *program != restic_program()) {
        let (repo, tree) = (Repo::empty(&program, Version::V2), tree(&program));
        repo.backup(tree.path());
        // It decodes and encodes every tree, and refuses if that changes one.
        repo.restic(&["rewrite", "--exclude", "/dir/inner/edge", "--forget", "latest"]);
        repo.check();
    }
}

/// What one restic and Doppel do: the heads of two columns, and their cells.
struct Columns {
    heads: [String; 2],
    cells: Vec<[&'static str; 2]>,
}

fn columns(program: &Path) -> Columns {
    let said = Command::new(program).arg("version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let version = said.split_whitespace().nth(1).unwrap();
    let does = |what: &str, deed: Deed| {
        let done = catch_unwind(AssertUnwindSafe(|| deed(program))).is_ok();
        println!("restic {version}, {what}: {done}");
        if done { "yes" } else { "**no**" }
    };
    // Each side has a thread: most of a deed is one of the two programs, on one core.
    let (ours, restics): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| ROWS.map(|(what, ours, _)| does(what, ours)));
        let restics = ROWS.map(|(what, _, restics)| does(what, restics));
        (ours.join().unwrap().to_vec(), restics.to_vec())
    });
    let cells = ours.into_iter().zip(restics).map(|(ours, restics)| [ours, restics]).collect();
    Columns { heads: [format!("Doppel, of restic {version}"), format!("restic {version}, of Doppel")], cells }
}

fn document(all: &[Columns]) -> String {
    let heads: Vec<&str> = all.iter().flat_map(|columns| &columns.heads).map(String::as_str).collect();
    let mut text = format!("{HEAD}| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for (number, (what, ..)) in ROWS.iter().enumerate() {
        let cells: Vec<&str> = all.iter().flat_map(|columns| columns.cells[number]).collect();
        text += &format!("| {what} | {} |\n", cells.join(" | "));
    }
    text + FOOT
}

/// The cells beneath a head in the document.
fn written(document: &str, head: &str) -> Option<Vec<String>> {
    let mut rows = document.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let column = cells(rows.next()?).iter().position(|cell| cell == head)?;
    rows.map(|row| cells(row).get(column).cloned()).collect()
}

#[test]
fn the_document_says_what_both_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/restic-interop.md");
    let all: Vec<Columns> = restics().iter().map(|program| columns(program)).collect();
    if std::env::var_os("DOPPEL_WRITE_DOCS").is_some() {
        assert!(all.len() > 1, "set RESTIC_NEWEST, too: the document has a column for it");
        fs::write(&path, document(&all)).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let (head, foot) = (HEAD.trim_end(), FOOT.trim_start());
    assert!(
        text.starts_with(head) && text.ends_with(foot),
        "docs/restic-interop.md is stale: run this with DOPPEL_WRITE_DOCS=1"
    );
    for Columns { heads, cells } in &all {
        for (side, head) in heads.iter().enumerate() {
            let found: Vec<&str> = cells.iter().map(|cells| cells[side]).collect();
            let written = written(&text, head).unwrap_or_else(|| panic!("docs/restic-interop.md has no column {head}"));
            assert_eq!(written, found, "docs/restic-interop.md, {head}: run this with DOPPEL_WRITE_DOCS=1");
        }
    }
}
