//! What must hold in every world, however odd.

use proptest::prelude::*;

use super::world::{World, at, claim, destination, iteration_after, snapshot, source};
use crate::model::observed::{
    Child, Claim, ClaimUser, Claimed, Key, MoverEnd, MoverState, Observed, Ownership, PodState, Sharing, Snapshot,
};
use crate::model::replication::{Direction, Image, Lifetime, Phase, Publish, Replication, SourceCopy, Target};
use crate::model::step::Step;
use crate::replication::plan::cleanup::concerns;
use crate::replication::plan::plan;

fn ownership() -> impl Strategy<Value = Ownership> {
    let other = Ownership::Other("Pod/other".to_owned());
    prop_oneof![Just(Ownership::Ours), Just(Ownership::Nobody), Just(Ownership::Former), Just(other)]
}

fn any_claim(name: &'static str) -> impl Strategy<Value = Option<Claim>> {
    let claims = (ownership(), any::<bool>(), any::<bool>()).prop_map(move |(ownership, temporary, deleting)| Claim {
        temporary,
        deleting,
        ..claim(name, ownership)
    });
    proptest::option::of(claims)
}

fn any_snapshot(name: &'static str) -> impl Strategy<Value = Option<Snapshot>> {
    let claimed =
        prop_oneof![Just(Claimed::Free), Just(Claimed::InUse), Just(Claimed::Promised), Just(Claimed::ByUser)];
    let snapshots = (ownership(), claimed, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        move |(ownership, claimed, ready, deleting, temporary)| Snapshot {
            ownership,
            claimed,
            ready,
            deleting,
            temporary,
            ..snapshot(name)
        },
    );
    proptest::option::of(snapshots)
}

fn user() -> impl Strategy<Value = ClaimUser> {
    let states = prop_oneof![Just(PodState::Pending), Just(PodState::Running), Just(PodState::Ending)];
    ("[ab]", proptest::option::of("n[12]"), states).prop_map(|(pod, node, state)| ClaimUser {
        claim: "volsync-rd-dst".to_owned(),
        pod,
        node,
        state,
        tolerations: vec![],
    })
}

fn mover() -> impl Strategy<Value = MoverState> {
    let ended = |success| {
        MoverState::Ended(MoverEnd {
            at: at("2026-11-23T10:00:20Z"),
            success,
            report: None,
            reason: "Error".to_owned(),
        })
    };
    prop_oneof![Just(MoverState::Starting(None)), Just(MoverState::Running), Just(ended(true)), Just(ended(false))]
}

prop_compose! {
    fn observed()(
        claim in any_claim("volsync-rd-dst"),
        copy_claim in any_claim("volsync-rs-src"),
        copy_snapshot in any_snapshot("volsync-rs-src"),
        image in any_snapshot("volsync-rd-dst-20261123100000"),
        others in proptest::collection::vec(any_snapshot("other"), 0..3),
        job in proptest::option::of((ownership(), mover(), any::<bool>(), prop_oneof![Just(""), Just("former")])),
        modes in prop_oneof![Just("ReadWriteOnce"), Just("ReadWriteOncePod"), Just("ReadWriteMany"), Just("ReadOnlyMany")],
        users in proptest::collection::vec(user(), 0..4),
        former_pods in proptest::collection::vec(Just("former-pod".to_owned()), 0..2),
        key in prop_oneof![Just(Key::Absent), Just(Key::Valid), Just(Key::Malformed("bad".to_owned()))],
    ) -> Observed {
        let mut world = World::new();
        if let Some((ownership, mover, deleting, fingerprint)) = job {
            world = world.with_job(ownership, 1, mover);
            if let Some(job) = &mut world.0.job {
                job.deleting = deleting;
                job.fingerprint = fingerprint.to_owned();
            }
        }
        let snapshots = others.into_iter().chain([copy_snapshot.clone(), image.clone()]).flatten().collect();
        let claim = claim.map(|claim| Claim { access_modes: vec![modes.to_owned()], ..claim });
        Observed { claim, copy_claim, copy_snapshot, image, snapshots, key, users, former_pods, ..world.0 }
    }
}

prop_compose! {
    fn wish()(
        kind in 0..5,
        phase in 0..3,
        temporary in any::<bool>(),
        failed in 0_u32..3,
        image in any::<bool>(),
    ) -> Replication {
        let mut wish = match kind {
            0 => source(SourceCopy::Direct),
            1 => source(SourceCopy::Clone(Default::default())),
            2 => source(SourceCopy::Snapshot { class: None, shape: Default::default() }),
            3 => destination(Publish::Direct),
            _ => destination(Publish::Snapshot { class: None }),
        };
        if let Direction::Destination { target: Target::Dynamic { lifetime, .. }, .. } =
            &mut wish.direction
            && temporary
        {
            *lifetime = Lifetime::Temporary;
        }
        wish.image = Some(match image {
            true => Image::Claim("volsync-rd-dst".to_owned()),
            false => Image::Snapshot("volsync-rd-dst-20261123100000".to_owned()),
        });
        wish.phase = match phase {
            0 => Phase::Never,
            1 => Phase::Running(iteration_after(failed, None)),
            _ => Phase::Idle { last_sync: at("2026-11-23T10:00:25Z"), last_manual: None },
        };
        wish
    }
}

