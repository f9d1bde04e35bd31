//! The mover: what it needs around it, its attempts, and the pauses between them.

use std::path::{Path, PathBuf};

use doppel_contract::{Request, Retry, RsyncTlsDestination, RsyncTlsSource, Verdict, Verification, Work};
use jiff::{SignedDuration, Timestamp};

use super::source::Volume;
use super::{Draft, Late, Outcome, Wait, gone, repository, require_ours, require_usable, start};
use crate::model::mover::{KeySource, Listen, Meeting, Mover, RsyncTls};
use crate::model::name;
use crate::model::observed::{Job, Key, MoverEnd, MoverState, Observed, Ownership};
use crate::model::reason::Reason;
use crate::model::replication::{Iteration, Pace, Replication, Role, VolumeMode};
use crate::model::step::{Doomed, Ending, MountedSecret, MoverRun, NewService, Step};

/// Where a mover finds its volume: a tree, or a device.
const DATA_PATH: &str = "/data";
const BLOCK_PATH: &str = "/dev/block";
/// Where a mover finds its key.
const KEYS_PATH: &str = "/keys";
const KEY_FILE: &str = "psk.txt";
/// The port on which a destination listens, in its pod and on its Service.
pub(crate) const RSYNC_TLS_PORT: std::num::NonZeroU16 = match std::num::NonZeroU16::new(8000) {
    Some(port) => port,
    None => unreachable!(),
};
/// Where a mover tells how far it is, in its pod.
pub(crate) const PROGRESS_PORT: std::num::NonZeroU16 = match std::num::NonZeroU16::new(8001) {
    Some(port) => port,
    None => unreachable!(),
};
/// Pause after the first failed attempt; it doubles with each further one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// The longest pause. Also the pause after a failure that only a change can mend.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// After this long without an address a user is told (VolSync's bound).
const USUAL_ADDRESS: SignedDuration = SignedDuration::from_secs(15);

/// Key, ServiceAccount and Service: all that does not depend on the volume.
pub(super) fn surroundings(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    now: Timestamp,
) -> Result<(), Outcome> {
    match &wish.mover {
        Mover::RsyncTls(rsync) => {
            if let Meeting::Listen(listen) = &rsync.meeting {
                service(draft, wish, seen, listen, now)?;
            }
            key(draft, wish, seen, &rsync.key)?;
        }
        Mover::Restic(restic) => repository::surroundings(wish, seen, restic)?,
    }
    account(draft, wish, seen)
}

fn key(draft: &mut Draft, wish: &Replication, seen: &Observed, key: &KeySource) -> Result<(), Outcome> {
    match (&seen.key, key) {
        (Key::Valid, _) => Ok(()),
        (Key::Malformed(why), _) => Err(Outcome::Blocked(Reason::SecretMalformed(why.clone()))),
        (Key::Absent, KeySource::Generated(secret)) => {
            draft.push(Step::CreateKey { secret: secret.clone() });
            Ok(())
        }
        (Key::Absent, KeySource::Given(secret)) => Err(Outcome::Blocked(Reason::SecretMissing {
            field: wish.mover.section().field("keySecret"),
            name: secret.clone(),
            namespace: wish.owner.namespace.clone(),
            remedy: "create it with the key psk.txt",
        })),
    }
}

fn account(draft: &mut Draft, wish: &Replication, seen: &Observed) -> Result<(), Outcome> {
    match (&seen.account, &wish.mover.pod().service_account) {
        (Some(_), Some(_)) => Ok(()),
        (None, Some(given)) => Err(Outcome::Blocked(Reason::AccountMissing {
            field: wish.mover.section().field("moverServiceAccount"),
            name: given.clone(),
            namespace: wish.owner.namespace.clone(),
        })),
        (Some(account), None) => {
            require_ours("ServiceAccount", &name::service_account(&wish.owner), &account.ownership)
        }
        (None, None) => {
            draft.push(Step::EnsureAccount { name: name::service_account(&wish.owner) });
            Ok(())
        }
    }
}

