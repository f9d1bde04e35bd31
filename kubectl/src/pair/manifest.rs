//! PURE: the objects of a pair, and whose an object is that is there already.
//!
//! What is made here has a label, and an annotation that says for which pair. An object without them, or of another pair, is somebody
//! else's, and is left alone.

use std::collections::BTreeMap;

use doppel::api::common::{CopyMethod, Trigger};
use doppel::api::destination::{
    DestinationRsyncTls, DestinationVolumeOptions, ReplicationDestination, ReplicationDestinationSpec,
};
use doppel::api::source::{ReplicationSource, ReplicationSourceSpec, SourceRsyncTls, SourceVolumeOptions};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::args::{DestinationCopy, PairArgs, ServiceType, SourceCopy};

/// The label of what this program makes.
const MADE_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kubectl-doppel");
/// Annotation: the other end of the pair.
const PAIR: &str = "doppel.backube/pair";
/// The key of a Secret that holds the pre-shared key.
pub(super) const PSK: &str = "psk.txt";
/// The first value of spec.trigger.manual where there is no schedule: any value begins one synchronization.
const FIRST: &str = "first";

/// A name in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The claim that is copied, as far as its double is made after it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claim {
    pub(super) at: At,
    pub(super) uid: String,
    capacity: Option<Quantity>,
    access_modes: Vec<String>,
    volume_mode: Option<String>,
}

impl Claim {
    pub(super) fn new(at: At, claim: PersistentVolumeClaim) -> Self {
        let spec = claim.spec.unwrap_or_default();
        let had = claim.status.and_then(|status| status.capacity?.get("storage").cloned());
        let asked = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned());
        // A double is written to.
        let writable = spec.access_modes.into_iter().flatten().filter(|mode| mode != "ReadOnlyMany");
        let access_modes: Vec<String> = writable.collect();
        Self {
            at,
            uid: claim.metadata.uid.unwrap_or_default(),
            capacity: had.or(asked),
            access_modes: if access_modes.is_empty() { vec!["ReadWriteOnce".to_owned()] } else { access_modes },
            volume_mode: spec.volume_mode.filter(|mode| mode == "Block"),
        }
    }

    /// The other end, as a destination notes it. A claim of another cluster may have the same name.
    pub(super) fn mark(&self) -> String {
        format!("{}/{}/{}", self.at.namespace, self.at.name, self.uid)
    }
}

/// What a source needs to know of its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) address: String,
    pub(super) port: Option<i32>,
    /// In the source's namespace.
    pub(super) key_secret: String,
}

/// Of a destination's spec what was asked for in so many words: what is changed where it is there already.
pub(super) fn asked_of_destination(args: &PairArgs) -> ReplicationDestinationSpec {
    let volume = DestinationVolumeOptions {
        copy_method: args.destination_copy_method.map(|method| match method {
            DestinationCopy::Snapshot => CopyMethod::Snapshot,
            DestinationCopy::Direct => CopyMethod::Direct,
        }),
        capacity: args.capacity.clone().map(Quantity),
        storage_class_name: args.storage_class.clone(),
        access_modes: Some(args.access_modes.clone()).filter(|modes| !modes.is_empty()),
        ..DestinationVolumeOptions::default()
    };
    let service_type = args.service_type.map(|kind| kind.as_str().to_owned());
    let tls = DestinationRsyncTls { volume, service_type, ..DestinationRsyncTls::default() };
    // Without a trigger it always waits for its source, which decides when.
    ReplicationDestinationSpec { rsync_tls: Some(Box::new(tls)), ..ReplicationDestinationSpec::default() }
}

/// A new destination, made after the claim in what was not asked for. None where nobody says how large it is to be.
pub(super) fn destination(
    args: &PairArgs,
    at: &At,
    claim: &Claim,
    usual: ServiceType,
) -> Option<ReplicationDestination> {
    let mut spec = asked_of_destination(args);
    let tls = spec.rsync_tls.get_or_insert_default();
    tls.volume_mode.clone_from(&claim.volume_mode);
    tls.service_type.get_or_insert_with(|| usual.as_str().to_owned());
    tls.volume.copy_method.get_or_insert(CopyMethod::Snapshot);
    tls.volume.access_modes.get_or_insert_with(|| claim.access_modes.clone());
    tls.volume.capacity = Some(tls.volume.capacity.take().or_else(|| claim.capacity.clone())?);
    let mut destination = ReplicationDestination::new(&at.name, spec);
    destination.metadata = metadata(at, &claim.mark());
    Some(destination)
}

/// The copy of the key beside the source.
pub(super) fn key(at: &At, mark: &str, psk: Vec<u8>) -> Secret {
    Secret {
        metadata: metadata(at, mark),
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(PSK.to_owned(), ByteString(psk))])),
        ..Secret::default()
    }
}

