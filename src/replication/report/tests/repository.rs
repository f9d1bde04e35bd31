//! What is told of repositories.

use doppel_contract::{Line, Nothing, RepositoryReport, Retain, Snapshot, Verdict};
use jiff::SignedDuration;

use super::{NOW, at, end, running, told, wish};
use crate::model::mover::{Backup, CacheShape, Mover, Restic, ResticTask};
use crate::model::observed::MoverEnd;
use crate::model::pod::PodSettings;
use crate::model::replication::{Lifetime, Replication, Trigger};
use crate::model::status::Status;
use crate::replication::plan::Outcome;

fn replication(task: ResticTask) -> Replication {
    let cache =
        CacheShape { capacity: "1Gi".into(), storage_class: None, access_modes: None, lifetime: Lifetime::Kept };
    let (repository, pod) = ("repository".into(), PodSettings::default());
    let mover = Mover::Restic(Restic { repository, certificates: None, cache, task, pod });
    Replication { mover, ..wish(Trigger::Continuous) }
}

fn backup(unlock: Option<&str>) -> Replication {
    replication(ResticTask::Backup(Backup {
        retain: Retain::default(),
        pruned: at(NOW),
        prune_interval: SignedDuration::ZERO,
        unlock: unlock.map(str::to_owned),
        unlocked: None,
    }))
}

fn restore() -> Replication {
    replication(ResticTask::Restore { as_of: None, previous: 0, delete: false })
}

fn completed(report: RepositoryReport) -> Outcome {
    let mut end: MoverEnd = end(Verdict::Complete);
    end.report.as_mut().unwrap().repository = Some(report);
    Outcome::Completed { image: None, end: Some(end) }
}

fn stored() -> RepositoryReport {
    let snapshot = Snapshot {
        id: Line::new("1a2b3c4d"),
        time: Line::new("2026-11-23T10:00:00Z"),
        bytes: Some(5000),
        incomplete: false,
    };
    RepositoryReport { snapshot: Some(snapshot.clone()), snapshots: 3, newest: vec![snapshot], ..Default::default() }
}

#[test]
fn a_backup_leaves_what_the_repository_holds_and_the_lines_that_tools_know_from_restic() {
    let status = told(&running(), &backup(None), completed(stored()));
    let catalogue = status.catalogue.as_ref().unwrap();
    assert_eq!((catalogue.snapshots, catalogue.newest[0].id.as_str()), (3, "1a2b3c4d"));
    let logs = status.latest_mover.logs.unwrap();
    for line in ["processed 12 files, 5000 bytes", "\nsnapshot 1a2b3c4d saved", "\nRestic completed in 3s"] {
        assert!(logs.contains(line), "{logs}");
    }
}

#[test]
fn pruning_and_unlocking_are_remembered_when_they_were_done_and_only_then() {
    let before =
        Status { last_pruned: Some(at("2026-11-01T00:00:00Z")), last_unlocked: Some("one".into()), ..running() };
    let of = |unlock, report| {
        let status = told(&before, &backup(unlock), completed(report));
        (status.last_pruned, status.last_unlocked)
    };
    assert_eq!(of(Some("two"), stored()), (before.last_pruned, Some("one".into())), "the run did neither");
    let both = RepositoryReport { pruned: true, unlocked: true, ..stored() };
    assert_eq!(of(Some("two"), both), (Some(at("2026-11-23T10:01:50Z")), Some("two".into())));
    assert_eq!(of(None, stored()).1, None, "the user took the value back");
}

#[test]
fn a_run_that_moved_nothing_is_no_failure_and_every_condition_after_it_says_so() {
    for (wish, nothing, line, words) in [
        (restore(), Nothing::NoRepository, "No eligible snapshots found", "there is no repository yet"),
        (restore(), Nothing::NoSnapshot, "No data will be restored", "the repository has no snapshot yet"),
        (restore(), Nothing::NoneEligible, "No data will be restored", "no snapshot is left of those"),
        (backup(None), Nothing::EmptyVolume, "Directory is empty", "the volume is empty"),
    ] {
        let report = RepositoryReport { nothing: Some(nothing), ..RepositoryReport::default() };
        let status = told(&running(), &wish, completed(report));
        let logs = status.latest_mover.logs.as_ref().unwrap();
        assert!(logs.contains(line), "{logs}");
        let idle = told(&status, &wish, Outcome::Idle { next_sync: None });
        let message = idle.readiness.unwrap().message;
        assert!(message.contains(words), "{message}");
        let next = told(&idle_again(&status), &wish, completed(stored()));
        assert!(!told(&next, &wish, Outcome::Idle { next_sync: None }).readiness.unwrap().message.contains(words));
    }
}

fn idle_again(status: &Status) -> Status {
    Status { last_sync_start: running().last_sync_start, current: running().current, ..status.clone() }
}
