//! PURE: what a person can do about what an object does, waits for or suffers from.
//!
//! The operator's messages say what is the matter; this says where to look, with commands that can be pasted.

use super::child::Child;
use super::facts::{Facts, Found};
use crate::object::{Kind, Method, Object};
use crate::state::{self, Failure, Server, Standing, State};
use crate::text::one_line;

/// Steps, the most useful first; never none.
pub(super) fn of(facts: &Facts, state: &State) -> Vec<String> {
    let object = &facts.object;
    let mut steps = Vec::new();
    match state.server {
        Server::Nobody => return vec![state.message.clone()],
        Server::Provider => return vec!["ask the provider that spec.external names".to_owned()],
        Server::Doppel | Server::VolSync => {}
    }
    if state.standing == Standing::Held {
        let patch = r#"'{"spec":{"paused":false}}'"#;
        steps.push(format!("let it go on: {} --type merge -p {patch}", on(object, "patch", object.kind.plural())));
    }
    steps.extend(missing(facts));
    if let Some(failure) = state::failure(object) {
        steps.push(after(&failure, facts));
    }
    steps.extend(unreachable(facts));
    steps.extend(troubled(facts).map(|child| describe(object, child)));
    if steps.is_empty() {
        steps.push(nothing(object, state));
    }
    steps
}

/// What the object names and is not there.
fn missing(facts: &Facts) -> Vec<String> {
    let object = &facts.object;
    let mut steps = Vec::new();
    if let (Found::Missing, Some(name)) = (&facts.users_claim, &object.ends.claim) {
        let field = match object.kind {
            Kind::Source => "spec.sourcePVC".to_owned(),
            Kind::Destination => format!("{}.destinationPVC", object.section()),
        };
        steps.push(format!("create PersistentVolumeClaim {}, or correct {field}", one_line(name)));
    }
    if let (Found::Missing, Some(name)) = (&facts.key, &object.ends.key_secret) {
        if object.method == Method::One("restic") {
            let remedy =
                "create it with the keys RESTIC_REPOSITORY and RESTIC_PASSWORD, or correct spec.restic.repository";
            return [steps, vec![format!("Secret {} does not exist: {remedy}", one_line(name))]].concat();
        }
        let remedy = match (object.kind, object.ends.key_is_generated) {
            (Kind::Source, false) => "copy the Secret of the destination, which its status.rsyncTLS.keySecret names",
            (Kind::Source, true) => {
                "name a copy of the destination's in spec.rsyncTLS.keySecret; its status tells which that is"
            }
            (Kind::Destination, false) => "create it, or remove spec.rsyncTLS.keySecret and a key is made",
            (Kind::Destination, true) => {
                "a new one is made with the next synchronization; its source needs a copy of it"
            }
        };
        steps.push(format!("Secret {} with the key does not exist: {remedy}", one_line(name)));
    }
    steps
}

/// By whose fault it is.
fn after(failure: &Failure, facts: &Facts) -> String {
    let object = &facts.object;
    if failure.left_out.is_some_and(|left_out| left_out > 0) {
        return "make what was left out readable; the rest is copied, but no image is called good before all is"
            .to_owned();
    }
    let other = match object.kind {
        Kind::Source => "destination",
        Kind::Destination => "source",
    };
    match failure.fault.as_deref() {
        Some("User") => "correct what the failure names; a changed spec is tried at once".to_owned(),
        Some("Peer" | "Network") if object.method == Method::One("restic") => {
            "see whether the repository's store answers, and what is between: proxies, firewalls, NetworkPolicies (docs/network.md)"
                .to_owned()
        }
        Some("Peer") => format!("look at the {other}: kubectl doppel explain NAME, in its cluster and namespace"),
        Some("Network") => match (object.kind, &object.ends.address) {
            (Kind::Source, Some(address)) => format!(
                "see whether {} is still the address that the destination's status tells, and what is between: its Service, firewalls, NetworkPolicies (docs/network.md)",
                one_line(address)
            ),
            _ => format!("see what is between this side and the {other}: Services, firewalls, NetworkPolicies (docs/network.md)"),
        },
        Some("Volume") => "see whether the volume is full, damaged or not readable to the mover's user".to_owned(),
        Some("Cluster") => {
            format!("the cluster ended the mover, or did not start it: see its memory limit ({}.moverResources), quotas and nodes", object.section())
        }
        Some("Doppel") => "that is a defect of Doppel: please report it, with the mover's log".to_owned(),
        // VolSync says nothing of whose fault it is.
        _ => match facts.jobs.first() {
            Some(job) => format!("see the whole log while its pod is there: {} job/{}", on_none(object, "logs"), job.name),
            None => "correct what the failure names".to_owned(),
        },
    }
}

/// A destination that nobody can call.
fn unreachable(facts: &Facts) -> Option<String> {
    let object = &facts.object;
    let service = facts.services.iter().find(|service| service.trouble.is_some())?;
    let is_destination = object.kind == Kind::Destination && object.ends.address.is_none();
    is_destination.then(|| {
        format!(
            "something has to give Service {} an address: a load balancer's controller; or set spec.rsyncTLS.serviceType to a type that this cluster serves",
            service.name
        )
    })
}

/// Parts that are not as they should be, other than the Service.
fn troubled(facts: &Facts) -> impl Iterator<Item = &Child> {
    let users = match &facts.users_claim {
        Found::There(claim) => Some(claim),
        Found::Missing | Found::Unknown => None,
    };
    let parts = facts.pods.iter().chain(&facts.claims).chain(&facts.snapshots).chain(users);
    parts.filter(|child| child.trouble.is_some())
}

fn describe(object: &Object, child: &Child) -> String {
    let kind = child.kind.to_lowercase();
    format!(
        "see why {} {} is not as it should be: {} {kind} {}",
        child.kind,
        child.name,
        on_none(object, "describe"),
        child.name
    )
}

fn nothing(object: &Object, state: &State) -> String {
    match (state.standing, object.kind, state.reason.as_str()) {
        (Standing::Stalled, _, _) => "do what the message above says; a changed spec is tried at once".to_owned(),
        (Standing::Reconciling, Kind::Destination, "MoverRunning") if object.method != Method::One("restic") => {
            "nothing here: it waits for its source. If none calls, see kubectl doppel explain NAME of the source"
                .to_owned()
        }
        (Standing::Unknown, _, "Error") => "correct what the message above names".to_owned(),
        (Standing::Reconciling, _, _) => "nothing: it goes on by itself".to_owned(),
        (Standing::Ready | Standing::Unknown | Standing::Held, _, _) => "nothing".to_owned(),
    }
}

/// The beginning of a command about the object.
fn on(object: &Object, verb: &str, kind: &str) -> String {
    format!("{} {kind} {}", on_none(object, verb), object.name)
}

fn on_none(object: &Object, verb: &str) -> String {
    format!("kubectl -n {} {verb}", object.namespace)
}
