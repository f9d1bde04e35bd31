//! Events about the users' objects, in the API `events.k8s.io`, under the name that VolSync reports them by.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event as ApiEvent, EventType, Recorder, Reporter};

use crate::model::event::Event;

/// `reportingController` of every event.
const CONTROLLER: &str = "volsync-controller";

/// Publishes events.
#[derive(Clone)]
pub struct Events(Recorder);

impl Events {
    /// Events from this instance.
    #[must_use]
    pub fn new(client: Client, identity: String) -> Self {
        Self(Recorder::new(client, Reporter { controller: CONTROLLER.to_owned(), instance: Some(identity) }))
    }

    /// Publishes these, about this object. An event that cannot be written is logged; it stops nothing.
    pub async fn publish(&self, object: &ObjectReference, events: &[Event]) {
        for event in events {
            let api_event = ApiEvent {
                type_: if event.reason.is_warning() { EventType::Warning } else { EventType::Normal },
                reason: event.reason.as_str().to_owned(),
                note: Some(event.note.clone()),
                action: event.reason.action().to_owned(),
                secondary: None,
            };
            if let Err(error) = self.0.publish(&api_event, object).await {
                tracing::warn!(reason = event.reason.as_str(), %error, "Event was not published");
            }
        }
    }
}
