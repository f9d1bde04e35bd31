//! The table of what no part may do, as far as sources show it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::scan::{Scan, scan};

/// What no file of a part may do.
struct Row {
    /// The part, by the beginning of its files' names: `src/model` is `src/model.rs` and all of `src/model/`.
    part: &'static str,
    /// Names that it must not use: see [`Scan::find`].
    names: &'static [&'static [&'static str]],
    /// What else.
    rules: &'static [Rule],
}

#[derive(Clone, Copy)]
enum Rule {
    /// Nothing async.
    Sync,
    /// No functions at all.
    NoLogic,
}

const CLOCK: &[&str] = &["*::Timestamp::now", "*::Zoned::now", "*::Instant::now", "*::SystemTime::now"];
const CLIENT: &[&str] =
    &["kube::Client", "kube::Api", "kube::api", "kube::client", "kube::runtime", "tokio", "axum", "tower"];
const KUBERNETES: &[&str] = &["kube", "k8s_openapi"];
const FILES: &[&str] = &["std::fs", "rustix::fs", "tokio::fs", "doppel_volume"];
const SOCKETS: &[&str] = &["std::net", "std::os::unix::net", "rustix::net", "tokio", "doppel_transport", "s2n_tls"];
const PROCESS: &[&str] = &["std::env", "std::process", "rustix::process"];
const ENVIRONMENT: &[&str] = &["std::env", "std::process"];
const THREADS: &[&str] = &["std::thread", "tokio"];
const ENGINES: &[&str] = &["doppel_rsync", "doppel_block", "doppel_restic", "doppel_rclone"];
const CONTROL_PLANE: &[&str] = &[
    "crate::replication",
    "crate::population",
    "crate::apply",
    "crate::operator",
    "crate::resources",
    "crate::telemetry",
    "crate::args",
];

const OPERATORS_INSIDE: &[&str] = &[
    "doppel::model",
    "doppel::replication",
    "doppel::population",
    "doppel::apply",
    "doppel::operator",
    "doppel::resources",
    "doppel::telemetry",
];

const TABLE: &[Row] = &[
    Row {
        part: "src/api",
        names: &[CLOCK, CLIENT, CONTROL_PLANE, &["crate::model", "doppel_contract"]],
        rules: &[Rule::Sync, Rule::NoLogic],
    },
    Row {
        part: "src/model",
        names: &[CLOCK, CLIENT, KUBERNETES, CONTROL_PLANE, &["crate::api", "crate::crd"]],
        rules: &[Rule::Sync],
    },
    Row {
        part: "src/replication/plan",
        names: &[
            CLOCK,
            CLIENT,
            KUBERNETES,
            &["crate::api", "crate::apply", "crate::operator", "crate::resources", "crate::telemetry"],
            &["crate::replication::observe", "crate::replication::interpret", "crate::replication::report"],
        ],
        rules: &[Rule::Sync],
    },
    Row {
        part: "src/replication/interpret",
        names: &[
            CLOCK,
            CLIENT,
            &["crate::apply", "crate::operator", "crate::resources", "crate::replication::observe"],
        ],
        rules: &[Rule::Sync],
    },
    Row {
        part: "src/replication/report",
        names: &[
            CLOCK,
            CLIENT,
            &["crate::apply", "crate::operator", "crate::resources", "crate::replication::observe"],
        ],
        rules: &[Rule::Sync],
    },
    // Who is next is decided here; who keeps the queue and wakes from it is beside it.
    Row {
        part: "src/replication/queue/line",
        names: &[
            CLOCK,
            CLIENT,
            KUBERNETES,
            &["crate::api", "crate::apply", "crate::operator", "crate::resources", "crate::telemetry"],
            &[
                "crate::replication::observe",
                "crate::replication::interpret",
                "crate::replication::plan",
                "crate::replication::report",
            ],
        ],
        rules: &[Rule::Sync],
    },
    // It reads the world; what follows from it is for others to say.
    Row { part: "src/replication/observe", names: &[&["crate::replication::plan", "crate::apply"]], rules: &[] },
    Row {
        part: "src/population/plan",
        names: &[
            CLOCK,
            CLIENT,
            KUBERNETES,
            &["crate::api", "crate::apply", "crate::operator", "crate::resources", "crate::telemetry"],
            &["crate::population::observe", "crate::population::interpret", "crate::population::report"],
        ],
        rules: &[Rule::Sync],
    },
    Row {
        part: "src/population/interpret",
        names: &[CLOCK, CLIENT, &["crate::apply", "crate::operator", "crate::resources", "crate::population::observe"]],
        rules: &[Rule::Sync],
    },
    Row {
        part: "src/population/report",
        names: &[CLOCK, CLIENT, &["crate::apply", "crate::operator", "crate::resources", "crate::population::observe"]],
        rules: &[Rule::Sync],
    },
    Row { part: "src/population/observe", names: &[&["crate::population::plan", "crate::apply"]], rules: &[] },
    Row {
        part: "src/resources",
        names: &[
            CLOCK,
            CLIENT,
            &["crate::api", "crate::apply", "crate::operator", "crate::replication", "crate::population"],
        ],
        rules: &[Rule::Sync],
    },
    // It is told, and asks nobody.
    Row {
        part: "src/mirror",
        names: &[CLOCK, &["kube::Client", "kube::Api", "kube::client", "tokio", "crate::apply", "crate::replication"]],
        rules: &[Rule::Sync],
    },
    Row {
        part: "src/apply",
        names: &[CLOCK, &["crate::api", "crate::replication", "crate::population", "crate::operator"]],
        rules: &[],
    },
    Row {
        part: "src/telemetry",
        names: &[&["crate::api", "crate::apply", "crate::replication", "crate::population"]],
        rules: &[],
    },
    // What is printed is made of an object, and tested without a cluster.
    Row { part: "kubectl/src/object", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/state", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/text", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/status/table", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/sync/progress", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/explain/child", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/explain/page", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/explain/advice", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/pair/manifest", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    Row { part: "kubectl/src/pair/place", names: &[CLOCK, CLIENT], rules: &[Rule::Sync] },
    // It sees of an object what its users see: the API, and nothing of the operator's inside.
    Row { part: "kubectl", names: &[OPERATORS_INSIDE], rules: &[] },
    Row { part: "movers/contract", names: &[CLOCK, FILES, SOCKETS, PROCESS, THREADS], rules: &[Rule::Sync] },
    Row { part: "movers/volume", names: &[SOCKETS, PROCESS, ENGINES], rules: &[Rule::Sync] },
    Row { part: "movers/transport", names: &[FILES, PROCESS, ENGINES], rules: &[] },
    Row {
        part: "movers/rsync/src/proto",
        names: &[CLOCK, FILES, SOCKETS, PROCESS, THREADS, &["std::io"]],
        rules: &[Rule::Sync],
    },
    Row {
        part: "movers/rsync",
        names: &[ENVIRONMENT, SOCKETS, &["doppel_block", "doppel_restic", "doppel_rclone"]],
        rules: &[],
    },
    Row {
        part: "movers/storage/src/location",
        names: &[CLOCK, FILES, SOCKETS, PROCESS, THREADS],
        rules: &[Rule::Sync],
    },
    Row { part: "movers/storage", names: &[ENVIRONMENT, ENGINES, &["doppel_volume", "doppel_transport"]], rules: &[] },
    Row {
        part: "movers/block/src/proto",
        names: &[CLOCK, FILES, SOCKETS, PROCESS, THREADS, &["std::io", "rustix"]],
        rules: &[Rule::Sync],
    },
    Row {
        part: "movers/block",
        names: &[ENVIRONMENT, SOCKETS, &["doppel_rsync", "doppel_restic", "doppel_rclone"]],
        rules: &[],
    },
    Row {
        part: "movers/restic/src/format",
        names: &[
            CLOCK,
            FILES,
            SOCKETS,
            PROCESS,
            THREADS,
            &["std::io", "rustix", "doppel_storage", "crate::repository"],
        ],
        rules: &[Rule::Sync],
    },
    Row {
        part: "movers/restic/src/forget/policy",
        names: &[CLOCK, FILES, SOCKETS, PROCESS, THREADS],
        rules: &[Rule::Sync],
    },
    Row {
        part: "movers/restic",
        names: &[ENVIRONMENT, SOCKETS, &["doppel_rsync", "doppel_block", "doppel_rclone"]],
        rules: &[Rule::Sync],
    },
];

/// What a file may name although its part may not: the file, the path, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("movers/transport/src/keys", "std::fs::File", "a key is a file, though none of the volume"),
    ("movers/volume/src/xattr", "rustix::process::geteuid", "an owner may open up what is its own"),
    ("movers/rsync/src/proto", "doppel_volume::metadata", "what a file is, as plain values"),
    ("movers/rsync/src/proto", "doppel_volume::names", "the longest path there can be"),
    ("movers/restic/src/format", "doppel_volume::metadata", "what a file is, as plain values"),
    ("movers/restic/src/format", "doppel_volume::names", "what a name of an entry is"),
];

/// Parts without a row: nothing is forbidden to them that the crates' graph does not show.
const FREE: &[&str] = &[
    "src/args",
    "src/crd",
    "src/failures",
    "src/lib",
    "src/main",
    "src/operator",
    "src/population",
    "src/replication",
    "movers/mover",
];

#[test]
fn no_part_does_what_it_must_not() {
    let mut broken = Vec::new();
    for row in TABLE {
        let files: Vec<_> = sources().into_iter().filter(|path| belongs(path, row.part)).collect();
        assert!(!files.is_empty(), "{}: there are no such files any more; correct the table", row.part);
        for path in files {
            let mut scan = scan(&path, &read(&path));
            for (_, allowed, _) in EXCEPTIONS.iter().filter(|(part, _, _)| belongs(&path, part)) {
                scan.paths.retain(|named| named != allowed && !named.starts_with(&format!("{allowed}::")));
            }
            broken.extend(violations(row, &scan).into_iter().map(|what| format!("{path} (part {}): {what}", row.part)));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_exception_is_needed() {
    for (part, allowed, why) in EXCEPTIONS {
        let used = |path: &String| belongs(path, part) && scan(path, &read(path)).find(allowed).is_some();
        assert!(sources().iter().any(used), "{part} does not name {allowed} any more ({why}): strike the exception");
    }
}

#[test]
fn every_part_is_in_the_table_or_known_to_be_free() {
    let known: Vec<&str> = TABLE.iter().map(|row| row.part).chain(FREE.iter().copied()).collect();
    for path in sources() {
        assert!(
            known.iter().any(|part| belongs(&path, part)),
            "{path}: a new part; say in the table what it must not do"
        );
    }
}

/// design: whoever spawns, joins; in the operator that is one place.
#[test]
fn only_the_operators_root_spawns() {
    for path in sources().iter().filter(|path| path.starts_with("src/") && !belongs(path, "src/operator")) {
        let scan = scan(path, &read(path));
        for spawn in ["tokio::spawn", "tokio::task", "std::thread", "*::spawn", "*::JoinSet"] {
            assert_eq!(scan.find(spawn), None, "{path}");
        }
    }
}

/// Longer files are split by what they are about. Tests do not count.
#[test]
fn no_file_is_longer_than_can_be_read_in_one_go() {
    const MOST_LINES: usize = 400;
    let long: Vec<_> = sources()
        .into_iter()
        .map(|path| (read(&path).split("\n#[cfg(test)]\nmod tests {").next().unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn every_file_begins_with_what_it_is() {
    for path in sources() {
        assert!(read(&path).starts_with("//! "), "{path}: no module doc");
    }
}

fn violations(row: &Row, scan: &Scan) -> Vec<String> {
    let names =
        row.names.iter().copied().flatten().filter_map(|ban| scan.find(ban)).map(|path| format!("names {path}"));
    let rules = row.rules.iter().filter_map(|rule| match rule {
        Rule::Sync => scan.is_async.then(|| "is async".to_owned()),
        Rule::NoLogic => scan.functions.first().map(|name| format!("holds logic: fn {name}")),
    });
    names.chain(rules).collect::<BTreeSet<_>>().into_iter().collect()
}

fn belongs(path: &str, part: &str) -> bool {
    path.strip_prefix(part).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// All source files of the workspace that are not tests.
fn sources() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !matches!(name.as_str(), "tests" | "target" | "examples" | "benches" | "fuzz") {
                walk(&path, found);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["src", "movers", "kubectl"] {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Each rule of the table, broken on purpose: a table that finds nothing proves nothing.
#[test]
fn the_table_finds_what_it_forbids() {
    for (part, text, expected) in [
        ("src/api", "impl Spec { fn is_paused(&self) -> bool { true } }", "holds logic: fn is_paused"),
        ("src/api", "use crate::model::step::Step;", "names crate::model::step::Step"),
        ("src/model", "use kube::ResourceExt;", "names kube::ResourceExt"),
        ("src/model", "use k8s_openapi::api::core::v1::Pod;", "names k8s_openapi::api::core::v1::Pod"),
        ("src/model", "fn f() { std::time::SystemTime::now(); }", "names std::time::SystemTime::now"),
        ("src/replication/plan", "fn f() { jiff::Timestamp::now(); }", "names jiff::Timestamp::now"),
        ("src/replication/plan", "async fn f() {}", "is async"),
        ("src/replication/queue/line", "fn f() { jiff::Timestamp::now(); }", "names jiff::Timestamp::now"),
        ("src/replication/interpret", "use kube::Client;", "names kube::Client"),
        ("src/replication/report", "use kube::{Api, ResourceExt};", "names kube::Api"),
        (
            "src/population/plan",
            "use k8s_openapi::api::core::v1::PersistentVolume;",
            "names k8s_openapi::api::core::v1::PersistentVolume",
        ),
        ("src/resources", "use crate::replication::plan::Plan;", "names crate::replication::plan::Plan"),
        ("src/apply", "use crate::api::source::ReplicationSource;", "names crate::api::source::ReplicationSource"),
        ("kubectl/src/state", "fn f() { jiff::Timestamp::now(); }", "names jiff::Timestamp::now"),
        ("kubectl", "use doppel::model::step::Step;", "names doppel::model::step::Step"),
        ("movers/contract", "fn f() { std::fs::read(p); }", "names std::fs::read"),
        ("movers/volume", "use std::net::TcpStream;", "names std::net::TcpStream"),
        ("movers/transport", "use std::fs::File;", "names std::fs::File"),
        ("movers/rsync/src/proto", "use std::io::Read;", "names std::io::Read"),
        ("movers/rsync/src/proto", "fn f() { std::time::Instant::now(); }", "names std::time::Instant::now"),
        ("movers/restic/src/format", "use doppel_storage::Storage;", "names doppel_storage::Storage"),
        ("movers/restic/src/format", "fn f() { jiff::Timestamp::now(); }", "names jiff::Timestamp::now"),
        ("movers/restic", "fn f() { std::env::var(x); }", "names std::env::var"),
        ("movers/rsync", "fn f() { std::env::var(x); }", "names std::env::var"),
        ("movers/rsync", "fn f() { std::process::exit(1); }", "names std::process::exit"),
    ] {
        let row = TABLE.iter().find(|row| row.part == part).unwrap();
        let found = violations(row, &scan(&format!("{part}/planted.rs"), text));
        assert!(found.contains(&expected.to_owned()), "{part}: {text}: {found:?}");
    }
}
