//! PURE: from a claim that is to be filled and the world as it is, what to do now.
//!
//! What has to be remembered is in the objects: which snapshot is used is its mark, how far it is are the prime and its volume.
//! A snapshot is marked and held before a prime is made from it, and let go before the prime is deleted: whoever dies in
//! between, or whichever object is deleted first, the next pass or Kubernetes' garbage collector finds what is left.

pub mod wait;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use self::wait::Wait;
use crate::model::name;
use crate::model::observed::Ownership;
use crate::model::population::{
    Class, Holder, Image, Named, Population, Prime, PrimePhase, Published, Surroundings, Upkeep, Volume,
};
use crate::model::quantity;
use crate::model::step::Doomed;
use crate::model::step::fill::{FillStep, NewPrime, Seen, SeenImage};

/// How long an in-tree provisioner may take to be passed on to a CSI driver, which Kubernetes does within a second or two,
/// before a user is told that nothing will come of it.
const MIGRATION: SignedDuration = SignedDuration::from_secs(30);

/// After this long without a volume a user is told (VolSync's bound for any claim).
const USUAL_BINDING: SignedDuration = SignedDuration::from_secs(120);

/// How many claims are filled from one snapshot at a time: as many as a provisioner makes volumes at a time (external-provisioner,
/// `--worker-threads`). Each writes to the snapshot when it begins, when it has its prime, and when it is filled, its mark and its
/// owner reference; and whoever watches snapshots reads all of them with each write. A thousand at a time would be three thousand
/// writes of a third of a megabyte.
pub const MOST_AT_A_TIME: usize = 100;

/// When a claim looks again whether it is its turn, should the word that tells it be missed.
const TURN_RECHECK: SignedDuration = SignedDuration::from_mins(5);

/// How often a snapshot is looked at again that is not ready and, being somebody else's, not watched.
const UNWATCHED_RECHECK: SignedDuration = SignedDuration::from_secs(15);

/// What to do now, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<FillStep>,
    /// Where that leaves the claim, provided the steps succeed.
    pub outcome: Outcome,
    /// When to look again although nothing has changed.
    pub wake_at: Option<Timestamp>,
}

/// Where a pass leaves a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on by itself: scheduler, provisioner, and volume controller have their turn, and tell of it themselves.
    Underway,
    /// A prime is made from an image.
    Begun {
        /// The prime.
        prime: String,
        /// The image.
        image: String,
    },
    /// The prime's origin or volume is gone: another prime is made.
    StartedOver {
        /// The prime.
        prime: String,
        /// What is gone.
        lost: Lost,
    },
    /// The claim has its volume, and nothing is left of its filling.
    Finished,
    /// It waits for something that a user may have to do.
    Waiting(Wait),
}

/// What a prime lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The snapshot that it was made from, before it had a volume.
    Image(String),
    /// Its volume, before that was handed over.
    Volume(String),
}

/// What to do now.
#[must_use]
pub fn plan(wish: &Population, seen: &Surroundings, now: Timestamp) -> Plan {
    let mut draft = Draft::default();
    let outcome = match (&wish.volume, &seen.prime) {
        (Some(volume), prime) => finish(&mut draft, volume, prime.as_ref(), &seen.marked),
        (None, None) => begin(&mut draft, wish, seen, now).unwrap_or_else(|waiting| waiting),
        (None, Some(prime)) => go_on(&mut draft, wish, prime, seen, now),
    };
    Plan { steps: draft.steps, outcome, wake_at: draft.wake_at }
}

/// A plan in the making.
#[derive(Debug, Default)]
struct Draft {
    steps: Vec<FillStep>,
    wake_at: Option<Timestamp>,
}

impl Draft {
    fn push(&mut self, step: FillStep) {
        self.steps.push(step);
    }

    /// Whether a wait has become longer than its bound; if not, comes back when it has.
    fn is_over(&mut self, (since, bound): (Timestamp, SignedDuration), now: Timestamp) -> bool {
        match since.checked_add(bound) {
            Ok(end) if now < end => {
                self.wake_at = Some(self.wake_at.map_or(end, |earlier| earlier.min(end)));
                false
            }
            _ => true,
        }
    }
}

