//! A synchronization, undisturbed and with its parts killed in the middle: the same digest at the end, nothing left over.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use super::clusters::{Cluster, until};
use super::pair::Pair;

/// A tree with links and odd names, and a large file.
const FILL: &str = r#"
cd /data && mkdir -p many "odd names" && cd many
for i in $(seq 500); do echo "file $i" >"f$i"; done
cd "../odd names" && echo x >-rf && echo x >"$(printf 'new\nline')" && ln -s ../many/f1 link && ln -s /nowhere dangling
cd .. && dd if=/dev/urandom of=large bs=1048576 count=300 2>/dev/null
"#;

/// Creates the source with so little of a processor that a transfer takes seconds on any machine, and can be met in its
/// middle.
fn create_slow_source(pair: &Pair, tag: &str) {
    let mut source = pair.source(tag);
    source["spec"]["rsyncTLS"]["moverResources"] = json!({"limits": {"cpu": "200m"}});
    pair.apply(Cluster::A, &json!([source]));
}

const POD: &str = "app.kubernetes.io/component=rsync-tls-mover";

/// Waits until the source's mover transfers. How much it has moved it says only every few seconds.
fn meet(pair: &Pair) {
    until("the transfer", 120, || {
        let logs = pair.kubectl(Cluster::A, &["logs", "-l", POD, "--tail=-1", "--ignore-errors"]);
        let transfers = logs.lines().any(|line| {
            let progress: Option<serde_json::Value> = serde_json::from_str(line).ok();
            progress.is_some_and(|progress| progress["phase"] == "transferring")
        });
        if transfers { Ok(()) } else { Err(logs) }
    });
}

/// The same, and makes sure that it has not finished.
fn meet_in_the_middle(pair: &Pair) {
    meet(pair);
    assert!(pair.status(Cluster::A)["lastManualSync"].is_null(), "the transfer ended before it could be disturbed");
}

fn synchronize_while(namespace: &str, disturb: impl FnOnce(&Pair)) {
    let pair = Pair::new(namespace);
    pair.shell(Cluster::A, "writer", FILL);
    create_slow_source(&pair, "first");
    disturb(&pair);
    pair.await_synchronized("first", 240);
    let image = pair.await_image(None);
    pair.assert_equal(&image);
    pair.assert_nothing_left_behind();
    pair.discard();
}

fn kill_mover(pair: &Pair, cluster: Cluster) {
    pair.kubectl(cluster, &["delete", "pod", "-l", POD, "--grace-period=0", "--force"]);
}

/// SIGKILL, without the SIGTERM that a kubelet sends first whatever the grace period is: nodes are processes of this machine.
/// Returns how many were killed.
fn kill_mover_at_once(pair: &Pair, cluster: Cluster) -> usize {
    let pods = pair.kubectl(cluster, &["get", "pods", "-l", POD, "-o", "jsonpath={.items[*].metadata.uid}"]);
    let uids: Vec<String> = pods.split_whitespace().flat_map(|uid| [uid.to_owned(), uid.replace('-', "_")]).collect();
    let is_mover = |process: &Path| {
        let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
        let control_group = read("cgroup");
        read("comm").trim() == "doppel-mover" && uids.iter().any(|uid| control_group.contains(uid))
    };
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let killed = |process: &PathBuf| {
        Command::new("kill").arg("-9").arg(process.file_name().unwrap()).status().unwrap().success()
    };
    processes.filter(|process| is_mover(process)).filter(killed).count()
}

fn kill_operator(cluster: Cluster) {
    let operator = ["-n", "doppel-system", "delete", "pod", "-l", "app.kubernetes.io/name=doppel"];
    cluster.kubectl(&[&operator[..], &["--grace-period=0", "--force"]].concat());
}

#[test]
fn a_volume_becomes_a_volume_of_the_other_cluster_and_stays_its_double() {
    let pair = Pair::new("e2e-double");
    pair.shell(Cluster::A, "writer", FILL);
    pair.create_source("first");
    pair.await_synchronized("first", 120);
    let first = pair.await_image(None);
    pair.assert_equal(&first);
    let change = "cd /data && rm many/f7 && echo changed >many/f8 && mv many/f9 moved && dd if=/dev/urandom of=large bs=1024 count=1 seek=5000 conv=notrunc 2>/dev/null";
    pair.shell(Cluster::A, "writer", change);
    pair.trigger("second");
    pair.await_synchronized("second", 120);
    let second = pair.await_image(Some(&first));
    pair.assert_equal(&second);
    until("the former image is gone", 60, || {
        let images = pair.kubectl(Cluster::B, &["get", "volumesnapshots", "-o", "name"]);
        if images.contains(&first) { Err(images) } else { Ok(()) }
    });
    pair.assert_nothing_left_behind();
    pair.discard();
}

#[test]
fn a_source_mover_killed_in_the_middle_is_followed_by_another() {
    synchronize_while("e2e-kill-source", |pair| {
        meet_in_the_middle(pair);
        kill_mover(pair, Cluster::A);
    });
}

#[test]
fn a_destination_mover_killed_in_the_middle_is_followed_by_another() {
    synchronize_while("e2e-kill-destination", |pair| {
        meet_in_the_middle(pair);
        kill_mover(pair, Cluster::B);
    });
}

#[test]
fn operators_killed_in_the_middle_go_on_where_they_were() {
    synchronize_while("e2e-kill-operator", |pair| {
        meet_in_the_middle(pair);
        Cluster::BOTH.into_iter().for_each(kill_operator);
    });
}

#[test]
#[ignore = "takes many minutes: make test-kills"]
fn movers_killed_at_ten_points_of_a_transfer_leave_equal_volumes() {
    const POINTS: u32 = 10;
    // All content anew, so that each point lies within a transfer of all of it.
    const REFILL: &str = "cd /data && dd if=/dev/urandom of=large bs=1048576 count=300 2>/dev/null && date >many/f1";
    let pair = Pair::new("e2e-kill-points");
    pair.shell(Cluster::A, "writer", FILL);
    create_slow_source(&pair, "first");
    meet(&pair);
    let begin = Instant::now();
    pair.await_synchronized("first", 120);
    let takes = begin.elapsed();
    let mut image = pair.await_image(None);
    let mut late = 0;
    for point in 1..=POINTS {
        let side = if point % 2 == 0 { Cluster::A } else { Cluster::B };
        let tag = format!("point-{point}");
        pair.shell(Cluster::A, "writer", REFILL);
        until("the former source mover is gone", 60, || {
            let movers = pair.kubectl(Cluster::A, &["get", "pods", "-l", POD, "-o", "name"]);
            if movers.is_empty() { Ok(()) } else { Err(movers) }
        });
        pair.trigger(&tag);
        meet(&pair);
        std::thread::sleep(takes * point / (POINTS + 1));
        let is_over = pair.status(Cluster::A)["lastManualSync"] == tag;
        let killed = kill_mover_at_once(&pair, side);
        late += u32::from(is_over || killed == 0);
        pair.await_synchronized(&tag, 300);
        image = pair.await_image(Some(&image));
        pair.assert_equal(&image);
        eprintln!("point {point} of {POINTS}, {side:?}, {killed} killed: equal");
    }
    assert!(late <= 2, "{late} of {POINTS} transfers had ended before they could be disturbed, which take {takes:?}");
    pair.assert_nothing_left_behind();
    pair.discard();
}
