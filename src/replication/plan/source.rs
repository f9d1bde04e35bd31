//! A source's point in time: which claim its mover reads.

use super::{Draft, Outcome, Wait, require_ours};
use crate::model::name;
use crate::model::observed::{Claim, Observed};
use crate::model::quantity;
use crate::model::reason::Reason;
use crate::model::replication::{CopyShape, Lifetime, Replication, SourceCopy, VolumeMode};
use crate::model::step::{NewClaim, NewSnapshot, Origin, Step};

/// A claim that a mover can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) claim: String,
    pub(super) mode: VolumeMode,
    pub(super) read_only: bool,
}

/// The claim to read, made if need be.
pub(super) fn point_in_time(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    (claim, copy): (&str, &SourceCopy),
) -> Result<Volume, Outcome> {
    let Some(source) = &seen.claim else {
        return Err(Outcome::Blocked(Reason::ClaimMissing {
            field: "spec.sourcePVC",
            name: claim.to_owned(),
            namespace: wish.owner.namespace.clone(),
        }));
    };
    match copy {
        SourceCopy::Direct => {
            if source.deleting {
                return Err(gone("PersistentVolumeClaim", &source.name));
            }
            Ok(Volume { claim: claim.to_owned(), mode: source.mode, read_only: source.is_read_only() })
        }
        SourceCopy::Clone(shape) => {
            let origin = Origin::Claim(claim.to_owned());
            copied(draft, wish, seen, new_copy(wish, source, (shape, origin, None)))
        }
        SourceCopy::Snapshot { class, shape } => {
            // A claim that was already made from the snapshot is all that is needed, even when the snapshot is gone.
            let restore_size =
                if seen.copy_claim.is_some() { None } else { snapshot(draft, wish, seen, (claim, class.as_ref()))? };
            let origin = Origin::Snapshot(name::source_copy(&wish.owner));
            copied(draft, wish, seen, new_copy(wish, source, (shape, origin, restore_size)))
        }
    }
}

/// The snapshot's restore size, once it is ready.
fn snapshot(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    (claim, class): (&str, Option<&String>),
) -> Result<Option<String>, Outcome> {
    let name = name::source_copy(&wish.owner);
    let Some(snapshot) = &seen.copy_snapshot else {
        draft.push(Step::TakeSnapshot(NewSnapshot {
            name: name.clone(),
            claim: claim.to_owned(),
            class: class.cloned(),
            lifetime: Lifetime::Temporary,
        }));
        return Err(Outcome::Waiting(Wait::SnapshotReady { name, error: None }));
    };
    require_ours("VolumeSnapshot", &name, &snapshot.ownership)?;
    if snapshot.deleting {
        return Err(gone("VolumeSnapshot", &name));
    }
    if !snapshot.ready {
        return Err(Outcome::Waiting(Wait::SnapshotReady { name, error: snapshot.error.clone() }));
    }
    Ok(snapshot.restore_size.clone())
}

/// The point-in-time claim. Its mover may be started without waiting for it to be bound: the scheduler waits.
fn copied(draft: &mut Draft, wish: &Replication, seen: &Observed, new: NewClaim) -> Result<Volume, Outcome> {
    let read_only = new.access_modes == ["ReadOnlyMany"];
    match &seen.copy_claim {
        None => {
            let volume = Volume { claim: new.name.clone(), mode: new.mode, read_only };
            draft.push(Step::CreateClaim(new));
            Ok(volume)
        }
        Some(claim) => {
            require_ours("PersistentVolumeClaim", &name::source_copy(&wish.owner), &claim.ownership)?;
            if claim.deleting {
                return Err(gone("PersistentVolumeClaim", &claim.name));
            }
            Ok(Volume { claim: claim.name.clone(), mode: claim.mode, read_only: claim.is_read_only() })
        }
    }
}

/// What the copy looks like where the user does not say: as its source.
fn new_copy(
    wish: &Replication,
    source: &Claim,
    (shape, origin, restore_size): (&CopyShape, Origin, Option<String>),
) -> NewClaim {
    let restore_size = restore_size.filter(|size| quantity::bytes(size).is_some_and(|bytes| bytes > 0));
    let capacity = [shape.capacity.clone(), restore_size, source.capacity.clone(), source.request.clone()]
        .into_iter()
        .flatten()
        .next()
        .unwrap_or_default();
    NewClaim {
        name: name::source_copy(&wish.owner),
        origin,
        capacity,
        storage_class: shape.storage_class.clone().or_else(|| source.storage_class.clone()),
        access_modes: shape.access_modes.clone().unwrap_or_else(|| source.access_modes.clone()),
        mode: source.mode,
        lifetime: Lifetime::Temporary,
    }
}

pub(super) fn gone(kind: &'static str, name: &str) -> Outcome {
    Outcome::Waiting(Wait::Gone { kind, name: name.to_owned() })
}
