//! PURE: what an object says becomes a [`Replication`], or a reason why it cannot.
//!
//! Everything that can be wrong with a spec is found here, before anything is done to the cluster.

mod destination;
mod restic;
mod source;
mod status;
mod volumes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::common::{MoverConfig, Trigger as TriggerSpec};
use crate::model::mover::{KeySource, Mover, Section};
use crate::model::name as names;
use crate::model::pod::{PodSettings, Verbosity};
use crate::model::policy::Deadlines;
use crate::model::reason::Reason;
use crate::model::replication::{Beginner, Direction, Iteration, Pace, Phase, Replication, Role, Trigger};
use crate::model::schedule::Schedule;
use crate::model::status::Status;
use crate::replication::left::{Left, LeftOf};
use crate::replication::owner_of;

/// One of the two kinds.
pub trait Kind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Default
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Which.
    const ROLE: Role;

    /// What the object asks for.
    fn interpret(&self) -> Interpretation;

    /// What its status says.
    fn status(&self) -> Status;

    /// Whether it has a status at all.
    fn has_status(&self) -> bool;

    /// Replaces what its status says; parts that this operator does not write are left alone.
    fn set_status(&mut self, status: Status);

    /// The claims that it names.
    fn claims(&self) -> Vec<&str>;

    /// Those of its kind.
    fn left(of: &Left) -> &LeftOf<Self>;
}

/// What came of reading an object.
#[derive(Debug, Clone)]
pub enum Interpretation {
    /// A valid wish.
    Wish(Box<Replication>),
    /// Another operator's: not even its status is touched.
    External,
    /// Something has to be changed first.
    Refused(Reason),
}

impl From<Result<Option<Replication>, Reason>> for Interpretation {
    fn from(result: Result<Option<Replication>, Reason>) -> Self {
        match result {
            Ok(Some(wish)) => Self::Wish(Box::new(wish)),
            Ok(None) => Self::External,
            Err(reason) => Self::Refused(reason),
        }
    }
}

/// One section of a spec that chooses a mover.
struct Candidate {
    field: &'static str,
    mover: &'static str,
    present: bool,
}

impl Candidate {
    fn new(field: &'static str, mover: &'static str, present: bool) -> Self {
        Self { field, mover, present }
    }
}

/// What stands for a mover where another operator is to act.
const EXTERNAL: &str = "external";

/// What the sections of a spec choose together.
enum Choice {
    RsyncTls,
    Restic,
    External,
}

/// Exactly one section must be there, and its mover must be one that this version has.
fn choose(candidates: &[Candidate]) -> Result<Choice, Reason> {
    let fields = |candidates: &mut dyn Iterator<Item = &Candidate>, between| {
        candidates.map(|candidate| candidate.field).collect::<Vec<_>>().join(between)
    };
    let present: Vec<_> = candidates.iter().filter(|candidate| candidate.present).collect();
    match present[..] {
        [] => {
            let mut movers = candidates.iter().filter(|candidate| candidate.mover != EXTERNAL);
            Err(Reason::NoMover(fields(&mut movers, ", ")))
        }
        [one] => match one.mover {
            "rsync-tls" => Ok(Choice::RsyncTls),
            "restic" => Ok(Choice::Restic),
            EXTERNAL => Ok(Choice::External),
            mover => Err(Reason::MoverMissing { field: one.field, mover }),
        },
        _ => Err(Reason::SeveralMovers(fields(&mut present.iter().copied(), " and "))),
    }
}

/// The whole wish, from what only one kind or mover says (`direction`, `mover`) and what all say alike.
fn wish<K: Kind>(
    object: &K,
    (trigger_spec, paused): (Option<&TriggerSpec>, Option<bool>),
    (direction, mover): (Direction, Mover),
) -> Result<Replication, Reason> {
    let trigger = trigger(trigger_spec)?;
    let status = object.status();
    Ok(Replication {
        owner: owner_of(K::ROLE, object),
        generation: object.meta().generation,
        direction,
        mover,
        pace: pace(paused),
        verbosity: verbosity(object),
        phase: phase(&status, &trigger),
        image: status.image,
        deadlines: Deadlines::default(),
        trigger,
    })
}