fn service(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    listen: &Listen,
    now: Timestamp,
) -> Result<(), Outcome> {
    let wanted = NewService {
        name: name::rsync_tls(&wish.owner),
        selector: name::rsync_tls_pod_labels(&wish.owner),
        port: ("rsync-tls", RSYNC_TLS_PORT.get()),
        listen: listen.clone(),
    };
    let Some(service) = &seen.service else {
        draft.push(Step::EnsureService(wanted));
        return Ok(());
    };
    require_usable("Service", &wanted.name, &service.ownership, service.deleting)?;
    if service.address.is_none() {
        draft.limit((service.created, USUAL_ADDRESS), now, Late::Address(wanted.name.clone()));
    }
    let port = i32::from(wanted.port.1);
    let as_wanted = service.service_type == listen.service_type
        && service.ports == [(port, port)]
        && wanted.selector.iter().all(|label| service.selector.contains(label))
        && listen.annotations.iter().all(|annotation| service.annotations.contains(annotation));
    if !as_wanted {
        draft.push(Step::EnsureService(wanted));
    }
    Ok(())
}

/// How the mover ended, once an attempt succeeded.
pub(super) fn run(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    (volume, running): (&Volume, &Iteration),
    now: Timestamp,
) -> Result<MoverEnd, Outcome> {
    if let Some(cache) = wish.mover.cache() {
        repository::cache(draft, wish, seen, (cache, volume), now)?;
    }
    let run = mover_run(wish, seen, volume, running);
    let Some(job) = &seen.job else {
        return Err(start::start(draft, (wish, seen, running), run, now));
    };
    require_usable("Job", &job.name, &job.ownership, job.deleting)?;
    if job.iteration.as_ref().is_some_and(|iteration| *iteration != run.iteration) {
        // It was left behind: what it has done says nothing of this iteration.
        draft.push(stop(job));
        return Err(gone("Job", &job.name));
    }
    match &job.mover {
        MoverState::Ended(end) if end.success => Ok(end.clone()),
        // What VolSync's has moved nobody can tell: it is moved again, which is no failure.
        MoverState::Ended(_) if job.is_volsyncs() => {
            draft.push(stop(job));
            Err(gone("Job", &job.name))
        }
        MoverState::Ended(end) => Err(after_failure(draft, running, (job, end, &run), now)),
        MoverState::Starting(reason) => {
            Err(start::while_starting(draft, (wish, seen, running), (job, reason.as_ref(), run), now))
        }
        MoverState::Running => Err(while_running(draft, job, &run)),
    }
}

/// How a Job's mover ended, if it has.
pub(super) fn end_of(job: &Job) -> Option<MoverEnd> {
    match &job.mover {
        MoverState::Ended(end) if job.ownership == Ownership::Ours => Some(end.clone()),
        MoverState::Ended(_) | MoverState::Starting(_) | MoverState::Running => None,
    }
}

fn while_running(draft: &mut Draft, job: &Job, run: &MoverRun) -> Outcome {
    if run.fingerprint().outdates(&job.fingerprint) {
        draft.push(stop(job));
        return gone("Job", &job.name);
    }
    set_pace(draft, job, run);
    match run.pace {
        Pace::Paused => Outcome::Paused,
        Pace::Running => Outcome::Waiting(Wait::Mover { job: job.name.clone() }),
    }
}

pub(super) fn set_pace(draft: &mut Draft, job: &Job, run: &MoverRun) {
    let paused = job.parallelism == 0;
    if paused != (run.pace == Pace::Paused) {
        draft.push(Step::SetPace { job: job.name.clone(), pace: run.pace });
    }
}

/// The failed Job stays until the next attempt begins, so that its pod's log can be read.
fn after_failure(
    draft: &mut Draft,
    running: &Iteration,
    (job, end, run): (&Job, &MoverEnd, &MoverRun),
    now: Timestamp,
) -> Outcome {
    if job.attempt > running.failed_attempts {
        let next_attempt = end.at + pause(job.attempt, end);
        draft.wake(next_attempt);
        return Outcome::AttemptFailed { attempt: job.attempt, end: end.clone(), next_attempt };
    }
    if run.fingerprint().outdates(&job.fingerprint) {
        draft.push(stop(job));
        return Outcome::Restarting;
    }
    match running.next_attempt {
        Some(next) if now < next => {
            draft.wake(next);
            Outcome::BackingOff
        }
        _ => {
            draft.push(stop(job));
            gone("Job", &job.name)
        }
    }
}

