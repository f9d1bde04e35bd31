//! A repository's Secret, the real restic, and the program by hand and as a pod of the operator starts it.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use doppel_contract::{Repository, RepositoryReport, Request, ResticBackup, ResticRestore, Retain, Volume, Work};

use super::{Ended, Mover, Stage, command};

pub const PASSWORD: &str = "hush-of-a-repository";

/// A stage with a repository's Secret.
pub struct Vault {
    pub stage: Stage,
}

impl Vault {
    pub fn new() -> Self {
        let vault = Self { stage: Stage::new() };
        vault.write_secret(&[
            ("RESTIC_REPOSITORY", vault.repository().to_str().unwrap()),
            ("RESTIC_PASSWORD", PASSWORD),
        ]);
        fs::write(vault.stage.path("password"), format!("{PASSWORD}\n")).unwrap();
        vault
    }

    pub fn repository(&self) -> PathBuf {
        self.stage.path("repository")
    }

    /// A Secret as the kubelet mounts it, in place of the one before.
    pub fn write_secret(&self, keys: &[(&str, &str)]) {
        let secret = self.stage.path("secret");
        let _ = fs::remove_dir_all(&secret);
        fs::create_dir(&secret).unwrap();
        for (key, value) in keys {
            fs::write(secret.join(key), value).unwrap();
        }
    }

    /// A volume with some of everything.
    pub fn volume(&self, name: &str) -> PathBuf {
        let volume = self.stage.volume(name);
        fs::create_dir_all(volume.join("a/b")).unwrap();
        fs::write(volume.join("a/b/deep"), "deep").unwrap();
        fs::write(volume.join("large"), vec![7; 3 << 20]).unwrap();
        fs::write(volume.join("empty"), "").unwrap();
        fs::hard_link(volume.join("large"), volume.join("twin")).unwrap();
        std::os::unix::fs::symlink("a/b/deep", volume.join("link")).unwrap();
        fs::create_dir(volume.join("lost+found")).unwrap();
        fs::write(volume.join("lost+found/x"), "x").unwrap();
        volume
    }

    /// The real restic.
    pub fn restic(&self, arguments: &[&str]) -> Output {
        let output = self.restic_command().args(arguments).stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("restic is missing; `tests/peers` installs it: {error}"))
    }

    pub fn restic_command(&self) -> Command {
        let mut command = Command::new("restic");
        command.env("RESTIC_REPOSITORY", self.repository()).env("RESTIC_PASSWORD", PASSWORD);
        command.args(["--no-cache"]);
        command
    }

    #[track_caller]
    pub fn restic_succeeds(&self, arguments: &[&str]) -> String {
        let output = self.restic(arguments);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "restic {arguments:?}: {said}");
        said
    }

    /// The program by hand.
    pub fn by_hand(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = command();
        command
            .args(["restic", "--repo"])
            .arg(self.repository())
            .arg("--password-file")
            .arg(self.stage.path("password"));
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains(PASSWORD), "{said}");
        (output.status.code(), said)
    }

    #[track_caller]
    pub fn by_hand_succeeds(&self, arguments: &[&str]) -> String {
        let (code, said) = self.by_hand(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        said
    }

    pub fn access(&self) -> Repository {
        let (settings, cache) = (self.stage.path("secret"), Some(self.stage.path("cache")));
        Repository { settings, ca_file: None, cache, lock_owner: Some("uid-1".to_owned()) }
    }

    pub fn run(&self, volume: &Path, work: Work, deadline: Option<u64>) -> Mover {
        let request = Request {
            volume: Volume::Tree(volume.to_owned()),
            work,
            deadline_seconds: deadline.and_then(NonZeroU64::new),
            progress_port: None,
        };
        self.stage.run("restic", &request, &self.stage.path("termination-log"))
    }

    pub fn backup(&self, volume: &Path, last: u32, prune: bool) -> Ended {
        self.run(volume, self.backing_up(last, prune), None).end()
    }

    pub fn backing_up(&self, last: u32, prune: bool) -> Work {
        let retain = Retain { last, ..Retain::default() };
        Work::ResticBackup(ResticBackup { repository: self.access(), retain, prune, unlock: false })
    }

    pub fn restore(&self, volume: &Path, change: impl FnOnce(&mut ResticRestore), deadline: Option<u64>) -> Ended {
        let mut work = ResticRestore { repository: self.access(), as_of: None, previous: 0, delete: false };
        change(&mut work);
        self.run(volume, Work::ResticRestore(work), deadline).end()
    }

    pub fn locks(&self) -> usize {
        fs::read_dir(self.repository().join("locks")).unwrap().count()
    }
}

pub fn told(ended: &Ended) -> &RepositoryReport {
    ended.report().repository.as_ref().unwrap_or_else(|| panic!("nothing about restic in {}", ended.said))
}

/// What `diff -r` does not see is for the tests of the engine.
#[track_caller]
pub fn assert_alike(one: &Path, other: &Path) {
    let output =
        Command::new("diff").args(["-r", "--no-dereference", "--exclude=lost+found"]).args([one, other]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
