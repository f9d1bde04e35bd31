//! A backup, and the upkeep of its repository.

use doppel_contract::{Fault, LeftOut, Line, Nothing, RepositoryReport, ResticBackup, Retain, Retry, Tally};
use doppel_restic::backup::{BackedUp, BackupOptions, backup};
use doppel_restic::error::Error;
use doppel_restic::forget::policy::{Policy, Span};
use doppel_restic::forget::{ForgetOptions, forget};
use doppel_restic::format::snapshot::Counts;
use doppel_restic::prune::{PruneOptions, prune};
use doppel_restic::repository::Repository;
use doppel_restic::repository::lock::{Unlock, unlock};
use doppel_restic::snapshots::Filter;

use super::session::Session;
use super::{Done, Place, State, Trouble, VOLSYNC_HOST, line};
use crate::failure::Failure;
use crate::progress::Counters;

/// What snapshots name as the program that made them.
pub(super) const PROGRAM: &str = concat!("doppel ", env!("CARGO_PKG_VERSION"));

/// Backs up the volume, and forgets and prunes what is to go. A volume without entries is not backed up: one that was not mounted
/// looks so, too, and retention would let go of good backups for it.
pub(super) fn back_up(place: &Place, work: &ResticBackup, counters: &Counters) -> Result<Done, Trouble> {
    let ResticBackup { repository: _, retain, prune, unlock: unlocked } = work;
    let policy = policy(retain)?;
    let is_empty = place.tree.entries_in_root().map_err(Error::Volume)? == 0;
    let repository = match place.session.open() {
        Err(Error::NoRepository) if is_empty => return Ok(nothing()),
        Err(Error::NoRepository) => {
            tracing::info!("Made the repository");
            place.session.init()?
        }
        opened => opened?,
    };
    // Of runs that died, of this owner too. What is not stale is left to those who hold it, also if a user wants it unlocked.
    unlock(&repository, &place.session.holder, Unlock::Stale)?;
    let mut done = if is_empty { nothing() } else { save(place, &repository, VOLSYNC_HOST, counters)? };
    done.report.unlocked = *unlocked;
    // What was not saved whole is no reason to let go of what was.
    if done.left_out.is_empty() {
        let policy = policy.filter(|_| !is_empty);
        keep_up(place, &repository, policy, *prune, &mut done)?;
    }
    Ok(done)
}

/// Backs up the tree.
pub(super) fn save(place: &Place, repository: &Repository, host: &str, counters: &Counters) -> Result<Done, Trouble> {
    let Session { holder, compression, pack_size, .. } = &place.session;
    let options = BackupOptions {
        holder: holder.clone(),
        host: host.to_owned(),
        paths: vec![place.path.clone()],
        program: PROGRAM.to_owned(),
        compression: *compression,
        pack_size: *pack_size,
    };
    let BackedUp { snapshot, counts, left_out, remarks } = backup(repository, &place.tree, &options, counters)?;
    let report = RepositoryReport { snapshot: Some(line(&snapshot)), ..RepositoryReport::default() };
    Ok(Done { tally: tally(&counts), left_out, remarks, report })
}

fn nothing() -> Done {
    let mut remarks = LeftOut::default();
    remarks.add(Line::new("."), Line::new("the volume is empty; nothing was backed up"));
    let report = RepositoryReport { nothing: Some(Nothing::EmptyVolume), ..RepositoryReport::default() };
    Done { tally: Tally::default(), left_out: LeftOut::default(), remarks, report }
}

fn tally(counts: &Counts) -> Tally {
    Tally {
        entries: counts.total_files_processed + counts.dirs_new + counts.dirs_changed + counts.dirs_unmodified,
        bytes: counts.total_bytes_processed,
        files_sent: counts.files_new + counts.files_changed,
        literal_bytes: counts.data_added,
        wire_sent: counts.data_added_packed,
        ..Tally::default()
    }
}

/// Forgets and prunes. The backup is there and whole: what only keeps this from being done now is remarked, and done by a later
/// run.
fn keep_up(
    place: &Place,
    repository: &Repository,
    policy: Option<Policy>,
    due: bool,
    done: &mut Done,
) -> Result<(), Trouble> {
    let holder = &place.session.holder;
    if let Some(policy) = policy {
        let filter = Filter { host: Some(VOLSYNC_HOST.to_owned()), paths: vec![place.path.clone()] };
        let options = ForgetOptions { holder: holder.clone(), filter, policy };
        if let Some(forgotten) = or_remark(forget(repository, &options), "forget", done)? {
            tracing::info!(kept = forgotten.kept.len(), forgotten = forgotten.removed.len(), "Forgot snapshots");
            done.report.snapshots = forgotten.kept.len() as u64;
            let mut kept = forgotten.kept;
            kept.sort_by_key(|stored| std::cmp::Reverse(stored.snapshot.time.at()));
            done.report.newest = kept.iter().take(RepositoryReport::LISTED).map(line).collect();
        }
    }
    if due {
        let pruned = prune(repository, &prune_options(&place.session));
        if let Some(pruned) = or_remark(pruned, "prune", done)? {
            tracing::info!(removed = pruned.bytes_removed, rewritten = pruned.bytes_repacked, "Pruned the repository");
            done.report.pruned = true;
        }
    }
    Ok(())
}

/// As restic prunes by default.
pub(super) fn prune_options(session: &Session) -> PruneOptions {
    PruneOptions {
        holder: session.holder.clone(),
        max_unused_percent: 5,
        max_repack: u64::MAX,
        pack_size: session.pack_size,
    }
}

fn or_remark<T>(result: Result<T, Error>, what: &str, done: &mut Done) -> Result<Option<T>, Trouble> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.retry() == Retry::Later && !matches!(error, Error::Stopped) => {
            done.remarks.add(Line::new(what), Line::new(format!("will be done by a later run: {error}")));
            Ok(None)
        }
        Err(error) => {
            let (state, report) = (State::of(&error), Box::new(done.report.clone()));
            let message = format!("the backup is there, but {what} failed: {error}");
            Err(Trouble { failure: Failure::new(error.fault(), error.retry(), message), state, report })
        }
    }
}

/// None: rules that keep nothing are no reason to forget everything.
pub(super) fn policy(retain: &Retain) -> Result<Option<Policy>, Trouble> {
    let Retain { last, hourly, daily, weekly, monthly, yearly, within } = retain;
    let within = within.as_deref().map(Span::parse).transpose();
    let within = within
        .map_err(|error| Failure::new(Fault::User, Retry::AfterChange, format!("retain.within: {error}")))?
        .unwrap_or_default();
    let policy = Policy {
        last: *last,
        hourly: *hourly,
        daily: *daily,
        weekly: *weekly,
        monthly: *monthly,
        yearly: *yearly,
        within,
        ..Policy::default()
    };
    Ok(Some(policy).filter(|policy| *policy != Policy::default()))
}