/// The pause after an attempt: doubling, capped, and at once the longest where retrying cannot help.
fn pause(attempt: u32, end: &MoverEnd) -> SignedDuration {
    let needs_change = end
        .report
        .as_ref()
        .is_some_and(|report| matches!(report.verdict, Verdict::Failed { retry: Retry::AfterChange, .. }));
    if needs_change { LONGEST_PAUSE } else { usual_pause(attempt) }
}

/// After an attempt that may go better the next time.
pub(super) fn usual_pause(attempt: u32) -> SignedDuration {
    // 10 s doubled five times is past the cap, so larger exponents need not be computed.
    let doublings = attempt.saturating_sub(1).min(5);
    (FIRST_PAUSE * 2_i32.pow(doublings)).min(LONGEST_PAUSE)
}

/// The end of a Job.
pub(super) fn stop(job: &Job) -> Step {
    let ending = match job.mover {
        MoverState::Ended(_) => Ending::Finished,
        MoverState::Starting(_) | MoverState::Running => Ending::Interrupted,
    };
    Step::StopMover { job: Doomed { name: job.name.clone(), uid: job.uid.clone() }, ending }
}

fn mover_run(wish: &Replication, seen: &Observed, volume: &Volume, running: &Iteration) -> MoverRun {
    let pod = wish.mover.pod();
    // A ServiceAccount of the user's brings its own.
    let copies = seen.pull_secrets.iter().filter(|_| pod.service_account.is_none());
    let (work, pod_labels, path, certificates) = match &wish.mover {
        Mover::RsyncTls(rsync) => (rsync_tls(rsync), name::rsync_tls_pod_labels(&wish.owner), KEYS_PATH, None),
        Mover::Restic(restic) => {
            let work = repository::work(&wish.owner, restic, running);
            (work, Vec::new(), repository::SETTINGS_PATH, restic.certificates.clone())
        }
    };
    MoverRun {
        job: name::job(&wish.owner, &wish.mover),
        mover: wish.mover.name(),
        pod_labels,
        claim: volume.claim.clone(),
        mode: volume.mode,
        read_only: volume.read_only,
        secret: MountedSecret { name: wish.mover.secret().to_owned(), path },
        certificates,
        cache: wish.mover.cache().map(|_| name::cache(&wish.owner)),
        account: pod.service_account.clone().unwrap_or_else(|| name::service_account(&wish.owner)),
        pod: pod.clone(),
        privilege: seen.privilege,
        request: Request {
            volume: volume.in_pod(),
            work,
            deadline_seconds: Some(wish.deadlines.run),
            progress_port: Some(PROGRESS_PORT),
        },
        verbosity: wish.verbosity,
        pull_secrets: copies.map(|secret| secret.copy.clone()).collect(),
        placement: None,
        pace: wish.pace,
        receiver: seen.claim.as_ref().filter(|_| wish.owner.role == Role::Destination).map(|claim| claim.uid.clone()),
        iteration: running.id(),
        attempt: running.failed_attempts + 1,
        generation: wish.generation,
    }
}

impl Volume {
    /// How its mover finds it.
    fn in_pod(&self) -> doppel_contract::Volume {
        match self.mode {
            VolumeMode::Filesystem => doppel_contract::Volume::Tree(PathBuf::from(DATA_PATH)),
            VolumeMode::Block => doppel_contract::Volume::device(BLOCK_PATH),
        }
    }
}

fn rsync_tls(rsync: &RsyncTls) -> Work {
    let key_file = Path::new(KEYS_PATH).join(KEY_FILE);
    let empty_source = rsync.empty_source;
    match &rsync.meeting {
        Meeting::Call { address, port } => Work::RsyncTlsSource(RsyncTlsSource {
            address: address.clone(),
            port: *port,
            key_file,
            empty_source,
            verification: Verification::None,
        }),
        Meeting::Listen(_) => {
            Work::RsyncTlsDestination(RsyncTlsDestination { port: RSYNC_TLS_PORT, key_file, empty_source })
        }
    }
}
