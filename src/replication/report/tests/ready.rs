//! The table of `Ready`, `Reconciling` and `Stalled`.

use doppel_contract::{Fault, LeftOut, Line, Retry, Verdict};

use super::{NOW, account_missing, at, end, planned, running, told, wish};
use crate::model::observed::{MoverEnd, Observed};
use crate::model::queue::{Limit, Queued};
use crate::model::readiness::{Blame, Readiness, ReadyReason, ReadyState};
use crate::model::reason::Reason;
use crate::model::replication::{Phase, Replication, Trigger};
use crate::model::schedule::Schedule;
use crate::model::status::{CurrentSync, Status};
use crate::replication::plan::{Late, Outcome, Plan, Wait};
use crate::replication::report::{report, report_error, report_refusal};

const LATER: &str = "2026-11-23T11:00:00Z";

/// An object that was synchronized once, for the manual trigger "one".
fn synchronized() -> Status {
    Status { last_sync: Some(at("2026-11-23T09:00:00Z")), last_manual: Some("one".into()), ..Status::default() }
}

/// The same, while it is synchronized again.
fn again() -> Status {
    Status { last_sync_start: Some(at(NOW)), current: Some(CurrentSync::default()), ..synchronized() }
}

fn hourly() -> Trigger {
    Trigger::Schedule(Schedule::parse("@hourly").unwrap())
}

fn manual(tag: &str) -> Trigger {
    Trigger::Manual(tag.into())
}

fn mover() -> Outcome {
    Outcome::Waiting(Wait::Mover { job: "j".into() })
}

fn attempt(number: u32, verdict: Verdict) -> Outcome {
    Outcome::AttemptFailed { attempt: number, end: end(verdict), next_attempt: at("2026-11-23T10:02:10Z") }
}

fn fails(retry: Retry) -> Verdict {
    Verdict::Failed { fault: Fault::Network, retry, message: Line::new("no route to host") }
}

fn readiness(old: &Status, trigger: Trigger, outcome: Outcome) -> Readiness {
    told(old, &wish(trigger), outcome).readiness.unwrap()
}

#[track_caller]
fn check(old: &Status, trigger: Trigger, outcome: Outcome, expected: (ReadyState, ReadyReason)) {
    let readiness = readiness(old, trigger, outcome);
    assert_eq!((readiness.state, readiness.reason), expected, "{readiness:?}");
    assert!(!readiness.message.is_empty());
}

#[test]
fn an_object_is_ready_when_the_copy_that_it_asks_for_is_there() {
    use ReadyReason::{CleaningUp, MoverRunning, Paused, Starting, WaitingForManual, WaitingForSchedule};
    use ReadyState::{Held, Ready, Reconciling};
    let idle = || Outcome::Idle { next_sync: Some(at("2026-11-23T11:00:00Z")) };
    let begin = || Outcome::Begin { manual: None };
    let completed = || Outcome::Completed { image: None, end: None };
    for (old, trigger, outcome, expected) in [
        (Status::default(), hourly(), begin(), (Reconciling, Starting)),
        (running(), hourly(), mover(), (Reconciling, MoverRunning)),
        (running(), hourly(), completed(), (Ready, CleaningUp)),
        (running(), manual("one"), mover(), (Reconciling, MoverRunning)),
        (synchronized(), hourly(), Outcome::CleaningUp, (Ready, CleaningUp)),
        (synchronized(), hourly(), idle(), (Ready, WaitingForSchedule)),
        (synchronized(), manual("one"), Outcome::Idle { next_sync: None }, (Ready, WaitingForManual)),
        // A schedule's next synchronization makes the copy newer; a new manual trigger asks for another copy.
        (again(), hourly(), mover(), (Ready, MoverRunning)),
        (again(), Trigger::Continuous, mover(), (Ready, MoverRunning)),
        (again(), manual("two"), mover(), (Reconciling, MoverRunning)),
        (again(), hourly(), Outcome::Paused, (Ready, Paused)),
        (running(), hourly(), Outcome::Paused, (Held, Paused)),
    ] {
        check(&old, trigger, outcome, expected);
    }
}

