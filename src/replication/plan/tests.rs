//! Tables and properties of plans.

mod cleanup;
mod copy_trigger;
mod deadlines;
mod former;
mod place;
mod placement;
mod property;
mod repository;
mod trigger;
mod volumes;
mod world;

use doppel_contract::{Fault, Line, Report, Retry, Tally, Verdict};
use jiff::{SignedDuration, Timestamp};

use self::world::{World, at, destination, iteration, source};
use super::{Outcome, Plan, Wait, plan};
use crate::model::observed::{Key, MoverState, Ownership, Privilege, PullSecret};
use crate::model::reason::Reason;
use crate::model::replication::{Direction, Image, Pace, Phase, Publish, Replication, SourceCopy, Target, VolumeMode};
use crate::model::step::{Ending, Origin, Step};

fn names(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(Step::describe).collect()
}

fn running(mut wish: Replication) -> Replication {
    wish.phase = Phase::Running(iteration());
    wish
}

fn idle(mut wish: Replication, last_sync: &str, last_manual: Option<&str>) -> Replication {
    wish.phase = Phase::Idle { last_sync: at(last_sync), last_manual: last_manual.map(str::to_owned) };
    wish
}

const NOW: &str = "2026-11-23T10:00:30Z";

fn now() -> Timestamp {
    at(NOW)
}

#[test]
fn a_missing_claim_blocks_and_names_the_field() {
    let plan = plan(&running(source(SourceCopy::Direct)), &World::new().without_claim().0, now());
    let Outcome::Blocked(reason) = plan.outcome else { panic!("{plan:?}") };
    let text = reason.to_string();
    assert!(text.contains("spec.sourcePVC") && text.contains("\"data\"") && text.contains("\"ns\""), "{text}");
}

#[test]
fn a_direct_source_starts_its_mover_on_the_claim_itself() {
    let plan = plan(&running(source(SourceCopy::Direct)), &World::new().0, now());
    assert_eq!(
        names(&plan),
        [
            "create Secret volsync-rsync-tls-rs",
            "apply ServiceAccount volsync-src-rs",
            "create Job volsync-rsync-tls-src-rs"
        ]
    );
    let Some(Step::StartMover(run)) = plan.steps.last() else { panic!("{plan:?}") };
    assert_eq!((run.claim.as_str(), run.attempt), ("data", 1));
}

#[test]
fn a_snapshot_source_waits_for_the_snapshot_and_not_for_the_claim() {
    let wish = running(source(SourceCopy::Snapshot { class: None, shape: Default::default() }));
    let world = World::new().with_surroundings(&wish);
    let first = plan(&wish, &world.0, now());
    assert_eq!(names(&first), ["create VolumeSnapshot volsync-rs-src"]);
    let pending = plan(&wish, &world.clone().with_copy_snapshot(false).0, now());
    assert!(pending.steps.is_empty());
    assert!(matches!(pending.outcome, Outcome::Waiting(Wait::SnapshotReady { error: None, .. })));
    let ready = plan(&wish, &world.with_copy_snapshot(true).0, now());
    assert_eq!(names(&ready), ["create PersistentVolumeClaim volsync-rs-src", "create Job volsync-rsync-tls-src-rs"]);
    let Some(Step::CreateClaim(claim)) = ready.steps.first() else { panic!("{ready:?}") };
    assert_eq!(claim.origin, Origin::Snapshot("volsync-rs-src".to_owned()));
    assert_eq!(claim.capacity, "3Gi", "the snapshot's restore size goes before the source's size");
}

#[test]
fn a_block_volume_is_copied_as_one_and_its_mover_is_told_of_a_device() {
    let copies = [
        SourceCopy::Direct,
        SourceCopy::Clone(Default::default()),
        SourceCopy::Snapshot { class: None, shape: Default::default() },
    ];
    for copy in copies {
        let wish = running(source(copy.clone()));
        let mut world = World::new().with_surroundings(&wish).with_copy_snapshot(true).0;
        world.claim.as_mut().unwrap().mode = VolumeMode::Block;
        let plan = plan(&wish, &world, now());
        let made = plan.steps.iter().find_map(|step| match step {
            Step::CreateClaim(claim) => Some(claim.mode),
            _ => None,
        });
        let expected = if copy == SourceCopy::Direct { None } else { Some(VolumeMode::Block) };
        assert_eq!(made, expected, "{copy:?}");
        let Some(Step::StartMover(run)) = plan.steps.last() else { panic!("{plan:?}") };
        assert_eq!(
            (run.mode, &run.request.volume),
            (VolumeMode::Block, &doppel_contract::Volume::device("/dev/block"))
        );
    }
}

