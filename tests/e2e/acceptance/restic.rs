//! What VolSync's acceptance tests demand of restic: backups and restores through a repository on a claim, and its points in time.

use std::process::Command;

use serde_json::{Value, json};

use super::super::clusters::Cluster;
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
  name: source
spec:
  sourcePVC: data-source
  trigger: {manual: @TAG@}
  restic:
    repository: repository
    copyMethod: Snapshot
    pruneIntervalDays: 1
    retain: {hourly: 3, daily: 2, monthly: 1, last: '5'}
    moverVolumes: [{mountPath: repo, volumeSource: {persistentVolumeClaim: {claimName: repository}}}]
    moverSecurityContext: @SECURITY@
";

const DESTINATION: &str = "
apiVersion: volsync.backube/v1alpha1
kind: ReplicationDestination
metadata:
  name: @NAME@
spec:
  trigger: {manual: @TAG@}
  restic:
    repository: repository
    moverVolumes: [{mountPath: repo, volumeSource: {persistentVolumeClaim: {claimName: repository}}}]
    moverSecurityContext: @SECURITY@
";

/// A stage with a volume of this content, and an empty claim for a repository.
fn stage(cluster: Cluster, namespace: &str, movers: Movers, fill: &str) -> Stage {
    let stage = Stage::new(cluster, namespace, movers);
    stage.fill(fill);
    stage.claim("repository", "null");
    stage.apply(SECRET, &[]);
    stage
}

/// Backs up for this tag.
#[track_caller]
fn back_up(stage: &Stage, tag: &str) -> Value {
    stage.apply(SOURCE, &[("TAG", tag)]);
    stage.await_synchronized(tag);
    let status = stage.source_status();
    let logs = status["latestMoverStatus"]["logs"].as_str().unwrap();
    for part in ["processed ", " files", "snapshot ", " saved", "Restic completed in "] {
        assert!(logs.contains(part), "{logs}");
    }
    assert_eq!(status["latestMoverStatus"]["result"], "Successful");
    status
}

/// Restores with these further lines of `spec.restic`.
#[track_caller]
fn restore(stage: &Stage, tag: &str, lines: &str) -> Value {
    stage.apply(&format!("{DESTINATION}{lines}"), &[("NAME", &stage.destination), ("TAG", tag)]);
    let status = stage.until("the restore", || stage.destination_status(), |status| status["lastManualSync"] == tag);
    assert_eq!(status["latestMoverStatus"]["result"], "Successful");
    let logs = status["latestMoverStatus"]["logs"].as_str().unwrap();
    assert!(logs.contains("Restic completed in "), "{logs}");
    status
}

/// What restic itself says of the repository.
#[track_caller]
fn judge(stage: &Stage, arguments: &[&str]) -> String {
    let repository = stage.volume("repository").join("of-data");
    let output = Command::new("restic")
        .args(["--no-cache", "-r"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", PASSWORD)
        .output()
        .expect("restic is not there: apt-get install restic");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {arguments:?}: {said}");
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
    restore(&stage, "once", "    copyMethod: Direct\n    destinationPVC: restored\n");
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
    restore(&stage, "once", "    copyMethod: Direct\n    destinationPVC: restored\n");
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
    let direct = |lines: &str| format!("    copyMethod: Direct\n    destinationPVC: restored\n{lines}");
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
    let then = a_second_later(&first);
    restore(&stage, "as-of", &direct(&format!("    restoreAsOf: '{then}'\n")));
    assert_eq!(holds(), "file\ngone-later\nfirst\n");
    restore(&stage, "newest-again", &direct(""));
    assert_eq!(holds(), "file\ngone-later\nsecond\n", "nothing is deleted unless that is asked for");
    restore(&stage, "deleting", &direct("    enableFileDeletion: true\n"));
    assert_eq!(holds(), "file\nsecond\n");
    restore(&stage, "previous", &direct("    previous: 1\n"));
    assert_eq!(holds(), "file\ngone-later\nfirst\n");
    stage.discard();
}

/// The status tells seconds, and a snapshot is made somewhere within its second.
fn a_second_later(time: &str) -> String {
    let time: jiff::Timestamp = time.parse().unwrap();
    (time + jiff::SignedDuration::from_secs(1)).to_string()
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
    let status = restore(&stage, "once", "    copyMethod: Direct\n    destinationPVC: restored\n");
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
    stage.apply(SOURCE, &[("TAG", "once")]);
    stage.await_synchronized("once");
    let status = stage.source_status();
    assert!(status["latestMoverStatus"]["logs"].as_str().unwrap().contains("Directory is empty"), "{status:#}");
    status
}
