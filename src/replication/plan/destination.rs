//! A destination's claim, and the image that is published of it.

use jiff::Timestamp;

use super::source::{USUAL_BINDING, Volume};
use super::{Draft, Late, Outcome, gone, mover, require_usable, snapshot};
use crate::model::name;
use crate::model::observed::{Claim, Observed, Ownership};
use crate::model::quantity;
use crate::model::reason::Reason;
use crate::model::replication::{Image, Iteration, Lifetime, Publish, Replication, Target};
use crate::model::step::{NewClaim, NewSnapshot, Origin, Step};

/// Refuses a mover whose claim is not there any more, was deleted and made again, or is another one than is wished for by now: what it
/// receives, or has received, is not in the present one. Another mover has to receive it anew.
pub(super) fn require_receiver(draft: &mut Draft, seen: &Observed) -> Result<(), Outcome> {
    let Some(job) = seen.job.as_ref().filter(|job| job.ownership == Ownership::Ours && !image_is_begun(seen)) else {
        return Ok(());
    };
    let is_received_into = |claim: &Claim| match &job.receiver {
        Some(receiver) => *receiver == claim.uid,
        // Both times are the API server's. A claim is always made before its mover's Job.
        None => claim.created <= job.since && job.claim.as_ref().is_none_or(|name| *name == claim.name),
    };
    if seen.claim.as_ref().is_some_and(is_received_into) {
        return Ok(());
    }
    if !job.deleting {
        draft.push(mover::stop(job));
    }
    Err(gone("Job", &job.name))
}

/// The claim to write to, made if need be.
pub(super) fn claim(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    target: &Target,
    now: Timestamp,
) -> Result<Volume, Outcome> {
    match target {
        Target::Existing { claim: name, mode } => {
            let Some(claim) = &seen.claim else {
                return Err(Outcome::Blocked(Reason::ClaimMissing {
                    field: wish.mover.section().field("destinationPVC"),
                    name: name.clone(),
                    namespace: wish.owner.namespace.clone(),
                }));
            };
            if claim.deleting {
                return Err(gone("PersistentVolumeClaim", name));
            }
            if let Some(wanted) = mode.filter(|wanted| *wanted != claim.mode) {
                return Err(Outcome::Blocked(Reason::VolumeMode {
                    field: wish.mover.section().field("volumeMode"),
                    wanted: wanted.name(),
                    name: name.clone(),
                    namespace: wish.owner.namespace.clone(),
                    found: claim.mode.name(),
                }));
            }
            Ok(Volume { claim: name.clone(), mode: claim.mode, read_only: false })
        }
        Target::Dynamic { capacity, storage_class, access_modes, mode, lifetime } => {
            let name = name::destination_claim(&wish.owner, &wish.mover);
            let Some(claim) = &seen.claim else {
                draft.push(Step::CreateClaim(NewClaim {
                    name: name.clone(),
                    origin: Origin::Empty,
                    capacity: capacity.clone(),
                    storage_class: storage_class.clone(),
                    access_modes: access_modes.clone(),
                    mode: *mode,
                    lifetime: *lifetime,
                    iteration: wish.iteration(),
                    answers: None,
                }));
                return Ok(Volume { claim: name, mode: *mode, read_only: false });
            };
            require_usable("PersistentVolumeClaim", &name, &claim.ownership, claim.deleting)?;
            if !claim.is_bound() {
                draft.limit((claim.created, USUAL_BINDING), now, Late::Claim(name.clone()));
            }
            if is_larger(capacity, claim.request.as_deref()) {
                draft.push(Step::GrowClaim { name: name.clone(), capacity: capacity.clone() });
            }
            Ok(Volume { claim: name, mode: claim.mode, read_only: false })
        }
    }
}

/// Only growth is asked for: no storage can shrink a claim, and a smaller wish is served by the larger claim.
fn is_larger(wanted: &str, present: Option<&str>) -> bool {
    quantity::bytes(wanted) > present.and_then(quantity::bytes)
}

/// Whether this iteration's snapshot exists: then its mover has succeeded, even if the Job can no longer be seen.
pub(super) fn image_is_begun(seen: &Observed) -> bool {
    seen.image.is_some()
}

/// The image, once it is ready. The former one stays published until then.
pub(super) fn image(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    (claim, publish, running): (&str, &Publish, &Iteration),
    now: Timestamp,
) -> Result<Image, Outcome> {
    let Publish::Snapshot { class } = publish else {
        return Ok(Image::Claim(claim.to_owned()));
    };
    let noted = seen.claim.as_ref().and_then(|claim| claim.noted_image.as_ref());
    let name = wish.image_name(running, claim, noted);
    let wanted = |_: &mut Draft| {
        Ok(NewSnapshot {
            name: name.clone(),
            claim: claim.to_owned(),
            class: class.clone(),
            lifetime: Lifetime::Kept,
            iteration: wish.iteration(),
            answers: None,
        })
    };
    snapshot::ready(draft, seen.image.as_ref(), wanted, now)?;
    Ok(Image::Snapshot(name))
}
