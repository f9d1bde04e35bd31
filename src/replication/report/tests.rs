//! Tables of reports.

mod measures;
mod ready;
mod repository;

use std::time::Duration;

use doppel_contract::{Fault, LeftOut, Line, Report, Retry, Tally, Verdict};
use jiff::Timestamp;

use super::{go_duration, report, report_error};
use crate::model::copy_trigger::Answer;
use crate::model::event::{Event, EventReason};
use crate::model::mover::{KeySource, Listen, Meeting, Mover, RsyncTls};
use crate::model::observed::{Key, MoverEnd, Observed, Service};
use crate::model::pod::{Placement, PodSettings, Verbosity};
use crate::model::readiness::Blame;
use crate::model::reason::Reason;
use crate::model::replication::{
    Beginner, Direction, Image, Iteration, Owner, Pace, Phase, Publish, Replication, Role, Target, Trigger,
};
use crate::model::schedule::Schedule;
use crate::model::status::{ConditionReason, CurrentSync, MoverResult, Status};
use crate::model::step::Step;
use crate::replication::plan::{Late, Outcome, Plan, Wait};

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

const BEGAN: &str = "2026-11-23T10:00:00Z";
const NOW: &str = "2026-11-23T10:01:50.25Z";

fn wish(trigger: Trigger) -> Replication {
    Replication {
        owner: Owner { role: Role::Destination, namespace: "ns".into(), name: "rd".into(), uid: "u".into() },
        generation: Some(1),
        direction: Direction::Destination {
            target: Target::Existing { claim: "data".into(), mode: None },
            publish: Publish::Direct,
        },
        trigger,
        mover: Mover::RsyncTls(RsyncTls {
            key: KeySource::Generated("key".into()),
            meeting: Meeting::Listen(Listen { service_type: "ClusterIP".into(), annotations: vec![] }),
            empty_source: doppel_contract::EmptySource::Refuse,
            pod: PodSettings::default(),
        }),
        pace: Pace::Running,
        verbosity: Verbosity::Normal,
        phase: Phase::Running(Iteration {
            since: at(BEGAN),
            begun_by: Beginner::Doppel,
            manual: Some("one".into()),
            failed_attempts: 0,
            next_attempt: None,
            last_sync: None,
        }),
        image: None,
        deadlines: Default::default(),
    }
}

fn running() -> Status {
    Status {
        last_sync_start: Some(at(BEGAN)),
        current: Some(CurrentSync { manual: Some("one".into()), ..CurrentSync::default() }),
        ..Status::default()
    }
}

fn account_missing() -> Reason {
    let field = "spec.rsyncTLS.moverServiceAccount".into();
    Reason::AccountMissing { field, name: "sa".into(), namespace: "ns".into() }
}

fn planned(outcome: Outcome) -> Plan {
    Plan { steps: vec![], outcome, wake_at: None, late: vec![] }
}

fn told(old: &Status, wish: &Replication, outcome: Outcome) -> Status {
    let plan = planned(outcome);
    report(old, wish, &Observed::default(), &plan, at(NOW)).status
}

fn end(verdict: Verdict) -> MoverEnd {
    let tally =
        Tally { entries: 12, bytes: 5000, files_sent: 3, wire_sent: 1000, wire_received: 250, ..Tally::default() };
    let report = Report { verdict, tally, remarks: LeftOut::default(), repository: None, elapsed_ms: 2400 };
    MoverEnd { at: at(NOW), success: true, report: Some(Box::new(report)), reason: "Completed".into() }
}

#[test]
fn a_completed_synchronization_answers_the_trigger_it_began_with() {
    let wish = wish(Trigger::Manual("two".into()));
    let outcome = Outcome::Completed { image: Some(Image::Claim("data".into())), end: Some(end(Verdict::Complete)) };
    let status = told(&running(), &wish, outcome);
    assert_eq!(status.last_manual.as_deref(), Some("one"), "\"two\" came later and still has to be answered");
    assert_eq!(status.last_duration.as_deref(), Some("1m50.25s"));
    assert_eq!((status.last_sync_start, status.current), (None, None));
    assert_eq!(status.last_sync, Some(at("2026-11-23T10:01:50Z")));
    assert_eq!(status.image, Some(Image::Claim("data".into())));
    assert_eq!(status.latest_mover.result, Some(MoverResult::Successful));
    let logs = status.latest_mover.logs.unwrap();
    for line in ["sent 1000 bytes  received 250 bytes", "total size is 5000  speedup is 4.00", "rsync completed in 3s"]
    {
        assert!(logs.contains(line), "{logs}");
    }
}