#[test]
fn a_destination_makes_the_block_volume_that_is_asked_for() {
    let mut wish = running(destination(Publish::Direct));
    let Direction::Destination { target: Target::Dynamic { mode, .. }, .. } = &mut wish.direction else { panic!() };
    *mode = VolumeMode::Block;
    let world = World::new().with_surroundings(&wish).without_claim();
    let plan = plan(&wish, &world.0, now());
    let Some(Step::CreateClaim(claim)) = plan.steps.first() else { panic!("{plan:?}") };
    assert_eq!(claim.mode, VolumeMode::Block);
    let Some(Step::StartMover(run)) = plan.steps.last() else { panic!("{plan:?}") };
    assert_eq!(run.request.volume, doppel_contract::Volume::device("/dev/block"));
}

#[test]
fn a_claim_of_another_mode_than_the_field_says_is_named_with_the_field() {
    for (field, found) in [
        (None, VolumeMode::Block),
        (Some(VolumeMode::Block), VolumeMode::Block),
        (Some(VolumeMode::Block), VolumeMode::Filesystem),
        (Some(VolumeMode::Filesystem), VolumeMode::Block),
    ] {
        let mut wish = running(destination(Publish::Direct));
        let Direction::Destination { target, .. } = &mut wish.direction else { panic!() };
        *target = Target::Existing { claim: "data".to_owned(), mode: field };
        let mut world = World::new().with_surroundings(&wish).0;
        world.claim = World::new().0.claim;
        world.claim.as_mut().unwrap().mode = found;
        let plan = plan(&wish, &world, now());
        match plan.outcome {
            Outcome::Blocked(reason) => {
                assert_ne!(field, Some(found));
                let text = reason.to_string();
                for part in ["spec.rsyncTLS.volumeMode", "\"data\"", "\"ns\"", "Filesystem", "Block"] {
                    assert!(text.contains(part), "{text}");
                }
            }
            other => assert!(field.is_none_or(|field| field == found), "{field:?} {found:?}: {other:?}"),
        }
    }
}

#[test]
fn a_clone_source_copies_the_claim() {
    let wish = running(source(SourceCopy::Clone(Default::default())));
    let plan = plan(&wish, &World::new().with_surroundings(&wish).0, now());
    let Some(Step::CreateClaim(claim)) = plan.steps.first() else { panic!("{plan:?}") };
    assert_eq!(claim.origin, Origin::Claim("data".to_owned()));
    assert_eq!(claim.capacity, "2Gi");
    assert!(matches!(plan.steps.last(), Some(Step::StartMover(_))));
}

#[test]
fn what_belongs_to_somebody_else_is_never_adopted() {
    let other = Ownership::Other("Deployment/web".to_owned());
    let copying = running(source(SourceCopy::Clone(Default::default())));
    let receiving = running(destination(Publish::Direct));
    let worlds = [
        (&copying, World::new().with_surroundings(&copying).with_copy_claim(other.clone())),
        (&copying, World::new().with_surroundings(&copying).with_account(other.clone())),
        (&receiving, World::new().with_surroundings(&receiving).with_service(other.clone())),
        (&receiving, World::new().with_surroundings(&receiving).with_claim_of(other.clone())),
        (&receiving, World::new().with_surroundings(&receiving).with_job(other, 1, MoverState::Running)),
    ];
    for (wish, world) in worlds {
        let plan = plan(wish, &world.0, now());
        let Outcome::Blocked(Reason::NotOurs { owner, .. }) = &plan.outcome else { panic!("{plan:?}") };
        assert_eq!(owner, "Deployment/web");
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::StartMover(_))), "{plan:?}");
    }
}

