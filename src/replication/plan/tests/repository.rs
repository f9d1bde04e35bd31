//! Movers of restic repositories: what has to be there, the cache, and what the mover is told.

use doppel_contract::{ResticBackup, ResticRestore, Retain, Work};
use jiff::SignedDuration;

use super::world::{World, at, claim, destination, source};
use super::{names, now, running};
use crate::model::mover::{Backup, CacheShape, Certificates, Holder, Mover, Restic, ResticTask};
use crate::model::observed::{Key, Ownership};
use crate::model::pod::PodSettings;
use crate::model::reason::Reason;
use crate::model::replication::{Lifetime, Phase, Publish, Replication, SourceCopy, VolumeMode};
use crate::model::step::Step;
use crate::replication::plan::{Outcome, plan};

const CACHE: &str = "volsync-src-rs-cache";

fn restic(task: ResticTask) -> Mover {
    Mover::Restic(Restic {
        repository: "repository".to_owned(),
        certificates: None,
        cache: CacheShape {
            capacity: "1Gi".to_owned(),
            storage_class: None,
            access_modes: None,
            lifetime: Lifetime::Kept,
        },
        task,
        pod: PodSettings::default(),
    })
}

fn backup() -> Replication {
    let task = ResticTask::Backup(Backup {
        retain: Retain { last: 1, ..Retain::default() },
        pruned: at("2026-11-01T00:00:00Z"),
        prune_interval: SignedDuration::from_hours(7 * 24),
        unlock: None,
        unlocked: None,
    });
    running(Replication { mover: restic(task), ..source(SourceCopy::Direct) })
}

fn restore(lifetime: Lifetime) -> Replication {
    let as_of = Some(at("2026-11-23T03:05:06Z"));
    let mut mover = restic(ResticTask::Restore { as_of, previous: 1, delete: true });
    if let Mover::Restic(restic) = &mut mover {
        restic.cache.lifetime = lifetime;
    }
    Replication { mover, ..destination(Publish::Direct) }
}

/// A world with the Secret and the account.
fn ready() -> World {
    let mut world = World::new().with_account(Ownership::Ours);
    world.0.key = Key::Valid;
    world
}

#[test]
fn a_backup_has_its_cache_made_and_is_told_where_everything_is() {
    let plan = plan(&backup(), &ready().0, now());
    let [Step::CreateClaim(cache), Step::StartMover(run)] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!((cache.name.as_str(), cache.mode, cache.lifetime), (CACHE, VolumeMode::Filesystem, Lifetime::Kept));
    assert_eq!(cache.access_modes, ["ReadWriteOnce"]);
    assert_eq!((run.job.as_str(), run.mover, run.cache.as_deref()), ("volsync-src-rs", "restic", Some(CACHE)));
    assert_eq!((run.secret.name.as_str(), run.secret.path), ("repository", "/repository"));
    assert!(run.pod_labels.is_empty(), "no Service looks for it");
    let Work::ResticBackup(ResticBackup { repository, retain, prune, unlock }) = &run.request.work else { panic!() };
    assert_eq!((retain.last, *prune, *unlock), (1, true, false), "three weeks went by since it was pruned");
    assert_eq!(repository.lock_owner.as_deref(), Some("uid"));
    assert_eq!(repository.cache.as_deref().unwrap().to_str(), Some("/cache"));
}

#[test]
fn a_cache_that_is_there_is_used_and_one_of_somebody_else_is_not() {
    let mut world = ready();
    world.0.cache_claim = Some(claim(CACHE, Ownership::Ours));
    assert!(matches!(plan(&backup(), &world.0, now()).steps[..], [Step::StartMover(_)]));
    world.0.cache_claim = Some(claim(CACHE, Ownership::Nobody));
    let outcome = plan(&backup(), &world.0, now()).outcome;
    assert!(matches!(&outcome, Outcome::Blocked(Reason::NotOurs { name, .. }) if name == CACHE), "{outcome:?}");
}