#[test]
fn a_block_device_has_the_lines_that_tools_know_from_diskrsync() {
    let mut ended = end(Verdict::Complete);
    let report = ended.report.as_mut().unwrap();
    report.tally = Tally { devices: 1, entries: 1, bytes: 5000, literal_bytes: 40, read_bytes: 900, ..report.tally };
    let outcome = Outcome::Completed { image: Some(Image::Claim("data".into())), end: Some(ended) };
    let logs = told(&running(), &wish(Trigger::Continuous), outcome).latest_mover.logs.unwrap();
    for line in ["literal 40 bytes", "read here 900 bytes", "total size is 5000", "\ndiskrsync completed in 3s"] {
        assert!(logs.contains(line), "{logs}");
    }
}

#[test]
fn a_failed_attempt_says_why_and_when_the_next_one_begins() {
    let failed = Verdict::Failed { fault: Fault::Network, retry: Retry::Later, message: Line::new("no route to host") };
    let outcome = Outcome::AttemptFailed { attempt: 2, end: end(failed), next_attempt: at("2026-11-23T10:02:10Z") };
    let status = told(&running(), &wish(Trigger::Continuous), outcome);
    let condition = status.condition.unwrap();
    assert_eq!(condition.reason, ConditionReason::Error);
    assert_eq!(
        condition.message,
        "attempt 2 failed: no route to host; the next attempt begins at 2026-11-23T10:02:10Z"
    );
    assert_eq!(status.latest_mover.result, Some(MoverResult::Failed));
    assert_eq!(status.current.unwrap().failed_attempts, 2);
    assert_eq!(status.last_sync, None);
}

#[test]
fn an_iteration_that_volsync_began_is_remembered_when_an_attempt_fails() {
    let mut wish = wish(Trigger::Manual("one".into()));
    let Phase::Running(running) = &mut wish.phase else { panic!() };
    running.begun_by = Beginner::VolSync;
    let old = Status { last_sync_start: Some(at(BEGAN)), ..Status::default() };
    let failed = Verdict::Failed { fault: Fault::Network, retry: Retry::Later, message: Line::new("no route to host") };
    let outcome = Outcome::AttemptFailed { attempt: 1, end: end(failed), next_attempt: at("2026-11-23T10:02:10Z") };
    let current = told(&old, &wish, outcome).current.unwrap();
    assert_eq!((current.begun_by, current.manual.as_deref()), (Beginner::VolSync, Some("one")));
    assert_eq!(current.failed_attempts, 1);
}

#[test]
fn a_run_that_failed_before_it_moved_anything_has_no_statistics_and_no_line_of_success() {
    let failed = Verdict::Failed { fault: Fault::Network, retry: Retry::Later, message: Line::new("no route to host") };
    let mut nothing = end(failed);
    nothing.report.as_mut().unwrap().tally = Tally::default();
    let outcome = Outcome::AttemptFailed { attempt: 1, end: nothing, next_attempt: at("2026-11-23T10:02:10Z") };
    let status = told(&running(), &wish(Trigger::Continuous), outcome);
    assert_eq!(status.latest_mover.logs.as_deref(), Some("error: no route to host"));
    let again = told(&status, &wish(Trigger::Continuous), Outcome::Waiting(Wait::Mover { job: "j".into() }));
    let message = again.condition.unwrap().message;
    assert!(message.ends_with("(attempt 2; why the last one failed is in latestMoverStatus)"), "{message}");
}

#[test]
fn an_incomplete_run_names_what_was_left_out() {
    let mut left_out = LeftOut::default();
    for number in 0..30 {
        left_out.add(Line::new(format!("file{number}")), Line::new("permission denied"));
    }
    let outcome = Outcome::AttemptFailed {
        attempt: 1,
        end: end(Verdict::Incomplete(left_out)),
        next_attempt: at("2026-11-23T10:02:10Z"),
    };
    let message = told(&running(), &wish(Trigger::Continuous), outcome).condition.unwrap().message;
    assert!(message.contains("left out 30 entries: file0 (permission denied), file1"), "{message}");
}

