//! Repositories, with the real restic at the other end: what the program makes is restic's, what restic makes can be restored, and
//! every way to fail is told apart.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::fs::{self, File};
use std::process::{Child, Stdio};

use doppel_contract::{Fault, Nothing, Refused, ResticRestore, Retry, Verdict};
use rustix::process::Signal;
use support::vault::{PASSWORD, Vault, assert_alike, told};
use support::*;

#[test]
fn what_is_backed_up_by_hand_is_restics_and_what_restic_backs_up_is_restored() {
    let vault = Vault::new();
    let volume = vault.volume("volume");
    vault.by_hand_succeeds(&["init"]);
    vault.by_hand_succeeds(&["backup", volume.to_str().unwrap()]);
    vault.restic_succeeds(&["check", "--read-data"]);
    let to = vault.stage.volume("by-restic");
    vault.restic_succeeds(&["restore", "latest", "--target", to.to_str().unwrap()]);
    assert_alike(&volume, &to);
    assert!(!to.join("lost+found").exists());

    fs::write(volume.join("a/new"), "new").unwrap();
    let mut command = vault.restic_command();
    command.args(["backup", "--host", "volsync", "--exclude=lost+found", "."]).current_dir(&volume);
    assert!(command.output().unwrap().status.success());
    let to = vault.stage.volume("by-doppel");
    vault.by_hand_succeeds(&["restore", "latest", "--target", to.to_str().unwrap()]);
    assert_alike(&volume, &to);
    let listed = vault.by_hand_succeeds(&["snapshots"]);
    assert!(listed.contains("volsync") && listed.contains("\n2 snapshots\n"), "{listed}");
    let json: serde_json::Value = serde_json::from_str(&vault.by_hand_succeeds(&["snapshots", "--json"])).unwrap();
    let of_restic: serde_json::Value = serde_json::from_str(&vault.restic_succeeds(&["snapshots", "--json"])).unwrap();
    for index in 0..2 {
        for field in ["id", "short_id", "tree", "paths", "hostname"] {
            assert_eq!(json[index][field], of_restic[index][field], "{field}");
        }
    }

    let kept = vault.by_hand_succeeds(&["forget", "--keep-last", "1", "--dry-run"]);
    assert!(kept.contains("1 snapshots would be forgotten, 1 kept"), "{kept}");
    let kept = vault.by_hand_succeeds(&["forget", "--keep-last", "1", "--prune"]);
    assert!(kept.contains("1 snapshots forgotten, 1 kept") && kept.contains("removed "), "{kept}");
    assert!(vault.by_hand_succeeds(&["check", "--read-data"]).contains("no damage was found"));
    vault.by_hand_succeeds(&["prune"]);
    vault.by_hand_succeeds(&["unlock"]);
    vault.restic_succeeds(&["check", "--read-data"]);
    assert_eq!(vault.locks(), 0);
}

