//! A source's point in time: which claim its mover reads.

use super::{Draft, Outcome, gone, require_usable, snapshot};
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
            field: "spec.sourcePVC".to_owned(),
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
            copied(draft, seen, new_copy(wish, source, (shape, origin, None)))
        }
        SourceCopy::Snapshot { class, shape } => {
            let name = name::source_copy(&wish.owner);
            // A claim that was already made from the snapshot is all that is needed, even when the snapshot is gone.
            let restore_size = if seen.copy_claim.is_some() {
                None
            } else {
                let wanted = NewSnapshot {
                    name: name.clone(),
                    claim: claim.to_owned(),
                    class: class.clone(),
                    lifetime: Lifetime::Temporary,
                };
                snapshot::ready(draft, seen.copy_snapshot.as_ref(), wanted)?.restore_size.clone()
            };
            let origin = Origin::Snapshot(name);
            copied(draft, seen, new_copy(wish, source, (shape, origin, restore_size)))
        }
    }
}

/// The point-in-time claim. Its mover may be started without waiting for it to be bound: the scheduler waits.
fn copied(draft: &mut Draft, seen: &Observed, new: NewClaim) -> Result<Volume, Outcome> {
    let read_only = new.access_modes == ["ReadOnlyMany"];
    match &seen.copy_claim {
        None => {
            let volume = Volume { claim: new.name.clone(), mode: new.mode, read_only };
            draft.push(Step::CreateClaim(new));
            Ok(volume)
        }
        Some(claim) => {
            require_usable("PersistentVolumeClaim", &claim.name, &claim.ownership, claim.deleting)?;
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
