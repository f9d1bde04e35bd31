//! `doppel-mover restic` looking into snapshots and copying them, beside the real restic doing the same.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use support::command;
use support::vault::{PASSWORD, Vault, assert_alike};

/// A repository that restic has made, with two snapshots of its own.
fn filled() -> (Vault, PathBuf) {
    let vault = Vault::new();
    let volume = vault.volume("volume");
    fs::write(volume.join("new\nline \u{1b}"), "odd").unwrap();
    vault.restic_succeeds(&["init"]);
    for content in ["one", "two"] {
        fs::write(volume.join("a/changed"), content).unwrap();
        let mut command = vault.restic_command();
        command.args(["backup", "--host", "volsync", "."]).current_dir(&volume);
        assert!(command.output().unwrap().status.success());
    }
    (vault, volume)
}

/// Standard output alone, of the program by hand.
fn stdout(vault: &Vault, arguments: &[&str]) -> Vec<u8> {
    let mut command = command();
    command.args(["restic", "--repo"]).arg(vault.repository());
    command.arg("--password-file").arg(vault.stage.path("password")).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Every field that restic writes is there and is the same; a number may be written otherwise.
#[track_caller]
fn assert_has(ours: &Value, restics: &Value) {
    for (field, value) in restics.as_object().unwrap() {
        let is_same = match (value.as_f64(), ours[field].as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-12,
            // What is zero may be left out, as newer restics do it.
            (Some(0.0), None) => true,
            _ => ours[field] == *value,
        };
        assert!(is_same, "{field}: {value} of restic, {} of ours", ours[field]);
    }
}

#[test]
fn what_is_in_a_snapshot_is_listed_as_restic_lists_it() {
    let (vault, _) = filled();
    for arguments in [
        &["ls", "latest"][..],
        &["ls", "latest", "/a"],
        &["ls", "latest", "/a", "--recursive"],
        &["ls", "latest", "/a/b", "/large"],
        &["ls", "latest", "/none"],
    ] {
        let restics = vault.restic(&[arguments, &["--json"]].concat()).stdout;
        let restics = lines(&String::from_utf8(restics).unwrap());
        let ours = stdout(&vault, &[arguments, &["--json"]].concat());
        let ours = lines(&String::from_utf8(ours).unwrap());
        assert_eq!(ours.len(), restics.len(), "{arguments:?}");
        ours.iter().zip(&restics).for_each(|(ours, restics)| assert_has(ours, restics));
        let paths: Vec<&str> = ours.iter().skip(1).map(|entry| entry["path"].as_str().unwrap()).collect();
        let plain = String::from_utf8(stdout(&vault, arguments)).unwrap();
        let plain: Vec<&str> = plain.lines().collect();
        assert_eq!(
            plain,
            paths.iter().map(|path| path.replace("\n", "\\n").replace('\u{1b}', "\\u{1b}")).collect::<Vec<_>>()
        );
    }
    let long = String::from_utf8(stdout(&vault, &["ls", "-l", "latest"])).unwrap();
    let of_restic = vault.restic_command().env("TZ", "UTC").args(["ls", "-l", "latest"]).output().unwrap();
    let of_restic = String::from_utf8(of_restic.stdout).unwrap();
    for name in ["/a", "/large", "/twin", "/link -> a/b/deep"] {
        let line = |text: &str| text.lines().find(|line| line.ends_with(&format!(" {name}"))).map(str::to_owned);
        assert_eq!(line(&long), line(&of_restic), "{name}: {long}");
    }
}

#[test]
fn a_file_of_a_snapshot_is_written_to_standard_output() {
    let (vault, volume) = filled();
    assert_eq!(stdout(&vault, &["dump", "latest", "/large"]), fs::read(volume.join("large")).unwrap());
    assert_eq!(stdout(&vault, &["dump", "latest", "/a/changed"]), b"two");
    let all: Value = serde_json::from_str(&vault.by_hand_succeeds(&["snapshots", "--json"])).unwrap();
    assert_eq!(stdout(&vault, &["dump", all[0]["short_id"].as_str().unwrap(), "/a/changed"]), b"one");
    assert!(stdout(&vault, &["dump", "latest", "/empty"]).is_empty());
    for (file, says) in [
        ("/none", "/none: the snapshot has no such entry"),
        ("/a", "/a: it is not a file"),
        ("/link", "/link: it is not a file"),
        ("/large/x", "/large/x: it lies beneath what is no directory"),
        ("/", "/: it is not a file"),
    ] {
        let (code, said) = vault.by_hand(&["dump", "latest", file]);
        assert!(code == Some(1) && said.contains(says), "{file}: {code:?} {said}");
    }
    let (code, said) = vault.by_hand(&["dump", "00000000", "/large"]);
    assert!(code == Some(1) && said.contains("there is no such snapshot"), "{code:?} {said}");
    assert_eq!(vault.by_hand(&["dump", "latest", "large"]).0, Some(2));
    assert_eq!(vault.locks(), 0);
}

#[test]
fn snapshots_are_counted_as_restic_counts_them() {
    let (vault, _) = filled();
    for mode in ["restore-size", "files-by-contents", "raw-data"] {
        for which in [&[][..], &["latest"]] {
            let arguments = [&["stats", "--json", "--mode", mode], which].concat();
            let restics = lines(&String::from_utf8(vault.restic(&arguments).stdout).unwrap());
            let ours = lines(&String::from_utf8(stdout(&vault, &arguments)).unwrap());
            assert_has(&ours[0], &restics[0]);
        }
    }
    let said = vault.by_hand_succeeds(&["stats", "latest"]);
    assert!(said.contains("1 snapshots") && said.contains("3.00 MiB"), "{said}");
    assert_eq!(vault.by_hand(&["stats", "00000000"]).0, Some(1));
}

#[test]
fn snapshots_are_copied_from_another_repository() {
    let (from, volume) = filled();
    let to = Vault::new();
    let source = from.repository();
    let password = from.stage.path("password");
    let (source, password) = (source.to_str().unwrap(), password.to_str().unwrap());
    let copy = ["copy", "--from-repo", source, "--from-password-file", password];
    assert_eq!(to.by_hand(&copy).0, Some(10), "nothing but init makes a repository");
    to.by_hand_succeeds(&["init"]);
    let said = to.by_hand_succeeds(&copy);
    assert!(said.contains("2 snapshots copied") && said.contains(", 0 were there already"), "{said}");
    assert_eq!(said.matches("copied from source snapshot").count(), 2, "{said}");
    let said = to.by_hand_succeeds(&[&copy[..], &["latest"]].concat());
    assert!(said.contains("0 snapshots copied") && said.contains(", 1 were there already"), "{said}");
    to.restic_succeeds(&["check", "--read-data"]);
    let restored = to.stage.volume("restored");
    to.by_hand_succeeds(&["restore", "latest", "--target", restored.to_str().unwrap()]);
    assert_alike(&volume, &restored);

    let none = ["copy", "--from-repo", "/nonexistent", "--from-password-file", password];
    assert_eq!(to.by_hand(&none).0, Some(10));
    let wrong = from.stage.path("wrong");
    fs::write(&wrong, "hush-that-is-wrong").unwrap();
    let (code, said) = to.by_hand(&["copy", "--from-repo", source, "--from-password-file", wrong.to_str().unwrap()]);
    assert!(code == Some(12) && !said.contains("hush"), "{code:?} {said}");
    // The password of this repository is not tried on the other.
    let (code, said) = to.by_hand(&["copy", "--from-repo", source]);
    assert!(code == Some(1) && said.contains("RESTIC_FROM_PASSWORD is missing"), "{code:?} {said}");
    assert!(!said.contains(PASSWORD));
    assert_eq!((from.locks(), to.locks()), (0, 0));
}

#[test]
fn each_command_explains_itself() {
    for name in ["ls", "dump", "stats", "copy"] {
        let output = command().args(["restic", name, "--help"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(&format!("Usage: doppel-mover restic {name}")), "{said}");
        assert!(said.contains("latest"), "{said}");
    }
}