#[test]
fn exit_codes_by_hand_are_restics() {
    let vault = Vault::new();
    let volume = vault.volume("volume");
    let backup = ["backup", volume.to_str().unwrap()];
    let (code, said) = vault.by_hand(&backup);
    assert!(code == Some(10) && said.contains("there is no repository"), "{code:?} {said}");
    assert_eq!(vault.by_hand(&["snapshots"]).0, Some(10));
    assert!(!vault.repository().exists(), "nothing but init makes a repository");

    vault.by_hand_succeeds(&["init"]);
    assert_eq!(vault.by_hand(&["init"]).0, Some(1));
    let (code, said) = vault.by_hand(&["restore", "latest", "--target", vault.stage.volume("to").to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("there is no snapshot"), "{code:?} {said}");
    vault.by_hand_succeeds(&backup);
    fs::write(vault.stage.path("password"), "hush-that-is-wrong").unwrap();
    let (code, said) = vault.by_hand(&backup);
    assert!(code == Some(12) && said.contains("wrong password") && !said.contains("hush"), "{code:?} {said}");
    assert_eq!(vault.by_hand(&["check"]).0, Some(12));
    fs::write(vault.stage.path("password"), PASSWORD).unwrap();

    let other = Waiting::start(&vault);
    let (code, said) = vault.by_hand(&["prune"]);
    assert!(code == Some(11) && said.contains("lock"), "{code:?} {said}");
    // Backups stand beside each other.
    vault.by_hand_succeeds(&backup);
    drop(other);

    let pack = fs::read_dir(vault.repository().join("data"))
        .unwrap()
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    fs::remove_file(pack.map(|pack| pack.unwrap().path()).next().unwrap()).unwrap();
    let (code, said) = vault.by_hand(&["check"]);
    assert!(code == Some(1) && said.contains("damaged: data/"), "{code:?} {said}");
}

/// A restic that holds a lock: it waits for what it is to back up.
struct Waiting(Child);

impl Waiting {
    fn start(vault: &Vault) -> Self {
        let mut command = vault.restic_command();
        command.args(["backup", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let waiting = Self(command.spawn().unwrap());
        wait_until("a lock of restic's", || vault.locks() > 0);
        waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_backup_in_which_a_file_is_missing_is_stored_and_is_no_success() {
    let vault = Vault::new();
    let volume = vault.stage.volume("volume");
    for (name, mode) in [("good", 0o644), ("closed", 0o000)] {
        fs::write(volume.join(name), name).unwrap();
        permissions(&volume.join(name), mode);
    }
    permissions(&volume, 0o755);
    permissions(&vault.stage.path("password"), 0o644);
    let home = vault.repository();
    fs::create_dir(&home).unwrap();
    permissions(&home, 0o777);
    let run = |arguments: &[&str]| {
        let mut command = vault.stage.unprivileged();
        command.args(["restic", "--repo"]).arg(&home).arg("--password-file").arg(vault.stage.path("password"));
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert_eq!(run(&["init"]).0, Some(0));
    let (code, said) = run(&["backup", volume.to_str().unwrap()]);
    assert!(code == Some(3) && said.contains("closed") && said.contains("Permission denied"), "{code:?} {said}");
    assert!(vault.by_hand_succeeds(&["snapshots"]).contains("(incomplete)"));
    vault.restic_succeeds(&["check", "--read-data"]);
}

#[test]
fn a_run_makes_the_repository_keeps_what_it_is_to_keep_and_lists_it() {
    let vault = Vault::new();
    let volume = vault.volume("volume");
    let first = vault.backup(&volume, 2, false);
    first.expect_complete();
    let snapshot = told(&first).snapshot.as_ref().unwrap();
    assert!(!snapshot.incomplete && told(&first).snapshots == 1, "{}", first.said);
    for text in ["one", "two"] {
        fs::write(volume.join("a/changed"), text).unwrap();
        vault.backup(&volume, 2, false).expect_complete();
    }
    let last = vault.backup(&volume, 2, true);
    last.expect_complete();
    assert!(told(&last).snapshots == 2 && told(&last).pruned, "{}", last.said);
    assert_eq!(told(&last).newest.first(), told(&last).snapshot.as_ref());
    assert_eq!(last.report().tally.files_sent, 0, "nothing has changed");
    // Its tag, and the cache of this repository.
    assert_eq!(fs::read_dir(vault.stage.path("cache")).unwrap().count(), 2);
    vault.restic_succeeds(&["check", "--read-data"]);
    assert_eq!(vault.locks(), 0);
    assert!(!last.said.contains(PASSWORD));
}

#[test]
fn an_empty_volume_is_not_backed_up_and_costs_no_backup() {
    let vault = Vault::new();
    let empty = vault.stage.volume("empty");
    fs::create_dir(empty.join("lost+found")).unwrap();
    let ended = vault.backup(&empty, 1, true);
    ended.expect_complete();
    assert_eq!(told(&ended).nothing, Some(Nothing::EmptyVolume));
    assert!(!vault.repository().exists(), "no repository is made for it");

    let volume = vault.volume("volume");
    vault.backup(&volume, 1, false).expect_complete();
    fs::rename(&volume, vault.stage.path("before")).unwrap();
    fs::create_dir(&volume).unwrap();
    let ended = vault.backup(&volume, 1, true);
    ended.expect_complete();
    assert!(told(&ended).nothing == Some(Nothing::EmptyVolume) && told(&ended).pruned, "{}", ended.said);
    vault.restore(&volume, |_| {}, None).expect_complete();
    assert_alike(&vault.stage.path("before"), &volume);
}

#[test]
fn the_states_of_a_restore_are_told_apart() {
    let vault = Vault::new();
    let volume = vault.volume("volume");
    let refused = |ended: &Ended, refused, part: &str| {
        let message = ended.expect_failure(11);
        assert!(told(ended).refused == Some(refused) && message.contains(part), "{:?} {message}", told(ended));
        let verdict = &ended.report().verdict;
        assert!(
            matches!(verdict, Verdict::Failed { fault: Fault::User, retry: Retry::AfterChange, .. }),
            "{verdict:?}"
        );
    };
    let nothing = |ended: &Ended, nothing, part: &str| {
        let report = ended.expect_complete();
        assert_eq!((told(ended).nothing, report.remarks.count), (Some(nothing), 1));
        assert!(report.remarks.first[0].why.as_str().contains(part), "{report:?}");
    };
    let restore = |change: fn(&mut ResticRestore)| vault.restore(&volume, change, None);
    nothing(&restore(|_| {}), Nothing::NoRepository, "there is no repository");
    assert!(!vault.repository().exists(), "a restore makes no repository");
    vault.by_hand_succeeds(&["init"]);
    nothing(&restore(|_| {}), Nothing::NoSnapshot, "there is no snapshot of this volume");

    vault.backup(&volume, 1, false).expect_complete();
    let early = restore(|work| work.as_of = Some("1980-01-01T00:00:00Z".to_owned()));
    nothing(&early, Nothing::NoneEligible, "the repository has 1 snapshot, from 2");
    nothing(&restore(|work| work.previous = 9999), Nothing::NoneEligible, "before the newest 9999");
    let unreadable = restore(|work| work.as_of = Some("yesterday".to_owned()));
    refused(&unreadable, Refused::Misconfigured, "restoreAsOf \"yesterday\"");

    fs::write(volume.join("extra"), "extra").unwrap();
    fs::remove_file(volume.join("a/b/deep")).unwrap();
    let done = restore(|work| work.delete = true);
    assert_eq!(done.expect_complete().tally.deleted, 1, "{}", done.said);
    assert!(told(&done).snapshot.is_some() && told(&done).nothing.is_none());
    assert!(!volume.join("extra").exists() && volume.join("a/b/deep").exists());

    let repository = vault.repository();
    vault.write_secret(&[("RESTIC_REPOSITORY", repository.to_str().unwrap()), ("RESTIC_PASSWORD", "hush-hush")]);
    refused(&restore(|_| {}), Refused::WrongPassword, "wrong password");
    vault.write_secret(&[("RESTIC_REPOSITORY", repository.to_str().unwrap())]);
    refused(&restore(|_| {}), Refused::Misconfigured, "RESTIC_PASSWORD is missing");

    let nobody = format!("rest:http://me:hush@127.0.0.1:{}/", free_port());
    vault.write_secret(&[("RESTIC_REPOSITORY", &nobody), ("RESTIC_PASSWORD", PASSWORD)]);
    let ended = vault.restore(&volume, |_| {}, Some(1));
    let message = ended.expect_failure(10);
    assert!(told(&ended).refused == Some(Refused::Unreachable) && message.contains("deadline of 1 s"), "{message}");
    assert!(!ended.said.contains("hush"), "{}", ended.said);
}

#[test]
fn a_backup_that_is_told_to_end_leaves_no_lock_and_one_that_is_killed_is_in_nobodys_way() {
    let vault = Vault::new();
    let volume = vault.stage.volume("volume");
    fs::write(volume.join("small"), "small").unwrap();
    File::create(volume.join("huge")).unwrap().set_len(64 << 30).unwrap();
    let begin = || {
        let mut mover = vault.run(&volume, vault.backing_up(1, false), None);
        mover.wait_for("\"phase\":\"transferring\"");
        assert_eq!(vault.locks(), 1);
        assert!(!mover.in_proc().contains(PASSWORD));
        mover
    };
    let mover = begin();
    mover.signal(Signal::TERM);
    let ended = mover.end();
    assert!(ended.expect_failure(10).contains("stopped by a signal"), "{}", ended.said);
    assert_eq!(vault.locks(), 0);
    begin().kill();
    assert_eq!(vault.locks(), 1);
    fs::remove_file(volume.join("huge")).unwrap();
    vault.backup(&volume, 1, true).expect_complete();
    assert_eq!(vault.locks(), 0);
    vault.restic_succeeds(&["check", "--read-data"]);
}
