//! Claims that are to begin with the image of a ReplicationDestination (`spec.dataSourceRef`): the driver. Each line of
//! [`pass`] is one step, and all decisions are in the pure ones.

pub mod interpret;
pub mod observe;
pub mod offer;
pub mod plan;
pub mod report;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use self::plan::Outcome;
use crate::apply::{Applier, ApplyError, FIELD_MANAGER};
use crate::failures::Failures;
use crate::model::event::Event;
use crate::model::name;
use crate::model::pod::MoverImage;
use crate::model::step::Doomed;
use crate::replication::requeue;
use crate::telemetry::events::Events;

/// What every pass needs.
pub struct Context {
    client: Client,
    applier: Applier,
    events: Events,
    failures: Failures<(String, String)>,
}

impl Context {
    /// A context over one API server.
    #[must_use]
    pub fn new(client: Client, image: MoverImage, events: Events) -> Self {
        Self { applier: Applier::new(client.clone(), image), client, events, failures: Failures::default() }
    }
}

/// Why a pass could not be finished. It is tried again, later and later.
#[derive(Debug, thiserror::Error)]
enum PassError {
    /// The API server could not be read, or refused a note.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// A step failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// One pass over one claim.
///
/// # Errors
/// Never: what goes wrong becomes a note and a later pass.
pub async fn reconcile(
    claim: Arc<PersistentVolumeClaim>,
    context: Arc<Context>,
) -> Result<Action, std::convert::Infallible> {
    let key = (claim.namespace().unwrap_or_default(), claim.name_any());
    Ok(match pass(&context, &key.0, &key.1).await {
        Ok(wake_at) => {
            context.failures.forget(&key);
            wake_at.map_or_else(Action::await_change, |at| requeue(at, Timestamp::now()))
        }
        Err(error) => {
            let (namespace, name) = key.clone();
            let pause = context.failures.next_pause(key);
            tracing::warn!(namespace, name, %error, ?pause, "Pass over PersistentVolumeClaim was not finished");
            Action::requeue(pause)
        }
    })
}

/// The claim is read afresh, since a cache may lag behind the operator's own writes.
async fn pass(context: &Context, namespace: &str, name: &str) -> Result<Option<Timestamp>, PassError> {
    let api = Api::<PersistentVolumeClaim>::namespaced(context.client.clone(), namespace);
    let Some(claim) = api.get_opt(name).await? else {
        return Ok(None);
    };
    let Some(wish) = interpret::interpret(&claim) else {
        return Ok(None);
    };
    let seen = observe::observe(&context.client, &wish).await?;
    let plan = plan::plan(&wish, &seen, Timestamp::now());
    let reported = report::report(&wish, &plan);
    let teller = Teller { context, api: &api, claim: &claim, told: wish.told.as_deref() };
    // Nobody looks at a claim again that is finished: its note goes before.
    let is_first = reported.wait.is_some() || plan.outcome == Outcome::Finished;
    if is_first {
        teller.tell(reported.wait.as_ref()).await?;
    }
    let prime = seen.prime.map(|prime| Doomed { name: prime.name, uid: prime.uid });
    if let Err(error) = context.applier.fill(&wish.claim, prime.as_ref(), &plan.steps).await {
        if !is_overtaken(&error)
            && let Some(event) = report::report_error(&plan, error.brief())
        {
            teller.tell(Some(&event)).await?;
        }
        return Err(error.into());
    }
    if !is_first {
        teller.tell(None).await?;
    }
    context.events.publish(&claim.object_ref(&()), &reported.events).await;
    Ok(plan.wake_at)
}

/// Whether somebody else wrote at the same moment, or deleted what was to be written: nothing is wrong, the next pass sees it.
fn is_overtaken(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Api { source: kube::Error::Api(status), .. } if matches!(status.code, 404 | 409))
}

/// Tells a claim's user what it waits for.
struct Teller<'a> {
    context: &'a Context,
    api: &'a Api<PersistentVolumeClaim>,
    claim: &'a PersistentVolumeClaim,
    /// What its user was told before this pass.
    told: Option<&'a str>,
}

impl Teller<'_> {
    /// The event comes before the note that remembers it: an operator that dies in between tells it once more, not never.
    async fn tell(&self, wait: Option<&Event>) -> kube::Result<()> {
        let note = wait.map(|wait| wait.note.as_str());
        if note == self.told {
            return Ok(());
        }
        let news = wait.map(std::slice::from_ref).unwrap_or_default();
        self.context.events.publish(&self.claim.object_ref(&()), news).await;
        // By its UID: a note is not for another claim of that name.
        let patch = json!({"metadata": {
            "uid": self.claim.metadata.uid, "annotations": {name::WAITS_FOR_ANNOTATION: note},
        }});
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.api.patch(&self.claim.name_any(), &parameters, &Patch::Merge(patch)).await.map(drop)
    }
}
