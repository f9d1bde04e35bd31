//! The queue of those that wait for a place, shared by all passes. [`line`] decides who is next; this keeps it, and wakes them.
//!
//! Places are remembered in statuses, not here: one is written down before anything is made that costs, so an operator that
//! starts knows from statuses alone who has one and who waits since when. There is no other operator: only the one with the Lease
//! acts.

pub mod line;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::OnceCell;

use self::line::{Answer, Key, Line};
use super::interpret::{Interpretation, Kind};
use super::plan::Plan;
use super::plan::place::{self, Cost};
use super::report::to_seconds;
use super::wake::{self, Waker, Woken};
use crate::api::destination::ReplicationDestination;
use crate::api::source::ReplicationSource;
use crate::model::observed::Observed;
use crate::model::policy::Policy;
use crate::model::queue::{Demand, Turn, Urgency};
use crate::model::replication::{Phase, Replication, Role};
use crate::model::status::Status;
use crate::telemetry::metrics::Metrics;

/// Objects read at a time when an operator starts: about a megabyte.
const PAGE: u32 = 500;

/// All that wait and all that have a place.
pub struct Queue {
    policy: Policy,
    line: Mutex<Line>,
    /// Whether what statuses say was read.
    known: OnceCell<()>,
    waker: Waker,
    metrics: Metrics,
}

/// A plan that keeps to the limits.
pub(super) struct Decision {
    pub(super) plan: Plan,
    /// What is to be remembered of places.
    pub(super) turn: Option<Turn>,
    /// Whether the plan begins what costs.
    pub(super) begins: bool,
}

impl Queue {
    /// A queue in which nobody is.
    #[must_use]
    pub fn new(policy: Policy, metrics: Metrics) -> (Self, Woken) {
        let (waker, woken) = wake::channel();
        let line = Mutex::new(Line::new(policy.limits));
        (Self { policy, line, known: OnceCell::new(), waker, metrics }, woken)
    }

    /// Wakes those whose turn it is.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// What synchronizations are held to.
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What of a plan may be done now.
    pub(super) async fn decide(
        &self,
        client: &Client,
        (wish, seen): (&Replication, &Observed),
        plan: Plan,
        now: Timestamp,
    ) -> kube::Result<Decision> {
        if self.policy.limits.are_none() {
            return Ok(Decision { plan, turn: None, begins: false });
        }
        self.known.get_or_try_init(|| self.read(client)).await?;
        let key = Key::of(&wish.owner);
        let cost = place::cost((wish, seen), &plan, wish.deadlines.start, now);
        let begins = matches!(cost, Cost::Begins(_));
        // As statuses keep it.
        let since = to_seconds(now);
        let mut line = self.line();
        let plan = match cost {
            Cost::Nothing => {
                line.leave(&key);
                plan
            }
            Cost::Runs(demand) => {
                line.hold(&key, demand, since);
                plan
            }
            Cost::Copies(demand, until) => {
                line.hold(&key, demand, since);
                Plan { wake_at: until.into_iter().chain(plan.wake_at).min(), ..plan }
            }
            Cost::Begins(demand) => match line.ask(&key, demand, since) {
                Answer::Kept => plan,
                Answer::Given { since: asked } => {
                    self.metrics.waited(Duration::try_from(since.duration_since(asked)).unwrap_or_default());
                    plan
                }
                Answer::Queued(queued) => place::hold_back(plan, queued, now),
            },
        };
        let turn = line.turn(&key);
        self.wake(&line);
        Ok(Decision { plan, turn, begins })
    }

    /// What is to be remembered of one.
    pub(super) fn turn(&self, key: &Key) -> Option<Turn> {
        self.line().turn(key)
    }

    /// One that needs no place any more, or cannot be brought further: it must not keep others from theirs.
    pub(super) fn leave(&self, key: &Key) {
        let mut line = self.line();
        line.leave(key);
        self.wake(&line);
    }

    /// One whose surroundings could not be read. It keeps a place that its status tells of: its mover may run.
    pub(super) fn lose_sight(&self, key: &Key, status: &Status) {
        if !matches!(status.turn(), Some(Turn::Place(_))) {
            self.leave(key);
        }
    }

    /// One that is being deleted. Its mover may still run.
    pub(super) fn stop_waiting(&self, key: &Key) {
        let mut line = self.line();
        line.stop_waiting(key);
        self.wake(&line);
    }

    /// Of this kind there are these, and no others.
    pub(super) fn retain(&self, role: Role, namespaced: &BTreeSet<(String, String)>) {
        let mut line = self.line();
        let is_gone = |key: &&Key| key.role == role && !namespaced.contains(&(key.namespace.clone(), key.name.clone()));
        let gone: Vec<_> = line.keys().filter(is_gone).cloned().collect();
        for key in gone {
            line.leave(&key);
        }
        self.wake(&line);
    }

    /// Learns from statuses who has a place and who waits.
    pub(super) async fn begin(&self, client: &Client) -> kube::Result<()> {
        if !self.policy.limits.are_none() {
            self.known.get_or_try_init(|| self.read(client)).await?;
        }
        Ok(())
    }

    async fn read(&self, client: &Client) -> kube::Result<()> {
        let (mut waiting, mut holding) = (Vec::new(), Vec::new());
        for (key, demand, turn) in remembered::<ReplicationSource>(client)
            .await?
            .into_iter()
            .chain(remembered::<ReplicationDestination>(client).await?)
        {
            match turn {
                Some(Turn::Waiting { since }) => waiting.push((since, key, demand)),
                Some(Turn::Place(place)) => {
                    let demand = Demand { storage_class: place.storage_class, node: place.node, ..demand };
                    holding.push((place.since, key, demand));
                }
                // Begun when nothing was limited, or not looked at since: until that is done, it may be at work.
                None => holding.push((Timestamp::UNIX_EPOCH, key, demand)),
            }
        }
        waiting.sort_by_key(|(since, ..)| *since);
        let mut line = self.line();
        for (since, key, demand) in holding {
            line.hold(&key, demand, since);
        }
        for (since, key, demand) in waiting {
            line.wait(&key, demand, since);
        }
        Ok(())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those whose turn it is are looked at. Who is not, because too many are woken already, looks at its position before long.
    fn wake(&self, line: &Line) {
        line.next().into_iter().for_each(|key| self.waker.wake(key));
        self.metrics.queue(line.length(), line.places());
    }
}

/// The iterations under way, with what their statuses say about places.
async fn remembered<K: Kind>(client: &Client) -> kube::Result<Vec<(Key, Demand, Option<Turn>)>> {
    let api = Api::<K>::all(client.clone());
    let mut page = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let objects = api.list(&page).await?;
        found.extend(objects.items.iter().filter_map(remembers));
        match objects.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

fn remembers<K: Kind>(object: &K) -> Option<(Key, Demand, Option<Turn>)> {
    let Interpretation::Wish(wish) = object.interpret() else {
        return None;
    };
    let (Some(urgency), Phase::Running(_)) = (Urgency::of(&wish), &wish.phase) else {
        return None;
    };
    let demand = Demand { urgency, namespace: wish.owner.namespace.clone(), storage_class: None, node: None };
    Some((Key::of(&wish.owner), demand, object.status().turn().cloned()))
}
