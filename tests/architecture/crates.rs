//! The table of what no crate may be built from, as `cargo tree` shows it: ordinary dependencies, on Linux.

use std::collections::BTreeSet;
use std::process::Command;

/// Crates, and what must be in no part of what they are built from.
const TABLE: &[(&str, &[&str])] = &[
    // The control plane never touches a byte of user data.
    ("doppel", DATA_PLANE),
    ("kubectl-doppel", DATA_PLANE),
    // The data plane never speaks to Kubernetes.
    ("doppel-mover", &["kube", "kube-core", "kube-client", "kube-runtime", "k8s-openapi", "doppel"]),
    ("doppel-volume", &["tokio", "s2n-tls", "doppel-transport", "doppel-rsync", "doppel-block", "doppel-mover"]),
    ("doppel-transport", &["doppel-volume", "doppel-rsync", "doppel-block", "doppel-mover"]),
    ("doppel-rsync", &["doppel-transport", "doppel-block", "doppel-mover", "s2n-tls", "tokio", "kube-core"]),
    ("doppel-block", &["doppel-transport", "doppel-rsync", "doppel-mover", "s2n-tls", "tokio", "kube-core"]),
    ("doppel-restic", &["doppel-transport", "doppel-rsync", "doppel-block", "doppel-mover", "s2n-tls", "kube-core"]),
    (
        "doppel-storage",
        &["doppel-volume", "doppel-transport", "doppel-rsync", "doppel-block", "doppel-mover", "s2n-tls"],
    ),
    (
        "doppel-contract",
        &["tokio", "kube-core", "rustix", "doppel-volume", "doppel-transport", "doppel-rsync", "doppel-block"],
    ),
];

const DATA_PLANE: &[&str] = &[
    "doppel-volume",
    "doppel-transport",
    "doppel-rsync",
    "doppel-block",
    "doppel-storage",
    "doppel-restic",
    "doppel-mover",
    "s2n-tls",
];

/// One provider of cryptography, aws-lc-rs (docs/adr/0002), and no bindings to a system's library.
const NOWHERE: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

#[test]
fn no_crate_is_built_from_what_it_must_not_know() {
    for (name, banned) in TABLE {
        let built_from = tree(&["--package", name]);
        assert!(built_from.contains(*name), "{name} was not found");
        for banned in banned.iter().chain(NOWHERE) {
            assert!(!built_from.contains(*banned), "{name} is built from {banned}");
        }
    }
}

#[test]
fn every_crate_is_in_the_table() {
    let known = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        tree(&["--workspace", "--depth", "0"]),
        known,
        "say in the table what a new crate must not be built from"
    );
}

#[test]
fn the_contract_depends_on_nothing_but_serde() {
    let direct = tree(&["--package", "doppel-contract", "--depth", "1"]);
    let allowed = ["doppel-contract", "serde", "serde_json", "thiserror"].map(str::to_owned).into();
    assert!(direct.is_subset(&allowed), "{direct:?}");
}

#[test]
fn there_is_one_provider_of_cryptography() {
    let lines = run(&["--workspace"]);
    let copies: BTreeSet<&str> = lines.lines().filter(|line| name(line) == Some("aws-lc-sys")).collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
}

/// The test above would pass on an empty answer.
#[test]
fn a_dependency_of_a_dependency_is_seen_and_one_of_the_tests_is_not() {
    let operator = tree(&["--package", "doppel"]);
    assert!(operator.contains("kube-core") && operator.contains("aws-lc-sys"), "{operator:?}");
    assert!(!operator.contains("jsonschema"), "needed by tests only");
}

/// Names of everything in this tree.
fn tree(selection: &[&str]) -> BTreeSet<String> {
    run(selection).lines().filter_map(name).map(str::to_owned).collect()
}

fn run(selection: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges=normal", "--prefix=none", "--format={p}"])
        .args(["--target=x86_64-unknown-linux-gnu"])
        .args(selection)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `name v1.2.3 (where)`
fn name(line: &str) -> Option<&str> {
    line.split_whitespace().next()
}