/// `manual` goes before `schedule`; neither means one synchronization after the other.
fn trigger(spec: Option<&TriggerSpec>) -> Result<Trigger, Reason> {
    let set = |value: Option<&String>| value.filter(|text| !text.is_empty()).cloned();
    let Some(spec) = spec else {
        return Ok(Trigger::Continuous);
    };
    if let Some(tag) = set(spec.manual.as_ref()) {
        return Ok(Trigger::Manual(tag));
    }
    match set(spec.schedule.as_ref()) {
        Some(schedule) => Ok(Trigger::Schedule(Schedule::parse(&schedule)?)),
        None => Ok(Trigger::Continuous),
    }
}

fn pace(paused: Option<bool>) -> Pace {
    if paused == Some(true) { Pace::Paused } else { Pace::Running }
}

fn verbosity(object: &impl ResourceExt) -> Verbosity {
    if object.annotations().contains_key(names::DEBUG_ANNOTATION) { Verbosity::Debug } else { Verbosity::Normal }
}

/// Where the iteration stands. One that VolSync began has no memory of its trigger: it answers the present one.
fn phase(status: &Status, trigger: &Trigger) -> Phase {
    if let Some(since) = status.last_sync_start {
        let last_sync = status.last_sync;
        return Phase::Running(match &status.current {
            Some(current) => Iteration {
                since,
                begun_by: current.begun_by,
                manual: current.manual.clone(),
                failed_attempts: current.failed_attempts,
                next_attempt: current.next_attempt,
                last_sync,
            },
            None => Iteration {
                since,
                begun_by: Beginner::VolSync,
                manual: match trigger {
                    Trigger::Manual(tag) => Some(tag.clone()),
                    Trigger::Schedule(_) | Trigger::Continuous => None,
                },
                failed_attempts: 0,
                next_attempt: None,
                last_sync,
            },
        });
    }
    match status.last_sync {
        Some(last_sync) => Phase::Idle { last_sync, last_manual: status.last_manual.clone() },
        None => Phase::Never,
    }
}

/// A name that must not be empty when it is given.
fn name(value: Option<&String>) -> Option<String> {
    value.filter(|name| !name.is_empty()).cloned()
}

/// The pre-shared key's Secret: the user's, or one that is generated.
fn key_source<K: Kind>(object: &K, given: Option<&String>) -> KeySource {
    name(given)
        .map_or_else(|| KeySource::Generated(names::rsync_tls_secret(&owner_of(K::ROLE, object))), KeySource::Given)
}

/// The claims that `moverVolumes` name.
fn extra_claims(mover: &MoverConfig) -> impl Iterator<Item = &str> {
    let claims = mover.mover_volumes.iter().flatten();
    claims.filter_map(|volume| Some(volume.volume_source.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

fn pod_settings(section: Section, mover: &MoverConfig) -> Result<PodSettings, Reason> {
    let MoverConfig {
        mover_security_context,
        mover_service_account,
        mover_pod_labels,
        mover_resources,
        mover_affinity,
        mover_volumes,
    } = mover;
    Ok(PodSettings {
        security_context: passed(section.field("moverSecurityContext"), mover_security_context.as_ref())?,
        service_account: name(mover_service_account.as_ref()),
        labels: pairs(mover_pod_labels.as_ref()),
        resources: passed(section.field("moverResources"), mover_resources.as_ref())?,
        affinity: passed(section.field("moverAffinity"), mover_affinity.as_ref())?,
        volumes: volumes::extra_volumes(section, mover_volumes.as_deref().unwrap_or_default())?,
    })
}

/// A Kubernetes object that is carried through.
fn passed<T: Serialize>(field: String, value: Option<&T>) -> Result<Option<serde_json::Value>, Reason> {
    value.map(|value| json(field, value)).transpose()
}

fn json<T: Serialize>(field: String, value: &T) -> Result<serde_json::Value, Reason> {
    serde_json::to_value(value).map_err(|error| Reason::FieldInvalid { field, why: error.to_string() })
}

fn pairs(map: Option<&BTreeMap<String, String>>) -> Vec<(String, String)> {
    map.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn empty_source(allow: Option<bool>) -> doppel_contract::EmptySource {
    if allow == Some(true) { doppel_contract::EmptySource::Accept } else { doppel_contract::EmptySource::Refuse }
}
