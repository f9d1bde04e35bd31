//! The real restic and the program in one repository at the same time: processes that back up, forget, prune, check and copy as
//! they happen to come.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::command;
use support::vault::{Vault, assert_alike};

/// How often each of them came to its end, and how often it was kept out by a lock.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<&'static str, (u32, u32)>>);

impl Counts {
    fn count(&self, who: &'static str, done: bool) {
        let mut counts = self.0.lock().unwrap();
        let (finished, kept_out) = counts.entry(who).or_default();
        *if done { finished } else { kept_out } += 1;
    }

    fn all_at_least(&self, workers: usize, least: u32) -> bool {
        let counts = self.0.lock().unwrap();
        counts.len() == workers && counts.values().all(|(finished, _)| *finished >= least)
    }
}

/// Runs a command again and again. The only failure that may be is a lock, and the last one finishes: what it was made for is done.
fn again_and_again(who: &'static str, counts: &Counts, until: &dyn Fn() -> bool, make: &dyn Fn(u32) -> Command) {
    let mut is_finished = false;
    for number in 0.. {
        if until() && is_finished {
            return;
        }
        let output = make(number).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let kept_out = said.contains("already locked") || output.status.code() == Some(11);
        assert!(output.status.success() || kept_out, "{who}: {:?} {said}", output.status);
        is_finished = output.status.success();
        counts.count(who, is_finished);
    }
}

#[test]
fn restic_and_doppel_work_in_one_repository_at_the_same_time() {
    const AT_LEAST: Duration = Duration::from_secs(6);
    const AT_MOST: Duration = Duration::from_secs(180);
    let (vault, other) = (Vault::new(), Vault::new());
    vault.restic_succeeds(&["init"]);
    other.by_hand_succeeds(&["init"]);
    let (ours, restics) = (vault.volume("ours"), vault.volume("restics"));
    let by_hand = |vault: &Vault, arguments: &[&str]| {
        let mut command = command();
        command.args(["restic", "--repo"]).arg(vault.repository());
        command.arg("--password-file").arg(vault.stage.path("password")).args(arguments);
        command
    };
    let restic = |directory: &Path, arguments: &[&str]| {
        let mut command = vault.restic_command();
        command.args(arguments).current_dir(directory);
        command
    };
    let change = |volume: &Path, number: u32| {
        fs::write(volume.join("a/changed"), number.to_string().repeat(50_000)).unwrap();
        fs::write(volume.join(format!("a/new-{}", number % 5)), number.to_string()).unwrap();
    };
    let (counts, begin) = (Counts::default(), Instant::now());
    let until = || {
        assert!(begin.elapsed() < AT_MOST, "after so long not all have finished: {:?}", counts.0.lock().unwrap());
        begin.elapsed() > AT_LEAST && counts.all_at_least(5, 1)
    };
    let password = vault.stage.path("password");
    let repository = vault.repository();
    let start = |who, make: &dyn Fn(u32) -> Command| again_and_again(who, &counts, &until, make);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            start("backup of Doppel", &|number| {
                change(&ours, number);
                by_hand(&vault, &["backup", ours.to_str().unwrap()])
            });
        });
        scope.spawn(|| {
            start("backup of restic", &|number| {
                change(&restics, number);
                restic(&restics, &["backup", "--host", "restic", "."])
            });
        });
        scope.spawn(|| {
            start("forget and prune of Doppel", &|_| by_hand(&vault, &["forget", "--keep-last", "2", "--prune"]));
        });
        scope.spawn(|| {
            start("forget and prune of restic", &|_| {
                std::thread::sleep(Duration::from_millis(300));
                restic(&restics, &["forget", "--keep-last", "2", "--prune", "--max-unused", "0"])
            });
        });
        scope.spawn(|| {
            let (from, password) = (repository.to_str().unwrap(), password.to_str().unwrap());
            start("copy of Doppel", &|_| {
                by_hand(&other, &["copy", "--from-repo", from, "--from-password-file", password])
            });
        });
    });
    println!("{:?} after {:?}", counts.0.lock().unwrap(), begin.elapsed());
    for (vault, names) in [(&vault, 2), (&other, 0)] {
        assert_eq!(vault.locks(), 0);
        vault.restic_succeeds(&["check", "--read-data"]);
        assert!(vault.by_hand_succeeds(&["check", "--read-data"]).contains("no damage was found"));
        assert!(vault.by_hand_succeeds(&["snapshots"]).lines().count() >= names);
    }
    for (volume, host) in [(&ours, "volsync"), (&restics, "restic")] {
        let to = vault.stage.volume(&format!("restored-{host}"));
        vault.by_hand_succeeds(&["restore", "latest", "--host", host, "--target", to.to_str().unwrap()]);
        assert_alike(volume, &to);
    }
}
