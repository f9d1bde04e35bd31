//! Events about the users' objects, in the API `events.k8s.io`, under the name that VolSync reports them by.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event as ApiEvent, EventType, Recorder, Reporter};

use crate::model::event::Event;

/// `reportingController` of every event.
const CONTROLLER: &str = "volsync-controller";

/// The API refuses longer notes (`ValidateEventCreate` of events.k8s.io/v1).
const MOST_NOTE_BYTES: usize = 1024;

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
            if let Err(error) = self.0.publish(&render(event), object).await {
                tracing::warn!(reason = event.reason.as_str(), %error, "Event was not published");
            }
        }
    }
}

fn render(event: &Event) -> ApiEvent {
    let note = &event.note;
    ApiEvent {
        type_: if event.reason.is_warning() { EventType::Warning } else { EventType::Normal },
        reason: event.reason.as_str().to_owned(),
        note: Some(note.get(..note.floor_char_boundary(MOST_NOTE_BYTES)).unwrap_or_default().to_owned()),
        action: event.reason.action().to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::EventReason;

    const REASONS: [EventReason; 19] = [
        EventReason::TransferStarted,
        EventReason::TransferFailed,
        EventReason::VolumeSnapshotCreated,
        EventReason::PersistentVolumeClaimCreated,
        EventReason::ServiceAddressAssigned,
        EventReason::VolumeSnapshotNotBound,
        EventReason::PersistentVolumeClaimNotBound,
        EventReason::NoServiceAddressAssigned,
        EventReason::SrcPVCWaitingForCopyTrigger,
        EventReason::SrcPVCTimeoutWaitingForCopyTrigger,
        EventReason::SrcPVCCopyTriggerReceived,
        EventReason::SrcPVCCopyUsingCopyTriggerCompleted,
        EventReason::VolSyncPopulatorFinished,
        EventReason::VolSyncPopulatorPVCCreated,
        EventReason::VolSyncPopulatorPVCCreationError,
        EventReason::VolSyncPopulatorReplicationDestinationMissing,
        EventReason::VolSyncPopulatorReplicationDestinationNoLatestImage,
        EventReason::PopulatorQueued,
        EventReason::VolSyncPopulatorError,
    ];

    #[test]
    fn every_event_has_an_action_since_the_api_refuses_one_without() {
        for reason in REASONS {
            let event = render(&Event { reason, note: "created VolumeSnapshot/x".to_owned() });
            assert!(!event.action.is_empty(), "{reason:?}");
            assert_eq!(event.reason, format!("{reason:?}"), "reasons are CamelCase words");
            assert_eq!(event.note.as_deref(), Some("created VolumeSnapshot/x"));
        }
    }

    #[test]
    fn only_failures_and_waits_that_are_too_long_are_warnings() {
        for reason in REASONS {
            let warning = render(&Event { reason, note: String::new() }).type_ == EventType::Warning;
            let bad = ["Failed", "NotBound", "NoService", "Timeout", "Error", "Missing", "NoLatestImage"]
                .iter()
                .any(|word| reason.as_str().contains(word));
            assert_eq!(warning, bad, "{reason:?}");
        }
    }

    #[test]
    fn a_note_that_is_too_long_is_cut_between_characters() {
        let event = Event { reason: EventReason::TransferFailed, note: "ä".repeat(2000) };
        let note = render(&event).note.unwrap();
        assert_eq!(note, "ä".repeat(MOST_NOTE_BYTES / 2));
    }
}
