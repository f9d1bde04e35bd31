//! What the program asks of the kernel, as strace sees it: everything that it does to the volume is relative to a
//! directory that it holds open, and it looks at nothing that could tell it who a peer is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use support::tree::{assert_same, noise, plant, write};
use support::*;

/// The program under strace, with what it asked for in `log`.
fn traced(stage: &Stage, log: &Path, role: &str, volume: &Path, port: u16, inject: &[&str]) -> Mover {
    let mut command = Command::new("strace");
    // The tracer is the one that is detached: who ends the child ends the program.
    command.args(["-D", "-f", "-q", "-s", "4096", "-e", "signal=none", "-o"]).arg(log).args(inject);
    command.arg(env!("CARGO_BIN_EXE_doppel-mover")).args(["rsync-tls", role]);
    if role == "source" {
        command.args(["--address", "127.0.0.1"]);
    }
    command.arg("--volume").arg(volume).args(["--port", &port.to_string(), "--key-file"]).arg(stage.key_file());
    // A proxy of the environment is none of ours (CVE-2026-45232 of rsync).
    command.env("RSYNC_PROXY", "127.0.0.1:1").env("ALL_PROXY", "127.0.0.1:1");
    command.env_remove(doppel_contract::REQUEST_ENV);
    stage.start(role, command)
}

/// A tree with one of everything that is given, taken away and changed.
fn trees(stage: &Stage) -> (std::path::PathBuf, std::path::PathBuf) {
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    write(&from, "big", &noise(300_000, 3));
    write(&to, "big", &noise(290_000, 3));
    write(&to, "stale/deep/file", b"x");
    symlink("/etc", to.join("stale/out")).unwrap();
    write(&to, "same", b"1");
    write(&from, "same", b"1");
    fs::set_permissions(from.join("same"), PermissionsExt::from_mode(0o611)).unwrap();
    (from, to)
}

/// Calls of a trace that has ended, without process numbers. Quotes within names are made single ones.
fn calls(log: &Path) -> Vec<String> {
    let read = || String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    let ends = |text: &str| {
        let first = text.split(' ').next().unwrap_or_default();
        text.lines().rev().take(100).any(|line| line.starts_with(first) && line.contains("+++ exited with"))
    };
    wait_until("the end of a trace", || ends(&read()));
    let call = |line: &str| line.split_once(' ').map(|(_, call)| call.trim_start().replace("\\\"", "'"));
    read().lines().filter_map(call).collect()
}

/// The texts that a call has, paths first.
fn paths(call: &str) -> Vec<&str> {
    call.split('"').skip(1).step_by(2).collect()
}

/// Whether a call is made for a path.
fn takes_path(call: &str) -> bool {
    let name = call.split('(').next().unwrap_or_default();
    ["open", "openat", "openat2", "creat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2"]
        .into_iter()
        .chain(["mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"])
        .chain([
            "symlink",
            "symlinkat",
            "mknod",
            "mknodat",
            "chmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "lchown",
            "fchownat",
        ])
        .chain([
            "utimensat",
            "setxattr",
            "lsetxattr",
            "removexattr",
            "getxattr",
            "lgetxattr",
            "listxattr",
            "llistxattr",
        ])
        .chain(["truncate", "chdir", "execve", "readlink", "readlinkat", "statfs", "mount", "chroot"])
        .any(|known| known == name)
}

#[test]
fn every_path_of_the_volume_is_relative_to_an_open_directory_in_both_roles() {
    let stage = Stage::new();
    let (from, to) = trees(&stage);
    let port = free_port();
    let (source_log, destination_log) = (stage.path("source.trace"), stage.path("destination.trace"));
    let mut destination = traced(&stage, &destination_log, "destination", &to, port, &[]);
    destination.wait_for("Waiting for a source");
    traced(&stage, &source_log, "source", &from, port, &[]).end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
    for (log, volume, role) in [(source_log, &from, "source"), (destination_log, &to, "destination")] {
        let calls = calls(&log);
        let volume = volume.to_str().unwrap();
        // The work begins when the volume's root is opened, the only time that its path is named.
        let begin = calls.iter().position(|call| call.starts_with("open") && paths(call).first() == Some(&volume));
        let work: Vec<&String> = calls[begin.unwrap() + 1..].iter().filter(|call| takes_path(call)).collect();
        assert!(work.len() > 100, "{role}: {}", work.len());
        let mut beneath = 0;
        for call in work {
            let name = call.split('(').next().unwrap();
            // The TLS library looks for certificates, whether or not it may use them.
            let own = ["/proc/", "/sys/", "/etc/ssl/", "/dev/"];
            for path in paths(call) {
                // What a link says is no path of ours; the target comes first.
                let is_target = name == "symlinkat" || (name == "readlinkat" && Some(&path) == paths(call).get(1));
                let absolute = path.starts_with('/') && !is_target;
                assert!(!absolute || own.iter().any(|own| path.starts_with(own)), "{role}: {call}");
                assert!(!path.starts_with("/proc/") || path.starts_with("/proc/self/"), "{role}: {call}");
            }
            assert!(
                !call.contains("AT_FDCWD") || paths(call).iter().all(|path| path.starts_with('/')),
                "{role}: {call}"
            );
            // A path of more than one name is looked up without links.
            let deep = paths(call).first().is_some_and(|path| path.contains('/') && !path.starts_with('/'));
            if deep && name != "symlinkat" {
                assert_eq!(name, "openat2", "{role}: {call}");
            }
            if name == "openat2" {
                beneath += 1;
                for flag in ["RESOLVE_BENEATH", "RESOLVE_NO_SYMLINKS", "RESOLVE_NO_MAGICLINKS"] {
                    assert!(call.contains(flag), "{role}: {call}");
                }
            }
            // Opened in a directory, a name is never followed either.
            if name == "openat" && !call.contains("AT_FDCWD") {
                assert!(call.contains("O_NOFOLLOW"), "{role}: {call}");
            }
        }
        assert!(beneath > 5, "{role}: {beneath}");
        // Who a peer is depends on no name (CVE-2026-43617 of rsync), and nothing else is ever run.
        for file in ["/etc/hosts", "/etc/resolv.conf", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"] {
            assert!(!calls.iter().any(|call| paths(call).contains(&file)), "{role}: {file}");
        }
        assert_eq!(calls.iter().filter(|call| call.starts_with("execve(")).count(), 1, "{role}");
    }
}

