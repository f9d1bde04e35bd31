//! `doppel-mover restic`: the commands of a repository by hand, with the exit codes of restic's (its manual, "Scripting", "Exit
//! codes").

mod look;
mod text;

use std::path::Path;

use doppel_contract::{Fault, Phase, Refused, Retain, Retry, Verdict};
use doppel_restic::check::{CheckOptions, ReadData, check};
use doppel_restic::copy::{CopyOptions, copy};
use doppel_restic::forget::policy::Policy;
use doppel_restic::forget::{ForgetOptions, choose, forget};
use doppel_restic::prune::prune;
use doppel_restic::repository::Repository;
use doppel_restic::repository::lock::{Holder, Unlock, unlock};
use doppel_restic::restore::Others;
use doppel_restic::snapshots::{Filter, Which as WhichSnapshot, snapshots};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use jiff::Timestamp;

use super::access::{Access, FROM, HERE};
use super::args::{Command, Common, Copy, OnRepository, OnVolume, Restic, Which};
use super::session::Session;
use super::{Done, Place, State, Trouble, backup, ended, restore, session};
use crate::failure::Failure;
use crate::progress::Counters;
use crate::run::{self, Reason};
use crate::settings::Audience;

/// What a process ends with that was interrupted: the shell's 128, and SIGINT.
const INTERRUPTED: u8 = 130;

/// Does what was typed; the process' exit code.
pub(crate) fn run(restic: Restic, audience: Audience) -> u8 {
    let Restic { common, command } = restic;
    match command {
        Command::OnVolume(OnVolume::Backup { directory, host, path }) => {
            on_volume(audience, common, &directory, path, |place, counters| {
                backup::save(place, &place.session.open()?, &host, counters)
            })
        }
        Command::OnVolume(OnVolume::Restore { snapshot, target, as_of, previous, delete, which }) => {
            on_volume(audience, common, &target, None, |place, counters| {
                let previous = usize::try_from(previous).unwrap_or(usize::MAX);
                let snapshot = match WhichSnapshot::parse(&snapshot) {
                    WhichSnapshot::Newest { .. } => WhichSnapshot::Newest { as_of, previous },
                    id => id,
                };
                let others = if delete { Others::Delete } else { Others::Keep };
                restore::bring_back(place, &snapshot, &[which.into()], others, counters)
            })
        }
        Command::OnRepository(command) => on_repository(common, command),
    }
}

/// Work on a volume: with progress, and a report as of every run.
fn on_volume(
    audience: Audience,
    common: Common,
    volume: &Path,
    path: Option<String>,
    work: impl FnOnce(&Place, &Counters) -> Result<Done, Trouble>,
) -> u8 {
    let counters = Counters::new(Phase::Connecting);
    let (mut reason, mut state) = (None, None);
    let report = run::watched(&counters, audience, INTERRUPTED, |switch| {
        let done = open(common).and_then(|session| {
            let tree = Tree::open(volume).map_err(Failure::from)?;
            let path = path.map_or_else(|| absolute(volume), Ok)?;
            let place = Place { session, tree, path };
            place.session.ending_with(switch, || work(&place, &counters))
        });
        reason = switch.reason();
        state = done.as_ref().err().map(|trouble| trouble.state);
        ended(done, &counters, switch)
    });
    match &report.verdict {
        Verdict::Complete => 0,
        Verdict::Incomplete(_) => 3,
        Verdict::Failed { .. } if reason == Some(Reason::Signal) => INTERRUPTED,
        Verdict::Failed { .. } => state.map_or(1, exit_code),
    }
}

/// Work on a repository alone: what it has to say goes to standard output.
fn on_repository(common: Common, command: OnRepository) -> u8 {
    let json = common.json;
    let done = run::obeying(INTERRUPTED, |switch| {
        let said = open(common).and_then(|session| session.ending_with(switch, || said(&session, command, json)));
        (said, switch.reason())
    });
    match done {
        Ok((Ok(Said { text, code }), _)) => {
            print!("{text}");
            code
        }
        Ok((Err(_), Some(Reason::Signal))) => INTERRUPTED,
        Ok((Err(Trouble { failure, state, report: _ }), _)) => {
            eprintln!("doppel-mover: {}", failure.message);
            exit_code(state)
        }
        Err(error) => {
            eprintln!("doppel-mover: watch for signals: {error}");
            1
        }
    }
}

/// What a command has to say.
struct Said {
    text: String,
    code: u8,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, code: 0 }
    }
}

