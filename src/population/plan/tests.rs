//! Every state in which a claim that is to be filled can be met, and what is done then.

use super::*;
use crate::model::population::{ClaimShape, Claimant, Standing};
use crate::model::replication::VolumeMode;

const NOW: &str = "2026-11-23T10:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn wish() -> Population {
    Population {
        claim: Claimant { namespace: text("shop"), name: text("data"), uid: text("u1") },
        resource_version: text("7"),
        destination: Named::Here(text("rd")),
        shape: ClaimShape {
            resources: serde_json::json!({"requests": {"storage": "2Gi"}}),
            request: Some(text("2Gi")),
            access_modes: vec![text("ReadWriteOnce")],
            storage_class: Some(text("fast")),
            attributes_class: None,
            mode: VolumeMode::Filesystem,
        },
        node: None,
        migrated: false,
        created: now(),
        volume: None,
        told: None,
    }
}

fn image() -> Image {
    Image {
        name: text("i"),
        resource_version: text("3"),
        deleting: false,
        ready: true,
        error: None,
        restore_size: Some(text("2Gi")),
        marked: false,
        marks: 0,
        holders: BTreeSet::new(),
        standing: standing(Upkeep::Ours, true),
        is_promised: false,
    }
}

fn standing(upkeep: Upkeep, has_other_owners: bool) -> Standing {
    Standing { uid: text("u-i"), upkeep, has_other_owners }
}

fn held_by(holder: Holder) -> Image {
    Image { marked: true, holders: [holder].into(), ..image() }
}

fn prime() -> Prime {
    Prime {
        name: text("vs-prime-u1"),
        uid: text("u-p"),
        ownership: Ownership::Ours,
        deleting: false,
        created: now(),
        phase: PrimePhase::Pending,
        node: None,
        volume: None,
        origin: text("i"),
        origin_exists: true,
    }
}

fn bound() -> Prime {
    Prime { phase: PrimePhase::Bound, volume: Some(text("pv")), ..prime() }
}

fn lost() -> Prime {
    Prime { phase: PrimePhase::Lost, ..bound() }
}

fn volume_of(uid: &str) -> Option<Volume> {
    let claim_uid = Some(text(uid));
    Some(Volume { name: text("pv"), resource_version: text("5"), claim_uid, claim: text("somebody") })
}

fn immediate() -> Class {
    Class::Immediate { provisioner: text("csi") }
}

fn first_consumer() -> Class {
    Class::FirstConsumer { provisioner: text("csi") }
}

/// An image is published and ready, and there is no prime.
fn published() -> Surroundings {
    let destination = Published::Snapshot(text("i"));
    Surroundings { class: immediate(), destination, image: Some(image()), ..Surroundings::default() }
}

fn under_way(prime: Prime) -> Surroundings {
    Surroundings {
        class: immediate(),
        prime: Some(prime),
        marked: vec![held_by(Holder::Prime)],
        ..Surroundings::default()
    }
}

fn filled() -> Population {
    Population { volume: Some(text("pv")), ..wish() }
}

/// The steps in short, and the outcome.
fn of(wish: &Population, seen: &Surroundings) -> (Vec<String>, Outcome) {
    let plan = plan(wish, seen, now());
    (plan.steps.iter().map(FillStep::describe).collect(), plan.outcome)
}

#[track_caller]
fn check(wish: &Population, seen: &Surroundings, steps: &[&str], outcome: &Outcome) {
    let (done, left) = of(wish, seen);
    assert_eq!((done.iter().map(String::as_str).collect::<Vec<_>>(), &left), (steps.to_vec(), outcome));
}

#[track_caller]
fn check_waits(wish: &Population, seen: &Surroundings, wait: Wait) {
    check(wish, seen, &[], &Outcome::Waiting(wait));
}

const MARK: &str = "mark VolumeSnapshot i";
const UNMARK: &str = "remove the mark of VolumeSnapshot i";
const CREATE: &str = "create PersistentVolumeClaim vs-prime-u1";
const DELETE: &str = "delete PersistentVolumeClaim vs-prime-u1";
const HAND_OVER: &str = "hand over PersistentVolume pv";

fn begun() -> Outcome {
    Outcome::Begun { prime: text("vs-prime-u1"), image: text("i") }
}