#[test]
fn waiting_says_for_what() {
    let snapshot = Wait::SnapshotReady { name: "s".into(), error: Some("disk\nfull".into()) };
    let start = Wait::MoverStart { job: "j".into(), placement: None, reason: Some("ImagePullBackOff".into()) };
    for (wait, expected) in [
        (snapshot, r"Synchronization in-progress: waiting until VolumeSnapshot s is ready to use: disk\x0afull"),
        (start, "Synchronization in-progress: waiting until the mover of Job j starts: ImagePullBackOff"),
        (
            Wait::Mover { job: "j".into() },
            "Synchronization in-progress: the mover of Job j is running, it waits for its source or receives",
        ),
    ] {
        let condition = told(&running(), &wish(Trigger::Continuous), Outcome::Waiting(wait)).condition.unwrap();
        assert_eq!((condition.reason, condition.message.as_str()), (ConditionReason::SyncInProgress, expected));
    }
}

#[test]
fn the_pod_that_decides_about_a_mover_is_named() {
    let on_node = Placement { node: "n1".into(), tolerations: vec![], pod: "web-0".into() };
    let place = |claim: &str, pod: &str, node: &str| (claim.to_owned(), pod.to_owned(), node.to_owned());
    for (wait, expected) in [
        (
            Wait::MoverStart { job: "j".into(), placement: Some(on_node), reason: None },
            "waiting until the mover of Job j starts on node n1, where Pod web-0 uses its volume",
        ),
        (
            Wait::ClaimInUse { claim: "data".into(), pod: "web-0".into() },
            "PersistentVolumeClaim data is ReadWriteOncePod and Pod web-0 uses it; the mover starts when that pod is gone",
        ),
        (
            Wait::UserUnscheduled { claim: "data".into(), pod: "web-0".into() },
            "Pod web-0 uses PersistentVolumeClaim data and has no node yet; the mover starts on the node that it gets",
        ),
        (
            Wait::ClaimsApart(Box::new([place("data", "web-0", "n1"), place("repo", "viewer", "n2")])),
            "the mover needs PersistentVolumeClaim data, which Pod web-0 uses on node n1, and repo, which Pod viewer uses on node n2; bring both pods to one node",
        ),
    ] {
        let condition = told(&running(), &wish(Trigger::Continuous), Outcome::Waiting(wait)).condition.unwrap();
        assert_eq!(condition.message, format!("Synchronization in-progress: {expected}"));
    }
}

#[test]
fn a_wait_that_is_too_long_is_told_once() {
    let table = [
        (Late::Snapshot("s".into()), EventReason::VolumeSnapshotNotBound),
        (Late::Claim("c".into()), EventReason::PersistentVolumeClaimNotBound),
        (Late::Address("a".into()), EventReason::NoServiceAddressAssigned),
        (Late::CopyTrigger("data".into()), EventReason::SrcPVCTimeoutWaitingForCopyTrigger),
    ];
    for (late, reason) in table {
        let wait = || Outcome::Waiting(Wait::CopyTrigger { claim: "data".into() });
        let plan = Plan { late: vec![late], ..planned(wait()) };
        let pass = |old: &Status| report(old, &wish(Trigger::Continuous), &Observed::default(), &plan, at(NOW));
        let in_time = told(&running(), &wish(Trigger::Continuous), wait());
        let first = pass(&in_time);
        let reasons: Vec<_> = first.events.iter().map(|event| event.reason).collect();
        assert_eq!(reasons, [reason]);
        let condition = first.status.condition.as_ref().unwrap();
        assert_eq!(condition.reason, ConditionReason::SyncInProgress, "waiting goes on");
        assert!(condition.message.ends_with(&first.events[0].note), "{}", condition.message);
        let second = pass(&first.status);
        assert_eq!((second.events, second.status), (vec![], first.status));
    }
}

#[test]
fn a_copy_trigger_that_does_not_come_is_a_failure_in_the_words_of_volsync() {
    let plan = Plan {
        late: vec![Late::CopyTrigger("data".into())],
        ..planned(Outcome::Waiting(Wait::CopyTrigger { claim: "data".into() }))
    };
    let told = report(&running(), &wish(Trigger::Continuous), &Observed::default(), &plan, at(NOW)).status;
    assert_eq!(told.latest_mover.result, Some(MoverResult::Failed));
    let logs = told.latest_mover.logs.unwrap();
    assert_eq!(logs, "Timed out waiting for copy-trigger to be modified for pvc data");
}

