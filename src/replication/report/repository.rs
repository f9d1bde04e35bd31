//! What a run did to a repository, in the status, in the words of restic, and in the conditions.

use doppel_contract::{Nothing, Report, Tally};

use crate::model::mover::{Restic, ResticTask};
use crate::model::observed::MoverEnd;
use crate::model::status::{Catalogue, Status};

/// Remembers what a successful run left. Of one that VolSync's mover made nothing is known.
pub(super) fn complete(status: &mut Status, restic: &Restic, end: Option<&MoverEnd>) {
    let report = end.and_then(|end| end.report.as_ref()?.repository.as_ref());
    status.catalogue = report.map(Catalogue::from);
    let ResticTask::Backup(backup) = &restic.task else { return };
    let ended = end.map(|end| end.at);
    if report.is_some_and(|report| report.pruned) {
        status.last_pruned = ended.map(super::to_seconds);
    }
    if backup.unlock.is_none() {
        status.last_unlocked = None;
    } else if report.is_some_and(|report| report.unlocked) {
        status.last_unlocked.clone_from(&backup.unlock);
    }
}

/// The lines of a success in the form of VolSync's filtered log, because users' tools match them (facts of VolSync: filters of
/// `latestMoverStatus.logs`).
pub(super) fn lines(task: &ResticTask, report: &Report) -> Vec<String> {
    let Some(repository) = &report.repository else { return Vec::new() };
    let Tally { entries, bytes, literal_bytes, deleted, .. } = report.tally;
    let mut lines = Vec::new();
    match (repository.nothing, &repository.snapshot) {
        (Some(Nothing::EmptyVolume), _) => lines.push("Directory is empty, nothing was backed up".to_owned()),
        (Some(Nothing::NoRepository | Nothing::NoSnapshot | Nothing::NoneEligible), _) => {
            lines.extend(["No eligible snapshots found", "No data will be restored"].map(str::to_owned));
        }
        (None, Some(snapshot)) => {
            lines.extend(match task {
                ResticTask::Backup(_) => [
                    format!("processed {entries} files, {bytes} bytes, {literal_bytes} bytes added to the repository"),
                    format!("snapshot {} saved", snapshot.id),
                ],
                ResticTask::Restore { .. } => [
                    format!("restoring snapshot {} of {}", snapshot.id, snapshot.time),
                    format!(
                        "processed {entries} files, {bytes} bytes, {literal_bytes} bytes written, {deleted} deleted"
                    ),
                ],
            });
        }
        (None, None) => {}
    }
    lines
}

/// What a user must know of a run that succeeded and moved nothing.
pub(super) fn nothing(status: &Status) -> Option<&'static str> {
    Some(match status.catalogue.as_ref()?.nothing? {
        Nothing::EmptyVolume => "nothing was backed up, because the volume is empty",
        Nothing::NoRepository => "nothing was restored, because there is no repository yet: the volume is empty",
        Nothing::NoSnapshot => "nothing was restored, because the repository has no snapshot yet: the volume is empty",
        Nothing::NoneEligible => {
            "nothing was restored, because no snapshot is left of those that spec.restic.restoreAsOf and previous let through"
        }
    })
}
