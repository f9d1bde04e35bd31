//! What VolSync's own acceptance tests demand of rsync-TLS, roles, copy triggers, temporary claims and claims from images, on real
//! clusters: as known of VolSync 0.17, in words and manifests of our own. `docs/acceptance.md` says which test holds which case.
//!
//! As there, source and destination are in one namespace, meet at a Service of the default type, and share the generated key.

mod compare;
mod restic;
mod stage;
mod volumes;

use serde_json::{Value, json};

use self::stage::{Movers, Stage};
use super::clusters::Cluster;

/// A schedule that does not come while a test runs. The first synchronization begins at once all the same.
const NEW_YEAR: &str = "{schedule: '0 0 1 1 *'}";
/// 67 characters, where a Service's name and a label have 63 at most. VolSync's rule makes CRC-32/IEEE of it, here by Python's zlib.
const LONG_NAME: (&str, &str) = ("a-destination-whose-name-is-longer-than-a-label-or-a-service-may-be", "a5646364");

/// Hidden files and directories, odd names, links that stay and links that lead out of the volume.
const ODD_FILES: &str = r##"
echo x >.hidden; mkdir -p .hidden-directory dir/sub "dir with spaces"
echo x >.hidden-directory/.hidden; echo x >dir/sub/file; echo x >"dir with spaces/file with spaces"
echo x >"file with spaces"; echo x >"#begins-with-a-hash"; : >empty; mkdir dir/empty
echo x >"$(printf 'x%.0s' $(seq 255))"
ln -s dir/sub/file link; ln -s ../empty dir/link; ln -s ../../empty dir/sub/link; ln -s . dir/self
ln -s /etc/passwd absolute; ln -s ../../../etc/passwd outside; ln -s /nowhere/at-all dangling
ln -s "dir with spaces/file with spaces" "link with spaces"; ln -s dir directory-link
chmod 0400 "file with spaces"; chmod 0751 dir/sub; chmod 0700 .hidden-directory
"##;

/// What only root can make: entries of others, links among them, and entries that nobody may read.
const FOREIGN_FILES: &str = r#"
mkdir foreign; echo x >foreign/file; echo x >foreign/closed; ln -s file foreign/link; ln -s /nowhere foreign/dangling
chmod 0000 foreign/closed; chown 2001:2002 foreign/file foreign/closed; chown -h 3001:3002 foreign/link foreign/dangling
chmod 4755 foreign/file; chown 2001:2002 foreign; chmod 0750 foreign
"#;

/// Shell: so many files in the volume's root.
fn many_files(count: u32) -> String {
    format!("i=0; while [ $i -lt {count} ]; do echo \"file $i\" >\"file-$i\"; i=$((i + 1)); done")
}

/// A volume is replicated as a user of VolSync has it done, and the status tells what their tools look for.
#[track_caller]
fn replicate(stage: &Stage, fill: &str, completed: &str) {
    stage.fill(fill);
    stage.create_destination();
    let claim = format!("volsync-{}-dst", stage.destination);
    stage.until("its claim", || json!(stage.names("pvc")), |names| names.as_array().unwrap().contains(&json!(claim)));
    let uid = stage.get("pvc", &claim)["metadata"]["uid"].clone();

    stage.create_source(NEW_YEAR);
    let status = stage.until(
        "the first synchronization",
        || stage.source_status(),
        |status| status["lastSyncTime"].is_string() && status["lastSyncDuration"].is_string(),
    );
    assert_tells_a_success(&status, completed);
    assert!(status["nextSyncTime"].as_str().is_some_and(|time| time.contains("-01-01T00:00:00Z")), "{status:#}");
    stage.await_image(None);
    assert_tells_a_success(&stage.destination_status(), completed);
    assert_eq!(stage.get("pvc", &claim)["metadata"]["uid"], uid, "the destination's claim was not kept");

    stage.claim_from_destination("data-double");
    stage.await_bound("data-double");
}

#[track_caller]
fn assert_tells_a_success(status: &Value, completed: &str) {
    let mover = &status["latestMoverStatus"];
    assert_eq!(mover["result"], "Successful", "{status:#}");
    let logs = mover["logs"].as_str().unwrap();
    let has = |parts: &[&str]| {
        let mut rest = logs;
        parts.iter().all(|part| rest.split_once(part).map(|(_, behind)| rest = behind).is_some())
    };
    assert!(has(&["sent ", " bytes", "received ", " bytes"]) && has(&[completed]), "{logs}");
}

#[test]
fn an_unprivileged_volume_is_replicated_and_a_claim_is_filled_from_it() {
    let stage = Stage::new(Cluster::A, "acceptance-normal", Movers::Unprivileged);
    replicate(&stage, &format!("{}\n{ODD_FILES}", many_files(10)), "rsync completed in ");
    stage.assert_same_files("data-double");
    stage.discard();
}

#[test]
fn unprivileged_movers_replicate_21_000_files_for_a_destination_with_a_long_name() {
    let (name, digest) = LONG_NAME;
    let stage = Stage::new(Cluster::B, "acceptance-many", Movers::Unprivileged).named(name);
    replicate(&stage, &format!("{}\n{ODD_FILES}", many_files(21_000)), "rsync completed in ");
    assert_eq!(stage.names("service"), [format!("volsync-rsync-tls-dst-{digest}")]);
    assert_eq!(stage.destination_status()["rsyncTLS"]["keySecret"], format!("volsync-rsync-tls-{name}"));
    let compared = stage.assert_same_files("data-double");
    assert!(compared > 21_000, "only {compared} entries");
    stage.discard();
}

#[test]
fn privileged_movers_replicate_21_000_files_with_their_owners() {
    let stage = Stage::new(Cluster::A, "acceptance-privileged", Movers::Privileged);
    let fill = format!("{}\n{ODD_FILES}\n{FOREIGN_FILES}", many_files(21_000));
    replicate(&stage, &fill, "rsync completed in ");
    let compared = stage.assert_same_files("data-double");
    assert!(compared > 21_000, "only {compared} entries");
    stage.discard();
}

#[test]
fn an_unprivileged_block_volume_is_replicated() {
    let stage = Stage::new(Cluster::B, "acceptance-block", Movers::Unprivileged).of_blocks();
    let noise = "dd if=/dev/urandom of=/data-source bs=512 count=50 conv=fsync,notrunc 2>/dev/null";
    replicate(&stage, noise, "diskrsync completed in ");
    stage.assert_same_blocks("data-double");
    stage.discard();
}
