//! What must hold in every world, however odd.

use proptest::prelude::*;

use super::world::{World, at, claim, destination, iteration_after, snapshot, source};
use crate::model::observed::{Claim, Claimed, Key, MoverEnd, MoverState, Observed, Ownership, Snapshot};
use crate::model::replication::{Image, Lifetime, Phase, Publish, Replication, SourceCopy, Target};
use crate::model::step::Step;
use crate::replication::plan::plan;

fn ownership() -> impl Strategy<Value = Ownership> {
    prop_oneof![Just(Ownership::Ours), Just(Ownership::Nobody), Just(Ownership::Other("Pod/other".to_owned()))]
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
    let claimed = prop_oneof![Just(Claimed::Free), Just(Claimed::InUse), Just(Claimed::ByUser)];
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
        job in proptest::option::of((ownership(), mover(), any::<bool>())),
        key in prop_oneof![Just(Key::Absent), Just(Key::Valid), Just(Key::Malformed("bad".to_owned()))],
    ) -> Observed {
        let mut world = World::new();
        if let Some((ownership, mover, deleting)) = job {
            world = world.with_job(ownership, 1, mover);
            if let Some(job) = &mut world.0.job {
                job.deleting = deleting;
            }
        }
        let snapshots = others.into_iter().chain([copy_snapshot.clone(), image.clone()]).flatten().collect();
        Observed { claim, copy_claim, copy_snapshot, image, snapshots, key, ..world.0 }
    }
}

prop_compose! {
    fn wish()(
        kind in 0..5,
        phase in 0..3,
        temporary in any::<bool>(),
        failed in 0_u32..3,
    ) -> Replication {
        let mut wish = match kind {
            0 => source(SourceCopy::Direct),
            1 => source(SourceCopy::Clone(Default::default())),
            2 => source(SourceCopy::Snapshot { class: None, shape: Default::default() }),
            3 => destination(Publish::Direct),
            _ => destination(Publish::Snapshot { class: None }),
        };
        if let crate::model::replication::Direction::Destination { target: Target::Dynamic { lifetime, .. }, .. } =
            &mut wish.direction
            && temporary
        {
            *lifetime = Lifetime::Temporary;
        }
        wish.image = Some(Image::Snapshot("volsync-rd-dst-20261123100000".to_owned()));
        wish.phase = match phase {
            0 => Phase::Never,
            1 => Phase::Running(iteration_after(failed, None)),
            _ => Phase::Idle { last_sync: at("2026-11-23T09:00:00Z"), last_manual: None },
        };
        wish
    }
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
                    let of_ours = [&seen.claim, &seen.copy_claim].into_iter().flatten().any(|claim| {
                        claim.uid == doomed.uid && claim.ownership == Ownership::Ours && claim.temporary
                    });
                    prop_assert!(of_ours, "{step:?}");
                }
                Step::DeleteSnapshot(doomed) => {
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
        prop_assert!(starts == 0 || (starts == 1 && seen.job.is_none()));
    }

    #[test]
    fn planning_twice_in_one_world_gives_one_plan(wish in wish(), seen in observed()) {
        let now = at("2026-11-23T10:00:30Z");
        prop_assert_eq!(plan(&wish, &seen, now), plan(&wish, &seen, now));
    }
}