#[test]
fn an_image_is_marked_and_held_before_a_prime_is_made_from_it() {
    check(&wish(), &published(), &[MARK, CREATE], &begun());
    let plan = plan(&wish(), &published(), now());
    let FillStep::HoldImage { image, holders } = &plan.steps[0] else { panic!("{plan:?}") };
    assert_eq!((&image.standing, holders), (&standing(Upkeep::Ours, true), &[Holder::Claim].into()));
    let FillStep::CreatePrime(new) = &plan.steps[1] else { panic!("{plan:?}") };
    assert_eq!((&new.shape, new.origin.as_str(), &new.node), (&wish().shape, "i", &None));
}

#[test]
fn after_a_crash_between_mark_and_prime_only_the_prime_is_made() {
    let seen = Surroundings { image: Some(held_by(Holder::Claim)), ..published() };
    check(&wish(), &seen, &[CREATE], &begun());
}

#[test]
fn an_image_that_was_promised_is_used_although_its_destination_is_gone() {
    let gone = |marked| Surroundings { destination: Published::NoDestination, image: None, marked, ..published() };
    check(&wish(), &gone(vec![held_by(Holder::Claim)]), &[CREATE], &begun());
    let waits = || Wait::Destination(text("rd"));
    check_waits(&wish(), &gone(vec![Image { marked: true, ..image() }]), waits());
    check_waits(&wish(), &gone(vec![Image { deleting: true, ..held_by(Holder::Claim) }]), waits());
}

#[test]
fn a_mark_without_a_holder_is_not_enough() {
    let seen = Surroundings { image: Some(Image { marked: true, ..image() }), ..published() };
    check(&wish(), &seen, &[MARK, CREATE], &begun());
}

#[test]
fn a_snapshot_of_somebody_elses_is_marked_and_not_held() {
    let theirs = Image { standing: standing(Upkeep::Theirs, true), ..image() };
    let plan = plan(&wish(), &Surroundings { image: Some(theirs), ..published() }, now());
    let FillStep::HoldImage { holders, .. } = &plan.steps[0] else { panic!("{plan:?}") };
    assert!(holders.is_empty(), "with an owner of ours it would be deleted with that");
    // The user laid claim to it while it was held.
    let kept = Image { standing: standing(Upkeep::Theirs, true), ..held_by(Holder::Prime) };
    let seen = Surroundings { marked: vec![kept], ..under_way(prime()) };
    check(&wish(), &seen, &[MARK], &Outcome::Underway);
}

#[test]
fn what_a_claim_waits_for_is_named() {
    let destination = || text("rd");
    let with = |destination, image| Surroundings { destination, image, ..published() };
    let published_i = || Published::Snapshot(text("i"));
    check_waits(&wish(), &with(Published::NoDestination, None), Wait::Destination(destination()));
    check_waits(&wish(), &with(Published::Nothing, None), Wait::FirstImage { destination: destination() });
    let other = Wait::OtherImage { destination: destination(), image: text("PersistentVolumeClaim/x") };
    check_waits(&wish(), &with(Published::Other(text("PersistentVolumeClaim/x")), None), other);
    let gone = || Wait::ImageGone { destination: destination(), image: text("i") };
    check_waits(&wish(), &with(published_i(), None), gone());
    check_waits(&wish(), &with(published_i(), Some(Image { deleting: true, ..image() })), gone());
    let unready = Image { ready: false, error: Some(text("full")), ..image() };
    let wait = Wait::ImageReady { image: text("i"), error: Some(text("full")) };
    check_waits(&wish(), &with(published_i(), Some(unready)), wait);
    check_waits(&wish(), &Surroundings { class: Class::Missing, ..published() }, Wait::Class(text("fast")));
    let elsewhere = Named::Elsewhere { namespace: text("bank"), name: text("rd") };
    let wait = Wait::Elsewhere { namespace: text("bank"), name: text("rd") };
    check_waits(&Population { destination: elsewhere, ..wish() }, &published(), wait);
}

#[test]
fn an_unready_image_is_looked_at_again_where_no_watch_tells() {
    let unready = |upkeep| {
        let image = Image { ready: false, standing: standing(upkeep, true), ..image() };
        Surroundings { image: Some(image), ..published() }
    };
    assert_eq!(plan(&wish(), &unready(Upkeep::Ours), now()).wake_at, None);
    assert_eq!(plan(&wish(), &unready(Upkeep::Theirs), now()).wake_at, Some(now() + UNWATCHED_RECHECK));
}

