//! Copies that an application allows, claims that go with their iteration, and how long an image lives.

use serde_json::{Value, json};

use super::super::clusters::Cluster;
use super::stage::{Movers, Stage};

fn annotation(stage: &Stage, key: &str) -> Value {
    stage.get("pvc", "data-source")["metadata"]["annotations"][format!("volsync.backube/{key}")].clone()
}

fn annotate(stage: &Stage, key: &str, value: &str) {
    stage.kubectl(&["annotate", "pvc", "data-source", &format!("volsync.backube/{key}={value}"), "--overwrite"]);
}

/// The destination's snapshots; that of the source may be going away beside them.
fn images(stage: &Stage) -> Vec<String> {
    let names = stage.names("volumesnapshot").into_iter();
    names.filter(|name| name.starts_with("volsync-destination-dst-")).collect()
}

/// Waits until the annotation that VolSync's applications watch says this.
#[track_caller]
fn await_copy_status(stage: &Stage, expected: &str) {
    stage.until(expected, || annotation(stage, "latest-copy-status"), |status| status == expected);
}

#[test]
fn a_copy_is_made_when_the_application_allows_it_and_not_before() {
    let stage = Stage::new(Cluster::A, "acceptance-copy-trigger", Movers::Unprivileged);
    stage.fill("echo before >file");
    annotate(&stage, "use-copy-trigger", "yes");
    stage.create_destination();
    stage.create_source("{manual: once}");
    await_copy_status(&stage, "WaitingForTrigger");
    // Not by time: another pass has looked at it, and nothing was copied.
    stage.patch(("replicationsource", "source"), &json!({"spec": {"rsyncTLS": {"moverPodLabels": {"again": "yes"}}}}));
    let generation = stage.get("replicationsource", "source")["metadata"]["generation"].clone();
    stage.until(
        "another pass",
        || stage.source_status()["observedGeneration"].clone(),
        |observed| *observed == generation,
    );
    assert_eq!(annotation(&stage, "latest-copy-status"), "WaitingForTrigger");
    assert_eq!(annotation(&stage, "latest-copy-trigger"), Value::Null);
    assert_eq!(stage.names("volumesnapshot"), [""; 0], "copied without being allowed to");
    let waiting = stage.source_status();
    assert_eq!(waiting["conditions"][0]["reason"], "SyncInProgress", "{waiting:#}");

    stage.write("echo allowed >file");
    annotate(&stage, "copy-trigger", "first");
    await_copy_status(&stage, "Completed");
    assert_eq!(annotation(&stage, "latest-copy-trigger"), "first");
    assert_eq!(annotation(&stage, "latest-copy-trigger-waiting-since"), Value::Null);
    stage.await_synchronized("once");
    stage.await_image(None);
    stage.claim_from_destination("data-double");
    stage.await_bound("data-double");
    stage.assert_same_files("data-double");
    stage.discard();
}

#[test]
fn a_temporary_claim_goes_with_its_iteration_and_its_image_stays() {
    let stage = Stage::new(Cluster::B, "acceptance-cleanup", Movers::Unprivileged);
    stage.fill("echo first >file");
    stage.create_destination_with("    cleanupTempPVC: true\n  trigger: {manual: restore-1}\n");
    let await_restored = |tag: &str| {
        stage.until(
            "the end of the iteration",
            || stage.destination_status(),
            |status| status["lastManualSync"] == tag && status["conditions"][0]["reason"] == "WaitingForManual",
        );
    };
    stage.create_source("{manual: first}");
    await_restored("restore-1");
    stage.await_gone("pvc", "volsync-destination-dst");
    let image = stage.await_image(None);
    stage.claim_from_destination("data-first");
    stage.await_bound("data-first");
    stage.assert_same_files("data-first");

    let spec = json!({"trigger": {"manual": "restore-2"}, "rsyncTLS": {"cleanupTempPVC": false}});
    stage.patch(("replicationdestination", "destination"), &json!({"spec": spec}));
    stage.write("echo second >file");
    stage.synchronize("second", Some(&image));
    await_restored("restore-2");
    let kept = stage.get("pvc", "volsync-destination-dst");
    assert_eq!(kept["metadata"]["deletionTimestamp"], Value::Null, "the field says that it stays");
    stage.claim_from_destination("data-second");
    stage.await_bound("data-second");
    stage.assert_same_files("data-second");
    stage.discard();
}

#[test]
fn an_image_lives_as_long_as_its_destination_a_claim_or_a_user_wants_it() {
    let stage = Stage::new(Cluster::A, "acceptance-images", Movers::Unprivileged);
    stage.fill("echo first >file");
    stage.create_destination();
    // There before anything was synchronized.
    stage.claim_from_destination("data-first");
    stage.create_source("{manual: first}");
    stage.await_synchronized("first");
    let first = stage.await_image(None);
    stage.await_bound("data-first");
    stage.assert_same_files("data-first");
    stage.kubectl(&["delete", "pod", "compares-data-first"]);
    stage.kubectl(&["delete", "pvc", "data-first"]);
    stage.await_gone("pvc", "data-first");
    assert_eq!(images(&stage), [first.as_str()], "the latest outlives a claim that was filled from it");

    stage.write("echo second >file");
    let second = stage.synchronize("second", Some(&first));
    stage.claim_from_destination("data-second");
    stage.await_bound("data-second");
    stage.assert_same_files("data-second");
    stage.await_gone("volumesnapshot", &first);

    stage.kubectl(&["label", "volumesnapshot", &second, "volsync.backube/do-not-delete=yes"]);
    let third = stage.synchronize("third", Some(&second));
    let owners = || stage.get("volumesnapshot", &second)["metadata"]["ownerReferences"].clone();
    stage.until("that it belongs to the user alone", owners, Value::is_null);
    stage.kubectl(&["delete", "replicationdestination", "destination"]);
    stage.await_gone("volumesnapshot", &third);
    assert_eq!(images(&stage), [second.as_str()], "a user keeps it");
    stage.discard();
}
