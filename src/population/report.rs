//! PURE: what a pass over a claim came to, as events and as the note on the claim that says what it waits for.
//!
//! A claim's status is Kubernetes'. So the note, an annotation, is what remembers of what a user was told: each wait makes one
//! event, however many passes it lasts and however often the operator starts anew.

use doppel_contract::Line;

use super::plan::wait::Wait;
use super::plan::{Lost, MOST_AT_A_TIME, Outcome, Plan};
use crate::model::event::{Event, EventReason};
use crate::model::name;
use crate::model::population::Population;

/// What is to be told of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// What the claim waits for: its note, and an event if that is news.
    pub wait: Option<Event>,
    /// What has happened when the steps are done.
    pub events: Vec<Event>,
}

/// What to tell of a plan.
#[must_use]
pub fn report(wish: &Population, plan: &Plan) -> Reported {
    let event = |reason, note| Event { reason, note };
    let events = match &plan.outcome {
        Outcome::Underway | Outcome::Waiting(_) => Vec::new(),
        Outcome::Begun { prime, image } => {
            let note = format!("created PersistentVolumeClaim/{prime} from VolumeSnapshot/{image}");
            vec![event(EventReason::VolSyncPopulatorPVCCreated, note)]
        }
        Outcome::StartedOver { prime, lost } => {
            vec![event(EventReason::VolSyncPopulatorError, started_over(prime, lost))]
        }
        Outcome::Finished => vec![event(EventReason::VolSyncPopulatorFinished, "Populator finished".to_owned())],
    };
    let wait = match &plan.outcome {
        Outcome::Waiting(wait) => Some(waiting(wish, wait)),
        _ => None,
    };
    Reported { wait, events }
}

/// What to tell when a step of a plan failed. Of all but the creation of a prime, which a quota or a policy may forbid, only
/// the log tells: nothing that a claim's user could change makes them fail.
#[must_use]
pub fn report_error(plan: &Plan, error: String) -> Option<Event> {
    match plan.outcome {
        Outcome::Begun { .. } => Some(Event { reason: EventReason::VolSyncPopulatorPVCCreationError, note: error }),
        _ => None,
    }
}

fn started_over(prime: &str, lost: &Lost) -> String {
    let lost = match lost {
        Lost::Image(image) => format!("VolumeSnapshot/{image} was deleted before a volume was made from it"),
        Lost::Volume(volume) => format!("PersistentVolume/{volume} is gone"),
    };
    format!("{lost}; PersistentVolumeClaim/{prime} is made again from the latest image")
}

fn waiting(wish: &Population, wait: &Wait) -> Event {
    let reason = match wait {
        Wait::Destination(_) => EventReason::VolSyncPopulatorReplicationDestinationMissing,
        Wait::FirstImage { .. } | Wait::ImageReady { .. } => {
            EventReason::VolSyncPopulatorReplicationDestinationNoLatestImage
        }
        Wait::Turn { .. } => EventReason::PopulatorQueued,
        Wait::Provisioner { .. } => EventReason::PersistentVolumeClaimNotBound,
        Wait::Elsewhere { .. }
        | Wait::OtherImage { .. }
        | Wait::ImageGone { .. }
        | Wait::Larger { .. }
        | Wait::Class(_)
        | Wait::OtherClass { .. }
        | Wait::NotOurs { .. }
        | Wait::VolumeOfOther { .. } => EventReason::VolSyncPopulatorError,
    };
    Event { reason, note: note(wish, wait) }
}

