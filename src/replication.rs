//! From an event to a status: the driver. Each line of [`pass`] is one step, and all decisions are in the pure ones.

mod held;
pub mod interpret;
pub mod known;
pub mod left;
mod movers;
pub mod observe;
pub mod plan;
pub mod queue;
pub mod report;
mod rest;
mod wake;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use kube::{Api, Client, ResourceExt};

use self::held::Held;
use self::interpret::{Interpretation, Kind};
use self::known::Known;
use self::left::{Afresh, Left};
use self::movers::Movers;
use self::plan::{Outcome, Plan, Wait};
use self::queue::line::Key;
use self::queue::{Decision, Queue};
use self::report::{Reported, measures};
use crate::apply::own::OwnWrites;
use crate::apply::{Applier, ApplyError};
use crate::failures::Failures;
use crate::mirror::Mirrors;
use crate::model::observed::Observed;
use crate::model::pod::MoverImage;
use crate::model::readiness::Blame;
use crate::model::replication::{Owner, Phase, Replication, Role};
use crate::model::status::Status;
use crate::model::step::Step;
use crate::telemetry::events::Events;
use crate::telemetry::metrics::Metrics;

/// What every pass needs.
pub struct Context {
    client: Client,
    applier: Applier,
    image: MoverImage,
    events: Events,
    metrics: Metrics,
    queue: Queue,
    movers: Movers,
    failures: Failures<Key>,
    known_of_sources: Known,
    known_of_destinations: Known,
    left: Left,
    afresh: Afresh,
}

impl Context {
    /// A context over one API server.
    #[must_use]
    pub fn new(client: Client, image: MoverImage, events: Events, (metrics, queue): (Metrics, Queue)) -> Self {
        let applier = Applier::new(client.clone(), image.clone());
        let movers = Movers::new(queue.waker().clone());
        Self {
            client,
            applier,
            image,
            events,
            metrics,
            queue,
            movers,
            failures: Failures::default(),
            known_of_sources: Known::default(),
            known_of_destinations: Known::default(),
            left: Left::default(),
            afresh: Afresh::default(),
        }
    }

    /// Asks movers how far they are, for as long as it is polled.
    pub async fn ask_movers(&self) -> Infallible {
        self.movers.ask_all().await
    }

    /// Learns who has a place and who waits for one, before the first pass.
    ///
    /// # Errors
    /// When the API server cannot be read. Then the first pass does it.
    pub async fn begin(&self) -> kube::Result<()> {
        self.queue.begin(&self.client).await
    }

    /// What watches have told of the children of objects of this kind.
    #[must_use]
    pub fn known(&self, role: Role) -> &Known {
        match role {
            Role::Source => &self.known_of_sources,
            Role::Destination => &self.known_of_destinations,
        }
    }

    /// A watch has told of an object.
    pub fn told<K: Kind>(&self, object: &K) {
        let namespaced = (object.namespace().unwrap_or_default(), object.name_any());
        self.known(K::ROLE).names(namespaced, &object.claims());
        K::left(&self.left).told(object);
    }

    /// What a pass over an object may read instead of asking the API server: nothing where watches have not told of all yet, or where
    /// it is to be asked.
    fn mirrors(&self, key: &Key) -> Option<&Mirrors> {
        let known = self.known(key.role);
        let is_to_be_asked = self.failures.has(key) || self.afresh.is_due(key) || !known.is_told();
        (!is_to_be_asked).then(|| known.mirrors())
    }

    /// An object that is gone.
    pub fn forget(&self, role: Role, namespace: &str, name: &str) {
        let key = Key { role, namespace: namespace.to_owned(), name: name.to_owned() };
        self.metrics.forget(role, namespace, name);
        match role {
            Role::Source => self.left.sources.forget(namespace, name),
            Role::Destination => self.left.destinations.forget(namespace, name),
        }
        self.afresh.forget(&key);
        self.failures.forget(&key);
        self.movers.note(&key, None);
        self.queue.leave(&key);
        self.known(role).names((namespace.to_owned(), name.to_owned()), &[]);
    }

    /// Of this kind there are these, by namespace and name, and no others.
    pub fn retain(&self, role: Role, there: &BTreeSet<(String, String)>) {
        for gone in self.metrics.known(role).iter().filter(|namespaced| !there.contains(namespaced)) {
            self.forget(role, &gone.0, &gone.1);
        }
        self.queue.retain(role, there);
    }

    /// What this operator has written itself: a watch that tells of it is no reason for a pass.
    #[must_use]
    pub fn own(&self) -> &OwnWrites {
        self.applier.own()
    }