#[test]
fn a_claim_that_is_smaller_than_the_image_gets_no_prime() {
    for (request, needed, fits) in [
        ("2Gi", "2Gi", true),
        ("2147483648", "2Gi", true),
        ("2G", "2Gi", false),
        ("1Gi", "1025Mi", false),
        ("1Gi", "", true),
        ("1Gi", "0", true),
    ] {
        let mut wish = wish();
        wish.shape.request = Some(text(request));
        let restore_size = (!needed.is_empty()).then(|| text(needed));
        let seen = Surroundings { image: Some(Image { restore_size, ..image() }), ..published() };
        let (steps, outcome) = of(&wish, &seen);
        let wait = Wait::Larger { image: text("i"), request: text(request), needed: text(needed) };
        assert_eq!((steps.is_empty(), outcome == Outcome::Waiting(wait)), (!fits, !fits), "{request} {needed}");
    }
}

#[test]
fn a_volume_for_the_first_consumer_is_made_on_its_node() {
    let seen = Surroundings { class: first_consumer(), ..published() };
    check(&wish(), &seen, &[], &Outcome::Underway);
    let placed = Population { node: Some(text("n1")), ..wish() };
    let node = |seen: &Surroundings| {
        let steps = plan(&placed, seen, now()).steps;
        steps.into_iter().find_map(|step| if let FillStep::CreatePrime(new) = step { Some(new.node) } else { None })
    };
    assert_eq!(node(&seen), Some(Some(text("n1"))));
    assert_eq!(node(&published()), Some(None), "elsewhere the node does not matter");
    let moved = Surroundings { class: first_consumer(), ..under_way(Prime { node: Some(text("n0")), ..prime() }) };
    check(&placed, &moved, &["move PersistentVolumeClaim vs-prime-u1 to node n1"], &Outcome::Underway);
    let there = Surroundings { class: first_consumer(), ..under_way(Prime { node: Some(text("n1")), ..prime() }) };
    check(&placed, &there, &[], &Outcome::Underway);
}

#[test]
fn a_provisioner_within_kubernetes_is_told_of_when_it_was_not_passed_on_for_a_while() {
    let provisioner = || text("kubernetes.io/aws-ebs");
    let seen = Surroundings { class: Class::Immediate { provisioner: provisioner() }, ..published() };
    let fresh = plan(&wish(), &seen, now());
    assert_eq!((fresh.outcome, fresh.wake_at), (Outcome::Underway, Some(now() + MIGRATION)));
    let old = Population { created: now() - MIGRATION, ..wish() };
    check_waits(&old, &seen, Wait::OtherClass { class: text("fast"), provisioner: provisioner() });
    check(&Population { migrated: true, ..wish() }, &seen, &[MARK, CREATE], &begun());
}

#[test]
fn the_prime_holds_the_image_in_the_claims_place() {
    let seen = Surroundings { marked: vec![held_by(Holder::Claim)], ..under_way(prime()) };
    let plan = plan(&wish(), &seen, now());
    let [FillStep::HoldImage { holders, .. }] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!(holders, &[Holder::Prime].into());
    check(&wish(), &under_way(prime()), &[], &Outcome::Underway);
}

#[test]
fn a_prime_without_a_volume_for_too_long_is_told_of() {
    let old = Prime { created: now() - USUAL_BINDING, ..prime() };
    check_waits(&wish(), &under_way(old), Wait::Provisioner { prime: text("vs-prime-u1") });
    assert_eq!(plan(&wish(), &under_way(prime()), now()).wake_at, Some(now() + USUAL_BINDING));
}

#[test]
fn only_the_primes_own_volume_is_handed_over() {
    let with = |volume| Surroundings { volume, ..under_way(bound()) };
    check(&wish(), &with(volume_of("u-p")), &[HAND_OVER], &Outcome::Underway);
    check(&wish(), &with(volume_of("u1")), &[], &Outcome::Underway);
    let other = Wait::VolumeOfOther { volume: text("pv"), claim: text("somebody") };
    check_waits(&wish(), &with(volume_of("u9")), other);
    let half_bound = Prime { phase: PrimePhase::Pending, ..bound() };
    let seen = Surroundings { volume: volume_of("u-p"), ..under_way(half_bound) };
    check(&wish(), &seen, &[], &Outcome::Underway);
    check(&wish(), &with(None), &[], &Outcome::Underway);
}

