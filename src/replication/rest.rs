//! Objects at rest: what watches have told of their children suffices to see that nothing is to be done for one.

use std::time::Instant;

use jiff::Timestamp;
use kube::ResourceExt;

use super::held::Held;
use super::interpret::{Interpretation, Kind};
use super::plan::{self, Outcome};
use super::queue::line::Key;
use super::{Context, report};
use crate::model::observed::Observed;

/// When an idle object is to be looked at again, if nothing is to be done for it until then. Nothing is read to see that. None where
/// something may be to be done: a pass has to see.
///
/// A watch may lag behind. Of an object's own status that does no harm, as a status is written under the version that was seen. A child
/// that is not known of yet wakes the object when it is.
pub(super) async fn rest<K: Kind>(
    context: &Context,
    key: &Key,
    object: &K,
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    let Interpretation::Wish(wish) = object.interpret() else {
        return None;
    };
    let wish = wish.under(context.queue.policy());
    if object.meta().deletion_timestamp.is_some() || !context.known(K::ROLE).is_clean(&wish) {
        return None;
    }
    let seen = Observed::default();
    let plan = plan::plan(&wish, &seen, now);
    if !matches!(plan.outcome, Outcome::Idle { .. }) {
        return None;
    }
    let old = object.status().with_turn(None, &wish.phase);
    let reported = report::report(&old, &wish, &seen, &plan, now);
    let mut held = Held::new(context, object.clone());
    if let Err(error) = held.write(reported.status.clone()).await {
        tracing::debug!(kind = K::ROLE.kind(), name = object.name_any(), %error, "Status was not written, all is read afresh");
        return None;
    }
    context.failures.forget(key);
    context.afresh.forget(key);
    context.queue.leave(key);
    context.movers.note(key, None);
    context.metrics.record(&wish, &reported.measures, Instant::now());
    context.events.publish(&object.object_ref(&()), &reported.events).await;
    Some(plan.wake_at)
}
