//! The samples, and what else VolSync's users write, are accepted by the CRDs and understood without losing a field.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use jsonschema::Validator;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::Deserialize as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[test]
fn every_sample_is_valid_and_loses_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut checked = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}: no word on what it is for", path.display());
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let manifest = Value::deserialize(document).unwrap();
            if let Err(problem) = check(&manifest) {
                panic!("{}: {problem}", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 18, "only {checked} samples were found");
}

#[test]
fn there_is_a_sample_for_every_mover_section_and_every_copy_method() {
    let mut found = BTreeSet::new();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let manifest: Value = serde_yaml_ng::from_str(&text).unwrap();
        let kind = manifest["kind"].as_str().unwrap();
        for (section, value) in manifest["spec"].as_object().into_iter().flatten() {
            found.insert(format!("{kind} {section}"));
            if let Some(method) = value["copyMethod"].as_str() {
                found.insert(format!("{kind} {section} {method}"));
            }
        }
    }
    for wanted in [
        "ReplicationSource rsyncTLS Direct",
        "ReplicationSource rsyncTLS Clone",
        "ReplicationSource rsyncTLS Snapshot",
        "ReplicationDestination rsyncTLS Direct",
        "ReplicationDestination rsyncTLS Snapshot",
        "ReplicationSource rsync",
        "ReplicationDestination rsync",
        "ReplicationSource rclone",
        "ReplicationDestination rclone",
        "ReplicationSource restic",
        "ReplicationDestination restic",
        "ReplicationSource syncthing",
        "ReplicationSource external",
        "ReplicationDestination paused",
    ] {
        assert!(found.contains(wanted), "no sample of {wanted}");
    }
}

#[test]
fn what_volsync_accepts_is_accepted() {
    for spec in [
        json!({}),
        json!({"trigger": {}}),
        json!({"trigger": {"manual": "", "schedule": "@hourly"}}),
        json!({"trigger": {"schedule": "@daily and more, which VolSync's pattern lets through"}}),
        json!({"trigger": {"schedule": "12345"}}),
        json!({"trigger": {"schedule": "0/15 9-17 1,15 * 1-5"}}),
        json!({"rsyncTLS": {}}),
        json!({"rsyncTLS": {"capacity": 10, "port": 0}}),
        json!({"rsyncTLS": {"capacity": "1.5Gi", "port": 65535}}),
        json!({"rsyncTLS": {"capacity": "1e9"}, "restic": {}, "rsync": {}}),
        json!({"rsyncTLS": {"copyMethod": "None", "serviceType": "Anything", "accessModes": ["Whatever"]}}),
        json!({"rsyncTLS": {"moverResources": {"limits": {"cpu": 2, "memory": "64Mi", "nvidia.com/gpu": 1}}}}),
        json!({"rsyncTLS": {"moverVolumes": [{"mountPath": "m", "volumeSource": {}}]}}),
        json!({"restic": {"cacheAccessModes": [], "previous": -1, "pruneIntervalDays": -1, "retain": {}}}),
        json!({"restic": {"restoreAsOf": "2026-11-23T04:05:06Z"}}),
        json!({"restic": {"restoreAsOf": "2026-11-23t04:05:06.123456789+23:59"}}),
    ] {
        for kind in ["ReplicationSource", "ReplicationDestination"] {
            let manifest = object(kind, &only_known(kind, &spec));
            if let Err(problem) = check(&manifest) {
                panic!("{manifest}: {problem}");
            }
        }
    }
}

#[test]
fn an_object_without_a_spec_is_one() {
    for kind in ["ReplicationSource", "ReplicationDestination"] {
        let bare = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": kind, "metadata": {"name": "x"}});
        validate(kind, &bare).unwrap();
        serde_json::from_value::<ReplicationSource>(bare.clone()).unwrap();
        serde_json::from_value::<ReplicationDestination>(bare).unwrap();
    }
}