#[test]
fn a_prime_that_lost_its_image_or_its_volume_is_made_again() {
    let over = |lost| Outcome::StartedOver { prime: text("vs-prime-u1"), lost };
    let orphan = Surroundings { marked: vec![], ..under_way(Prime { origin_exists: false, ..prime() }) };
    check(&wish(), &orphan, &[DELETE], &over(Lost::Image(text("i"))));
    check(&wish(), &under_way(lost()), &[DELETE], &over(Lost::Volume(text("pv"))));
    let going = Surroundings { prime: Some(Prime { deleting: true, ..prime() }), ..orphan };
    check(&wish(), &going, &[], &Outcome::Underway);
}

#[test]
fn a_prime_that_is_not_ours_is_left_alone_whether_the_claim_is_filled_or_not() {
    for (ownership, owner) in [(Ownership::Nobody, "nobody"), (Ownership::Other(text("Pod/x")), "Pod/x")] {
        for prime in [prime(), bound(), lost()] {
            let seen = under_way(Prime { ownership: ownership.clone(), ..prime });
            let wait = Wait::NotOurs { prime: text("vs-prime-u1"), owner: text(owner) };
            check_waits(&wish(), &seen, wait);
            check(&filled(), &seen, &[UNMARK], &Outcome::Underway);
        }
    }
}

#[test]
fn a_filled_claim_keeps_its_prime_until_that_has_lost_the_volume() {
    check(&filled(), &under_way(bound()), &[], &Outcome::Underway);
    check(&filled(), &under_way(lost()), &[UNMARK, DELETE], &Outcome::Finished);
}

#[test]
fn a_claim_that_got_another_volume_needs_its_prime_no_more() {
    let other = Population { volume: Some(text("other")), ..wish() };
    check(&other, &under_way(bound()), &[UNMARK, DELETE], &Outcome::Finished);
    check(&other, &under_way(prime()), &[UNMARK, DELETE], &Outcome::Finished);
}

#[test]
fn an_image_that_nobody_else_wants_goes_with_the_prime_and_a_users_stays() {
    let alone = Image { standing: standing(Upkeep::Ours, false), ..held_by(Holder::Prime) };
    let with = |image| Surroundings { marked: vec![image], ..under_way(lost()) };
    check(&filled(), &with(alone.clone()), &["delete VolumeSnapshot i", DELETE], &Outcome::Finished);
    let promised = Image { is_promised: true, ..alone.clone() };
    check(&filled(), &with(promised), &[UNMARK, DELETE], &Outcome::Finished);
    let kept = Image { standing: standing(Upkeep::Theirs, false), ..alone.clone() };
    check(&filled(), &with(kept), &[UNMARK, DELETE], &Outcome::Finished);
    check(&filled(), &with(Image { deleting: true, ..alone }), &[DELETE], &Outcome::Finished);
}

#[test]
fn a_filled_claim_is_finished_once() {
    let done = Surroundings::default();
    check(&filled(), &done, &[], &Outcome::Underway);
    let going = under_way(Prime { deleting: true, ..lost() });
    check(&filled(), &Surroundings { marked: vec![], ..going }, &[], &Outcome::Underway);
}

#[test]
fn a_claim_waits_while_as_many_as_may_be_are_filled_from_its_image() {
    let seen = |image| Surroundings { image: Some(image), ..published() };
    let full = || Image { marks: MOST_AT_A_TIME, ..image() };
    let waits = plan(&wish(), &seen(full()), now());
    assert_eq!(waits.outcome, Outcome::Waiting(Wait::Turn { image: text("i") }));
    assert!(waits.steps.is_empty() && waits.wake_at.is_some());
    for begins in [Image { marks: MOST_AT_A_TIME - 1, ..image() }, Image { marked: true, ..full() }] {
        assert!(matches!(plan(&wish(), &seen(begins), now()).outcome, Outcome::Begun { .. }));
    }
}
