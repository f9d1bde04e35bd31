//! What VolSync's acceptance tests demand of restic: backups and restores through a repository on a claim, and its points in time.

mod adoption;
mod interruptions;
mod stores;

use std::ffi::OsStr;
use std::process::Command;

use serde_json::{Value, json};

use super::super::clusters::Cluster;
use super::super::store;
use super::stage::{Movers, Stage};
use super::{FOREIGN_FILES, ODD_FILES, many_files};

const PASSWORD: &str = "open sesame";

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata:
  name: repository
stringData:
  RESTIC_REPOSITORY: /mnt/repo/of-data
  RESTIC_PASSWORD: open sesame
";

const SOURCE: &str = "
apiVersion: volsync.backube/v1alpha1
kind: ReplicationSource
metadata:
  name: @NAME@
spec:
  sourcePVC: data-source
  trigger: {manual: @TAG@}
  restic:
    repository: repository
    copyMethod: Snapshot
    moverSecurityContext: @SECURITY@
";

/// Further lines of `spec.restic` of a source.
const UPKEEP: &str = "    pruneIntervalDays: 1\n    retain: {hourly: 3, daily: 2, monthly: 1, last: '5'}\n";

const DESTINATION: &str = "
apiVersion: volsync.backube/v1alpha1
kind: ReplicationDestination
metadata:
  name: @NAME@
spec:
  trigger: {manual: @TAG@}
  restic:
    repository: repository
    moverSecurityContext: @SECURITY@
";

/// Further lines of `spec.restic` where the repository is on a claim.
const ON_A_CLAIM: &str =
    "    moverVolumes: [{mountPath: repo, volumeSource: {persistentVolumeClaim: {claimName: repository}}}]\n";

/// Lines of a restore into the claim `restored`.
const DIRECT: &str = "    copyMethod: Direct\n    destinationPVC: restored\n";

/// A stage with a volume of this content, and an empty claim for a repository.
fn stage(cluster: Cluster, namespace: &str, movers: Movers, fill: &str) -> Stage {
    let stage = Stage::new(cluster, namespace, movers);
    stage.fill(fill);
    stage.claim("repository", "null");
    stage.apply(SECRET, &[]);
    stage
}

/// Backs up for this tag, to a repository on a claim.
#[track_caller]
fn back_up(stage: &Stage, tag: &str) -> Value {
    back_up_with(stage, tag, ON_A_CLAIM)
}

/// Backs up with these further lines of `spec.restic`.
#[track_caller]
fn back_up_with(stage: &Stage, tag: &str, lines: &str) -> Value {
    stage.apply(&format!("{SOURCE}{UPKEEP}{lines}"), &[("NAME", &stage.source), ("TAG", tag)]);
    stage.await_synchronized(tag);
    let status = stage.source_status();
    let logs = status["latestMoverStatus"]["logs"].as_str().unwrap();
    for part in ["processed ", " files", "snapshot ", " saved", "Restic completed in "] {
        assert!(logs.contains(part), "{logs}");
    }
    assert_eq!(status["latestMoverStatus"]["result"], "Successful");
    status
}

/// Restores from a repository on a claim, with these further lines of `spec.restic`.
#[track_caller]
fn restore(stage: &Stage, tag: &str, lines: &str) -> Value {
    restore_with(stage, tag, &format!("{ON_A_CLAIM}{lines}"))
}

/// Restores with these further lines of `spec.restic`.
#[track_caller]
fn restore_with(stage: &Stage, tag: &str, lines: &str) -> Value {
    stage.apply(&format!("{DESTINATION}{lines}"), &[("NAME", &stage.destination), ("TAG", tag)]);
    let status = stage.until("the restore", || stage.destination_status(), |status| status["lastManualSync"] == tag);
    assert_eq!(status["latestMoverStatus"]["result"], "Successful");
    let logs = status["latestMoverStatus"]["logs"].as_str().unwrap();
    assert!(logs.contains("Restic completed in "), "{logs}");
    status
}

