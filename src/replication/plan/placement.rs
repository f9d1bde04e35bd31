//! Where a mover can run: on the node of the pods that use its volumes.
//!
//! A ReadWriteOnce volume can be attached to one node at a time. The scheduler does not look at that, so a mover that
//! shares such a volume is told where to go. This concerns its start only: a mover that runs has its volumes.

use super::Wait;
use crate::model::observed::{Claim, ClaimUser, Observed, PodState, Sharing};
use crate::model::pod::Placement;
use crate::model::replication::Replication;

/// Whether pods beside the mover can keep a volume from it.
pub(super) fn matters(wish: &Replication, seen: &Observed) -> bool {
    shared(wish, seen).any(|claim| claim.sharing() != Sharing::AnyNode)
}

/// The claims that the mover may have to share.
fn shared<'a>(wish: &Replication, seen: &'a Observed) -> impl Iterator<Item = &'a Claim> {
    let shares_claim = wish.direction.shares_claim();
    seen.claim.iter().filter(move |_| shares_claim).chain(&seen.extra_claims)
}

/// Where the mover must run, if that matters, or why it cannot start yet.
pub(super) fn find(wish: &Replication, seen: &Observed) -> Result<Option<Placement>, Wait> {
    let mut found: Option<(&Claim, Placement)> = None;
    for claim in shared(wish, seen) {
        let Some(placement) = beside(claim, &seen.users)? else {
            continue;
        };
        match &mut found {
            None => found = Some((claim, placement)),
            Some((_, former)) if former.node == placement.node => {
                let new = placement.tolerations.into_iter().filter(|other| !former.tolerations.contains(other));
                former.tolerations.extend(new.collect::<Vec<_>>());
            }
            Some((other, former)) => {
                let place = |claim: &Claim, placement: &Placement| {
                    (claim.name.clone(), placement.pod.clone(), placement.node.clone())
                };
                return Err(Wait::ClaimsApart(Box::new([place(other, former), place(claim, &placement)])));
            }
        }
    }
    Ok(found.map(|(_, placement)| placement))
}

/// The place where this claim can be used.
fn beside(claim: &Claim, users: &[ClaimUser]) -> Result<Option<Placement>, Wait> {
    // Of equals the first by name, so that every pass finds the same.
    let user = users
        .iter()
        .filter(|user| user.claim == claim.name)
        .max_by_key(|user| (hold(user), std::cmp::Reverse(&user.pod)));
    let Some(user) = user else {
        return Ok(None);
    };
    let named = || (claim.name.clone(), user.pod.clone());
    match (claim.sharing(), &user.node) {
        (Sharing::AnyNode, _) => Ok(None),
        (Sharing::OnePod, _) => {
            let (claim, pod) = named();
            Err(Wait::ClaimInUse { claim, pod })
        }
        (Sharing::OneNode, None) => {
            let (claim, pod) = named();
            Err(Wait::UserUnscheduled { claim, pod })
        }
        (Sharing::OneNode, Some(node)) => {
            Ok(Some(Placement { node: node.clone(), tolerations: user.tolerations.clone(), pod: user.pod.clone() }))
        }
    }
}

/// How much a pod decides about its volume's node. One that ends gives way to one that comes: a mover beside the former
/// would keep the latter from its volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hold {
    Ending,
    Unscheduled,
    Scheduled,
    Running,
}

fn hold(user: &ClaimUser) -> Hold {
    match (user.state, &user.node) {
        (PodState::Ending, _) => Hold::Ending,
        (PodState::Pending, None) => Hold::Unscheduled,
        (PodState::Pending, Some(_)) => Hold::Scheduled,
        (PodState::Running, _) => Hold::Running,
    }
}