fn note(wish: &Population, wait: &Wait) -> String {
    let namespace = &wish.claim.namespace;
    match wait {
        Wait::Elsewhere { namespace: other, name } => format!(
            "spec.dataSourceRef: ReplicationDestination {name:?} is looked for in namespace {namespace:?} only, not in \
             {other:?}; make the claim anew beside its ReplicationDestination, without dataSourceRef.namespace"
        ),
        Wait::Destination(name) => format!(
            "ReplicationDestination {name:?} does not exist in namespace {namespace:?}; the claim is filled as soon as it \
             does and has an image"
        ),
        Wait::FirstImage { destination } => format!(
            "ReplicationDestination {destination:?} has no image yet; the claim is filled from the first one. How far it is: \
             kubectl describe replicationdestination {destination}"
        ),
        Wait::OtherImage { destination, image } => format!(
            "the image of ReplicationDestination {destination:?} is {image}, and claims are filled from VolumeSnapshots only; \
             set copyMethod: Snapshot there, or name that claim as this one's dataSource"
        ),
        Wait::ImageGone { destination, image } => format!(
            "VolumeSnapshot {image:?}, the image of ReplicationDestination {destination:?}, was deleted; the claim is filled \
             from the image of the next synchronization"
        ),
        Wait::ImageReady { image, error } => {
            let because = error.as_ref().map_or_else(String::new, |error| format!(": {}", Line::new(error)));
            format!("waiting until VolumeSnapshot {image} is ready to use{because}")
        }
        Wait::Turn { image } => format!(
            "{MOST_AT_A_TIME} claims are being filled from VolumeSnapshot {image}, as many as may be at a time; this one follows \
             by itself"
        ),
        Wait::Larger { image, request, needed } => format!(
            "spec.resources.requests.storage: {request} is too small for VolumeSnapshot {image:?}, which needs {needed}; \
             delete the claim and make it anew with at least {needed}"
        ),
        Wait::Class(name) => format!(
            "spec.storageClassName: StorageClass {name:?} does not exist; the claim is filled as soon as it does"
        ),
        Wait::OtherClass { class, provisioner } => format!(
            "spec.storageClassName: StorageClass {class:?} has the provisioner {provisioner}, which makes no volumes from \
             snapshots; make the claim anew with a class of the CSI driver that took the image"
        ),
        Wait::Provisioner { prime } => format!(
            "PersistentVolumeClaim/{prime} is not bound after 2 min; kubectl describe shows what its provisioner says"
        ),
        Wait::NotOurs { prime, owner } => format!(
            "PersistentVolumeClaim {prime:?} exists but was not made for this claim (it belongs to {owner}); it was left \
             alone: delete it"
        ),
        Wait::VolumeOfOther { volume, claim } => format!(
            "PersistentVolume {volume:?}, made for this claim, belongs to {claim} by now; it was left alone: delete \
             PersistentVolumeClaim {:?}, and it is made again",
            name::prime(&wish.claim.uid)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::population::{ClaimShape, Claimant, Named};
    use crate::model::replication::VolumeMode;

    fn wish() -> Population {
        let text = str::to_owned;
        Population {
            claim: Claimant { namespace: text("shop"), name: text("data"), uid: text("u1") },
            resource_version: text("1"),
            destination: Named::Here(text("rd")),
            shape: ClaimShape {
                resources: serde_json::Value::Null,
                request: Some(text("1Gi")),
                access_modes: Vec::new(),
                storage_class: None,
                attributes_class: None,
                mode: VolumeMode::Filesystem,
            },
            node: None,
            migrated: false,
            created: jiff::Timestamp::UNIX_EPOCH,
            volume: None,
            told: None,
        }
    }

    fn of(outcome: Outcome) -> Reported {
        report(&wish(), &Plan { steps: Vec::new(), outcome, wake_at: None })
    }

    #[test]
    fn a_claim_that_is_too_small_is_told_both_sizes_and_what_to_do() {
        let wait = Wait::Larger { image: "i".to_owned(), request: "1Gi".to_owned(), needed: "4Gi".to_owned() };
        let Event { reason, note } = of(Outcome::Waiting(wait)).wait.unwrap();
        assert_eq!(reason, EventReason::VolSyncPopulatorError);
        for part in ["spec.resources.requests.storage", "1Gi", "\"i\"", "make it anew with at least 4Gi"] {
            assert!(note.contains(part), "{note}");
        }
    }

    #[test]
    fn reasons_are_those_of_volsync() {
        let text = str::to_owned;
        let reason = |wait| of(Outcome::Waiting(wait)).wait.unwrap().reason.as_str();
        assert_eq!(reason(Wait::Destination(text("rd"))), "VolSyncPopulatorReplicationDestinationMissing");
        assert_eq!(
            reason(Wait::FirstImage { destination: text("rd") }),
            "VolSyncPopulatorReplicationDestinationNoLatestImage"
        );
        assert_eq!(reason(Wait::OtherImage { destination: text("rd"), image: text("x") }), "VolSyncPopulatorError");
        let begun = of(Outcome::Begun { prime: text("p"), image: text("i") });
        assert_eq!((begun.wait, begun.events[0].reason.as_str()), (None, "VolSyncPopulatorPVCCreated"));
        let finished = of(Outcome::Finished);
        assert_eq!(finished.events[0].note, "Populator finished");
        assert_eq!(of(Outcome::Underway), Reported { wait: None, events: Vec::new() });
    }

    #[test]
    fn a_strangers_words_are_escaped() {
        let wait = Wait::ImageReady { image: "i".to_owned(), error: Some("bad\u{1b}[2J\nnews".to_owned()) };
        let note = of(Outcome::Waiting(wait)).wait.unwrap().note;
        assert!(!note.contains(['\u{1b}', '\n']), "{note:?}");
    }
}