#[test]
fn a_given_secret_is_never_generated_and_is_looked_at_again() {
    let mut wish = running(source(SourceCopy::Direct));
    world::give_key(&mut wish, "mine");
    let absent = plan(&wish, &World::new().0, now());
    assert!(matches!(&absent.outcome, Outcome::Blocked(Reason::SecretMissing { name, .. }) if name == "mine"));
    assert_eq!(absent.wake_at, Some(now() + SignedDuration::from_secs(15)));
    let malformed = plan(&wish, &World::new().with_key(Key::Malformed("psk.txt: line 1".to_owned())).0, now());
    assert!(matches!(malformed.outcome, Outcome::Blocked(Reason::SecretMalformed(_))));
    assert!(!malformed.steps.iter().any(|step| matches!(step, Step::StartMover(_) | Step::CreateKey { .. })));
}

#[test]
fn no_copy_is_made_for_a_mover_that_lacks_its_key() {
    let mut wish = running(source(SourceCopy::Snapshot { class: None, shape: Default::default() }));
    world::give_key(&mut wish, "mine");
    let is_copy = |step: &Step| matches!(step, Step::TakeSnapshot(_) | Step::CreateClaim(_));
    assert!(!plan(&wish, &World::new().0, now()).steps.iter().any(is_copy));
    assert!(plan(&wish, &World::new().with_key(Key::Valid).0, now()).steps.iter().any(is_copy));
}

