//! PURE: who has a place, who waits for one, and who is next.
//!
//! Order is by start-time fair queueing: each that comes gets a number, one more than the last one's of its namespace, and no
//! less than that of the one served last. So namespaces take turns, however many each has waiting; and nobody is overtaken for
//! ever, since all who come get higher numbers as others are served. Restores go before all others. Who cannot be
//! served, because a limit is reached that does not concern those behind, is passed over and keeps its number.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::Timestamp;

use crate::model::queue::{Demand, Limit, Limits, Place, Queued, Turn, Urgency};
use crate::model::replication::{Owner, Role};

/// Whose place it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub role: Role,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// That of an object.
    #[must_use]
    pub fn of(owner: &Owner) -> Self {
        Self { role: owner.role, namespace: owner.namespace.clone(), name: owner.name.clone() }
    }
}

/// Those that have places and those that wait.
#[derive(Debug, Default)]
pub struct Line {
    limits: Limits,
    holding: BTreeMap<Key, (Demand, Timestamp)>,
    load: Load,
    waiting: BTreeMap<Rank, Demand>,
    ranks: BTreeMap<Key, Rank>,
    /// The least number for the next one of a namespace.
    next_number: BTreeMap<String, u64>,
    /// The highest number that was served.
    served: u64,
}

/// What decides about the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    urgency: Urgency,
    number: u64,
    since: Timestamp,
    key: Key,
}

/// What comes of asking for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It had one, and keeps it.
    Kept,
    /// It has one now.
    Given {
        /// Since when it waited for it.
        since: Timestamp,
    },
    /// It waits.
    Queued(Queued),
}

impl Line {
    /// One in which nobody is.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How many have a place.
    #[must_use]
    pub fn places(&self) -> usize {
        self.holding.len()
    }

    /// How many wait.
    #[must_use]
    pub fn length(&self) -> usize {
        self.waiting.len()
    }

    /// Notes one that costs already, whether or not a place is free.
    pub fn hold(&mut self, key: &Key, demand: Demand, since: Timestamp) {
        self.stop_waiting(key);
        let since = self.stop_holding(key).map_or(since, |(_, since)| since);
        self.take(key, demand, since);
    }

    /// Asks for a place. Who has one keeps it as long as what it needs now is free too.
    pub fn ask(&mut self, key: &Key, demand: Demand, now: Timestamp) -> Answer {
        if let Some((_, since)) = self.stop_holding(key)
            && self.load.full(&self.limits, &demand).is_none()
        {
            self.take(key, demand, since);
            return Answer::Kept;
        }
        let rank = match self.ranks.get(key) {
            Some(rank) if rank.urgency == demand.urgency => rank.clone(),
            _ => {
                self.stop_waiting(key);
                self.enter(key, &demand, now)
            }
        };
        let (since, number) = (rank.since, rank.number);
        self.waiting.insert(rank, demand.clone());
        match self.ahead(key) {
            Some((before, position, full)) => Answer::Queued(Queued { position, before, full, since }),
            None => {
                self.stop_waiting(key);
                self.serve(number);
                self.take(key, demand, now);
                Answer::Given { since }
            }
        }
    }

    /// Notes one that waited before this operator started.
    pub fn wait(&mut self, key: &Key, demand: Demand, since: Timestamp) {
        let rank = self.enter(key, &demand, since);
        self.waiting.insert(rank, demand);
    }

    /// Notes one that needs no place any more.
    pub fn leave(&mut self, key: &Key) {
        self.stop_waiting(key);
        self.stop_holding(key);
    }

    /// What is to be remembered of one.
    #[must_use]
    pub fn turn(&self, key: &Key) -> Option<Turn> {
        if let Some((Demand { urgency: _, namespace: _, storage_class, node }, since)) = self.holding.get(key) {
            let (storage_class, node) = (storage_class.clone(), node.clone());
            return Some(Turn::Place(Place { since: *since, storage_class, node }));
        }
        self.ranks.get(key).map(|rank| Turn::Waiting { since: rank.since })
    }

    /// Those who would get a place now if they asked.
    #[must_use]
    pub fn next(&self) -> Vec<Key> {
        let mut load = self.load.clone();
        let mut next = Vec::new();
        for (rank, demand) in &self.waiting {
            match load.full(&self.limits, demand) {
                None => {
                    load.add(demand);
                    next.push(rank.key.clone());
                }
                Some((Limit::Cluster, _)) => break,
                Some(_) => {}
            }
        }
        next
    }