/// A prime is made, once there is an image to make it from.
fn begin(draft: &mut Draft, wish: &Population, seen: &Surroundings, now: Timestamp) -> Result<Outcome, Outcome> {
    let node = node(draft, wish, &seen.class, now)?;
    let image = usable_image(draft, wish, seen, now)?;
    if !image.marked && image.marks >= MOST_AT_A_TIME {
        draft.wake_at = now.checked_add(TURN_RECHECK).ok();
        return Err(Outcome::Waiting(Wait::Turn { image: image.name.clone() }));
    }
    let hold = hold(image, Holder::Claim);
    if !image.marked || image.holders != hold {
        draft.push(FillStep::HoldImage { image: seen_image(image), holders: hold });
    }
    let prime = name::prime(&wish.claim.uid);
    draft.push(FillStep::CreatePrime(NewPrime {
        name: prime.clone(),
        shape: wish.shape.clone(),
        origin: image.name.clone(),
        node,
    }));
    Ok(Outcome::Begun { prime, image: image.name.clone() })
}

/// The node that the volume has to be made for, if there has to be one.
fn node(draft: &mut Draft, wish: &Population, class: &Class, now: Timestamp) -> Result<Option<String>, Outcome> {
    let class_name = || wish.shape.storage_class.clone().unwrap_or_default();
    let provisioner = match class {
        Class::Unasked => return Ok(None),
        Class::Missing => return Err(Outcome::Waiting(Wait::Class(class_name()))),
        Class::Immediate { provisioner } | Class::FirstConsumer { provisioner } => provisioner,
    };
    // Those within Kubernetes itself know no snapshots; some hand their work to a driver that does.
    if provisioner.starts_with("kubernetes.io/") && !wish.migrated {
        let wait = Wait::OtherClass { class: class_name(), provisioner: provisioner.clone() };
        let over = draft.is_over((wish.created, MIGRATION), now);
        return Err(if over { Outcome::Waiting(wait) } else { Outcome::Underway });
    }
    match (class, &wish.node) {
        (Class::FirstConsumer { .. }, None) => Err(Outcome::Underway),
        (Class::FirstConsumer { .. }, Some(node)) => Ok(Some(node.clone())),
        _ => Ok(None),
    }
}

/// The published image, if the claim can be filled from it.
fn usable_image<'a>(
    draft: &mut Draft,
    wish: &Population,
    seen: &'a Surroundings,
    now: Timestamp,
) -> Result<&'a Image, Outcome> {
    let destination = match &wish.destination {
        Named::Here(name) => name.clone(),
        Named::Elsewhere { namespace, name } => {
            let (namespace, name) = (namespace.clone(), name.clone());
            return Err(Outcome::Waiting(Wait::Elsewhere { namespace, name }));
        }
    };
    let image = match &seen.destination {
        // A claim that an image was promised gets it, although its ReplicationDestination is gone.
        Published::NoDestination => {
            let promised = seen.marked.iter().find(|image| !image.deleting && !image.holders.is_empty());
            promised.ok_or(Outcome::Waiting(Wait::Destination(destination)))?
        }
        Published::Nothing => return Err(Outcome::Waiting(Wait::FirstImage { destination })),
        Published::Other(image) => {
            return Err(Outcome::Waiting(Wait::OtherImage { destination, image: image.clone() }));
        }
        Published::Snapshot(name) => {
            let present = seen.image.as_ref().filter(|image| !image.deleting);
            present.ok_or_else(|| Outcome::Waiting(Wait::ImageGone { destination, image: name.clone() }))?
        }
    };
    if !image.ready {
        if image.standing.upkeep == Upkeep::Theirs {
            draft.wake_at = now.checked_add(UNWATCHED_RECHECK).ok();
        }
        return Err(Outcome::Waiting(Wait::ImageReady { image: image.name.clone(), error: image.error.clone() }));
    }
    match (&wish.shape.request, &image.restore_size) {
        (Some(request), Some(needed)) if quantity::bytes(request) < quantity::bytes(needed) => {
            let (request, needed) = (request.clone(), needed.clone());
            Err(Outcome::Waiting(Wait::Larger { image: image.name.clone(), request, needed }))
        }
        _ => Ok(image),
    }
}

/// There is a prime: it gets its volume, which goes to the claim.
fn go_on(draft: &mut Draft, wish: &Population, prime: &Prime, seen: &Surroundings, now: Timestamp) -> Outcome {
    if let Some(refused) = refusal(prime) {
        return refused;
    }
    if prime.deleting {
        return Outcome::Underway;
    }
    for image in &seen.marked {
        let hold = hold(image, Holder::Prime);
        if image.holders != hold && !image.deleting {
            draft.push(FillStep::HoldImage { image: seen_image(image), holders: hold });
        }
    }
    match (&prime.volume, &seen.volume) {
        (None, _) => await_volume(draft, wish, prime, &seen.class, now),
        (Some(_), Some(volume)) => hand_over(draft, wish, prime, volume),
        (Some(volume), None) if prime.phase == PrimePhase::Lost => {
            start_over(draft, prime, Lost::Volume(volume.clone()))
        }
        (Some(_), None) => Outcome::Underway,
    }
}

