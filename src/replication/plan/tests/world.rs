//! Wishes and worlds to plan in.

use std::num::NonZeroU16;

use doppel_contract::{EmptySource, Retry, Verdict};
use jiff::Timestamp;

use super::{failure, report};
use crate::model::mover::{KeySource, Listen, Meeting, Mover, RsyncTls};
use crate::model::name;
use crate::model::observed::{
    Account, Claim, ClaimUser, Claimed, Job, Key, MoverEnd, MoverState, Observed, Ownership, PodState, Service,
    Snapshot,
};
use crate::model::pod::{PodSettings, Verbosity};
use crate::model::policy::Deadlines;
use crate::model::replication::{
    Beginner, Direction, Iteration, Lifetime, Owner, Pace, Phase, Publish, Replication, Role, SourceCopy, Target,
    Trigger, VolumeMode,
};
use crate::model::step::Step;
use crate::replication::plan::plan;

pub(super) const ENDED: &str = "2026-11-23T10:00:20Z";
pub(super) const BEGAN: &str = "2026-11-23T10:00:00Z";

pub(super) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

pub(super) fn iteration() -> Iteration {
    iteration_after(0, None)
}

pub(super) fn iteration_after(failed_attempts: u32, next_attempt: Option<Timestamp>) -> Iteration {
    Iteration {
        since: at(BEGAN),
        begun_by: Beginner::Doppel,
        manual: None,
        failed_attempts,
        next_attempt,
        last_sync: None,
    }
}

pub(super) fn source(copy: SourceCopy) -> Replication {
    let meeting = Meeting::Call { address: "192.0.2.1".to_owned(), port: NonZeroU16::new(8000).unwrap() };
    wish(Role::Source, "rs", Direction::Source { claim: "data".to_owned(), copy }, meeting)
}

pub(super) fn destination(publish: Publish) -> Replication {
    let meeting = Meeting::Listen(Listen { service_type: "ClusterIP".to_owned(), annotations: vec![] });
    let target = Target::Dynamic {
        capacity: "2Gi".to_owned(),
        storage_class: None,
        access_modes: vec!["ReadWriteOnce".to_owned()],
        mode: VolumeMode::Filesystem,
        lifetime: Lifetime::Kept,
    };
    wish(Role::Destination, "rd", Direction::Destination { target, publish }, meeting)
}

fn wish(role: Role, object: &str, direction: Direction, meeting: Meeting) -> Replication {
    Replication {
        owner: Owner { role, namespace: "ns".to_owned(), name: object.to_owned(), uid: "uid".to_owned() },
        generation: Some(1),
        direction,
        trigger: Trigger::Continuous,
        mover: Mover::RsyncTls(RsyncTls {
            key: KeySource::Generated(format!("volsync-rsync-tls-{object}")),
            meeting,
            empty_source: EmptySource::Refuse,
            pod: PodSettings::default(),
        }),
        pace: Pace::Running,
        verbosity: Verbosity::Normal,
        phase: Phase::Never,
        image: None,
        deadlines: Deadlines::default(),
    }
}

pub(super) fn give_key(wish: &mut Replication, secret: &str) {
    let Mover::RsyncTls(rsync) = &mut wish.mover else { panic!() };
    rsync.key = KeySource::Given(secret.to_owned());
}

pub(super) fn failed(retry: Retry) -> Verdict {
    failure(retry)
}

/// A cluster in which the claim exists, and whatever is added.
#[derive(Debug, Clone)]
pub(super) struct World(pub(super) Observed);

impl World {
    pub(super) fn new() -> Self {
        Self(Observed { claim: Some(claim("data", Ownership::Nobody)), ..Observed::default() })
    }

    pub(super) fn without_claim(mut self) -> Self {
        self.0.claim = None;
        self
    }

    /// Key, account, and for a destination Service and claim are there.
    pub(super) fn with_surroundings(mut self, wish: &Replication) -> Self {
        self.0.key = Key::Valid;
        self = self.with_account(Ownership::Ours);
        if wish.owner.role == Role::Destination {
            self = self.with_claim_of(Ownership::Ours).with_service(Ownership::Ours);
        }
        self
    }

    pub(super) fn with_key(mut self, key: Key) -> Self {
        self.0.key = key;
        self
    }

    pub(super) fn with_account(mut self, ownership: Ownership) -> Self {
        self.0.account = Some(Account { ownership });
        self
    }

    pub(super) fn with_claim_of(mut self, ownership: Ownership) -> Self {
        self.0.claim = Some(claim("volsync-rd-dst", ownership));
        self
    }

    pub(super) fn with_copy_claim(mut self, ownership: Ownership) -> Self {
        self.0.copy_claim = Some(Claim { temporary: true, ..claim("volsync-rs-src", ownership) });
        self
    }