    /// Everyone who is in it.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.holding.keys().chain(self.ranks.keys())
    }

    /// What is full for one that waits when those before it have got what they can have; how many they are, and its position
    /// among those that wait for the same.
    fn ahead(&self, key: &Key) -> Option<(usize, usize, (Limit, NonZeroU32))> {
        let mut load = self.load.clone();
        for (before, (rank, demand)) in self.waiting.iter().enumerate() {
            let full = load.full(&self.limits, demand);
            if rank.key == *key {
                let full = full?;
                let same = self.waiting.values().take(before).filter(|demand| full.0.concerns(demand)).count();
                return Some((before, same.saturating_add(1), full));
            }
            if full.is_none() {
                load.add(demand);
            }
        }
        None
    }

    fn enter(&mut self, key: &Key, demand: &Demand, since: Timestamp) -> Rank {
        let next = self.next_number.entry(demand.namespace.clone()).or_default();
        let number = self.served.max(*next);
        *next = number.saturating_add(1);
        let rank = Rank { urgency: demand.urgency, number, since, key: key.clone() };
        self.ranks.insert(key.clone(), rank.clone());
        rank
    }

    fn take(&mut self, key: &Key, demand: Demand, since: Timestamp) {
        self.load.add(&demand);
        self.holding.insert(key.clone(), (demand, since));
    }

    /// One that will not ask any more.
    pub fn stop_waiting(&mut self, key: &Key) {
        let Some(rank) = self.ranks.remove(key) else {
            return;
        };
        self.waiting.remove(&rank);
    }

    /// What a namespace that was not served since may have had before tells nothing any more.
    fn serve(&mut self, number: u64) {
        let served = self.served.max(number);
        self.served = served;
        self.next_number.retain(|_, next| *next > served);
    }

    fn stop_holding(&mut self, key: &Key) -> Option<(Demand, Timestamp)> {
        let held = self.holding.remove(key)?;
        self.load.remove(&held.0);
        Some(held)
    }
}

/// How many places are taken of what can be limited.
#[derive(Debug, Clone, Default)]
struct Load {
    cluster: u32,
    namespaces: BTreeMap<String, u32>,
    nodes: BTreeMap<String, u32>,
    storage_classes: BTreeMap<String, u32>,
}

impl Load {
    fn add(&mut self, demand: &Demand) {
        self.cluster = self.cluster.saturating_add(1);
        for (counts, name) in self.counts(demand) {
            let count = counts.entry(name).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn remove(&mut self, demand: &Demand) {
        self.cluster = self.cluster.saturating_sub(1);
        for (counts, name) in self.counts(demand) {
            let left = counts.get(&name).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                counts.remove(&name);
            } else {
                counts.insert(name, left);
            }
        }
    }

    fn counts(&mut self, demand: &Demand) -> impl Iterator<Item = (&mut BTreeMap<String, u32>, String)> {
        // Destructured, so that nothing of a demand is left uncounted.
        let Demand { urgency: _, namespace, storage_class, node } = demand.clone();
        let named = [
            (&mut self.namespaces, Some(namespace)),
            (&mut self.nodes, node),
            (&mut self.storage_classes, storage_class),
        ];
        named.into_iter().filter_map(|(counts, name)| Some((counts, name?)))
    }

    /// What is full for this demand, the widest first.
    fn full(&self, limits: &Limits, demand: &Demand) -> Option<(Limit, NonZeroU32)> {
        let over = |taken: u32, limit: Option<NonZeroU32>| limit.filter(|limit| taken >= limit.get());
        let of = |counts: &BTreeMap<String, u32>, name: &str| counts.get(name).copied().unwrap_or(0);
        let named = |counts: &BTreeMap<String, u32>, name: &Option<String>, limit, kind: fn(String) -> Limit| {
            let name = name.as_ref()?;
            Some((kind(name.clone()), over(of(counts, name), limit)?))
        };
        let Demand { urgency: _, namespace, storage_class, node } = demand;
        over(self.cluster, limits.cluster)
            .map(|most| (Limit::Cluster, most))
            .or_else(|| named(&self.namespaces, &Some(namespace.clone()), limits.namespace, Limit::Namespace))
            .or_else(|| named(&self.storage_classes, storage_class, limits.storage_class, Limit::StorageClass))
            .or_else(|| named(&self.nodes, node, limits.node, Limit::Node))
    }
}
