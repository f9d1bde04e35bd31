//! Every kind of entry and attribute, between real clusters: the tree E of `bench/gen_dataset.py`, and a large tree. Volumes
//! are filled and compared from outside, by the generator's digest, which sees all attributes.

use std::path::Path;
use std::process::Command;

use super::clusters::Cluster;
use super::pair::{Movers, Pair};

/// What `user` runs must succeed; its standard output.
#[track_caller]
fn run_as(user: u32, arguments: &[&str]) -> String {
    let id = user.to_string();
    let output = Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const GENERATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/gen_dataset.py");

#[track_caller]
fn generate(user: u32, kind: &str, scale: &str, root: &Path) {
    run_as(user, &["python3", GENERATOR, kind, root.to_str().unwrap(), "--scale", scale]);
}

#[track_caller]
fn digest(root: &Path) -> String {
    run_as(0, &["python3", GENERATOR, "digest", root.to_str().unwrap()])
}

/// The volume in a and a volume made from this image in b have one digest.
#[track_caller]
fn assert_same(pair: &Pair, image: &str) {
    pair.claim_from(image);
    assert_eq!(digest(&pair.volume(Cluster::A, "data")), digest(&pair.volume(Cluster::B, image)));
    pair.kubectl(Cluster::B, &["delete", "pvc", image, "--wait=false"]);
}

/// What the movers of the last synchronization said.
fn logs(pair: &Pair, cluster: Cluster) -> String {
    pair.status(cluster)["latestMoverStatus"]["logs"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_privileged_mover_keeps_every_entry_and_attribute() {
    let pair = Pair::with("e2e-fidelity-privileged", Movers::Privileged);
    let volume = pair.volume(Cluster::A, "data");
    generate(0, "E", "1", &volume);
    // No mover may make device nodes or see the attributes of administrators: that takes CAP_MKNOD and CAP_SYS_ADMIN.
    let remove = "import os, sys; os.removexattr(sys.argv[1], 'trusted.test')";
    run_as(0, &["python3", "-c", remove, volume.join("read-only").to_str().unwrap()]);
    pair.create_source("first");
    pair.await_synchronized("first", 120);
    let image = pair.await_image(None);
    let said = logs(&pair, Cluster::B);
    assert!(said.contains("dev-null"), "the device node that was left out is named: {said}");
    std::fs::remove_file(volume.join("dev-null")).unwrap();
    assert_same(&pair, &image);
    pair.discard();
}

#[test]
fn an_ordinary_mover_keeps_what_its_user_may_and_names_what_it_cannot_read() {
    let pair = Pair::new("e2e-fidelity-ordinary");
    let volume = pair.volume(Cluster::A, "data");
    std::os::unix::fs::chown(&volume, Some(1000), Some(1000)).unwrap();
    generate(1000, "E", "1", &volume);
    pair.create_source("first");
    pair.await_message(Cluster::A, "attempt 1 failed", 120);
    assert!(pair.message(Cluster::A).contains("mode-000"), "{}", pair.message(Cluster::A));
    assert_eq!(pair.image(), None, "an incomplete copy was published");
    run_as(0, &["chmod", "400", volume.join("mode-000").to_str().unwrap()]);
    // Any change of the wish begins the next attempt at once.
    pair.trigger("second");
    pair.await_synchronized("second", 120);
    let image = pair.await_image(None);
    assert_same(&pair, &image);
    pair.discard();
}

#[test]
fn ten_thousand_files_and_then_a_few_changes_arrive() {
    let pair = Pair::with("e2e-fidelity-many", Movers::Privileged);
    let volume = pair.volume(Cluster::A, "data");
    generate(0, "A", "0.1", &volume);
    pair.create_source("first");
    pair.await_synchronized("first", 120);
    let first = pair.await_image(None);
    assert_same(&pair, &first);
    run_as(0, &["python3", GENERATOR, "A", volume.to_str().unwrap(), "--scale", "0.1", "--mutate", "1"]);
    pair.trigger("second");
    pair.await_synchronized("second", 120);
    let second = pair.await_image(Some(&first));
    assert_same(&pair, &second);
    pair.discard();
}
