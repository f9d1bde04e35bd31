//! Every kind of entry and attribute, between real clusters: the tree E of `bench/gen_dataset.py`, and a large tree. Volumes
//! are filled and compared from outside, by the generator's digest, which sees all attributes.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use super::clusters::Cluster;
use super::pair::{Movers, Pair};

/// Shows a volume at a path that every user may reach, for one command: the folders above it may be closed to them.
const AT_REACH: &str = "mount --bind . /mnt && cd /mnt && exec \"$@\"";

/// What `user` runs in a volume must succeed; its standard output. The user may not be allowed to reach the volume by its
/// path, or the script.
#[track_caller]
fn run_as(user: u32, volume: &Path, script: &[u8], arguments: &[&str]) -> String {
    let id = user.to_string();
    let mut child = Command::new("unshare")
        .args(["--mount", "--", "sh", "-ec", AT_REACH, "sh"])
        .args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--", "/usr/bin/python3", "-"])
        .args(arguments)
        .current_dir(volume)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const GENERATOR: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/bench/gen_dataset.py"));

#[track_caller]
fn generate(user: u32, kind: &str, scale: &str, volume: &Path) {
    run_as(user, volume, GENERATOR, &[kind, ".", "--scale", scale]);
}

#[track_caller]
fn digest(root: &Path) -> String {
    run_as(0, root, GENERATOR, &["digest", "."])
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
    run_as(0, &volume, b"import os; os.removexattr('read-only', 'trusted.test')", &[]);
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
    std::fs::set_permissions(volume.join("mode-000"), PermissionsExt::from_mode(0o400)).unwrap();
    // The attempts of one iteration read one copy, in which the file is as it was; another source takes a new one.
    pair.kubectl(Cluster::A, &["delete", "replicationsource", "x"]);
    pair.create_source("second");
    pair.await_synchronized("second", 120);
    let image = pair.await_image(None);
    // The volume's root belongs to whom the storage gives it, and only they may change it.
    let said = logs(&pair, Cluster::B);
    assert!(said.contains("the volume's root (could not keep owner, group"), "{said}");
    pair.claim_from(&image);
    let double = pair.volume(Cluster::B, &image);
    let status = std::fs::metadata(&volume).unwrap();
    std::os::unix::fs::chown(&double, Some(status.uid()), Some(status.gid())).unwrap();
    run_as(0, &double, b"import shutil, sys; shutil.copystat(sys.argv[1], '.')", &[volume.to_str().unwrap()]);
    assert_eq!(digest(&volume), digest(&double));
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
    run_as(0, &volume, GENERATOR, &["A", ".", "--scale", "0.1", "--mutate", "1"]);
    pair.trigger("second");
    pair.await_synchronized("second", 120);
    let second = pair.await_image(Some(&first));
    assert_same(&pair, &second);
    pair.discard();
}
