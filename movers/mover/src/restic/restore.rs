//! A restore.

use doppel_contract::{Fault, LeftOut, Line, Nothing, RepositoryReport, ResticRestore, Retry, Tally};
use doppel_restic::restore::{NoSnapshot, Others, Restoration, RestoreOptions, Restored, restore as restore_tree};
use doppel_restic::snapshots::{Filter, Which};
use jiff::Timestamp;

use super::{Done, Place, State, Trouble, VOLSYNC_HOST, line};
use crate::failure::Failure;
use crate::progress::Counters;

/// Restores the volume from a backup of its own. Nothing to restore is no failure: VolSync's users make a volume and its first
/// backup with the same manifests. The report says it, and the volume is left as it is.
pub(super) fn restore(place: &Place, work: &ResticRestore, counters: &Counters) -> Result<Done, Trouble> {
    let ResticRestore { repository: _, as_of, previous, delete } = work;
    let as_of = as_of.as_deref().map(moment).transpose()?;
    let previous = usize::try_from(*previous).unwrap_or(usize::MAX);
    let which = Which::Newest { as_of, previous };
    let paths = || vec![place.path.clone()];
    // Only where VolSync's host has none, those that somebody has made of this path with restic are meant.
    let filters =
        [Filter { host: Some(VOLSYNC_HOST.to_owned()), paths: paths() }, Filter { host: None, paths: paths() }];
    let others = if *delete { Others::Delete } else { Others::Keep };
    let trouble = match bring_back(place, &which, &filters, others, counters) {
        Ok(done) => return Ok(done),
        Err(trouble) => trouble,
    };
    let nothing = match trouble.state {
        State::Missing => Nothing::NoRepository,
        State::NoSnapshot => Nothing::NoSnapshot,
        State::NoneEligible => Nothing::NoneEligible,
        State::Refused(_) | State::Open => return Err(trouble),
    };
    tracing::warn!(reason = %trouble.failure.message, "Nothing was restored");
    let mut remarks = LeftOut::default();
    remarks.add(Line::new("."), trouble.failure.message);
    let report = RepositoryReport { nothing: Some(nothing), ..RepositoryReport::default() };
    Ok(Done { tally: Tally::default(), left_out: LeftOut::default(), remarks, report })
}

/// Restores the snapshot that is meant by the first of the filters that matches any.
pub(super) fn bring_back(
    place: &Place,
    which: &Which,
    filters: &[Filter],
    others: Others,
    counters: &Counters,
) -> Result<Done, Trouble> {
    let repository = place.session.open()?;
    let mut none = NoSnapshot { matching: 0, oldest: None, newest: None };
    for filter in filters {
        let options = RestoreOptions {
            holder: place.session.holder.clone(),
            which: which.clone(),
            filter: filter.clone(),
            others,
        };
        match restore_tree(&repository, &place.tree, &options, counters)? {
            Restored::Done(restoration) => return Ok(done(*restoration)),
            Restored::NoSnapshot(found) => none = found,
        }
        if none.matching > 0 {
            break;
        }
    }
    let state = if none.matching > 0 { State::NoneEligible } else { State::NoSnapshot };
    Err(Trouble::new(Failure::new(Fault::User, Retry::AfterChange, words(which, &none)), state))
}

fn done(restoration: Restoration) -> Done {
    let Restoration { snapshot, entries, files: _, bytes, files_written, bytes_written, deleted, left_out, remarks } =
        restoration;
    let tally =
        Tally { entries, bytes, files_sent: files_written, literal_bytes: bytes_written, deleted, ..Tally::default() };
    let report = RepositoryReport { snapshot: Some(line(&snapshot)), ..RepositoryReport::default() };
    Done { tally, left_out, remarks, report }
}

/// What there is instead of the snapshot that was asked for.
fn words(which: &Which, none: &NoSnapshot) -> String {
    let NoSnapshot { matching, oldest, newest } = none;
    let asked = match which {
        Which::Id(id) => format!("no snapshot, or more than one, has an ID that begins with {id:?}"),
        Which::Newest { as_of: None, previous: 0 } => "there is no snapshot of this volume".to_owned(),
        Which::Newest { as_of: None, previous } => format!("there is no snapshot before the newest {previous}"),
        Which::Newest { as_of: Some(time), previous: 0 } => format!("there is no snapshot as old as {time}"),
        Which::Newest { as_of: Some(time), previous } => {
            format!("there is no snapshot before the newest {previous} that are as old as {time}")
        }
    };
    match (oldest, newest) {
        (Some(oldest), Some(newest)) => {
            let noun = if *matching == 1 { "snapshot" } else { "snapshots" };
            format!("{asked}; the repository has {matching} {noun}, from {} to {}", oldest.at(), newest.at())
        }
        _ => asked,
    }
}

fn moment(text: &str) -> Result<Timestamp, Trouble> {
    text.parse::<Timestamp>().map_err(|error| {
        let message = format!("restoreAsOf {text:?}: {error}; write a time as 2026-11-23T04:05:06Z");
        Failure::new(Fault::User, Retry::AfterChange, message).into()
    })
}