/// What restic itself says of the repository on the claim.
#[track_caller]
fn judge(stage: &Stage, arguments: &[&str]) -> String {
    restic(stage.volume("repository").join("of-data"), arguments)
}

/// What restic itself says of a repository.
#[track_caller]
fn restic(repository: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let mut command = Command::new("restic");
    command.args(["--no-cache", "-r"]).arg(repository).args(arguments).env("RESTIC_PASSWORD", PASSWORD);
    command.envs([("AWS_ACCESS_KEY_ID", store::ID), ("AWS_SECRET_ACCESS_KEY", store::SECRET)]);
    succeed(&mut command)
}

/// What a program of this machine says.
#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `tests/peers` installs restic"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn an_unprivileged_volume_is_backed_up_to_a_claim_and_restored_into_another() {
    let fill = format!("{}\n{ODD_FILES}", many_files(300));
    let stage = stage(Cluster::A, "acceptance-restic", Movers::Unprivileged, &fill);
    let status = back_up(&stage, "once");
    assert_eq!(status["repository"]["snapshots"], 1, "{status:#}");
    assert!(stage.names("pvc").contains(&"volsync-src-source-cache".to_owned()));
    let snapshots: Value = serde_json::from_str(&judge(&stage, &["snapshots", "--json"])).unwrap();
    assert_eq!((&snapshots[0]["hostname"], &snapshots[0]["paths"]), (&json!("volsync"), &json!(["/data"])));
    judge(&stage, &["check", "--read-data"]);

    stage.claim("restored", "null");
    restore(&stage, "once", DIRECT);
    stage.assert_same_files("restored");
    assert!(stage.names("pvc").contains(&"volsync-dst-destination-cache".to_owned()), "the cache was not kept");
    stage.discard();
}

#[test]
fn a_privileged_volume_is_restored_with_its_owners() {
    let fill = format!("{ODD_FILES}\n{FOREIGN_FILES}");
    let stage = stage(Cluster::B, "acceptance-restic-privileged", Movers::Privileged, &fill);
    back_up(&stage, "once");
    stage.claim("restored", "null");
    restore(&stage, "once", DIRECT);
    stage.assert_same_files("restored");
    stage.discard();
}

#[test]
fn a_restore_is_of_the_point_in_time_that_is_asked_for() {
    let stage =
        stage(Cluster::A, "acceptance-restic-times", Movers::Unprivileged, "echo first >file; echo x >gone-later");
    let first = back_up(&stage, "first")["repository"]["newest"][0]["time"].as_str().unwrap().to_owned();
    stage.write("echo second >file; rm gone-later; sleep 1");
    assert_eq!(back_up(&stage, "second")["repository"]["snapshots"], 2);
    stage.claim("restored", "null");
    stage.pod("reader", &["restored"]);
    let direct = |lines: &str| format!("{DIRECT}{lines}");
    let holds = || stage.shell("reader", "cd /restored && ls | grep -v lost; cat file 2>/dev/null || true");

    // As in a first deployment: nothing fits, and that is a success which says so.
    for (tag, lines) in [("long-ago", "    restoreAsOf: 1980-01-01T00:00:00Z\n"), ("many", "    previous: 9999\n")] {
        let status = restore(&stage, tag, &direct(lines));
        assert_eq!(status["repository"]["nothing"], "NoneEligible", "{status:#}");
        assert!(status["latestMoverStatus"]["logs"].as_str().unwrap().contains("No data will be restored"));
        assert_eq!(holds(), "");
    }
    restore(&stage, "newest", &direct(""));
    assert_eq!(holds(), "file\nsecond\n");
    // The time as the status tells it: in seconds, within which the snapshot was made.
    restore(&stage, "as-of", &direct(&format!("    restoreAsOf: '{first}'\n")));
    assert_eq!(holds(), "file\ngone-later\nfirst\n");
    restore(&stage, "newest-again", &direct(""));
    assert_eq!(holds(), "file\ngone-later\nsecond\n", "nothing is deleted unless that is asked for");
    restore(&stage, "deleting", &direct("    enableFileDeletion: true\n"));
    assert_eq!(holds(), "file\nsecond\n");
    restore(&stage, "previous", &direct("    previous: 1\n"));
    assert_eq!(holds(), "file\ngone-later\nfirst\n");

    // Claims are filled from the image of whatever time was asked for last.
    let stage = stage.named("populates");
    let image = "    copyMethod: Snapshot\n    capacity: 1Gi\n    accessModes: [ReadWriteOnce]\n";
    for (tag, lines, content) in
        [("then", format!("    restoreAsOf: '{first}'\n"), "first"), ("now", String::new(), "second")]
    {
        restore(&stage, tag, &format!("{image}{lines}"));
        stage.claim_from_destination(tag);
        stage.await_bound(tag);
        let file = std::fs::read_to_string(stage.volume(tag).join("file")).unwrap();
        assert_eq!(file.trim_end(), content, "{tag}");
    }
    stage.discard();
}

