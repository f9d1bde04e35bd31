//! From an event to a status: the driver. Each line of [`pass`] is one step, and all decisions are in the pure ones.

pub mod interpret;
pub mod observe;
pub mod plan;
pub mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt};

use self::interpret::{Interpretation, Kind};
use self::report::{Reported, measures};
use crate::apply::{Applier, ApplyError, FIELD_MANAGER};
use crate::failures::Failures;
use crate::model::pod::MoverImage;
use crate::model::replication::{Owner, Replication, Role};
use crate::model::status::Status;
use crate::telemetry::events::Events;
use crate::telemetry::metrics::Metrics;

/// What every pass needs.
pub struct Context {
    client: Client,
    applier: Applier,
    image: MoverImage,
    events: Events,
    metrics: Metrics,
    failures: Failures<(Role, String, String)>,
}

impl Context {
    /// A context over one API server.
    #[must_use]
    pub fn new(client: Client, image: MoverImage, events: Events, metrics: Metrics) -> Self {
        let applier = Applier::new(client.clone(), image.clone());
        Self { client, applier, image, events, metrics, failures: Failures::default() }
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
}

impl PassError {
    /// Whether somebody else wrote at the same moment: nothing is wrong, the next pass sees what they wrote.
    fn is_conflict(&self) -> bool {
        let (Self::Api(error) | Self::Apply(ApplyError::Api { source: error, .. })) = self else {
            return false;
        };
        matches!(error, kube::Error::Api(status) if status.code == 409)
    }
}

/// One pass over one object.
///
/// # Errors
/// Never: what goes wrong becomes a condition and a later pass.
pub async fn reconcile<K: Kind>(object: Arc<K>, context: Arc<Context>) -> Result<Action, std::convert::Infallible> {
    let namespace = object.namespace().unwrap_or_default();
    let key = (K::ROLE, namespace.clone(), object.name_any());
    Ok(match pass::<K>(&context, &namespace, &key.2).await {
        Ok(action) => {
            context.failures.forget(&key);
            action
        }
        Err(error) => {
            let pause = if error.is_conflict() { Duration::ZERO } else { context.failures.next_pause(key.clone()) };
            tracing::warn!(kind = K::ROLE.kind(), namespace, name = key.2, %error, ?pause, "Pass over object was not finished");
            Action::requeue(pause)
        }
    })
}

/// The object is read afresh: a cache that lags behind the operator's own writes would start a finished synchronization
/// once more.
async fn pass<K: Kind>(context: &Context, namespace: &str, name: &str) -> Result<Action, PassError> {
    let api = Api::<K>::namespaced(context.client.clone(), namespace);
    let Some(object) = api.get_opt(name).await? else {
        context.metrics.forget(K::ROLE, namespace, name);
        return Ok(Action::await_change());
    };
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let old = object.status();
    let now = Timestamp::now();
    let wish = match object.interpret() {
        Interpretation::Wish(wish) => *wish,
        Interpretation::External => {
            context.metrics.forget(K::ROLE, namespace, name);
            return Ok(Action::await_change());
        }
        Interpretation::Refused(reason) => {
            let status = report::report_refusal(&old, &reason, now);
            context.measure_trouble(&owner_of(K::ROLE, &object), &status, None);
            write(&api, object, &old, status).await?;
            return Ok(Action::await_change());
        }
    };
    match advance(context, &wish, &old, now).await {
        Ok((reported, wake_at)) => {
            let events = reported.events.clone();
            write(&api, object.clone(), &old, reported.status.clone()).await?;
            context.metrics.record(&wish, &reported.measures, Instant::now());
            context.events.publish(&object.object_ref(&()), &events).await;
            Ok(wake_at.map_or_else(Action::await_change, |at| requeue(at, Timestamp::now())))
        }
        Err(error) => {
            if !error.is_conflict() {
                let status = report::report_error(&old, error.to_string(), now);
                context.measure_trouble(&wish.owner, &status, Some(&wish));
                write(&api, object, &old, status).await?;
            }
            Err(error)
        }
    }
}

/// Observe, plan, apply, report.
async fn advance(
    context: &Context,
    wish: &Replication,
    old: &Status,
    now: Timestamp,
) -> Result<(Reported, Option<Timestamp>), PassError> {
    let seen = observe::observe(&context.client, &context.image, wish).await?;
    let plan = plan::plan(wish, &seen, now);
    context.applier.apply(&wish.owner, &plan.steps).await?;
    Ok((report::report(old, wish, &seen, &plan, now), plan.wake_at))
}

/// Writes the status if it changed. The object's resourceVersion goes along: a conflict means that the wish or the
/// status is not what this pass saw.
async fn write<K: Kind>(api: &Api<K>, mut object: K, old: &Status, new: Status) -> kube::Result<()> {
    let new = Status { observed_generation: object.meta().generation, ..new };
    if *old == new && object.has_status() {
        return Ok(());
    }
    object.set_status(new);
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    api.replace_status(&object.name_any(), &parameters, &object).await.map(drop)
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