/// Where a run under strace fails to read, write or sync: on the source's files and directories, and on the destination's.
#[test]
fn an_input_or_output_error_of_a_disk_is_named_and_the_run_is_no_success() {
    // The row "EIO on one source file": others are copied, nothing is deleted, the file is named.
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    for name in ["a", "b", "dir/c"] {
        write(&from, name, &noise(100_000, 1));
    }
    write(&to, "extra", b"x");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let bad = from.join("b");
    let inject = ["-P", bad.to_str().unwrap(), "-e", "inject=read,pread64:error=EIO"];
    let ended = traced(&stage, &stage.path("trace"), "source", &from, port, &inject).end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("Input/output error") && ended.said.contains("\"b\""), "{}", ended.said);
    assert!(to.join("a").exists() && to.join("dir/c").exists() && !to.join("b").exists());
    assert!(to.join("extra").exists(), "nothing may be deleted");
    // With a disk that works, the same destination completes.
    stage.source(&from, port, &[]).end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
}

#[test]
fn a_directory_that_fails_to_be_read_is_named_and_nothing_is_deleted() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "a", b"1");
    write(&from, "dir/c", b"1");
    write(&to, "dir/kept", b"x");
    write(&to, "extra", b"x");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let bad = from.join("dir");
    let inject = ["-P", bad.to_str().unwrap(), "-e", "inject=getdents64:error=EIO"];
    let ended = traced(&stage, &stage.path("trace"), "source", &from, port, &inject).end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("Input/output error") && ended.said.contains("\"dir\""), "{}", ended.said);
    assert!(to.join("a").exists() && to.join("extra").exists() && to.join("dir/kept").exists());
    drop(destination);
}

/// The power may fail after a success was reported: by then everything must have been synced. What can be shown here is
/// the order: the file system is synced after the last change of the volume and before the source is told; and that a
/// failure to sync is a failure.
#[test]
fn a_destination_syncs_its_file_system_after_the_last_change_and_before_it_says_so() {
    let stage = Stage::new();
    let (from, to) = trees(&stage);
    let (port, log) = (free_port(), stage.path("trace"));
    let mut destination = traced(&stage, &log, "destination", &to, port, &[]);
    destination.wait_for("Waiting for a source");
    stage.source(&from, port, &[]).end().expect_complete();
    destination.end().expect_complete();
    let calls = calls(&log);
    let syncs: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].starts_with("syncfs(")).collect();
    assert!(!syncs.is_empty());
    let changes = [
        "renameat",
        "linkat",
        "symlinkat",
        "mkdirat",
        "mknodat",
        "unlinkat",
        "pwrite64",
        "fchmod",
        "chmod",
        "utimensat",
        "fchown",
    ];
    let last = calls.iter().rposition(|call| changes.iter().any(|change| call.starts_with(change))).unwrap();
    assert!(syncs.iter().any(|sync| *sync > last), "the last change is not synced: {}", calls[last]);
    // The goodbye goes out after it.
    let sync = *syncs.last().unwrap();
    assert!(calls[sync..].iter().any(|call| call.starts_with("send")));
}

#[test]
fn a_destination_that_cannot_sync_says_that_it_failed() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "a", b"1");
    let port = free_port();
    let inject = ["-e", "inject=syncfs:error=EIO"];
    let mut destination = traced(&stage, &stage.path("trace"), "destination", &to, port, &inject);
    destination.wait_for("Waiting for a source");
    let source = stage.source(&from, port, &["--deadline", "10s"]);
    let message = destination.end();
    assert!(message.expect_failure(10).contains("Input/output error"), "{}", message.said);
    let ended = source.end();
    assert_ne!(ended.code, Some(0), "{}", ended.said);
}