#[test]
fn temporary_claims_of_a_restore_go_and_its_image_fills_a_claim() {
    let stage = stage(Cluster::B, "acceptance-restic-cleanup", Movers::Unprivileged, ODD_FILES);
    back_up(&stage, "once");
    let shape = "    copyMethod: Snapshot\n    capacity: 1Gi\n    accessModes: [ReadWriteOnce]\n";
    restore(&stage, "one", &format!("{shape}    cleanupTempPVC: true\n    cleanupCachePVC: true\n"));
    stage.await_gone("pvc", "volsync-destination-dest");
    stage.await_gone("pvc", "volsync-dst-destination-cache");
    stage.claim_from_destination("filled");
    stage.await_bound("filled");
    stage.assert_same_files("filled");
    restore(&stage, "two", &format!("{shape}    cleanupTempPVC: false\n    cleanupCachePVC: false\n"));
    let names = stage.names("pvc");
    for claim in ["volsync-destination-dest", "volsync-dst-destination-cache"] {
        assert!(names.contains(&claim.to_owned()), "{claim}: {names:?}");
    }
    stage.discard();
}

#[test]
fn a_first_deployment_restores_nothing_from_a_place_without_a_repository_and_makes_none() {
    let stage = stage(Cluster::A, "acceptance-restic-first", Movers::Unprivileged, "true");
    stage.claim("restored", "null");
    let status = restore(&stage, "once", DIRECT);
    assert_eq!(status["repository"]["nothing"], "NoRepository", "{status:#}");
    let ready = status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Ready").unwrap();
    assert_eq!(ready["status"], "True");
    assert!(!stage.volume("repository").join("of-data").exists(), "a restore made a repository");
    let status = back_up_nothing(&stage);
    assert_eq!(status["repository"]["nothing"], "EmptyVolume", "{status:#}");
    stage.discard();
}

/// A backup of a volume without anything in it.
fn back_up_nothing(stage: &Stage) -> Value {
    stage.apply(&format!("{SOURCE}{UPKEEP}{ON_A_CLAIM}"), &[("NAME", &stage.source), ("TAG", "once")]);
    stage.await_synchronized("once");
    let status = stage.source_status();
    assert!(status["latestMoverStatus"]["logs"].as_str().unwrap().contains("Directory is empty"), "{status:#}");
    status
}

#[test]
fn a_source_without_a_trigger_backs_up_again_and_again() {
    let stage = stage(Cluster::B, "acceptance-restic-always", Movers::Unprivileged, "echo x >file");
    let always = format!("{SOURCE}{UPKEEP}{ON_A_CLAIM}").replace("  trigger: {manual: @TAG@}\n", "");
    let always = always.replace("copyMethod: Snapshot", "copyMethod: Direct");
    stage.apply(&always, &[("NAME", &stage.source)]);
    let condition = || stage.source_status()["conditions"][0].clone();
    stage.until("a synchronization", condition, |seen| seen["type"] == "Synchronizing" && seen["status"] == "True");
    let ended = || stage.source_status()["lastSyncTime"].clone();
    let first = stage.until("the first backup", ended, Value::is_string);
    stage.until("another one", ended, |time| time.is_string() && *time != first);
    stage.discard();
}
