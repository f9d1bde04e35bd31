//! What must hold of any queue, and what decides about the order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn limits([cluster, namespace, node, storage_class]: [u32; 4]) -> Limits {
    let [cluster, namespace, node, storage_class] = [cluster, namespace, node, storage_class].map(NonZeroU32::new);
    Limits { cluster, namespace, node, storage_class }
}

fn key(namespace: &str, name: impl std::fmt::Display) -> Key {
    Key { role: Role::Source, namespace: namespace.to_owned(), name: name.to_string() }
}

fn regular(namespace: &str) -> Demand {
    Demand { urgency: Urgency::Regular, namespace: namespace.to_owned(), storage_class: None, node: None }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Asks for one place after the other, a second apart, and lets each that gets one give it up at once: the order.
fn order(line: &mut Line, wishes: &[(&str, &str)]) -> Vec<String> {
    let blocker = key("blocker", "x");
    line.hold(&blocker, regular("blocker"), at(0));
    for (second, (namespace, name)) in (1..).zip(wishes) {
        assert!(matches!(line.ask(&key(namespace, name), regular(namespace), at(second)), Answer::Queued(_)));
    }
    line.leave(&blocker);
    let mut served = Vec::new();
    while let [next] = &line.next()[..] {
        let answer = line.ask(next, regular(&next.namespace), at(100));
        assert!(matches!(answer, Answer::Given { .. }), "{next:?}: {answer:?}");
        served.push(next.name.clone());
        line.leave(next);
    }
    served
}

#[test]
fn namespaces_take_turns_and_the_longest_waiting_of_each_goes_first() {
    let mut line = Line::new(limits([1, 0, 0, 0]));
    let wishes = [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2"), ("c", "c1")];
    assert_eq!(order(&mut line, &wishes), ["a1", "b1", "c1", "a2", "b2", "a3"]);
}

#[test]
fn one_of_a_namespace_that_comes_last_does_not_wait_for_thousands_of_another() {
    let mut line = Line::new(limits([1, 0, 0, 0]));
    let many: Vec<String> = (0..5000).map(|number| format!("a{number:04}")).collect();
    let mut wishes: Vec<_> = many.iter().map(|name| ("a", name.as_str())).collect();
    wishes.push(("b", "late"));
    let served = order(&mut line, &wishes);
    assert_eq!(served.iter().position(|name| name == "late"), Some(1));
    assert_eq!(served.len(), 5001);
}

#[test]
fn a_namespace_that_was_served_goes_behind_one_that_was_not() {
    let mut line = Line::new(limits([1, 0, 0, 0]));
    assert!(matches!(line.ask(&key("a", "a1"), regular("a"), at(0)), Answer::Given { .. }));
    for (namespace, name) in [("a", "a2"), ("a", "a3"), ("b", "b1")] {
        line.ask(&key(namespace, name), regular(namespace), at(0));
    }
    line.leave(&key("a", "a1"));
    assert_eq!(line.next(), [key("b", "b1")]);
}

#[test]
fn a_position_is_that_among_those_who_wait_for_the_same() {
    let mut line = Line::new(limits([0, 1, 0, 0]));
    for namespace in ["a", "b"] {
        line.hold(&key(namespace, "holder"), regular(namespace), at(0));
    }
    for (namespace, name, expected) in
        [("a", "a1", (1, 0)), ("b", "b1", (1, 1)), ("a", "a2", (2, 2)), ("b", "b2", (2, 3))]
    {
        let answer = line.ask(&key(namespace, name), regular(namespace), at(1));
        let Answer::Queued(Queued { position, before, full, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!((position, before), expected, "{name}");
        assert_eq!(full.0, Limit::Namespace(namespace.to_owned()));
    }
}

#[test]
fn one_that_comes_again_goes_behind_those_that_wait() {
    let mut line = Line::new(limits([1, 0, 0, 0]));
    assert!(matches!(line.ask(&key("a", "first"), regular("a"), at(0)), Answer::Given { .. }));
    assert!(matches!(line.ask(&key("b", "second"), regular("b"), at(1)), Answer::Queued(_)));
    line.leave(&key("a", "first"));
    let again = line.ask(&key("a", "first"), regular("a"), at(2));
    let Answer::Queued(Queued { position, full, since, .. }) = again else { panic!("{again:?}") };
    assert_eq!((position, full, since), (2, (Limit::Cluster, NonZeroU32::MIN), at(2)));
    assert_eq!(line.next(), [key("b", "second")], "the place is kept for the one before");
}

#[test]
fn restores_go_before_all_others() {
    let mut line = Line::new(limits([1, 0, 0, 0]));
    line.hold(&key("a", "x"), regular("a"), at(0));
    line.ask(&key("b", "backup"), regular("b"), at(1));
    let restore = Demand { urgency: Urgency::Restore, ..regular("a") };
    let answer = line.ask(&key("a", "restore"), restore, at(2));
    assert!(matches!(answer, Answer::Queued(Queued { position: 1, .. })), "{answer:?}");
    line.leave(&key("a", "x"));
    assert_eq!(line.next(), [key("a", "restore")]);
}

#[test]
fn who_is_kept_by_a_limit_of_his_own_does_not_keep_others() {
    for (given, demand, limit) in [
        ([0, 1, 0, 0], regular("a"), Limit::Namespace("a".to_owned())),
        ([0, 0, 1, 0], Demand { node: Some("n1".to_owned()), ..regular("c") }, Limit::Node("n1".to_owned())),
        (
            [0, 0, 0, 1],
            Demand { storage_class: Some("slow".to_owned()), ..regular("c") },
            Limit::StorageClass("slow".to_owned()),
        ),
    ] {
        let mut line = Line::new(limits(given));
        let holder = Demand { node: Some("n1".to_owned()), storage_class: Some("slow".to_owned()), ..regular("a") };
        line.hold(&key("a", "holder"), holder, at(0));
        let waits = line.ask(&key(&demand.namespace, "waits"), demand.clone(), at(1));
        let Answer::Queued(Queued { position: 1, full, .. }) = waits else { panic!("{waits:?}") };
        assert_eq!(full.0, limit);
        assert_eq!(line.ask(&key("b", "passes"), regular("b"), at(2)), Answer::Given { since: at(2) });
        line.leave(&key("a", "holder"));
        assert_eq!(line.next(), [key(&demand.namespace, "waits")]);
    }
}

#[test]
fn a_mover_whose_node_becomes_known_counts_there_and_keeps_its_place() {
    let mut line = Line::new(limits([2, 0, 1, 0]));
    let on = |node: &str| Demand { node: Some(node.to_owned()), ..regular("a") };
    assert!(matches!(line.ask(&key("a", "x"), regular("a"), at(0)), Answer::Given { .. }));
    line.hold(&key("a", "x"), on("n1"), at(5));
    let Some(Turn::Place(place)) = line.turn(&key("a", "x")) else { panic!() };
    assert_eq!((place.since, place.node.as_deref()), (at(0), Some("n1")));
    assert!(matches!(line.ask(&key("a", "y"), on("n1"), at(6)), Answer::Queued(_)));
    assert_eq!(line.ask(&key("a", "x"), on("n2"), at(7)), Answer::Kept);
    assert_eq!(line.next(), [key("a", "y")]);
}

#[test]
fn those_that_waited_before_keep_their_order() {
    let mut line = Line::new(limits([1, 0, 0, 0]));
    line.hold(&key("a", "x"), regular("a"), at(0));
    line.wait(&key("b", "first"), regular("b"), at(10));
    line.wait(&key("c", "second"), regular("c"), at(20));
    let answer = line.ask(&key("c", "second"), regular("c"), at(30));
    assert!(matches!(answer, Answer::Queued(Queued { position: 2, since, .. }) if since == at(20)), "{answer:?}");
}

/// One thing that happens to a queue.
#[derive(Debug, Clone)]
enum Event {
    Ask(usize),
    Leave(usize),
    /// Gives up its place and asks again, as one whose attempt failed.
    Return(usize),
    /// The scheduler has chosen a node.
    Schedule(usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    let one = 0_usize..24;
    prop_oneof![
        4 => one.clone().prop_map(Event::Ask),
        2 => one.clone().prop_map(Event::Leave),
        1 => one.clone().prop_map(Event::Return),
        1 => (one, 0_usize..3).prop_map(|(one, node)| Event::Schedule(one, node)),
    ]
}

/// Three namespaces, two classes, three nodes or none that is known, every seventh a restore.
fn demand(number: usize) -> Demand {
    Demand {
        urgency: if number.is_multiple_of(7) { Urgency::Restore } else { Urgency::Regular },
        namespace: format!("ns{}", number % 3),
        storage_class: Some(format!("class{}", number % 2)),
        node: (number % 4 < 3).then(|| format!("n{}", number % 4)),
    }
}

fn numbered(number: usize) -> Key {
    key(&demand(number).namespace, number)
}

/// Counted anew from what the line says.
fn counts(line: &Line, of: impl Fn(&Demand) -> Option<String>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for (demand, _) in line.holding.values() {
        if let Some(name) = of(demand) {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_limit_is_ever_exceeded_by_who_asked(
        given in [0_u32..5, 0..3, 0..3, 0..4],
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let limits = limits(given);
        let mut line = Line::new(limits);
        for (second, event) in (0..).zip(&events) {
            match *event {
                Event::Ask(number) => drop(line.ask(&numbered(number), demand(number), at(second))),
                Event::Leave(number) => line.leave(&numbered(number)),
                Event::Return(number) => {
                    line.leave(&numbered(number));
                    line.ask(&numbered(number), demand(number), at(second));
                }
                // A node of its own: what the scheduler does is counted, not limited.
                Event::Schedule(number, _) if demand(number).node.is_some() => {}
                Event::Schedule(number, node) => {
                    if line.holding.contains_key(&numbered(number)) {
                        let scheduled = Demand { node: Some(format!("free{node}{number}")), ..demand(number) };
                        line.hold(&numbered(number), scheduled, at(second));
                    }
                }
            }
            let most = |limit: Option<NonZeroU32>| limit.map_or(u32::MAX, NonZeroU32::get);
            prop_assert!(u32::try_from(line.places()).unwrap() <= most(limits.cluster));
            let namespaces = counts(&line, |demand| Some(demand.namespace.clone()));
            prop_assert!(namespaces.values().all(|count| *count <= most(limits.namespace)));
            let nodes = counts(&line, |demand| demand.node.clone());
            prop_assert!(nodes.values().all(|count| *count <= most(limits.node)));
            let classes = counts(&line, |demand| demand.storage_class.clone());
            prop_assert!(classes.values().all(|count| *count <= most(limits.storage_class)));
            prop_assert_eq!((line.load.cluster, &line.load.namespaces), (u32::try_from(line.places()).unwrap(), &namespaces));
            prop_assert_eq!((&line.load.nodes, &line.load.storage_classes), (&nodes, &classes));
            // Nobody is in it twice, and what is kept of namespaces is bounded.
            prop_assert_eq!(line.ranks.len(), line.waiting.len());
            prop_assert!(line.ranks.keys().all(|key| !line.holding.contains_key(key)));
            prop_assert!(line.next_number.len() <= 3);
        }
    }

    /// Whoever holds a place gives it up at some time, whoever is woken asks: then everyone who waits is served, though others
    /// come all the time.
    #[test]
    fn nobody_waits_for_ever(
        given in [1_u32..3, 0..3, 0..2, 0..3],
        mut waiting in proptest::collection::btree_set(0_usize..24, 1..24),
        newcomers in proptest::collection::vec(0_usize..24, 600),
    ) {
        let mut line = Line::new(limits(given));
        // Restores go before others for ever; among themselves, and without them, nobody does.
        let demand = |number: usize| Demand { urgency: Urgency::Regular, ..demand(number) };
        for number in &waiting {
            if matches!(line.ask(&numbered(*number), demand(*number), at(0)), Answer::Given { .. }) {
                line.leave(&numbered(*number));
            }
        }
        waiting.retain(|number| line.ranks.contains_key(&numbered(*number)));
        for (second, newcomer) in (1..).zip(newcomers) {
            line.ask(&numbered(newcomer), demand(newcomer), at(second));
            for next in line.next() {
                let number = next.name.parse().unwrap();
                let answer = line.ask(&next, demand(number), at(second));
                prop_assert!(matches!(answer, Answer::Given { .. }), "woken in vain: {answer:?}");
            }
            let oldest = line.holding.iter().min_by_key(|(_, (_, since))| *since).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                waiting.remove(&oldest.name.parse().unwrap());
                line.leave(&oldest);
            }
        }
        prop_assert!(waiting.is_empty(), "{waiting:?} still wait");
    }

    /// What is woken is who would get a place, in any order of asking.
    #[test]
    fn those_who_are_woken_get_their_places_in_whatever_order_they_ask(
        given in [0_u32..5, 0..3, 0..3, 0..4],
        asked in proptest::collection::vec(0_usize..24, 1..60),
        left in proptest::collection::vec(0_usize..24, 0..20),
        backwards in any::<bool>(),
    ) {
        let mut line = Line::new(limits(given));
        for (second, number) in (0..).zip(asked) {
            line.ask(&numbered(number), demand(number), at(second));
        }
        for number in left {
            line.leave(&numbered(number));
        }
        let mut next = line.next();
        if backwards {
            next.reverse();
        }
        for key in next {
            let number = key.name.parse().unwrap();
            let answer = line.ask(&key, demand(number), at(1000));
            prop_assert!(matches!(answer, Answer::Given { .. }), "{answer:?}");
        }
        prop_assert_eq!(line.next(), []);
    }
}
