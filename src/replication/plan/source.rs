//! A source's point in time: which claim its mover reads.

use jiff::{SignedDuration, Timestamp};

use super::{Draft, Late, Outcome, copy_trigger, gone, require_usable, snapshot};
use crate::model::name;
use crate::model::observed::{Claim, Observed, Ownership};
use crate::model::quantity;
use crate::model::reason::Reason;
use crate::model::replication::{CopyShape, Lifetime, Replication, SourceCopy, VolumeMode};
use crate::model::step::{Doomed, NewClaim, NewSnapshot, Origin, Step};

/// A claim that a mover can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) claim: String,
    pub(super) mode: VolumeMode,
    pub(super) read_only: bool,
}

/// After this long without a volume a user is told (VolSync's bound).
pub(super) const USUAL_BINDING: SignedDuration = SignedDuration::from_mins(2);

/// The claim to read, made if need be.
pub(super) fn point_in_time(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    (claim, copy): (&str, &SourceCopy),
    now: Timestamp,
) -> Result<Volume, Outcome> {
    let Some(source) = &seen.claim else {
        return Err(Outcome::Blocked(Reason::ClaimMissing {
            field: "spec.sourcePVC".to_owned(),
            name: claim.to_owned(),
            namespace: wish.owner.namespace.clone(),
        }));
    };
    let is_copied = seen.copy_claim.is_some() || seen.copy_snapshot.is_some();
    if source.deleting && (*copy == SourceCopy::Direct || !is_copied) {
        return Err(gone("PersistentVolumeClaim", &source.name));
    }
    match copy {
        SourceCopy::Direct => {
            Ok(Volume { claim: claim.to_owned(), mode: source.mode, read_only: source.is_read_only() })
        }
        SourceCopy::Clone(shape) => cloned(draft, wish, seen, (source, shape), now),
        SourceCopy::Snapshot { class, shape } => {
            require_origin(draft, seen)?;
            let name = name::source_copy(&wish.owner);
            // A claim that was already made from the snapshot is all that is needed, even when the snapshot is gone.
            let restore_size = if seen.copy_claim.is_some() {
                None
            } else {
                let wanted = |draft: &mut Draft| {
                    Ok(NewSnapshot {
                        name: name.clone(),
                        claim: claim.to_owned(),
                        class: class.clone(),
                        lifetime: Lifetime::Temporary,
                        iteration: wish.iteration(),
                        answers: copy_trigger::allows(draft, source, now)?,
                    })
                };
                let snapshot = snapshot::ready(draft, seen.copy_snapshot.as_ref(), wanted, now)?;
                copy_trigger::copied(draft, source, snapshot.answers.as_ref());
                snapshot.restore_size.clone()
            };
            let new = new_copy(wish, source, (shape, Origin::Snapshot(name), restore_size.as_ref()))?;
            copied(draft, seen, new, now)
        }
    }
}

/// Gives up a copy that has no volume and will have none: the snapshot that it was to be made of is gone.
fn require_origin(draft: &mut Draft, seen: &Observed) -> Result<(), Outcome> {
    let is_stuck = |claim: &&Claim| claim.ownership == Ownership::Ours && !claim.is_bound() && !claim.deleting;
    match seen.copy_claim.as_ref().filter(is_stuck) {
        Some(claim) if seen.copy_snapshot.is_none() => {
            draft.push(Step::DeleteClaim(Doomed { name: claim.name.clone(), uid: claim.uid.clone() }));
            Err(gone("PersistentVolumeClaim", &claim.name))
        }
        _ => Ok(()),
    }
}

fn cloned(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    (source, shape): (&Claim, &CopyShape),
    now: Timestamp,
) -> Result<Volume, Outcome> {
    let mut new = new_copy(wish, source, (shape, Origin::Claim(source.name.clone()), None))?;
    match &seen.copy_claim {
        None => new.answers = copy_trigger::allows(draft, source, now)?,
        Some(copy) if copy.is_bound() => copy_trigger::copied(draft, source, copy.answers.as_ref()),
        Some(_) => {}
    }
    copied(draft, seen, new, now)
}

/// The point-in-time claim. Its mover may be started without waiting for it to be bound: the scheduler waits.
fn copied(draft: &mut Draft, seen: &Observed, new: NewClaim, now: Timestamp) -> Result<Volume, Outcome> {
    let read_only = new.access_modes == ["ReadOnlyMany"];
    match &seen.copy_claim {
        None => {
            let volume = Volume { claim: new.name.clone(), mode: new.mode, read_only };
            draft.push(Step::CreateClaim(new));
            Ok(volume)
        }
        Some(claim) => {
            require_usable("PersistentVolumeClaim", &claim.name, &claim.ownership, claim.deleting)?;
            if !claim.is_bound() {
                draft.limit((claim.created, USUAL_BINDING), now, Late::Claim(claim.name.clone()));
            }
            Ok(Volume { claim: claim.name.clone(), mode: claim.mode, read_only: claim.is_read_only() })
        }
    }
}

/// What the copy looks like where the user does not say: as its source.
fn new_copy(
    wish: &Replication,
    source: &Claim,
    (shape, origin, restore_size): (&CopyShape, Origin, Option<&String>),
) -> Result<NewClaim, Outcome> {
    let restore_size = restore_size.filter(|size| quantity::bytes(size).is_some_and(|bytes| bytes > 0));
    let needed = restore_size.or(source.request.as_ref());
    if let (Some(wanted), Some(needed)) = (&shape.capacity, needed)
        && quantity::bytes(wanted) < quantity::bytes(needed)
    {
        let why = format!("{wanted} is less than the {needed} that the copy needs; raise it, or remove it");
        return Err(Outcome::Blocked(Reason::FieldInvalid { field: wish.mover.section().field("capacity"), why }));
    }
    let sizes = [shape.capacity.as_ref(), restore_size, source.capacity.as_ref(), source.request.as_ref()];
    Ok(NewClaim {
        name: name::source_copy(&wish.owner),
        origin,
        capacity: sizes.into_iter().flatten().next().cloned().unwrap_or_default(),
        storage_class: shape.storage_class.clone().or_else(|| source.storage_class.clone()),
        access_modes: shape.access_modes.clone().unwrap_or_else(|| source.access_modes.clone()),
        mode: source.mode,
        lifetime: Lifetime::Temporary,
        iteration: wish.iteration(),
        answers: None,
    })
}
