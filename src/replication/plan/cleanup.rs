//! What an iteration leaves behind is removed, and nothing else.

use super::{Draft, mover};
use crate::model::observed::{Claimed, Observed, Ownership, Snapshot};
use crate::model::replication::{Image, Replication};
use crate::model::step::{Doomed, Step};

/// Steps that remove what the last iteration left. What is already being deleted needs none.
pub(super) fn steps(draft: &mut Draft, wish: &Replication, seen: &Observed) {
    if let Some(job) = &seen.job
        && job.ownership == Ownership::Ours
        && !job.deleting
    {
        draft.push(mover::stop(job));
    }
    for claim in [&seen.copy_claim, &seen.claim].into_iter().flatten() {
        if claim.temporary && claim.ownership == Ownership::Ours && !claim.deleting {
            draft.push(Step::DeleteClaim(Doomed { name: claim.name.clone(), uid: claim.uid.clone() }));
        }
    }
    for snapshot in &seen.snapshots {
        if is_current(wish, snapshot) && snapshot.claimed != Claimed::ByUser {
            continue;
        }
        retire(draft, snapshot);
    }
}

fn is_current(wish: &Replication, snapshot: &Snapshot) -> bool {
    matches!(&wish.image, Some(Image::Snapshot(name)) if *name == snapshot.name)
}

/// Removes a snapshot, or gives it up when somebody else wants it (facts of VolSync: rules of snapshot deletion).
fn retire(draft: &mut Draft, snapshot: &Snapshot) {
    if snapshot.ownership != Ownership::Ours || snapshot.deleting {
        return;
    }
    draft.push(match snapshot.claimed {
        Claimed::Free => Step::DeleteSnapshot(Doomed { name: snapshot.name.clone(), uid: snapshot.uid.clone() }),
        Claimed::InUse | Claimed::ByUser => Step::ReleaseSnapshot {
            name: snapshot.name.clone(),
            resource_version: snapshot.resource_version.clone(),
            claimed: snapshot.claimed,
        },
    });
}