/// Of a source's spec what was asked for in so many words, and how its destination is reached: what is changed where it is there
/// already.
pub(super) fn asked_of_source(args: &PairArgs, link: &Link) -> ReplicationSourceSpec {
    let trigger = match (&args.schedule, args.manual) {
        (Some(schedule), _) => Some(Trigger { schedule: Some(schedule.clone()), manual: None }),
        (None, true) => Some(Trigger { schedule: None, manual: Some(FIRST.to_owned()) }),
        (None, false) => None,
    };
    let copy_method = args.copy_method.map(|method| match method {
        SourceCopy::Snapshot => CopyMethod::Snapshot,
        SourceCopy::Clone => CopyMethod::Clone,
        SourceCopy::Direct => CopyMethod::Direct,
    });
    let tls = SourceRsyncTls {
        volume: SourceVolumeOptions { copy_method, ..SourceVolumeOptions::default() },
        key_secret: Some(link.key_secret.clone()),
        address: Some(link.address.clone()),
        port: link.port,
        ..SourceRsyncTls::default()
    };
    ReplicationSourceSpec { trigger, rsync_tls: Some(Box::new(tls)), ..ReplicationSourceSpec::default() }
}

/// A new source.
pub(super) fn source(args: &PairArgs, at: &At, claim: &Claim, link: &Link, mark: &str) -> ReplicationSource {
    let mut spec = asked_of_source(args, link);
    spec.source_pvc = Some(claim.at.name.clone());
    spec.trigger.get_or_insert_with(|| Trigger { schedule: None, manual: Some(FIRST.to_owned()) });
    spec.rsync_tls.get_or_insert_default().volume.copy_method.get_or_insert(CopyMethod::Snapshot);
    let mut source = ReplicationSource::new(&at.name, spec);
    source.metadata = metadata(at, mark);
    source
}

/// The other end, as a source and its Secret note it.
pub(super) fn mark_of(destination: &At, uid: &str) -> String {
    format!("{}/{}/{uid}", destination.namespace, destination.name)
}

fn metadata(at: &At, mark: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(at.name.clone()),
        namespace: Some(at.namespace.clone()),
        labels: Some(BTreeMap::from([(MADE_BY.0.to_owned(), MADE_BY.1.to_owned())])),
        annotations: Some(BTreeMap::from([(PAIR.to_owned(), mark.to_owned())])),
        ..ObjectMeta::default()
    }
}

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// This pair's.
    ThisPair,
    /// Another pair's, with this other end.
    OtherPair(String),
    /// This program did not make it.
    Somebody,
}

/// Whose it is.
pub(super) fn owner(metadata: &ObjectMeta, mark: &str) -> Owner {
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(MADE_BY.0));
    if label.is_none_or(|label| label != MADE_BY.1) {
        return Owner::Somebody;
    }
    match metadata.annotations.as_ref().and_then(|annotations| annotations.get(PAIR)) {
        Some(found) if found == mark => Owner::ThisPair,
        found => Owner::OtherPair(found.map_or_else(|| "nothing".to_owned(), |found| crate::text::one_line(found))),
    }
}

/// How to change a spec that is there into one that has what was asked for, and the fields that it takes; none where it has that
/// already. Other fields stay, but for the trigger: a schedule and a manual trigger take each other's place.
pub(super) fn change(is: &Value, asked: &Value) -> Option<(Value, Vec<String>)> {
    let mut wish = asked.clone();
    if let Some(trigger) = wish.get_mut("trigger").and_then(Value::as_object_mut) {
        let manual = is.pointer("/trigger/manual").filter(|manual| !matches!(manual.as_str(), None | Some("")));
        match (trigger.contains_key("manual"), manual) {
            // Any value will do, and another one would begin a synchronization.
            (true, Some(manual)) => drop(trigger.insert("manual".to_owned(), manual.clone())),
            (true, None) => {}
            (false, _) => drop(trigger.insert("manual".to_owned(), Value::Null)),
        }
        if !trigger.contains_key("schedule") {
            trigger.insert("schedule".to_owned(), Value::Null);
        }
    }
    let mut fields = Vec::new();
    differences(is, &wish, "spec", &mut fields);
    (!fields.is_empty()).then_some((wish, fields))
}