/// The provisioner has its turn.
fn await_volume(draft: &mut Draft, wish: &Population, prime: &Prime, class: &Class, now: Timestamp) -> Outcome {
    if !prime.origin_exists {
        return start_over(draft, prime, Lost::Image(prime.origin.clone()));
    }
    if let (Class::FirstConsumer { .. }, Some(node)) = (class, &wish.node)
        && prime.node.as_ref() != Some(node)
    {
        draft.push(FillStep::PlacePrime { prime: doomed(prime), node: node.clone() });
    }
    if draft.is_over((prime.created, USUAL_BINDING), now) {
        return Outcome::Waiting(Wait::Provisioner { prime: prime.name.clone() });
    }
    Outcome::Underway
}

/// The volume goes from the prime to the claim, and from nobody else.
fn hand_over(draft: &mut Draft, wish: &Population, prime: &Prime, volume: &Volume) -> Outcome {
    if volume.claim_uid.as_ref() == Some(&wish.claim.uid) {
        return Outcome::Underway;
    }
    if volume.claim_uid.as_ref() != Some(&prime.uid) {
        let (volume, claim) = (volume.name.clone(), volume.claim.clone());
        return Outcome::Waiting(Wait::VolumeOfOther { volume, claim });
    }
    // Before that the volume controller still writes to both.
    if prime.phase == PrimePhase::Bound {
        draft.push(FillStep::HandOver {
            volume: Seen { name: volume.name.clone(), resource_version: volume.resource_version.clone() },
            claim_version: wish.resource_version.clone(),
            origin: prime.origin.clone(),
        });
    }
    Outcome::Underway
}

/// What the prime was for cannot be had from it any more. It holds no volume, or one that is gone.
fn start_over(draft: &mut Draft, prime: &Prime, lost: Lost) -> Outcome {
    draft.push(FillStep::DeletePrime(doomed(prime)));
    Outcome::StartedOver { prime: prime.name.clone(), lost }
}

/// The claim has a volume: what its filling left is removed. The prime goes last, as what shows that anything may be left.
fn finish(draft: &mut Draft, volume: &str, prime: Option<&Prime>, marked: &[Image]) -> Outcome {
    // Somebody else's of that name is none of a filled claim's business.
    let prime = prime.filter(|prime| prime.ownership == Ownership::Ours);
    if let Some(prime) = prime
        && prime.volume.as_deref() == Some(volume)
        && prime.phase != PrimePhase::Lost
    {
        // The volume controller may still take the volume for the prime's.
        return Outcome::Underway;
    }
    for image in marked.iter().filter(|image| !image.deleting) {
        draft.push(if image.is_wanted_by_others() || image.standing.upkeep == Upkeep::Theirs {
            FillStep::LetImageGo(seen_image(image))
        } else {
            FillStep::DeleteImage {
                image: Doomed { name: image.name.clone(), uid: image.standing.uid.clone() },
                resource_version: image.resource_version.clone(),
            }
        });
    }
    match prime {
        Some(prime) if !prime.deleting => {
            draft.push(FillStep::DeletePrime(doomed(prime)));
            Outcome::Finished
        }
        _ => Outcome::Underway,
    }
}

/// What has the prime's name and was not made for the claim is left alone.
fn refusal(prime: &Prime) -> Option<Outcome> {
    let owner = match &prime.ownership {
        Ownership::Ours => return None,
        // A prime has its claim's UID in its name: none is a former claim's.
        Ownership::Nobody | Ownership::Former => "nobody".to_owned(),
        Ownership::Other(owner) => owner.clone(),
    };
    Some(Outcome::Waiting(Wait::NotOurs { prime: prime.name.clone(), owner }))
}

/// Who is to hold a snapshot. One of somebody else's is only marked: with our owner reference it would be deleted one day.
fn hold(image: &Image, holder: Holder) -> BTreeSet<Holder> {
    match image.standing.upkeep {
        Upkeep::Ours => [holder].into(),
        Upkeep::Theirs => BTreeSet::new(),
    }
}

fn seen_image(image: &Image) -> SeenImage {
    SeenImage { name: image.name.clone(), standing: image.standing.clone() }
}

fn doomed(prime: &Prime) -> Doomed {
    Doomed { name: prime.name.clone(), uid: prime.uid.clone() }
}