#[test]
fn a_failed_attempt_is_recorded_once_and_followed_by_a_growing_pause() {
    let mut wish = running(source(SourceCopy::Direct));
    for (attempt, seconds) in [(1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (50, 300)] {
        wish.phase = Phase::Running(world::iteration_after(attempt - 1, None));
        let world = World::new().with_surroundings(&wish).with_ended(&wish, attempt, world::failed(Retry::Later));
        let plan = plan(&wish, &world.0, now());
        let expected = at(world::ENDED) + SignedDuration::from_secs(seconds);
        assert!(
            matches!(plan.outcome, Outcome::AttemptFailed { attempt: seen, next_attempt, .. }
                if seen == attempt && next_attempt == expected),
            "attempt {attempt}: {plan:?}"
        );
        assert_eq!((plan.steps.len(), plan.wake_at), (0, Some(expected)));
    }
}

#[test]
fn a_failure_that_only_a_change_can_mend_has_the_longest_pause() {
    let wish = running(source(SourceCopy::Direct));
    let world = World::new().with_surroundings(&wish).with_ended(&wish, 1, world::failed(Retry::AfterChange));
    let plan = plan(&wish, &world.0, now());
    assert_eq!(plan.wake_at, Some(at(world::ENDED) + SignedDuration::from_mins(5)));
}

#[test]
fn the_next_attempt_begins_when_its_time_has_come_and_the_old_job_is_gone() {
    let mut wish = running(source(SourceCopy::Direct));
    let due = now() + SignedDuration::from_secs(5);
    wish.phase = Phase::Running(world::iteration_after(1, Some(due)));
    let failed = World::new().with_surroundings(&wish).with_ended(&wish, 1, world::failed(Retry::Later));
    let early = plan(&wish, &failed.0, now());
    assert_eq!((early.steps.len(), early.outcome, early.wake_at), (0, Outcome::BackingOff, Some(due)));
    let late = plan(&wish, &failed.0, due);
    assert_eq!(names(&late), ["delete Job volsync-rsync-tls-src-rs"]);
    let gone = World::new().with_surroundings(&wish);
    assert_eq!(plan(&wish, &gone.0, now()).outcome, Outcome::BackingOff);
    let again = plan(&wish, &gone.0, due);
    assert!(matches!(again.steps.last(), Some(Step::StartMover(run)) if run.attempt == 2), "{again:?}");
}

#[test]
fn a_secret_for_pulling_the_image_is_copied_before_its_mover_starts_unless_the_user_brings_an_account() {
    let secret = |copied| PullSecret { original: "registry".into(), copy: "volsync-pull-1".into(), copied };
    let mut wish = running(source(SourceCopy::Direct));
    for (copied, expected) in [(false, 2), (true, 1)] {
        let mut world = World::new().with_surroundings(&wish);
        world.0.pull_secrets = vec![secret(copied)];
        let plan = plan(&wish, &world.0, now());
        assert_eq!(plan.steps.len(), expected, "{plan:?}");
        let Some(Step::StartMover(run)) = plan.steps.last() else { panic!("{plan:?}") };
        assert_eq!(run.pull_secrets, ["volsync-pull-1"]);
    }
    let mut world = World::new().with_surroundings(&wish);
    world.0.pull_secrets = vec![secret(false)];
    world = world.with_mover(&wish, MoverState::Starting(None));
    assert_eq!(names(&plan(&wish, &world.0, now())), ["copy Secret registry of the operator to Secret volsync-pull-1"]);
    world.0.pull_secrets[0].copy = "volsync-pull-2".into();
    let other = plan(&wish, &world.0, now());
    assert!(matches!(other.steps[..], [Step::StopMover { .. }]), "its pod waits for an image with the former Secret");
    let crate::model::mover::Mover::RsyncTls(rsync) = &mut wish.mover else { panic!() };
    rsync.pod.service_account = Some("mine".to_owned());
    let mut world = World::new().with_surroundings(&wish);
    world.0.pull_secrets = vec![secret(false)];
    let plan = plan(&wish, &world.0, now());
    assert!(matches!(&plan.steps[..], [Step::StartMover(run)] if run.pull_secrets.is_empty()), "{plan:?}");
}

#[test]
fn a_changed_wish_stops_a_running_mover_and_waits_until_its_pod_is_gone() {
    let wish = running(source(SourceCopy::Direct));
    let mut world = World::new().with_surroundings(&wish).with_mover(&wish, MoverState::Running);
    assert!(plan(&wish, &world.0, now()).steps.is_empty());
    world.0.job.as_mut().unwrap().fingerprint = "former".to_owned();
    let plan = plan(&wish, &world.0, now());
    assert!(matches!(plan.steps[..], [Step::StopMover { ending: Ending::Interrupted, .. }]), "{plan:?}");
}

#[test]
fn an_upgrade_ends_no_run_and_what_was_asked_for_since_then_does() {
    let mut wish = running(source(SourceCopy::Direct));
    for state in [MoverState::Starting(None), MoverState::Running] {
        let mut world = World::new().with_surroundings(&wish).with_mover(&wish, state);
        let job = world.0.job.as_mut().unwrap();
        job.fingerprint = "0.0.9/1/another-digest".to_owned();
        let upgraded = plan(&wish, &world.0, now());
        assert!(upgraded.steps.is_empty(), "{upgraded:?}");
        wish.generation = Some(2);
        let changed = plan(&wish, &world.0, now());
        assert!(matches!(changed.steps[..], [Step::StopMover { ending: Ending::Interrupted, .. }]), "{changed:?}");
        wish.generation = Some(1);
    }
}

#[test]
fn a_privilege_that_is_withdrawn_or_given_stops_the_mover_that_runs_without_regard_to_it() {
    let wish = running(source(SourceCopy::Direct));
    for (then, now_is) in
        [(Privilege::Privileged, Privilege::Unprivileged), (Privilege::Unprivileged, Privilege::Privileged)]
    {
        let mut world = World::new().with_surroundings(&wish);
        world.0.privilege = then;
        world = world.with_mover(&wish, MoverState::Running);
        world.0.privilege = now_is;
        let plan = plan(&wish, &world.0, now());
        assert!(matches!(plan.steps[..], [Step::StopMover { ending: Ending::Interrupted, .. }]), "{plan:?}");
    }
}

#[test]
fn pausing_holds_the_mover_and_nothing_else() {
    let wish = Replication { pace: Pace::Paused, ..running(destination(Publish::Direct)) };
    let fresh = plan(&wish, &World::new().without_claim().0, now());
    assert_eq!(fresh.outcome, Outcome::Paused);
    assert!(matches!(fresh.steps.last(), Some(Step::StartMover(run)) if run.pace == Pace::Paused));
    assert_eq!(fresh.steps.len(), 5, "claim, service, key and account are made all the same: {fresh:?}");
    let going = World::new().with_surroundings(&wish).with_mover(&wish, MoverState::Running);
    assert!(matches!(plan(&wish, &going.0, now()).steps[..], [Step::SetPace { pace: Pace::Paused, .. }]));
}

#[test]
fn a_source_completes_when_its_container_has_ended() {
    let wish = running(source(SourceCopy::Direct));
    let world = World::new().with_surroundings(&wish).with_ended(&wish, 1, Verdict::Complete);
    let plan = plan(&wish, &world.0, now());
    assert!(matches!(plan.outcome, Outcome::Completed { image: None, end: Some(_) }), "{plan:?}");
}

#[test]
fn an_image_is_published_when_it_is_ready_and_not_before() {
    let wish = running(destination(Publish::Snapshot { class: None }));
    let ended = World::new().with_surroundings(&wish).with_ended(&wish, 1, Verdict::Complete);
    let first = plan(&wish, &ended.0, now());
    assert_eq!(names(&first), ["create VolumeSnapshot volsync-rd-dst-20261123100000"]);
    let pending = plan(&wish, &ended.clone().with_image(false).0, now());
    assert!(matches!(pending.outcome, Outcome::Waiting(Wait::SnapshotReady { .. })), "{pending:?}");
    let ready = plan(&wish, &ended.with_image(true).0, now());
    let image = Some(Image::Snapshot("volsync-rd-dst-20261123100000".to_owned()));
    assert!(matches!(ready.outcome, Outcome::Completed { image: published, .. } if published == image));
}

#[test]
fn an_image_is_finished_even_when_the_job_is_gone() {
    let wish = running(destination(Publish::Snapshot { class: None }));
    let world = World::new().with_surroundings(&wish).with_image(true);
    let plan = plan(&wish, &world.0, now());
    assert!(plan.steps.is_empty());
    assert!(matches!(plan.outcome, Outcome::Completed { end: None, .. }), "{plan:?}");
}

#[test]
fn a_larger_capacity_grows_the_claim_and_a_smaller_one_leaves_it() {
    let wish = running(destination(Publish::Direct));
    let mut world = World::new().with_surroundings(&wish);
    world.0.claim.as_mut().unwrap().request = Some("1Gi".to_owned());
    assert!(names(&plan(&wish, &world.0, now())).contains(&"grow PersistentVolumeClaim volsync-rd-dst".to_owned()));
    world.0.claim.as_mut().unwrap().request = Some("64Gi".to_owned());
    assert!(!names(&plan(&wish, &world.0, now())).contains(&"grow PersistentVolumeClaim volsync-rd-dst".to_owned()));
}

#[test]
fn a_mover_without_report_is_still_understood() {
    let wish = running(source(SourceCopy::Direct));
    let mut world = World::new().with_surroundings(&wish).with_ended(&wish, 1, Verdict::Complete);
    if let Some(MoverState::Ended(end)) = world.0.job.as_mut().map(|job| &mut job.mover) {
        end.report = None;
        end.success = false;
        end.reason = "OOMKilled".to_owned();
    }
    assert!(matches!(plan(&wish, &world.0, now()).outcome, Outcome::AttemptFailed { attempt: 1, .. }));
}

#[test]
fn a_mover_of_volsyncs_is_replaced_whatever_it_does_and_that_is_no_failure() {
    let wish = running(source(SourceCopy::Direct));
    let ended = World::new().with_surroundings(&wish).with_ended(&wish, 1, failure(Retry::Later));
    let failed = ended.0.job.as_ref().unwrap().mover.clone();
    for mover in [MoverState::Starting(None), MoverState::Running, failed] {
        let mut world = ended.clone();
        let job = world.0.job.as_mut().unwrap();
        (job.mover, job.fingerprint) = (mover, String::new());
        let plan = plan(&wish, &world.0, now());
        assert_eq!(names(&plan), ["delete Job volsync-rsync-tls-src-rs"]);
        assert!(matches!(plan.outcome, Outcome::Waiting(Wait::Gone { kind: "Job", .. })), "{plan:?}");
    }
}

fn report(verdict: Verdict) -> Report {
    Report { verdict, tally: Tally::default(), remarks: Default::default(), repository: None, elapsed_ms: 1 }
}

fn failure(retry: Retry) -> Verdict {
    Verdict::Failed { fault: Fault::Network, retry, message: Line::new("connection refused") }
}
