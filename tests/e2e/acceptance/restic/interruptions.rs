//! Movers of a repository that end in the middle: the next run is not held up by what they leave.

use std::time::Instant;

use serde_json::{Value, json};

use super::super::super::clusters::Cluster;
use super::super::super::store::{Fault, HOST, Store};
use super::super::stage::{Movers, Stage};
use super::stores::use_repository;
use super::{SOURCE, restic};

/// Every backup is followed by a prune, and one snapshot is kept.
const PRUNING: &str = "    pruneIntervalDays: 0\n    retain: {last: '1'}\n";

/// How a mover ends.
enum End {
    /// Without noticing.
    Killed,
    /// With the time that Kubernetes gives it.
    Drained,
}

/// Its pod.
#[track_caller]
fn mover(stage: &Stage) -> String {
    let pods =
        ["get", "pods", "-l", "job-name=volsync-src-source", "--field-selector=status.phase=Running", "-o", "name"];
    let running =
        || stage.kubectl(&pods).lines().next().map_or(Value::Null, |pod| json!(pod.trim_start_matches("pod/")));
    stage.until("a mover", running, Value::is_string).as_str().unwrap().to_owned()
}

#[test]
fn a_mover_that_ends_in_a_backup_or_in_a_prune_holds_up_nobody() {
    let stage = Stage::new(Cluster::B, "restic-interrupted", Movers::Unprivileged);
    let proxy = Store::shared().proxy();
    let repository = format!("s3:http://{HOST}:{}/interrupted/volume", proxy.port);
    let locks = || restic(&repository, &["list", "locks"]);
    use_repository(&stage, &repository, "");
    stage.fill("true");
    // The request in the middle of which it is met: of a backup's packs, and of an index that a prune has written anew.
    for (tag, end, (method, part)) in [
        ("killed-in-a-backup", End::Killed, ("PUT", "/data/")),
        ("drained-in-a-backup", End::Drained, ("PUT", "/data/")),
        ("killed-in-a-prune", End::Killed, ("DELETE", "/index/")),
    ] {
        stage.write("for i in 1 2 3; do dd if=/dev/urandom of=file-$i bs=1048576 count=1 2>/dev/null; done");
        proxy.tell(method, part, 1, Fault::Silence);
        stage.apply(&format!("{SOURCE}{PRUNING}"), &[("NAME", &stage.source), ("TAG", tag)]);
        stage.until("the middle", || json!(proxy.is_done()), |done| *done == true);
        let pod = mover(&stage);
        let begin = Instant::now();
        match end {
            End::Killed => {
                stage.kill(&pod);
                assert_ne!(locks(), "", "{tag}");
            }
            // It takes its lock away itself, before the next one begins.
            End::Drained => {
                stage.evict(&pod);
                stage.kubectl(&["wait", "pod", &pod, "--for=delete", "--timeout=60s"]);
                assert_eq!(locks(), "", "{tag}");
            }
        }
        stage.await_synchronized(tag);
        eprintln!("{tag}: the next success was there after {:.1} s", begin.elapsed().as_secs_f64());
        assert_eq!(locks(), "", "{tag}");
    }
    restic(&repository, &["check", "--read-data"]);
    stage.discard();
}