    pub(super) fn with_service(mut self, ownership: Ownership) -> Self {
        let wish = destination(Publish::Direct);
        self.0.service = Some(Service {
            ownership,
            service_type: "ClusterIP".to_owned(),
            annotations: vec![],
            selector: name::rsync_tls_pod_labels(&wish.owner),
            ports: vec![(8000, 8000)],
            address: Some("192.0.2.7".to_owned()),
            created: at(BEGAN),
            deleting: false,
        });
        self
    }

    pub(super) fn with_copy_snapshot(mut self, ready: bool) -> Self {
        self.0.copy_snapshot = Some(Snapshot { ready, temporary: true, ..snapshot("volsync-rs-src") });
        self
    }

    pub(super) fn with_image(mut self, ready: bool) -> Self {
        self.0.image = Some(Snapshot { ready, ..snapshot("volsync-rd-dst-20261123100000") });
        self
    }

    pub(super) fn with_snapshot(mut self, name: &str, claimed: Claimed) -> Self {
        self.0.snapshots.push(Snapshot { claimed, ..snapshot(name) });
        self
    }

    pub(super) fn with_job(mut self, ownership: Ownership, attempt: u32, mover: MoverState) -> Self {
        self.0.job = Some(Job {
            name: "volsync-rsync-tls-src-rs".to_owned(),
            uid: "job-uid".to_owned(),
            ownership,
            deleting: false,
            attempt,
            iteration: None,
            claim: None,
            receiver: None,
            fingerprint: String::new(),
            start_fingerprint: String::new(),
            parallelism: 1,
            since: at(BEGAN),
            node: None,
            address: None,
            mover,
        });
        self
    }

    pub(super) fn with_user(mut self, claim: &str, pod: &str, node: Option<&str>, state: PodState) -> Self {
        self.0.users.push(ClaimUser {
            claim: claim.to_owned(),
            pod: pod.to_owned(),
            node: node.map(str::to_owned),
            state,
            tolerations: vec![],
        });
        self
    }

    pub(super) fn with_former_pod(mut self, pod: &str) -> Self {
        self.0.former_pods.push(pod.to_owned());
        self
    }

    /// The claim, made at this time.
    pub(super) fn with_claim_made(mut self, time: &str) -> Self {
        if let Some(claim) = &mut self.0.claim {
            claim.created = at(time);
        }
        self
    }

    /// The Job that a plan in this world would start, in this state.
    pub(super) fn with_mover(mut self, wish: &Replication, mover: MoverState) -> Self {
        let mut unpaused = wish.clone();
        unpaused.pace = Pace::Running;
        unpaused.phase = Phase::Running(iteration());
        let started = plan(&unpaused, &self.0, at(BEGAN));
        let run = started
            .steps
            .into_iter()
            .find_map(|step| if let Step::StartMover(run) = step { Some(run) } else { None })
            .expect("this world lets the mover start");
        self = self.with_job(Ownership::Ours, 1, mover);
        if let Some(job) = &mut self.0.job {
            job.fingerprint = run.fingerprint().to_string();
            job.start_fingerprint = run.start_fingerprint();
            job.iteration = Some(run.iteration);
            job.claim = Some(run.claim);
            job.receiver = run.receiver;
        }
        self
    }

    pub(super) fn with_ended(self, wish: &Replication, attempt: u32, verdict: Verdict) -> Self {
        let end = MoverEnd {
            at: at(ENDED),
            success: verdict == Verdict::Complete,
            report: Some(Box::new(report(verdict))),
            reason: "Completed".to_owned(),
        };
        let mut world = self.with_mover(wish, MoverState::Ended(end));
        if let Some(job) = &mut world.0.job {
            job.attempt = attempt;
        }
        world
    }
}

pub(super) fn claim(name: &str, ownership: Ownership) -> Claim {
    Claim {
        name: name.to_owned(),
        uid: format!("{name}-uid"),
        ownership,
        temporary: false,
        deleting: false,
        phase: "Bound".to_owned(),
        mode: VolumeMode::Filesystem,
        storage_class: Some("fast".to_owned()),
        access_modes: vec!["ReadWriteOnce".to_owned()],
        capacity: Some("2Gi".to_owned()),
        request: Some("2Gi".to_owned()),
        created: at(BEGAN),
        iteration: None,
        copy_trigger: None,
        answers: None,
        noted_image: None,
    }
}

pub(super) fn snapshot(name: &str) -> Snapshot {
    Snapshot {
        name: name.to_owned(),
        uid: format!("{name}-uid"),
        resource_version: "1".to_owned(),
        ownership: Ownership::Ours,
        temporary: false,
        deleting: false,
        ready: true,
        error: None,
        restore_size: Some("3Gi".to_owned()),
        created: at(BEGAN),
        iteration: None,
        answers: None,
        claimed: Claimed::Free,
    }
}