    /// Tells of an object that could not be brought further.
    fn measure_trouble(&self, owner: &Owner, status: &Status, wish: Option<&Replication>) {
        let standing = measures::standing(status, wish.map(|wish| &wish.trigger));
        self.metrics.stand(owner, standing, None);
    }
}

/// Why a pass could not be finished. It is tried again, later and later.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The API server could not be read, or refused a status.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// A step failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The plan was made from what was not so any more.
    #[error("what was seen has changed meanwhile")]
    Outdated,
}

impl PassError {
    /// Whether somebody else wrote at the same moment, or the object is gone: nothing is wrong, the next pass sees what there is.
    fn is_overtaken(&self) -> bool {
        match self {
            Self::Outdated => true,
            Self::Api(kube::Error::Api(status)) => matches!(status.code, 404 | 409),
            Self::Apply(ApplyError::Api { source: kube::Error::Api(status), .. }) => status.code == 409,
            Self::Api(_) | Self::Apply(_) => false,
        }
    }

    /// Whose fault it is. What the API server calls invalid of an object that the operator makes is a user's value in it.
    fn blame(&self) -> Blame {
        match self {
            Self::Apply(ApplyError::Build(_)) => Blame::User,
            Self::Apply(ApplyError::Api { source: kube::Error::Api(status), .. }) if status.code == 422 => Blame::User,
            Self::Api(_) | Self::Apply(_) | Self::Outdated => Blame::Cluster,
        }
    }
}

