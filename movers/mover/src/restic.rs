//! Backups to repositories of restic's, and restores from them: what an operator asks for, and `doppel-mover restic`.
//!
//! - [`access`] where the repository is and what opens it, [`session`] the connection to it
//! - [`backup`], [`restore`] the work of a run
//! - [`args`], [`hand`] the same and more, by hand
//!
//! Snapshots have VolSync's identity, so that a repository can be taken over in both directions: its host, the path at which it
//! mounts volumes, no tags, and a root that holds the volume's entries.

mod access;
pub(crate) mod args;
mod backup;
pub(crate) mod hand;
mod restore;
mod session;

use std::thread;

use doppel_contract::{
    Fault, LeftOut, Line, Refused, Repository, RepositoryReport, Request, ResticBackup, ResticRestore, Retry, Snapshot,
    Tally, Verdict, Volume,
};
use doppel_restic::error::Error;
use doppel_restic::repository::lock::Holder;
use doppel_restic::snapshots::Stored;
use doppel_storage::Kind;
use doppel_volume::tree::Tree;

use crate::failure::Failure;
use crate::progress::Counters;
use crate::run::{Ended, Switch};
use access::Access;
use session::Session;

/// The host of all snapshots of VolSync's, whatever the machine.
const VOLSYNC_HOST: &str = "volsync";

/// Backs up the volume and reports.
pub(crate) fn back_up(request: &Request, work: &ResticBackup, counters: &Counters, switch: &Switch) -> Ended {
    in_repository(request, &work.repository, counters, switch, |place| backup::back_up(place, work, counters))
}

/// Restores the volume and reports.
pub(crate) fn restore(request: &Request, work: &ResticRestore, counters: &Counters, switch: &Switch) -> Ended {
    in_repository(request, &work.repository, counters, switch, |place| restore::restore(place, work, counters))
}

fn in_repository(
    request: &Request,
    repository: &Repository,
    counters: &Counters,
    switch: &Switch,
    work: impl FnOnce(&Place) -> Result<Done, Trouble>,
) -> Ended {
    let done = Place::of(request, repository).and_then(|place| {
        thread::scope(|scope| {
            scope.spawn(|| switch.throw_after(request.deadline_seconds));
            place.session.ending_with(switch, || work(&place))
        })
    });
    ended(done, counters, switch)
}

fn ended(done: Result<Done, Trouble>, counters: &Counters, switch: &Switch) -> Ended {
    let elapsed = counters.elapsed();
    match done {
        Ok(Done { tally, left_out, remarks, report }) => {
            let verdict = if left_out.is_empty() { Verdict::Complete } else { Verdict::Incomplete(left_out) };
            Ended { verdict, tally, remarks, repository: Some(report), elapsed }
        }
        Err(Trouble { failure, state, report }) => {
            let failure = switch.interruption(Some(&failure)).unwrap_or(failure);
            let (tally, remarks) = (Tally::default(), LeftOut::default());
            let repository = Some(RepositoryReport { refused: state.refused(), ..*report });
            Ended { verdict: failure.verdict(), tally, remarks, repository, elapsed }
        }
    }
}

/// A volume, and a repository.
struct Place {
    session: Session,
    tree: Tree,
    /// What the volume is called in snapshots.
    path: String,
}

impl Place {
    fn of(request: &Request, repository: &Repository) -> Result<Self, Trouble> {
        let Repository { settings, ca_file, cache, lock_owner } = repository;
        let Volume::Tree(path) = &request.volume else {
            let message = "a block device cannot be backed up with restic; use a volume with volumeMode: Filesystem";
            return Err(Failure::new(Fault::User, Retry::AfterChange, message).into());
        };
        let tree = Tree::open(path).map_err(Failure::from)?;
        let access = Access::of_secret(settings, ca_file.clone())?;
        let host = lock_owner.as_ref().map_or_else(session::hostname, |owner| format!("doppel/{owner}"));
        // One run of an owner's is under way at a time: what is locked in its name was left by one that died.
        let gone = lock_owner.iter().map(|_| host.clone()).collect();
        let holder = Holder { host, user: VOLSYNC_HOST.to_owned(), process: std::process::id(), gone };
        let session = Session::new(access, holder)?.cached_in(cache.clone());
        Ok(Self { session, tree, path: path.to_string_lossy().into_owned() })
    }
}

/// How work ended that ended in order.
struct Done {
    tally: Tally,
    left_out: LeftOut,
    remarks: LeftOut,
    report: RepositoryReport,
}

/// Why it did not, and what had come of it until then.
#[derive(Debug)]
struct Trouble {
    failure: Failure,
    state: State,
    report: Box<RepositoryReport>,
}

impl Trouble {
    fn new(failure: Failure, state: State) -> Self {
        Self { failure, state, report: Box::default() }
    }
}

/// How far a run got that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not into the repository.
    Refused(Refused),
    /// There is no repository.
    Missing,
    /// The repository is open, and has no snapshot of the volume.
    NoSnapshot,
    /// It has some, and none that was asked for.
    NoneEligible,
    /// The repository is open; something else failed.
    Open,
}

impl State {
    fn refused(self) -> Option<Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Missing | Self::NoSnapshot | Self::NoneEligible | Self::Open => None,
        }
    }

    fn of(error: &Error) -> Self {
        let refused = match error {
            Error::Storage(error) => match error.kind {
                Kind::Unreachable => Refused::Unreachable,
                Kind::Denied => Refused::Denied,
                Kind::Settings => Refused::Misconfigured,
                Kind::NotFound | Kind::Truncated => Refused::Damaged,
                Kind::Full | Kind::Other => Refused::StoreFailed,
            },
            Error::WrongPassword => Refused::WrongPassword,
            Error::UnknownVersion(_) | Error::Damaged { .. } => Refused::Damaged,
            Error::Locked(_) | Error::LockLost => Refused::Locked,
            Error::NoRepository => return Self::Missing,
            Error::NoSnapshot(_) => return Self::NoSnapshot,
            Error::NoFile { .. } | Error::Output(_) => return Self::Open,
            Error::AlreadyThere
            | Error::Volume(_)
            | Error::VolumeFull { .. }
            | Error::Resources(_)
            | Error::Stopped => return Self::Open,
        };
        Self::Refused(refused)
    }
}

impl From<Failure> for Trouble {
    /// Before the repository was looked for.
    fn from(failure: Failure) -> Self {
        Self::new(failure, State::Refused(Refused::Misconfigured))
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let state = State::of(&error);
        Self::new(Failure::new(error.fault(), error.retry(), error.to_string()), state)
    }
}

fn line(stored: &Stored) -> Snapshot {
    let Stored { id, snapshot } = stored;
    Snapshot {
        id: Line::new(id.short()),
        time: Line::new(snapshot.time.at().to_string()),
        bytes: snapshot.summary.map(|summary| summary.counts.total_bytes_processed),
        incomplete: !snapshot.is_complete(),
    }
}
