//! What the tests of repositories share: the real restic, trees with everything in them, and stores that fail.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

pub mod copying;
pub mod forge;
pub mod server;
pub mod storage;
pub mod tree;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use doppel_restic::backup::{BackedUp, BackupOptions, backup};
use doppel_restic::error::Error;
use doppel_restic::format::compress::Compression;
use doppel_restic::format::config::Version;
use doppel_restic::format::id::Id;
use doppel_restic::repository::Repository;
use doppel_restic::repository::lock::Holder;
use doppel_restic::restore::{Others, Restoration, RestoreOptions, Restored, restore};
use doppel_restic::snapshots::{Filter, Which};
use doppel_storage::Storage;
use doppel_storage::folder::Folder;
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use tempfile::TempDir;

pub const PASSWORD: &str = "correct horse battery staple";

/// A repository in a folder, and a restic that works in it.
pub struct Repo {
    pub folder: TempDir,
    program: PathBuf,
}

/// The restic in the path, which is old, and newer ones if `RESTIC_NEWEST` says where they are, with colons between them.
pub fn restics() -> Vec<PathBuf> {
    let newer = std::env::var_os("RESTIC_NEWEST").unwrap_or_default();
    let newer = std::env::split_paths(&newer).filter(|path| !path.as_os_str().is_empty());
    std::iter::once(restic_program()).chain(newer).collect()
}

/// The restic in the path.
pub fn restic_program() -> PathBuf {
    PathBuf::from("restic")
}

impl Repo {
    /// An empty folder.
    pub fn new(program: &Path) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), program: program.to_owned() }
    }

    /// A repository that restic made.
    pub fn made_by_restic(program: &Path, version: Version) -> Self {
        let repo = Self::new(program);
        let version = if version == Version::V1 { "1" } else { "2" };
        repo.restic(&["init", "--repository-version", version]);
        repo
    }

    /// A repository that we made.
    pub fn made_by_us(program: &Path, version: Version) -> Self {
        let repo = Self::new(program);
        Repository::init(repo.storage(), PASSWORD.as_bytes(), version).unwrap();
        repo
    }

    /// An empty repository, as both make it, but for its key, which costs nothing to open (scrypt with N = 16): of most tests that
    /// is what took the time.
    pub fn empty(program: &Path, version: Version) -> Self {
        let (config, key) = match version {
            Version::V1 => (&include_bytes!("../fixtures/v1/config")[..], &include_bytes!("../fixtures/v1/key")[..]),
            Version::V2 => (&include_bytes!("../fixtures/v2/config")[..], &include_bytes!("../fixtures/v2/key")[..]),
        };
        let repo = Self::new(program);
        let storage = repo.storage();
        storage.write(&format!("keys/{}", Id::of(key)), key.into()).unwrap();
        storage.write("config", config.into()).unwrap();
        repo
    }

    /// The restic that works in it.
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(Folder::new(self.folder.path()))
    }

    pub fn open(&self) -> Repository {
        Repository::open(self.storage(), PASSWORD.as_bytes()).unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--no-cache").arg("--repo").arg(self.folder.path()).args(args);
        command.env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC").env("HOME", "/nonexistent");
        command
    }

    /// Runs restic, which must succeed; what it wrote.
    pub fn restic(&self, args: &[&str]) -> String {
        text(self.command(args).output().unwrap(), args)
    }

    /// The same in a directory.
    pub fn restic_in(&self, directory: &Path, args: &[&str]) -> String {
        text(self.command(args).current_dir(directory).output().unwrap(), args)
    }

    /// restic's own judgement of everything.
    pub fn check(&self) {
        let out = self.restic(&["check", "--read-data"]);
        assert!(out.contains("no errors were found"), "{out}");
    }

    /// restic's backup of a directory, as VolSync calls it; the number of data blobs that it added.
    pub fn restic_backup(&self, directory: &Path) -> u64 {
        let out = self.restic_in(directory, &["backup", "--json", "--host", "volsync", "."]);
        number(out.lines().last().unwrap(), "data_blobs")
    }

    pub fn restic_restore(&self, to: &Path) {
        self.restic(&["restore", "latest", "--target", to.to_str().unwrap()]);
    }

    pub fn backup(&self, from: &Path) -> BackedUp {
        try_backup(&self.open(), from).unwrap()
    }

    pub fn restore(&self, to: &Path) -> Restoration {
        restored(restore_from(&self.open(), to, &restore_options()).unwrap())
    }

    /// Paths of all files in a folder of the repository.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        if self.folder.path().join(folder).exists() {
            walk(&self.folder.path().join(folder), &mut found);
        }
        found.sort();
        found
    }
}

pub fn text(output: Output, what: &[&str]) -> String {
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "restic {what:?}: {out}{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// The number of a field in JSON, of which nothing else is of interest.
pub fn number(json: &str, field: &str) -> u64 {
    let (_, after) = json.split_once(&format!("\"{field}\":")).unwrap_or_else(|| panic!("{field} in {json}"));
    after.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

pub fn holder() -> Holder {
    Holder { host: "test".into(), user: "test".into(), process: std::process::id(), gone: Vec::new() }
}

pub fn backup_options() -> BackupOptions {
    BackupOptions {
        holder: holder(),
        host: "volsync".into(),
        paths: vec!["/data".into()],
        program: "doppel test".into(),
        compression: Compression::Auto,
        pack_size: BackupOptions::PACK_SIZE,
    }
}

pub fn restore_options() -> RestoreOptions {
    let which = Which::Newest { as_of: None, previous: 0 };
    RestoreOptions { holder: holder(), which, filter: Filter::default(), others: Others::Keep }
}

pub fn try_backup(repository: &Repository, from: &Path) -> Result<BackedUp, Error> {
    backup(repository, &Tree::open(from).unwrap(), &backup_options(), &Silent)
}

pub fn restore_from(repository: &Repository, to: &Path, options: &RestoreOptions) -> Result<Restored, Error> {
    restore(repository, &Tree::open(to).unwrap(), options, &Silent)
}

pub fn restored(outcome: Restored) -> Restoration {
    match outcome {
        Restored::Done(restoration) => *restoration,
        Restored::NoSnapshot(none) => panic!("{none:?}"),
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
