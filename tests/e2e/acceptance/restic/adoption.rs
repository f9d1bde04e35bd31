//! A repository that VolSync's mover has made is taken over.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::super::super::clusters::Cluster;
use super::super::stage::{Movers, Stage};
use super::super::{ODD_FILES, many_files};
use super::{DIRECT, back_up, judge, restore, stage, succeed};

/// Runs restic as VolSync's mover does, at its paths and as its user: a root of its own, of this machine's programs.
const AS_VOLSYNC: &str = r#"
set -e
mount -t tmpfs none "$1"; cd "$1"; mkdir -p usr data mnt/repo cache tmp; chmod 0777 cache tmp
mount --rbind /usr usr; ln -s usr/bin usr/lib usr/lib64 .
mount --bind "$2" data; mount --bind "$3" mnt/repo; shift 3
exec chroot --userspec=1234:5678 --groups=5678 . sh -c 'cd /data && exec restic "$@"' restic "$@"
"#;

#[track_caller]
fn as_volsync(stage: &Stage, arguments: &[&str]) -> String {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", AS_VOLSYNC, "sh"]).arg(root.path());
    command.arg(stage.volume("data-source")).arg(stage.volume("repository")).args(arguments);
    command.envs([("RESTIC_REPOSITORY", "/mnt/repo/of-data"), ("RESTIC_PASSWORD", super::PASSWORD)]);
    succeed(command.env("RESTIC_CACHE_DIR", "/cache"))
}

/// The command lines of VolSync's mover: facts of VolSync, section 4.3.
#[track_caller]
fn back_up_as_volsync(stage: &Stage) {
    as_volsync(stage, &["backup", "--host", "volsync", "--exclude=lost+found", "."]);
    as_volsync(stage, &["forget", "--host", "volsync", "--keep-last", "5"]);
}

/// The blobs with content of files.
#[track_caller]
fn data_blobs(stage: &Stage) -> BTreeSet<String> {
    judge(stage, &["list", "blobs"]).lines().filter(|line| line.starts_with("data ")).map(str::to_owned).collect()
}

#[test]
fn a_repository_of_volsyncs_goes_on_incrementally_and_its_old_snapshots_are_restored() {
    let fill = format!("{}\n{ODD_FILES}\ndd if=/dev/urandom of=large bs=1048576 count=8 2>/dev/null", many_files(50));
    let stage = stage(Cluster::A, "acceptance-restic-adoption", Movers::Unprivileged, &fill);
    // The kubelet gives the claim to the mover's group.
    stage.pod("holds-the-repository", &["repository"]);
    as_volsync(&stage, &["init"]);
    back_up_as_volsync(&stage);
    stage.write("sleep 1; echo second >file-1; rm file-2");
    back_up_as_volsync(&stage);
    as_volsync(&stage, &["prune"]);
    let snapshots: Value = serde_json::from_str(&judge(&stage, &["snapshots", "--json"])).unwrap();
    let first: jiff::Timestamp = snapshots[0]["time"].as_str().unwrap().parse().unwrap();
    let (before, count) = (data_blobs(&stage), snapshots.as_array().unwrap().len());
    assert!(count == 2 && !before.is_empty(), "{snapshots:#}");

    let status = back_up(&stage, "adopted");
    assert_eq!(status["repository"]["snapshots"], 3, "{status:#}");
    assert_eq!(data_blobs(&stage), before, "nothing had changed, and content was stored");
    judge(&stage, &["check", "--read-data"]);

    stage.claim("restored", "null");
    restore(&stage, "newest", DIRECT);
    stage.assert_same_files("restored");
    restore(&stage, "oldest", &format!("{DIRECT}    enableFileDeletion: true\n    restoreAsOf: '{first}'\n"));
    let restored = stage.volume("restored");
    for (name, content) in [("file-1", "file 1\n"), ("file-2", "file 2\n"), ("file-3", "file 3\n")] {
        assert_eq!(std::fs::read_to_string(restored.join(name)).unwrap(), content);
    }
    stage.discard();
}