fn differences(is: &Value, wish: &Value, path: &str, fields: &mut Vec<String>) {
    match wish {
        Value::Object(wish) => {
            for (name, wish) in wish {
                differences(is.get(name).unwrap_or(&Value::Null), wish, &format!("{path}.{name}"), fields);
            }
        }
        wish if wish != is => fields.push(format!("{path}: {is} becomes {wish}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::args::{Command, Typed};

    fn args(more: &[&str]) -> PairArgs {
        let line = ["kubectl-doppel", "pair", "west/shop/data", "east/shop"];
        match Typed::try_parse_from(line.iter().chain(more)).unwrap().command {
            Command::Pair(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn at(name: &str) -> At {
        At { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn claim(spec: &Value) -> Claim {
        let claim = json!({"metadata": {"name": "data", "uid": "u-1"}, "spec": spec});
        Claim::new(at("data"), serde_json::from_value(claim).unwrap())
    }

    fn usual() -> Claim {
        claim(&json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}))
    }

    fn link() -> Link {
        Link { address: "203.0.113.7".to_owned(), port: None, key_secret: "data-psk".to_owned() }
    }

    #[test]
    fn a_destination_is_like_the_claim_unless_told_otherwise() {
        let spec = |claim: &Claim, more: &[&str]| {
            serde_json::to_value(destination(&args(more), &at("data"), claim, ServiceType::LoadBalancer).unwrap().spec)
                .unwrap()
        };
        assert_eq!(
            spec(&usual(), &[]),
            json!({"rsyncTLS": {"copyMethod": "Snapshot", "capacity": "5Gi", "accessModes": ["ReadWriteOnce"],
                "serviceType": "LoadBalancer"}})
        );
        let block = claim(&json!({"accessModes": ["ReadOnlyMany"], "volumeMode": "Block",
            "resources": {"requests": {"storage": "5Gi"}}}));
        let made =
            spec(&block, &["--capacity", "6Gi", "--storage-class", "fast", "--destination-copy-method", "direct"]);
        assert_eq!(
            made["rsyncTLS"],
            json!({"copyMethod": "Direct", "capacity": "6Gi", "accessModes": ["ReadWriteOnce"], "volumeMode": "Block",
                "storageClassName": "fast", "serviceType": "LoadBalancer"})
        );
    }

    #[test]
    fn a_claim_without_a_size_needs_one_to_be_said() {
        assert_eq!(destination(&args(&[]), &at("data"), &claim(&json!({})), ServiceType::ClusterIp), None);
    }

    #[test]
    fn a_source_is_by_schedule_or_begins_once() {
        let trigger = |more: &[&str]| {
            let source = source(&args(more), &at("data"), &usual(), &link(), "m");
            serde_json::to_value(source.spec.trigger.unwrap()).unwrap()
        };
        assert_eq!(trigger(&["--schedule", "0 3 * * *"]), json!({"schedule": "0 3 * * *"}));
        assert_eq!(trigger(&[]), json!({"manual": "first"}));
        assert_eq!(trigger(&["--manual"]), json!({"manual": "first"}));
    }

    #[test]
    fn what_has_no_mark_or_another_is_somebody_elses() {
        let made = destination(&args(&[]), &at("data"), &usual(), ServiceType::ClusterIp).unwrap();
        assert_eq!(owner(&made.metadata, "shop/data/u-1"), Owner::ThisPair);
        assert_eq!(owner(&made.metadata, "shop/data/u-2"), Owner::OtherPair("shop/data/u-1".to_owned()));
        let mut theirs = made.metadata.clone();
        theirs.labels = None;
        assert_eq!(owner(&theirs, "shop/data/u-1"), Owner::Somebody);
    }

    fn made(more: &[&str]) -> Value {
        serde_json::to_value(source(&args(more), &at("data"), &usual(), &link(), "m").spec).unwrap()
    }

    fn asked(more: &[&str]) -> Value {
        serde_json::to_value(asked_of_source(&args(more), &link())).unwrap()
    }

    #[test]
    fn a_second_time_nothing_is_changed_and_what_users_changed_stays() {
        for more in [&[][..], &["--manual", "--copy-method", "direct"], &["--schedule", "@daily"]] {
            assert_eq!(change(&made(more), &asked(more)), None, "{more:?}");
            assert_eq!(change(&made(more), &asked(&[])), None, "{more:?}");
        }
        let mut used = made(&[]);
        used["trigger"]["manual"] = json!("kubectl-doppel-2026-11-24T10:00:00Z");
        used["rsyncTLS"]["copyMethod"] = json!("Clone");
        used["paused"] = json!(true);
        for more in [&[][..], &["--manual"]] {
            assert_eq!(change(&used, &asked(more)), None, "{more:?}");
        }
        let destination = destination(&args(&[]), &at("data"), &usual(), ServiceType::ClusterIp).unwrap();
        let mut spec = serde_json::to_value(destination.spec).unwrap();
        spec["rsyncTLS"]["capacity"] = json!("50Gi");
        assert_eq!(change(&spec, &serde_json::to_value(asked_of_destination(&args(&[]))).unwrap()), None);
    }

    #[test]
    fn a_schedule_takes_the_place_of_a_manual_trigger_and_the_fields_are_told() {
        let (patch, fields) = change(&made(&[]), &asked(&["--schedule", "@daily"])).unwrap();
        assert_eq!(patch["trigger"], json!({"schedule": "@daily", "manual": null}));
        assert_eq!(
            fields,
            ["spec.trigger.manual: \"first\" becomes null", "spec.trigger.schedule: null becomes \"@daily\""]
        );
        let (patch, _) = change(&made(&["--schedule", "@daily"]), &asked(&["--manual"])).unwrap();
        assert_eq!(patch["trigger"], json!({"schedule": null, "manual": "first"}));
    }

    #[test]
    fn an_address_that_changed_is_followed() {
        let moved = Link { address: "203.0.113.8".to_owned(), ..link() };
        let asked = serde_json::to_value(asked_of_source(&args(&[]), &moved)).unwrap();
        let (_, fields) = change(&made(&[]), &asked).unwrap();
        assert_eq!(fields, ["spec.rsyncTLS.address: \"203.0.113.7\" becomes \"203.0.113.8\""]);
    }
}
