//! Where movers start that share volumes with pods.

use serde_json::json;

use super::world::{World, at, claim, destination, source};
use super::{NOW, names, now, running};
use crate::model::mover::Mover;
use crate::model::observed::{Claim, MoverState, Ownership, PodState};
use crate::model::pod::{Content, ExtraVolume, Need};
use crate::model::reason::Reason;
use crate::model::replication::{Pace, Publish, Replication, SourceCopy, Target};
use crate::model::step::{MoverRun, Step};
use crate::replication::plan::{Outcome, Plan, Wait, plan};

fn direct() -> Replication {
    running(source(SourceCopy::Direct))
}

fn ready(wish: &Replication) -> World {
    World::new().with_surroundings(wish)
}

#[track_caller]
fn started(plan: &Plan) -> &MoverRun {
    match plan.steps.last() {
        Some(Step::StartMover(run)) => run,
        _ => panic!("{plan:?}"),
    }
}

fn add_volume(wish: &mut Replication, content: Content) {
    let Mover::RsyncTls(rsync) = &mut wish.mover else { panic!() };
    let name = format!("u-{}", rsync.pod.volumes.len());
    let mount_path = format!("/mnt/{}", rsync.pod.volumes.len());
    rsync.pod.volumes.push(ExtraVolume { name, mount_path, content });
}

fn add_claim(wish: &mut Replication, name: &str) {
    add_volume(wish, Content::Claim { name: name.to_owned(), source: json!({"claimName": name}) });
}

#[test]
fn a_mover_starts_on_the_node_of_the_pod_that_uses_its_volume_and_tolerates_what_that_pod_does() {
    let wish = direct();
    let toleration = json!({"key": "storage", "operator": "Exists"});
    let mut world = ready(&wish).with_user("data", "web-0", Some("n1"), PodState::Running);
    world.0.users[0].tolerations.push(toleration.clone());
    let plan = plan(&wish, &world.0, now());
    let placement = started(&plan).placement.as_ref().unwrap();
    assert_eq!((placement.node.as_str(), &placement.tolerations[..]), ("n1", &[toleration][..]));
    assert!(
        matches!(&plan.outcome, Outcome::Waiting(Wait::MoverStart { placement: Some(at), .. }) if at.pod == "web-0")
    );
    assert!(plan.wake_at.is_some(), "the pod is not watched");
}

#[test]
fn a_destination_that_writes_into_a_volume_in_use_starts_beside_its_user() {
    let mut wish = running(destination(Publish::Snapshot { class: None }));
    let crate::model::replication::Direction::Destination { target, .. } = &mut wish.direction else { panic!() };
    *target = Target::Existing { claim: "data".to_owned(), mode: None };
    let mut world = ready(&wish).with_user("data", "web-0", Some("n1"), PodState::Running);
    world.0.claim = Some(claim("data", Ownership::Nobody));
    assert_eq!(started(&plan(&wish, &world.0, now())).placement.as_ref().unwrap().node, "n1");
}

#[test]
fn nothing_decides_about_the_node_where_the_volume_is_not_shared_or_can_be_anywhere() {
    let cloned = running(source(SourceCopy::Clone(Default::default())));
    let user = |wish: &Replication| ready(wish).with_user("data", "web-0", Some("n1"), PodState::Running);
    assert_eq!(started(&plan(&cloned, &user(&cloned).0, now())).placement, None, "a clone is the mover's own");
    for modes in [&["ReadWriteMany"][..], &["ReadWriteOnce", "ReadWriteMany"], &["ReadOnlyMany"]] {
        let wish = direct();
        let mut world = user(&wish);
        world.0.claim.as_mut().unwrap().access_modes = modes.iter().map(|mode| (*mode).to_owned()).collect();
        assert_eq!(started(&plan(&wish, &world.0, now())).placement, None, "{modes:?}");
    }
}