/// One pass over one object.
///
/// # Errors
/// Never: what goes wrong becomes a condition and a later pass.
pub async fn reconcile<K: Kind>(object: Arc<K>, context: Arc<Context>) -> Result<Action, Infallible> {
    let key = Key { role: K::ROLE, namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
    let object = K::left(&context.left).or_newer(object);
    if let Some(wake_at) = rest::rest(&context, &key, &*object, Timestamp::now()).await {
        return Ok(later(wake_at, Timestamp::now()));
    }
    Ok(match pass(&context, &key, &*object).await {
        Ok(action) => {
            context.failures.forget(&key);
            action
        }
        Err(error) => {
            let pause = context.failures.next_pause(key.clone());
            let Key { role, namespace, name } = key;
            tracing::warn!(kind = role.kind(), namespace, name, %error, ?pause, "Pass over object was not finished");
            Action::requeue(pause)
        }
    })
}

/// What watches have told is read where that is known, the object too: who acts on one that lags behind is refused ([`Held::claim`]).
async fn pass<K: Kind>(context: &Context, key: &Key, told: &K) -> Result<Action, PassError> {
    let mirrors = context.mirrors(key);
    let object = match mirrors {
        Some(_) => Some(told.clone()),
        None => Api::<K>::namespaced(context.client.clone(), &key.namespace).get_opt(&key.name).await?,
    };
    let Some(object) = object else {
        context.forget(key.role, &key.namespace, &key.name);
        return Ok(Action::await_change());
    };
    if object.meta().deletion_timestamp.is_some() {
        context.queue.stop_waiting(key);
        return Ok(Action::await_change());
    }
    let mut held = Held::new(context, object);
    let now = Timestamp::now();
    let wish = match held.object().interpret() {
        Interpretation::Wish(wish) => wish.under(context.queue.policy()),
        Interpretation::External => {
            context.forget(key.role, &key.namespace, &key.name);
            return Ok(Action::await_change());
        }
        Interpretation::Refused(reason) => {
            context.queue.leave(key);
            let placeless = held.object().status().with_turn(None, &Phase::Never);
            let status = report::report_refusal(&placeless, &reason, now);
            context.measure_trouble(&owner_of(K::ROLE, held.object()), &status, None);
            held.write(status).await?;
            return Ok(Action::await_change());
        }
    };
    match advance(context, &mut held, &wish, (mirrors, now)).await {
        Ok((reported, wake_at)) => {
            context.metrics.record(&wish, &reported.measures, Instant::now());
            context.events.publish(&held.object().object_ref(&()), &reported.events).await;
            Ok(later(wake_at, Timestamp::now()))
        }
        Err(error) => {
            if !error.is_overtaken() {
                let old = held.object().status().with_turn(context.queue.turn(key), &wish.phase);
                let status = report::report_error(&old, error.blame(), error.to_string(), now);
                context.measure_trouble(&wish.owner, &status, Some(&wish));
                held.write(status).await?;
            }
            Err(error)
        }
    }
}

/// Observe and plan. A synchronization that begins goes on at once: that it has begun is written with its first step.
async fn advance<K: Kind>(
    context: &Context,
    held: &mut Held<'_, K>,
    wish: &Replication,
    (mirrors, now): (Option<&Mirrors>, Timestamp),
) -> Result<(Reported, Option<Timestamp>), PassError> {
    let (mut seen, mut plan) = consider(context, held, wish, (mirrors, now)).await?;
    let mut wish = wish.clone();
    if matches!(plan.outcome, Outcome::Begin { .. }) {
        held.begin(report::report(&held.object().status(), &wish, &seen, &plan, now).status);
        if let Interpretation::Wish(begun) = held.object().interpret() {
            wish = begun.under(context.queue.policy());
            (seen, plan) = consider(context, held, &wish, (mirrors, now)).await?;
        }
    }
    carry_out(context, held, (&wish, &seen), plan, (mirrors, now)).await
}

async fn consider<K: Kind>(
    context: &Context,
    held: &Held<'_, K>,
    wish: &Replication,
    (mirrors, now): (Option<&Mirrors>, Timestamp),
) -> Result<(Observed, Plan), PassError> {
    let seen = observe::observe((&context.client, mirrors), &context.image, wish).await;
    let lost = |_: &kube::Error| context.queue.lose_sight(&Key::of(&wish.owner), &held.object().status());
    let seen = seen.inspect_err(lost)?;
    let plan = plan::plan(wish, &seen, now);
    Ok((seen, plan))
}

/// Wait for a place or take it, apply, report.
async fn carry_out<K: Kind>(
    context: &Context,
    held: &mut Held<'_, K>,
    (wish, seen): (&Replication, &Observed),
    plan: Plan,
    (mirrors, now): (Option<&Mirrors>, Timestamp),
) -> Result<(Reported, Option<Timestamp>), PassError> {
    let key = Key::of(&wish.owner);
    let Decision { plan, turn, begins } = context.queue.decide(&context.client, (wish, seen), plan, now).await?;
    let runs = matches!(plan.outcome, Outcome::Waiting(Wait::Mover { .. }));
    context.movers.note(&key, seen.job.as_ref().and_then(|job| job.address).filter(|_| runs));
    let old = held.object().status().with_turn(turn, &wish.phase).with_progress(runs, context.movers.progress(&key));
    let reported = report::report(&old, wish, seen, &plan, now);
    let image = match &plan.outcome {
        Outcome::Completed { image, .. } => image.as_ref(),
        _ => None,
    };
    if mirrors.is_some() && !observe::confirm(&context.client, (wish, seen), &plan.steps, image).await? {
        return Err(PassError::Outdated);
    }
    if plan.steps.iter().any(Step::begins) {
        // Before anything is made that costs, or must not be made twice: whoever comes after a crash knows of it, and who has seen
        // another version than the present one makes nothing.
        held.claim(reported.status.clone()).await?;
    }
    let applied = context.applier.apply(&wish.owner, &plan.steps, context.known(wish.owner.role).mirrors()).await;
    if begins {
        // What cannot be begun keeps nobody else from his turn.
        applied.inspect_err(|_| context.queue.leave(&key))?;
    } else {
        applied?;
    }
    held.write(reported.status.clone()).await?;
    let goes_on = goes_on(&plan).and_then(|pause| now.checked_add(pause).ok());
    Ok((reported, plan.wake_at.into_iter().chain(goes_on).min()))
}

/// After which pause the next stage follows that waits for nobody's word but the operator's own, which wakes nobody.
fn goes_on(plan: &Plan) -> Option<SignedDuration> {
    let has_made_key = || plan.steps.iter().any(|step| matches!(step, Step::CreateKey { .. }));
    match plan.outcome {
        Outcome::Begin { .. } | Outcome::Completed { .. } | Outcome::NotStarted { .. } => Some(SignedDuration::ZERO),
        // Deletions are told of when they are done, within milliseconds most of the time; what was given up is not.
        Outcome::CleaningUp => Some(SignedDuration::from_secs(1)),
        // It is published by who finds it.
        _ if has_made_key() => Some(SignedDuration::ZERO),
        _ => None,
    }
}

/// After so long without a word an object is looked at, and the API server is asked for all that concerns it.
const RESYNC: Duration = Duration::from_secs(10 * 60);

/// Comes back at this time, or after a while: should a change ever be missed, it is seen then.
fn later(wake_at: Option<Timestamp>, now: Timestamp) -> Action {
    let resync = now.checked_add(RESYNC).unwrap_or(now);
    requeue(wake_at.map_or(resync, |at| at.min(resync)), now)
}

/// Comes back at this time.
pub(crate) fn requeue(at: Timestamp, now: Timestamp) -> Action {
    // A moment later than due, so that the clock has surely passed it.
    const MARGIN: Duration = Duration::from_millis(10);
    Action::requeue(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO) + MARGIN)
}

/// The owner's reference for events and metrics.
pub(crate) fn owner_of(role: Role, object: &impl ResourceExt) -> Owner {
    Owner {
        role,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}