#[test]
fn a_failure_makes_unready_at_once_and_stalls_when_it_repeats_or_needs_a_change() {
    use ReadyReason::AttemptFailed;
    use ReadyState::{Reconciling, Stalled};
    for (number, retry, state) in [
        (1, Retry::Later, Reconciling),
        (2, Retry::Later, Reconciling),
        (3, Retry::Later, Stalled),
        (4, Retry::Later, Stalled),
        (1, Retry::AfterChange, Stalled),
    ] {
        check(&again(), hourly(), attempt(number, fails(retry)), (state, AttemptFailed));
        let failed = told(&again(), &wish(hourly()), attempt(number, fails(retry)));
        let waiting = told(&failed, &wish(hourly()), Outcome::BackingOff);
        assert_eq!(waiting.readiness, failed.readiness, "the pause changes nothing");
    }
}

#[test]
fn a_stalled_object_stays_so_while_it_is_tried_again_and_says_both() {
    let failed = told(&again(), &wish(hourly()), attempt(3, fails(Retry::Later)));
    let plan = planned(mover());
    let tried = report(&failed, &wish(hourly()), &Observed::default(), &plan, at(LATER)).status.readiness.unwrap();
    assert_eq!((tried.state, tried.since), (ReadyState::Stalled, failed.readiness.unwrap().since));
    assert_eq!(
        tried.message,
        "attempt 3 failed (fault: Network): no route to host; attempt 4: the mover of Job j is running, it waits for its source \
         or receives; its Service has no address yet"
    );
}

#[test]
fn the_pause_after_an_error_of_the_cluster_tells_of_the_failure_again() {
    let failed = told(&again(), &wish(hourly()), attempt(1, fails(Retry::Later)));
    let error = report_error(&failed, Blame::Cluster, "too many requests".into(), at(NOW));
    assert_eq!(error.readiness.as_ref().unwrap().reason, ReadyReason::ClusterError);
    let after = told(&error, &wish(hourly()), Outcome::BackingOff).readiness.unwrap();
    assert_eq!(after.message, failed.readiness.unwrap().message);
}

#[test]
fn a_failure_is_remembered_with_whose_fault_it_is() {
    let mut left_out = LeftOut::default();
    left_out.add(Line::new("a"), Line::new("permission denied"));
    left_out.add(Line::new("b"), Line::new("permission denied"));
    let verdict = |fault| Verdict::Failed { fault, retry: Retry::Later, message: Line::new("m") };
    let killed = MoverEnd { success: false, report: None, reason: "OOMKilled".into(), ..end(Verdict::Complete) };
    for (end, blame, count) in [
        (end(verdict(Fault::User)), Blame::User, 0),
        (end(verdict(Fault::Peer)), Blame::Peer, 0),
        (end(verdict(Fault::Network)), Blame::Network, 0),
        (end(verdict(Fault::Volume)), Blame::Volume, 0),
        (end(verdict(Fault::Ours)), Blame::Doppel, 0),
        (end(Verdict::Incomplete(left_out)), Blame::Volume, 2),
        (end(Verdict::Complete), Blame::Doppel, 0),
        (killed, Blame::Cluster, 0),
    ] {
        let outcome = Outcome::AttemptFailed { attempt: 1, end, next_attempt: at(LATER) };
        let status = told(&again(), &wish(hourly()), outcome);
        let expected = if count > 0 { ReadyReason::Incomplete } else { ReadyReason::AttemptFailed };
        assert_eq!(status.readiness.unwrap().reason, expected);
        let failure = status.current.unwrap().last_failure.unwrap();
        assert_eq!((failure.blame, failure.left_out, failure.at), (blame, count, at("2026-11-23T10:01:50Z")));
    }
}