fn said(session: &Session, command: OnRepository, json: bool) -> Result<Said, Trouble> {
    let holder = session.holder.clone();
    match command {
        OnRepository::Init => Ok(format!("created repository {}\n", session.init()?.id()).into()),
        OnRepository::Snapshots { which } => {
            let filter = Filter::from(which);
            let mut all = snapshots(&session.open()?)?;
            all.retain(|stored| filter.matches(&stored.snapshot));
            Ok(if json { text::json(&all) } else { text::table(&all) }.into())
        }
        OnRepository::Forget { keep, which, dry_run, prune } => {
            let repository = session.open()?;
            let policy = policy(&keep.retain())?;
            let options = ForgetOptions { holder, filter: which.into(), policy };
            let forgotten = if dry_run {
                choose(snapshots(&repository)?, &options.filter, &options.policy, Timestamp::now())
            } else {
                forget(&repository, &options)?
            };
            let mut text = text::forgotten(&forgotten, dry_run);
            if prune && !dry_run {
                text += &pruned(session, &repository)?;
            }
            Ok(text.into())
        }
        OnRepository::Prune => Ok(pruned(session, &session.open()?)?.into()),
        OnRepository::Check { read_data } => {
            let read = if read_data { ReadData::Everything } else { ReadData::Nothing };
            let checked = check(&session.open()?, &CheckOptions { holder, read })?;
            Ok(Said { text: text::checked(&checked), code: u8::from(!checked.damage.is_empty()) })
        }
        OnRepository::Ls(ls) => look::ls(session, ls, json).map(|()| String::new().into()),
        OnRepository::Dump(dump) => look::dump(session, dump).map(|()| String::new().into()),
        OnRepository::Stats(stats) => Ok(look::stats(session, stats, json)?.into()),
        OnRepository::Copy(from) => Ok(copied(session, from)?.into()),
        OnRepository::Unlock { remove_all } => {
            let which = if remove_all { Unlock::All } else { Unlock::Stale };
            Ok(format!("removed {} locks\n", unlock(&session.open()?, &holder, which)?).into())
        }
    }
}

/// Rules that keep nothing would be a wish to forget everything.
fn policy(retain: &Retain) -> Result<Policy, Trouble> {
    backup::policy(retain)?.ok_or_else(|| wrong("--keep flags: at least one must be more than 0".to_owned()))
}

fn pruned(session: &Session, repository: &Repository) -> Result<String, Trouble> {
    Ok(text::pruned(&prune(repository, &backup::prune_options(session))?))
}

/// Copies to the session's repository.
fn copied(session: &Session, from: Copy) -> Result<String, Trouble> {
    let Copy { snapshots, from_repo, from_password_file, which } = from;
    let access = Access::of_environment(FROM, from_repo, from_password_file.as_deref(), session.trusted.clone())?;
    let source = session.beside(access)?.open()?;
    let options = CopyOptions {
        holder: session.holder.clone(),
        ids: snapshots,
        filter: which.into(),
        compression: session.compression,
        pack_size: session.pack_size,
    };
    Ok(text::copied(&copy(&source, &session.open()?, &options, &Silent)?))
}

fn open(common: Common) -> Result<Session, Trouble> {
    let Common { repo, password_file, cacert, cache_dir, no_cache, json: _ } = common;
    let access = Access::of_environment(HERE, repo, password_file.as_deref(), cacert)?;
    let user = std::env::var("USER").unwrap_or_default();
    let holder = Holder { host: session::hostname(), user, process: std::process::id(), gone: Vec::new() };
    Ok(Session::new(access, holder)?.cached_in(cache_dir.filter(|_| !no_cache)))
}

/// What a directory is called everywhere.
fn absolute(directory: &Path) -> Result<String, Trouble> {
    let path = std::fs::canonicalize(directory);
    let path = path.map_err(|error| wrong(format!("{}: {error}", directory.display())))?;
    path.into_os_string().into_string().map_err(|path| wrong(format!("{}: is not UTF-8 text", path.display())))
}

fn wrong(message: String) -> Trouble {
    Failure::new(Fault::User, Retry::AfterChange, message).into()
}

impl From<Which> for Filter {
    fn from(which: Which) -> Self {
        let Which { host, path } = which;
        Self { host, paths: path }
    }
}

fn exit_code(state: State) -> u8 {
    match state {
        State::Missing => 10,
        State::Refused(Refused::Locked) => 11,
        State::Refused(Refused::WrongPassword) => 12,
        State::Refused(_) | State::NoSnapshot | State::NoneEligible | State::Open => 1,
    }
}