fn is_target_temporary(wish: &Replication) -> bool {
    matches!(
        &wish.direction,
        Direction::Destination { target: Target::Dynamic { lifetime: Lifetime::Temporary, .. }, .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_never_deletes_what_the_object_does_not_own(wish in wish(), seen in observed()) {
        let plan = plan(&wish, &seen, at("2026-11-23T10:00:30Z"));
        for step in &plan.steps {
            match step {
                Step::StopMover { job, .. } => {
                    let seen = seen.job.as_ref().unwrap();
                    prop_assert_eq!((&seen.uid, &seen.ownership), (&job.uid, &Ownership::Ours));
                }
                Step::DeleteClaim(doomed) => {
                    let copy = seen.copy_claim.iter().filter(|claim| claim.temporary);
                    let target = seen.claim.iter().filter(|_| is_target_temporary(&wish));
                    let of_ours = |claim: &Claim| claim.uid == doomed.uid && claim.ownership == Ownership::Ours;
                    prop_assert!(copy.chain(target).any(of_ours), "{step:?}");
                    prop_assert_ne!(&wish.image, &Some(Image::Claim(doomed.name.clone())), "the published image is deleted");
                }
                Step::DeleteSnapshot { snapshot: doomed, .. } => {
                    let snapshot = seen.snapshots.iter().find(|snapshot| {
                        snapshot.uid == doomed.uid
                            && snapshot.ownership == Ownership::Ours
                            && snapshot.claimed == Claimed::Free
                    });
                    prop_assert!(snapshot.is_some(), "{step:?}");
                    let published = wish.image == Some(Image::Snapshot(doomed.name.clone()));
                    prop_assert!(!published, "the published image is deleted");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_plan_never_starts_a_mover_beside_another(wish in wish(), seen in observed()) {
        let plan = plan(&wish, &seen, at("2026-11-23T10:00:30Z"));
        let starts = plan.steps.iter().filter(|step| matches!(step, Step::StartMover(_))).count();
        prop_assert!(starts == 0 || (starts == 1 && seen.job.is_none() && seen.former_pods.is_empty()));
    }

    #[test]
    fn a_mover_never_starts_where_its_volume_cannot_be(wish in wish(), seen in observed()) {
        let plan = plan(&wish, &seen, at("2026-11-23T10:00:30Z"));
        let Some(Step::StartMover(run)) = plan.steps.last() else { return Ok(()) };
        let Some(claim) = seen.claim.as_ref().filter(|_| wish.direction.shares_claim()) else { return Ok(()) };
        let nodes: Vec<_> = seen.users.iter().filter(|user| user.claim == claim.name).map(|user| &user.node).collect();
        match claim.sharing() {
            Sharing::AnyNode => prop_assert_eq!(&run.placement, &None),
            Sharing::OnePod => prop_assert!(nodes.is_empty(), "the pod that holds it was not waited for"),
            Sharing::OneNode if nodes.is_empty() => prop_assert_eq!(&run.placement, &None),
            Sharing::OneNode => {
                let node = run.placement.as_ref().map(|placement| placement.node.clone());
                prop_assert!(node.is_some() && nodes.contains(&&node), "{node:?} is none of {nodes:?}");
            }
        }
    }

    #[test]
    fn cleanup_is_about_no_child_that_does_not_concern_it(wish in wish(), seen in observed()) {
        let phase = Phase::Idle { last_sync: at("2026-11-23T10:00:25Z"), last_manual: None };
        let wish = Replication { phase, ..wish };
        // Copies are a source's.
        let is_source = matches!(wish.direction, Direction::Source { .. });
        let seen = Observed { copy_claim: seen.copy_claim.filter(|_| is_source), ..seen };
        let is_ours = |ownership: &Ownership| *ownership == Ownership::Ours;
        let job = seen.job.iter().filter(|job| is_ours(&job.ownership)).map(|_| Child::Job);
        let claims = seen.claim.iter().chain(&seen.copy_claim).filter(|claim| is_ours(&claim.ownership));
        let claims = claims.map(|claim| Child::Claim { name: claim.name.clone() });
        let snapshots = seen.snapshots.iter().filter(|snapshot| is_ours(&snapshot.ownership));
        let snapshots = snapshots.map(|snapshot| Child::Snapshot {
            name: snapshot.name.clone(),
            taken: snapshot.claimed == Claimed::ByUser,
        });
        if !job.chain(claims).chain(snapshots).any(|child| concerns(&wish, &child)) {
            let plan = plan(&wish, &seen, at("2026-11-23T10:00:30Z"));
            prop_assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        }
    }

    #[test]
    fn planning_twice_in_one_world_gives_one_plan(wish in wish(), seen in observed()) {
        let now = at("2026-11-23T10:00:30Z");
        prop_assert_eq!(plan(&wish, &seen, now), plan(&wish, &seen, now));
    }
}