#[test]
fn a_mover_that_does_not_start_in_time_is_the_clusters_fault_and_says_why_and_what_bounds_it() {
    let outcome = |attempt, reason: Option<&str>| Outcome::NotStarted {
        attempt,
        within: jiff::SignedDuration::from_mins(90),
        reason: reason.map(str::to_owned),
        next_attempt: at(LATER),
    };
    let why = Some("0/3 nodes are\navailable");
    let status = told(&running(), &wish(hourly()), outcome(1, why));
    let failure = status.current.unwrap().last_failure.unwrap();
    assert_eq!((failure.blame, failure.at, failure.left_out), (Blame::Cluster, at("2026-11-23T10:01:50Z"), 0));
    let message =
        "the mover did not start within 1h30m0s (--start-deadline of the operator): 0/3 nodes are\\x0aavailable";
    assert_eq!(failure.message, message);
    assert_eq!(status.latest_mover.logs.unwrap(), format!("error: {message}"));
    let expected = format!("attempt 1 failed (fault: Cluster): {message}; the next attempt begins at {LATER}");
    assert_eq!(status.readiness.unwrap().message, expected);
    check(&running(), hourly(), outcome(1, why), (ReadyState::Reconciling, ReadyReason::AttemptFailed));
    check(&running(), hourly(), outcome(3, why), (ReadyState::Stalled, ReadyReason::AttemptFailed));
    let silent = readiness(&running(), hourly(), outcome(1, None)).message;
    assert!(silent.contains("whether its namespace has quota for a pod"), "{silent}");
}

#[test]
fn what_is_missing_is_waited_for_and_what_is_wrong_is_stalled() {
    let claim = Reason::ClaimMissing { field: "f".into(), name: "n".into(), namespace: "ns".into() };
    let taken = Reason::NotOurs { kind: "Job", name: "j".into(), owner: "nobody".into() };
    for (reason, state, expected) in [
        (account_missing(), ReadyState::Reconciling, ReadyReason::AccountMissing),
        (claim, ReadyState::Reconciling, ReadyReason::ClaimMissing),
        (Reason::SecretMalformed("m".into()), ReadyState::Stalled, ReadyReason::SecretMalformed),
        (taken, ReadyState::Stalled, ReadyReason::NameTaken),
        (Reason::NoMover("f".into()), ReadyState::Stalled, ReadyReason::SpecInvalid),
    ] {
        check(&again(), hourly(), Outcome::Blocked(reason.clone()), (state, expected));
        let refused = report_refusal(&again(), &reason, at(NOW)).readiness.unwrap();
        assert_eq!((refused.state, refused.reason, &refused.message), (state, expected, &reason.to_string()));
    }
}