#[test]
fn a_status_that_volsync_wrote_is_understood() {
    let shared = json!({
        "lastSyncStartTime": "2026-11-23T04:05:06Z",
        "lastSyncTime": "2026-11-23T04:05:35Z",
        "lastSyncDuration": "28.818695981s",
        "nextSyncTime": "2026-11-24T04:00:00Z",
        "lastManualSync": "once",
        "latestMoverStatus": {"result": "Successful", "logs": "sent 1 bytes\nrsync completed in 5s"},
        "conditions": [{
            "type": "Synchronizing", "status": "False", "reason": "WaitingForSchedule",
            "message": "Waiting for next scheduled synchronization", "lastTransitionTime": "2026-11-23T04:05:35Z",
        }],
        "external": {"key": "value"},
        "rsync": {"sshKeys": "volsync-rsync-dst-src-data", "address": "10.0.0.1", "port": 22},
    });
    let source = json!({
        "rsyncTLS": {"keySecret": "volsync-rsync-tls-data"},
        "restic": {"lastPruned": "2026-11-23T04:05:35Z", "lastUnlocked": "x"},
        "syncthing": {"ID": "A", "address": "tcp://1.2.3.4:22000", "peers": [
            {"address": "tcp://x:22000", "ID": "B", "connected": true, "introducedBy": "C", "name": "b"},
            {"address": "", "ID": "D", "connected": false},
        ]},
    });
    let destination = json!({
        "rsyncTLS": {"keySecret": "volsync-rsync-tls-data", "address": "10.0.0.1", "port": 8000},
        "latestImage": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "i"},
    });
    for (kind, own) in [("ReplicationSource", source), ("ReplicationDestination", destination)] {
        let mut manifest = object(kind, &json!({}));
        let mut status = shared.clone();
        status.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        manifest["status"] = status;
        if let Err(problem) = check(&manifest) {
            panic!("{kind}: {problem}");
        }
        manifest["status"] = json!({"latestMoverStatus": {}});
        check(&manifest).unwrap();
    }
}

/// The other half of every rule above: the checks of this file can fail.
#[test]
fn what_volsync_rejects_is_rejected() {
    for (spec, place) in [
        (json!({"rsyncTLS": {"copyMethod": "snapshot"}}), "/spec/rsyncTLS/copyMethod"),
        (json!({"rsyncTLS": {"port": 65536}}), "/spec/rsyncTLS/port"),
        (json!({"rsyncTLS": {"port": -1}}), "/spec/rsyncTLS/port"),
        (json!({"rsyncTLS": {"accessModes": []}}), "/spec/rsyncTLS/accessModes"),
        (json!({"rsyncTLS": {"capacity": "12 bananas"}}), "/spec/rsyncTLS/capacity"),
        (json!({"rsyncTLS": {"capacity": true}}), "/spec/rsyncTLS/capacity"),
        (json!({"rsyncTLS": {"keySecret": null}}), "/spec/rsyncTLS/keySecret"),
        (json!({"rsyncTLS": {"moverVolumes": [{"mountPath": "m"}]}}), "/spec/rsyncTLS/moverVolumes/0"),
        (json!({"restic": {"pruneIntervalDays": 3_000_000_000_u32}}), "/spec/restic/pruneIntervalDays"),
        (
            json!({"rsyncTLS": {"moverSecurityContext": {"runAsUser": 1e30}}}),
            "/spec/rsyncTLS/moverSecurityContext/runAsUser",
        ),
        (json!({"trigger": {"schedule": "every day"}}), "/spec/trigger/schedule"),
        (json!({"trigger": {"schedule": "0 0 * * MON"}}), "/spec/trigger/schedule"),
        (json!({"syncthing": {"peers": [{"ID": "A", "address": "x"}]}}), "/spec/syncthing/peers/0"),
        (json!({"restic": {"retain": {"last": 3}}}), "/spec/restic/retain/last"),
        (json!({"rsyncTLS": {"noSuchField": 1}}), "/spec/rsyncTLS"),
    ] {
        let problem = check(&object("ReplicationSource", &spec)).unwrap_err();
        assert!(problem.contains(&format!(" at {place}:")), "{spec}: {problem}");
    }
}