#[test]
fn the_cache_of_a_claim_that_nobody_can_write_to_can_be_written_to() {
    let mut world = ready();
    world.0.claim.as_mut().unwrap().access_modes = vec!["ReadOnlyMany".to_owned()];
    let plan = plan(&backup(), &world.0, now());
    let [Step::CreateClaim(cache), Step::StartMover(run)] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!(cache.access_modes, ["ReadWriteOnce"]);
    assert!(run.read_only);
}

#[test]
fn a_block_volume_is_refused_with_what_to_use_instead() {
    let mut world = ready();
    world.0.claim.as_mut().unwrap().mode = VolumeMode::Block;
    let plan = plan(&backup(), &world.0, now());
    let Outcome::Blocked(reason) = plan.outcome else { panic!("{plan:?}") };
    let text = reason.to_string();
    assert!(plan.steps.is_empty() && text.starts_with("spec.sourcePVC: ") && text.contains("spec.rsyncTLS"), "{text}");
}

#[test]
fn a_restore_is_told_which_snapshot_and_its_cache_goes_if_the_user_says_so() {
    let mut world = ready();
    world.0.claim = None;
    let plan_of = |wish: &Replication, world: &World| plan(wish, &world.0, now());
    let plan = plan_of(&running(restore(Lifetime::Kept)), &world);
    let [Step::CreateClaim(data), Step::CreateClaim(_), Step::StartMover(run)] = &plan.steps[..] else {
        panic!("{plan:?}")
    };
    assert_eq!((data.name.as_str(), run.job.as_str()), ("volsync-rd-dest", "volsync-dst-rd"));
    let Work::ResticRestore(ResticRestore { as_of, previous, delete, .. }) = &run.request.work else { panic!() };
    assert_eq!((as_of.as_deref(), *previous, *delete), (Some("2026-11-23T03:05:06Z"), 1, true));

    let last_sync = at("2026-11-23T10:00:00Z");
    let idle = |lifetime| Replication { phase: Phase::Idle { last_sync, last_manual: None }, ..restore(lifetime) };
    world.0.cache_claim = Some(claim("volsync-dst-rd-cache", Ownership::Ours));
    let temporary = plan_of(&idle(Lifetime::Temporary), &world);
    assert_eq!(names(&temporary), ["delete PersistentVolumeClaim volsync-dst-rd-cache"]);
    assert!(!plan_of(&idle(Lifetime::Kept), &world).steps.iter().any(|step| matches!(step, Step::DeleteClaim(_))));
}

#[test]
fn what_is_missing_is_named_before_anything_is_made() {
    let with = |holder| {
        let mut wish = backup();
        if let Mover::Restic(restic) = &mut wish.mover {
            restic.certificates = Some(Certificates { holder, key: "ca.pem".to_owned() });
        }
        wish
    };
    let mut without_secret = ready();
    without_secret.0.key = Key::Absent;
    for (wish, world, expected) in [
        (backup(), without_secret, "spec.restic.repository: Secret \"repository\" does not exist"),
        (with(Holder::Secret("s".to_owned())), ready(), "spec.restic.customCA.secretName: Secret \"s\""),
        (with(Holder::ConfigMap("c".to_owned())), ready(), "spec.restic.customCA.configMapName: ConfigMap \"c\""),
    ] {
        let plan = plan(&wish, &world.0, now());
        let Outcome::Blocked(reason) = &plan.outcome else { panic!("{plan:?}") };
        assert!(reason.to_string().starts_with(expected), "{reason}");
        assert!(plan.steps.is_empty() && plan.wake_at.is_some(), "no watch tells when it comes: {plan:?}");
    }
}

#[test]
fn whether_a_repository_is_pruned_does_not_change_while_its_mover_runs() {
    let wish = backup();
    let started = |now| match plan(&wish, &ready().0, now).steps.pop() {
        Some(Step::StartMover(run)) => run.fingerprint(),
        other => panic!("{other:?}"),
    };
    assert_eq!(started(now()), started(at("2027-11-23T10:00:30Z")));
}