#[test]
fn every_wait_says_what_for_and_what_to_do() {
    let job = || "j".to_owned();
    let (claim, pod) = (|| "data".to_owned(), || "web-0".to_owned());
    let place = || (claim(), pod(), "n1".to_owned());
    let queued = |limit| {
        Wait::Queued(Queued {
            position: 3,
            before: 9,
            full: (limit, std::num::NonZeroU32::MIN),
            since: at("2026-11-23T10:00:00Z"),
        })
    };
    let table = [
        (queued(Limit::Cluster), ReadyReason::Queued, "at position 3: the cluster has as many"),
        (queued(Limit::Namespace("shop".into())), ReadyReason::Queued, "1 (--max-syncs-per-namespace of the operator)"),
        (
            queued(Limit::Node("n1".into())),
            ReadyReason::Queued,
            "queued since 2026-11-23T10:00:00Z at position 3: node n1",
        ),
        (queued(Limit::StorageClass("fast".into())), ReadyReason::Queued, "it begins by itself when it is its turn"),
        (
            Wait::SnapshotReady { name: "s".into(), error: None },
            ReadyReason::WaitingForSnapshot,
            "describe volumesnapshot s",
        ),
        (Wait::CopyTrigger { claim: claim() }, ReadyReason::WaitingForCopyTrigger, "has a new value"),
        (Wait::Gone { kind: "Job", name: job() }, ReadyReason::WaitingForRemoval, "finalizers Job j has"),
        (Wait::FormerMover { pod: "p".to_owned() }, ReadyReason::WaitingForRemoval, "kubectl delete pod p ends it"),
        (
            Wait::MoverStart { job: job(), placement: None, reason: None },
            ReadyReason::WaitingForMover,
            "kubectl describe pod -l batch.kubernetes.io/job-name=j",
        ),
        (Wait::ClaimInUse { claim: claim(), pod: pod() }, ReadyReason::WaitingForVolume, "when that pod is gone"),
        (Wait::UserUnscheduled { claim: claim(), pod: pod() }, ReadyReason::WaitingForVolume, "describe pod web-0"),
        (Wait::ClaimsApart(Box::new([place(), place()])), ReadyReason::WaitingForVolume, "bring both pods to one node"),
        (Wait::Mover { job: job() }, ReadyReason::MoverRunning, "its source must call 192.0.2.9 with the same key"),
    ];
    for (wait, reason, remedy) in table {
        let old = Status { address: Some("192.0.2.9".into()), ..again() };
        // Between iterations nobody looks at the Service, and the address stays.
        let phase = Phase::Idle { last_sync: at(NOW), last_manual: None };
        let wish = Replication { phase, ..wish(hourly()) };
        let told = told(&old, &wish, Outcome::Waiting(wait)).readiness.unwrap();
        assert_eq!(told.reason, reason);
        assert!(told.message.contains(remedy), "{}", told.message);
    }
    let late = Plan {
        late: vec![Late::Claim("c".into())],
        ..planned(Outcome::Waiting(Wait::MoverStart { job: job(), placement: None, reason: None }))
    };
    let told = report(&again(), &wish(hourly()), &Observed::default(), &late, at(NOW)).status.readiness.unwrap();
    assert!(told.message.contains("PersistentVolumeClaim/c is not bound after 2 min"), "{}", told.message);
}

#[test]
fn since_when_changes_with_the_state_or_the_reason_and_with_nothing_else() {
    let snapshot = |error: Option<&str>| {
        planned(Outcome::Waiting(Wait::SnapshotReady { name: "s".into(), error: error.map(str::to_owned) }))
    };
    let pass =
        |old: &Status, plan: &Plan, now: &str| report(old, &wish(hourly()), &Observed::default(), plan, at(now)).status;
    let first = pass(&again(), &snapshot(None), NOW);
    assert_eq!(first.readiness.as_ref().unwrap().since, at("2026-11-23T10:01:50Z"));
    assert_eq!(pass(&first, &snapshot(None), LATER), first, "a wait that goes on writes no status");
    let other_text = pass(&first, &snapshot(Some("disk full")), LATER);
    assert_eq!(other_text.readiness.unwrap().since, at("2026-11-23T10:01:50Z"));
    let other_reason = pass(&first, &planned(mover()), LATER);
    assert_eq!(other_reason.readiness.unwrap().since, at(LATER));
}

#[test]
fn an_error_of_the_cluster_is_temporary_and_told_once() {
    let first = report_error(&synchronized(), Blame::Cluster, "creating Job j: quota exceeded".into(), at(NOW));
    let readiness = first.readiness.clone().unwrap();
    assert_eq!((readiness.state, readiness.reason), (ReadyState::Reconciling, ReadyReason::ClusterError));
    assert!(readiness.message.starts_with("creating Job j: quota exceeded; "), "{}", readiness.message);
    assert_eq!(report_error(&first, Blame::Cluster, "creating Job j: quota exceeded".into(), at(LATER)), first);
}

#[test]
fn what_the_user_wrote_and_nobody_takes_stalls_until_it_is_changed() {
    let words = "moverSecurityContext: invalid type: string \"root\", expected i64";
    let first = report_error(&synchronized(), Blame::User, words.into(), at(NOW));
    let readiness = first.readiness.clone().unwrap();
    assert_eq!((readiness.state, readiness.reason), (ReadyState::Stalled, ReadyReason::SpecInvalid));
    assert_eq!(readiness.message, format!("{words}; change it in the spec"));
    assert_eq!(report_error(&first, Blame::User, words.into(), at(LATER)), first);
}