#[test]
fn of_several_pods_the_one_that_holds_the_volume_longest_decides() {
    let wish = direct();
    type Pods<'p> = &'p [(&'p str, Option<&'p str>, PodState)];
    let table: [(Pods<'_>, &str); 4] = [
        (&[("a", Some("n1"), PodState::Pending), ("b", Some("n2"), PodState::Running)], "n2"),
        (&[("a", None, PodState::Pending), ("b", Some("n2"), PodState::Pending)], "n2"),
        (&[("a", Some("n1"), PodState::Ending), ("b", Some("n2"), PodState::Pending)], "n2"),
        (&[("a", Some("n1"), PodState::Ending)], "n1"),
    ];
    for (users, expected) in table {
        for order in [0, 1] {
            let mut world = ready(&wish);
            for (pod, node, state) in users {
                world = world.with_user("data", pod, *node, *state);
            }
            if order == 1 {
                world.0.users.reverse();
            }
            assert_eq!(started(&plan(&wish, &world.0, now())).placement.as_ref().unwrap().node, expected, "{users:?}");
        }
    }
}

#[test]
fn a_pod_without_a_node_is_waited_for_and_named() {
    let wish = direct();
    let world = ready(&wish).with_user("data", "web-0", None, PodState::Pending);
    let plan = plan(&wish, &world.0, now());
    assert!(plan.steps.is_empty(), "{plan:?}");
    let expected = Wait::UserUnscheduled { claim: "data".to_owned(), pod: "web-0".to_owned() };
    assert_eq!(plan.outcome, Outcome::Waiting(expected));
    assert!(plan.wake_at.is_some(), "the pod is not watched");
}

#[test]
fn a_volume_for_one_pod_is_waited_for_while_that_pod_is_there() {
    let wish = direct();
    let mut world = ready(&wish);
    world.0.claim.as_mut().unwrap().access_modes = vec!["ReadWriteOncePod".to_owned()];
    assert_eq!(started(&plan(&wish, &world.0, now())).placement, None);
    for state in [PodState::Running, PodState::Pending, PodState::Ending] {
        let held = world.clone().with_user("data", "web-0", Some("n1"), state);
        let plan = plan(&wish, &held.0, now());
        assert!(plan.steps.is_empty(), "{plan:?}");
        let expected = Wait::ClaimInUse { claim: "data".to_owned(), pod: "web-0".to_owned() };
        assert_eq!(plan.outcome, Outcome::Waiting(expected));
    }
}

#[test]
fn every_additional_claim_counts_and_two_nodes_are_too_many() {
    let mut wish = direct();
    add_claim(&mut wish, "repository");
    let mut world = ready(&wish).with_user("repository", "browser", Some("n1"), PodState::Running);
    world.0.extra_claims.push(claim("repository", Ownership::Nobody));
    assert_eq!(started(&plan(&wish, &world.0, now())).placement.as_ref().unwrap().node, "n1");
    let together = world.clone().with_user("data", "web-0", Some("n1"), PodState::Running);
    assert_eq!(started(&plan(&wish, &together.0, now())).placement.as_ref().unwrap().node, "n1");
    let apart = world.with_user("data", "web-0", Some("n2"), PodState::Running);
    let plan = plan(&wish, &apart.0, now());
    let Outcome::Waiting(Wait::ClaimsApart(places)) = &plan.outcome else { panic!("{plan:?}") };
    assert_eq!((places[0].0.as_str(), places[1].2.as_str()), ("data", "n1"));
    assert!(plan.steps.is_empty());
}

#[test]
fn a_mover_that_runs_stays_where_it_is_and_one_that_waits_moves_along() {
    let wish = direct();
    let world = ready(&wish).with_user("data", "web-0", Some("n1"), PodState::Running);
    let moved = |state| {
        let mut world = world.clone().with_mover(&wish, state);
        world.0.users[0].node = Some("n2".to_owned());
        plan(&wish, &world.0, now())
    };
    assert!(moved(MoverState::Running).steps.is_empty());
    let waiting = moved(MoverState::Starting(None));
    assert_eq!(names(&waiting), ["delete Job volsync-rsync-tls-src-rs"]);
    assert!(waiting.wake_at.is_some(), "pods are not watched");
    let unmoved = world.clone().with_mover(&wish, MoverState::Starting(None));
    assert!(plan(&wish, &unmoved.0, now()).steps.is_empty());
}

#[test]
fn a_mover_that_is_held_has_no_place_and_finds_one_when_it_is_let_go() {
    let paused = Replication { pace: Pace::Paused, ..direct() };
    let world = ready(&paused).with_user("data", "web-0", Some("n1"), PodState::Running);
    let without_place = plan(&paused, &world.0, now());
    assert_eq!(started(&without_place).placement, None);
    let wish = direct();
    let mut held = world.with_mover(&wish, MoverState::Starting(None));
    let job = held.0.job.as_mut().unwrap();
    (job.parallelism, job.start_fingerprint) = (0, started(&without_place).start_fingerprint());
    assert_eq!(names(&plan(&wish, &held.0, now())), ["delete Job volsync-rsync-tls-src-rs"]);
}

#[test]
fn a_missing_object_of_an_additional_volume_blocks_and_names_the_field() {
    let secret = |need| Content::Secret { name: "s".to_owned(), need, source: json!({"secretName": "s"}) };
    let mut wish = direct();
    add_volume(&mut wish, secret(Need::Optional));
    add_volume(&mut wish, Content::Nfs(json!({"server": "192.0.2.1", "path": "/"})));
    assert!(matches!(plan(&wish, &ready(&wish).0, now()).steps.last(), Some(Step::StartMover(_))));
    add_claim(&mut wish, "c");
    let missing = plan(&wish, &ready(&wish).0, now());
    let Outcome::Blocked(reason @ Reason::ClaimMissing { .. }) = &missing.outcome else { panic!("{missing:?}") };
    let text = reason.to_string();
    assert!(text.starts_with("spec.rsyncTLS.moverVolumes[2].volumeSource.persistentVolumeClaim.claimName: "), "{text}");
    assert!(missing.steps.is_empty());
    add_volume(&mut wish, secret(Need::Required));
    let mut world = ready(&wish);
    world.0.extra_claims.push(claim("c", Ownership::Nobody));
    let missing = plan(&wish, &world.0, at(NOW));
    assert!(matches!(&missing.outcome, Outcome::Blocked(Reason::SecretMissing { field, .. })
        if field == "spec.rsyncTLS.moverVolumes[3].volumeSource.secret.secretName"));
    assert!(missing.wake_at.is_some(), "Secrets are not watched");
    world.0.extra_secrets.push("s".to_owned());
    assert!(matches!(plan(&wish, &world.0, now()).steps.last(), Some(Step::StartMover(_))));
}

#[test]
fn no_mover_is_started_for_an_additional_claim_that_is_being_deleted() {
    let mut wish = direct();
    add_claim(&mut wish, "c");
    let mut world = ready(&wish);
    world.0.extra_claims.push(Claim { deleting: true, ..claim("c", Ownership::Nobody) });
    let plan = plan(&wish, &world.0, now());
    let gone = Wait::Gone { kind: "PersistentVolumeClaim", name: "c".to_owned() };
    assert_eq!((plan.steps, plan.outcome), (vec![], Outcome::Waiting(gone)));
}