#[test]
fn each_answer_to_a_copy_trigger_is_an_event() {
    let table = [
        (Answer::Waiting { since: at(NOW) }, EventReason::SrcPVCWaitingForCopyTrigger),
        (Answer::InProgress, EventReason::SrcPVCCopyTriggerReceived),
        (Answer::Completed { trigger: "one".into() }, EventReason::SrcPVCCopyUsingCopyTriggerCompleted),
    ];
    for (answer, expected) in table {
        let steps = vec![Step::AnswerCopyTrigger { claim: "data".into(), answer }];
        let plan = Plan { steps, ..planned(Outcome::Waiting(Wait::CopyTrigger { claim: "data".into() })) };
        let events = report(&running(), &wish(Trigger::Continuous), &Observed::default(), &plan, at(NOW)).events;
        assert!(matches!(&events[..], [Event { reason, .. }] if *reason == expected), "{events:?}");
    }
}

#[test]
fn a_pass_without_news_leaves_the_status_as_it_is() {
    let wish = wish(Trigger::Continuous);
    let waiting = || Outcome::Waiting(Wait::Mover { job: "j".into() });
    let first = told(&running(), &wish, waiting());
    let plan = planned(waiting());
    let later = report(&first, &wish, &Observed::default(), &plan, at("2026-11-23T11:00:00Z")).status;
    assert_eq!(first, later);
    let backing_off = told(&first, &wish, Outcome::BackingOff);
    assert_eq!(backing_off.condition, first.condition);
}

#[test]
fn the_time_of_a_condition_changes_only_with_its_truth() {
    let wish = wish(Trigger::Continuous);
    let blocked = told(&running(), &wish, Outcome::Blocked(account_missing()));
    let other = report_error(&blocked, Blame::Cluster, "something else".into(), at("2026-11-23T12:00:00Z"));
    assert_eq!(other.condition.unwrap().since, blocked.condition.unwrap().since);
}

#[test]
fn address_and_generated_key_are_published_as_soon_as_they_are_there() {
    let service = Service {
        ownership: crate::model::observed::Ownership::Ours,
        service_type: "ClusterIP".into(),
        annotations: vec![],
        selector: vec![],
        ports: vec![],
        address: Some("192.0.2.9".into()),
        created: at(BEGAN),
        deleting: false,
    };
    let seen = Observed { key: Key::Valid, service: Some(service), ..Observed::default() };
    let plan = planned(Outcome::Waiting(Wait::Mover { job: "j".into() }));
    let reported = report(&running(), &wish(Trigger::Continuous), &seen, &plan, at(NOW));
    assert_eq!(reported.status.address.as_deref(), Some("192.0.2.9"));
    assert_eq!(reported.status.key_secret.as_deref(), Some("key"));
    assert_eq!(reported.events.len(), 1);
    let again = report(&reported.status, &wish(Trigger::Continuous), &seen, &plan, at(NOW));
    assert!(again.events.is_empty());
}

#[test]
fn a_missed_interval_is_counted_when_the_synchronization_ends() {
    let trigger = Trigger::Schedule(Schedule::parse("*/5 * * * *").unwrap());
    let measures = |last_sync: &str| {
        let old = Status { last_sync: Some(at(last_sync)), ..running() };
        let outcome = Outcome::Completed { image: None, end: None };
        let plan = planned(outcome);
        report(&old, &wish(trigger.clone()), &Observed::default(), &plan, at(NOW)).measures
    };
    assert!(measures("2026-11-23T09:40:00Z").missed_interval);
    let in_time = measures("2026-11-23T09:58:00Z");
    assert!(!in_time.missed_interval && !in_time.out_of_sync);
    assert_eq!(in_time.completed, Some(Duration::from_millis(110_250)));
}

#[test]
fn durations_are_written_as_go_writes_them() {
    for (milliseconds, expected) in
        [(0, "0s"), (500, "0.5s"), (28_818, "28.818s"), (110_200, "1m50.2s"), (3_605_000, "1h0m5s")]
    {
        assert_eq!(go_duration(Duration::from_millis(milliseconds)), expected);
    }
}
