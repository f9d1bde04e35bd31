//! What an iteration leaves behind is removed, and nothing else.

use jiff::Timestamp;

use super::{Draft, mover};
use crate::model::name;
use crate::model::observed::{Child, Claim, Claimed, Observed, Ownership, Snapshot};
use crate::model::replication::{Direction, Image, IterationId, Lifetime, Phase, Replication, Target};
use crate::model::step::{Doomed, Step};

/// Steps that remove what the last iteration left. What is already being deleted needs none.
pub(super) fn steps(draft: &mut Draft, wish: &Replication, seen: &Observed) {
    for job in seen.job.iter().chain(&seen.other_jobs) {
        // One of a later iteration, too: to begin it once more loses nothing, and an iteration that begins must find none that ended.
        if job.ownership == Ownership::Ours && !job.deleting {
            draft.push(mover::stop(job));
        }
    }
    let copy = seen.copy_claim.iter().filter(|claim| claim.temporary);
    let target = seen.claim.iter().filter(|claim| is_temporary(wish, claim));
    let cache = seen.cache_claim.iter().filter(|_| !keeps_cache(wish));
    for claim in copy.chain(target).chain(cache) {
        let is_younger = is_younger(wish, claim.iteration.as_ref(), claim.created);
        if claim.ownership == Ownership::Ours && !claim.deleting && !is_younger {
            draft.push(Step::DeleteClaim(Doomed { name: claim.name.clone(), uid: claim.uid.clone() }));
        }
    }
    if let Some(claim) = &seen.claim
        && matches!(wish.direction, Direction::Destination { .. })
        && claim.noted_image.is_some()
        && !claim.deleting
    {
        draft.push(Step::ForgetNotedImage { claim: claim.name.clone() });
    }
    for snapshot in &seen.snapshots {
        // One that a user keeps is given up, and nothing is lost by that.
        let is_younger = is_younger(wish, snapshot.iteration.as_ref(), snapshot.created);
        if snapshot.claimed != Claimed::ByUser && (is_current(wish, snapshot) || is_younger) {
            continue;
        }
        retire(draft, snapshot);
    }
}

/// Whether [`steps`] may be about this child of an idle object, whatever state it is in.
#[must_use]
pub fn concerns(wish: &Replication, child: &Child) -> bool {
    match (child, &wish.direction) {
        (Child::Claim { name }, _) if is_cache(wish, name) => !keeps_cache(wish),
        (Child::Job, _) | (Child::Claim { .. }, Direction::Source { .. }) => true,
        (Child::Claim { name }, Direction::Destination { target, .. }) => {
            let is_temporary = matches!(target, Target::Dynamic { lifetime: Lifetime::Temporary, .. });
            is_temporary && wish.image != Some(Image::Claim(name.clone()))
        }
        (Child::Snapshot { name, taken }, _) => *taken || wish.image != Some(Image::Snapshot(name.clone())),
    }
}

/// Snapshots that a user keeps are given up at once, during an iteration too: a destination without a trigger is never
/// idle, and its snapshots go when it goes. Those of this iteration have to wait, whether it works with them or not at the moment:
/// its image could have their names.
pub(super) fn release_kept(draft: &mut Draft, wish: &Replication, seen: &Observed) {
    let in_use: Vec<_> =
        [&seen.image, &seen.copy_snapshot].into_iter().flatten().map(|snapshot| &snapshot.uid).collect();
    let present = wish.iteration();
    for snapshot in seen.snapshots.iter().filter(|snapshot| snapshot.claimed == Claimed::ByUser) {
        let is_of_this_one = snapshot.iteration.is_some() && snapshot.iteration == present;
        if !is_of_this_one && !in_use.contains(&&snapshot.uid) {
            retire(draft, snapshot);
        }
    }
}

/// Whether a claim or a snapshot was made for an iteration that began after the last synchronization that this pass knows of. Then the
/// pass was held up after it had read the object, and another operator acts by now: it may be that one's image. Those of VolSync do not
/// say what they were made for: a destination's tell by their time.
fn is_younger(wish: &Replication, iteration: Option<&IterationId>, created: Timestamp) -> bool {
    match (iteration, &wish.direction, &wish.phase) {
        (Some(iteration), _, Phase::Idle { last_sync, .. }) => iteration.is_after(*last_sync),
        (None, Direction::Destination { .. }, Phase::Idle { last_sync, .. }) => created > *last_sync,
        _ => false,
    }
}

/// Whether the mover's cache outlives an iteration, as the user says now.
fn keeps_cache(wish: &Replication) -> bool {
    wish.mover.cache().is_none_or(|cache| cache.lifetime == Lifetime::Kept)
}

fn is_cache(wish: &Replication, claim: &str) -> bool {
    wish.mover.cache().is_some() && claim == name::cache(&wish.owner)
}

/// Whether a destination's claim goes with the iteration, as the user says now. What is published stays.
fn is_temporary(wish: &Replication, claim: &Claim) -> bool {
    match &wish.direction {
        Direction::Destination { target: Target::Dynamic { lifetime: Lifetime::Temporary, .. }, .. } => {
            wish.image != Some(Image::Claim(claim.name.clone()))
        }
        Direction::Destination { .. } | Direction::Source { .. } => false,
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
    match snapshot.claimed {
        Claimed::Free => draft.push(Step::DeleteSnapshot {
            snapshot: Doomed { name: snapshot.name.clone(), uid: snapshot.uid.clone() },
            resource_version: snapshot.resource_version.clone(),
        }),
        Claimed::InUse | Claimed::ByUser => draft.push(Step::ReleaseSnapshot {
            name: snapshot.name.clone(),
            resource_version: snapshot.resource_version.clone(),
            claimed: snapshot.claimed,
        }),
        // The next change of the snapshot, or of the claim, is its holding it, or its end.
        Claimed::Promised => {}
    }
}