/// Whoever may write a status could otherwise stop the watch on all objects.
#[test]
fn a_time_that_the_schema_accepts_is_understood() {
    for (time, accepted) in [
        ("2026-11-23T04:05:06Z", true),
        ("2026-11-23t04:05:06z", true),
        ("2026-11-23T04:05:06.123456789+23:59", true),
        ("0000-01-01T00:00:00-23:59", true),
        ("8999-12-31T23:59:59-23:59", true),
        ("9999-12-31T23:59:59Z", false),
        ("2026-11-23T04:05:06+99:00", false),
        ("2026-11-23T04:05:06+24:30", false),
        ("2026-11-23T04:05:06.1234567890Z", false),
        ("2026-11-23", false),
    ] {
        for kind in ["ReplicationSource", "ReplicationDestination"] {
            let mut manifest = object(kind, &json!({}));
            manifest["status"] = json!({"lastSyncTime": time});
            assert_eq!(validate(kind, &manifest).is_ok(), accepted, "{time}");
            let understood = serde_json::from_value::<ReplicationSource>(manifest).is_ok();
            assert!(understood || !accepted, "{time}");
        }
    }
}

fn object(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "volsync.backube/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
}

/// The fields of a spec that a kind has; the rest are those of the other kind.
fn only_known(kind: &str, spec: &Value) -> Value {
    fn keep(spec: &Value, schema: &Value) -> Value {
        let (Some(fields), Some(known)) = (spec.as_object(), schema["properties"].as_object()) else {
            return spec.clone();
        };
        fields.iter().filter_map(|(name, value)| Some((name.clone(), keep(value, known.get(name)?)))).collect()
    }
    keep(spec, &schema(kind)["properties"]["spec"])
}

/// Against the schema, then through the types.
fn check(manifest: &Value) -> Result<(), String> {
    match manifest["kind"].as_str().unwrap_or_default() {
        kind @ "ReplicationSource" => validate(kind, manifest).and_then(|()| round_trip::<ReplicationSource>(manifest)),
        kind @ "ReplicationDestination" => {
            validate(kind, manifest).and_then(|()| round_trip::<ReplicationDestination>(manifest))
        }
        "Secret" => serde_json::from_value::<Secret>(manifest.clone()).map(drop).map_err(|error| error.to_string()),
        "PersistentVolumeClaim" => round_trip::<PersistentVolumeClaim>(manifest),
        "NetworkPolicy" => round_trip::<NetworkPolicy>(manifest),
        other => Err(format!("no sample should hold a {other:?}")),
    }
}

fn validate(kind: &str, manifest: &Value) -> Result<(), String> {
    // Built once: each compiles a few thousand nodes.
    static SOURCE: LazyLock<Validator> =
        LazyLock::new(|| jsonschema::validator_for(&schema("ReplicationSource")).unwrap());
    static DESTINATION: LazyLock<Validator> =
        LazyLock::new(|| jsonschema::validator_for(&schema("ReplicationDestination")).unwrap());
    let validator = if kind == "ReplicationSource" { &SOURCE } else { &DESTINATION };
    let problems: Vec<String> =
        validator.iter_errors(manifest).map(|error| format!("invalid at {}: {error}", error.instance_path())).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn schema(kind: &str) -> Value {
    let definitions = doppel::crd::definitions().unwrap();
    let of_kind = definitions.iter().find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap();
    let mut schema = of_kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    refuse_unknown_fields(&mut schema);
    // The API server's own; the CRD says no more than that it is an object.
    schema["properties"]["metadata"] = json!({"type": "object"});
    schema
}

/// An API server drops unknown fields; a sample must not have any. (In Kubernetes, `kubectl --validate=strict`.)
fn refuse_unknown_fields(schema: &mut Value) {
    if schema.get("properties").is_some() {
        schema["additionalProperties"] = false.into();
    }
    for (_, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        refuse_unknown_fields(property);
    }
    if let Some(items) = schema.get_mut("items") {
        refuse_unknown_fields(items);
    }
}

fn round_trip<K: DeserializeOwned + Serialize>(manifest: &Value) -> Result<(), String> {
    let typed: K = serde_json::from_value(manifest.clone()).map_err(|error| format!("not understood: {error}"))?;
    let again = serde_json::to_value(typed).map_err(|error| error.to_string())?;
    for part in ["apiVersion", "kind", "spec", "status"] {
        let (before, after) = (comparable(&manifest[part]), comparable(&again[part]));
        if before != after {
            return Err(format!("{part} was changed\nfrom {before}\nto   {after}"));
        }
    }
    Ok(())
}

/// Quantities may be numbers, and are text from then on.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Array(values) => values.iter().map(comparable).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), comparable(value))).collect(),
        other => other.clone(),
    }
}
