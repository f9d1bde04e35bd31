//! The CRDs are what VolSync's are, and `crds/` holds them as they are now.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

const COMMITTED: &str = include_str!("../crds/crds.yaml");

#[test]
fn the_committed_crds_are_fresh() {
    let fresh = doppel::crd::yaml().unwrap();
    assert!(fresh == COMMITTED, "crds/crds.yaml is stale; run: cargo run --quiet -- crds > crds/crds.yaml");
}

#[test]
fn every_path_of_a_source_is_volsyncs_or_known_as_our_own() {
    check_paths(&source(), &[SPEC, SOURCE_SPEC, STATUS, SOURCE_STATUS]);
}

#[test]
fn every_path_of_a_destination_is_volsyncs_or_known_as_our_own() {
    check_paths(&destination(), &[SPEC, DESTINATION_SPEC, STATUS, DESTINATION_STATUS]);
}

/// Paths and types: `s` text, `i` int32, `l` int64, `b` boolean, `q` quantity, `t` time, `c` copy method, `o` object,
/// `[x]` list of x, `{s}` map of text, `p` port, `+` list that must not be empty, `*` one of Kubernetes' own types.
/// A trailing `<name>` puts the fields of that group in.
type Table = &'static [(&'static str, &'static str)];

const SPEC: Table = &[
    (".apiVersion", "s"),
    (".kind", "s"),
    (".metadata", "o"),
    (".spec", "o"),
    (".spec.trigger", "o"),
    (".spec.trigger.schedule", "s"),
    (".spec.trigger.manual", "s"),
    (".spec.paused", "b"),
    (".spec.external", "o"),
    (".spec.external.provider", "s"),
    (".spec.external.parameters", "{s}"),
];

const SOURCE_SPEC: Table = &[
    (".spec.sourcePVC", "s"),
    (".spec.rsync", "<source volume>"),
    (".spec.rsync.sshKeys", "s"),
    (".spec.rsync.serviceType", "s"),
    (".spec.rsync.address", "s"),
    (".spec.rsync.port", "p"),
    (".spec.rsync.path", "s"),
    (".spec.rsync.sshUser", "s"),
    (".spec.rsync.moverServiceAccount", "s"),
    (".spec.rsync.moverPodLabels", "{s}"),
    (".spec.rsync.moverResources", "*"),
    (".spec.rsyncTLS", "<source volume><mover>"),
    (".spec.rsyncTLS.keySecret", "s"),
    (".spec.rsyncTLS.address", "s"),
    (".spec.rsyncTLS.port", "p"),
    (".spec.rsyncTLS.allowEmptySource", "b"),
    (".spec.rclone", "<source volume><rclone><mover>"),
    (".spec.restic", "<source volume><restic><mover>"),
    (".spec.restic.pruneIntervalDays", "i"),
    (".spec.restic.retain", "o"),
    (".spec.restic.retain.hourly", "i"),
    (".spec.restic.retain.daily", "i"),
    (".spec.restic.retain.weekly", "i"),
    (".spec.restic.retain.monthly", "i"),
    (".spec.restic.retain.yearly", "i"),
    (".spec.restic.retain.within", "s"),
    (".spec.restic.retain.last", "s"),
    (".spec.restic.unlock", "s"),
    (".spec.syncthing", "<mover>"),
    (".spec.syncthing.peers", "[o]"),
    (".spec.syncthing.peers[].address", "s"),
    (".spec.syncthing.peers[].ID", "s"),
    (".spec.syncthing.peers[].introducer", "b"),
    (".spec.syncthing.serviceType", "s"),
    (".spec.syncthing.configCapacity", "q"),
    (".spec.syncthing.configStorageClassName", "s"),
    (".spec.syncthing.configAccessModes", "[s]"),
];

const DESTINATION_SPEC: Table = &[
    (".spec.rsync", "<destination volume>"),
    (".spec.rsync.volumeMode", "s"),
    (".spec.rsync.sshKeys", "s"),
    (".spec.rsync.serviceType", "s"),
    (".spec.rsync.serviceAnnotations", "{s}"),
    (".spec.rsync.address", "s"),
    (".spec.rsync.port", "p"),
    (".spec.rsync.path", "s"),
    (".spec.rsync.sshUser", "s"),
    (".spec.rsync.moverServiceAccount", "s"),
    (".spec.rsync.moverPodLabels", "{s}"),
    (".spec.rsync.moverResources", "*"),
    (".spec.rsyncTLS", "<destination volume><mover>"),
    (".spec.rsyncTLS.volumeMode", "s"),
    (".spec.rsyncTLS.keySecret", "s"),
    (".spec.rsyncTLS.serviceType", "s"),
    (".spec.rsyncTLS.serviceAnnotations", "{s}"),
    (".spec.rsyncTLS.allowEmptySource", "b"),
    (".spec.rclone", "<destination volume><rclone><mover>"),
    (".spec.restic", "<destination volume><restic><mover>"),
    (".spec.restic.cleanupCachePVC", "b"),
    (".spec.restic.previous", "i"),
    (".spec.restic.restoreAsOf", "t"),
    (".spec.restic.enableFileDeletion", "b"),
];

const STATUS: Table = &[
    (".status", "o"),
    (".status.observedGeneration", "l"),
    (".status.lastSyncStartTime", "t"),
    (".status.lastSyncTime", "t"),
    (".status.lastSyncDuration", "s"),
    (".status.nextSyncTime", "t"),
    (".status.lastManualSync", "s"),
    (".status.latestMoverStatus", "o"),
    (".status.latestMoverStatus.result", "s"),
    (".status.latestMoverStatus.logs", "s"),
    (".status.currentSync", "o"),
    (".status.currentSync.begunBy", "s"),
    (".status.currentSync.manual", "s"),
    (".status.currentSync.failedAttempts", "i"),
    (".status.currentSync.nextAttemptTime", "t"),
    (".status.currentSync.lastFailure", "o"),
    (".status.currentSync.lastFailure.time", "t"),
    (".status.currentSync.lastFailure.fault", "s"),
    (".status.currentSync.lastFailure.message", "s"),
    (".status.currentSync.lastFailure.leftOut", "l"),
    (".status.currentSync.queuedTime", "t"),
    (".status.currentSync.place", "o"),
    (".status.currentSync.place.time", "t"),
    (".status.currentSync.place.storageClassName", "s"),
    (".status.currentSync.place.nodeName", "s"),
    (".status.currentSync.progress", "o"),
    (".status.currentSync.progress.time", "t"),
    (".status.currentSync.progress.phase", "s"),
    (".status.currentSync.progress.entries", "l"),
    (".status.currentSync.progress.entriesTotal", "l"),
    (".status.currentSync.progress.bytes", "l"),
    (".status.currentSync.progress.bytesTotal", "l"),
    (".status.currentSync.progress.bytesPerSecond", "l"),
    (".status.currentSync.progress.remainingSeconds", "l"),
    (".status.repository", "o"),
    (".status.repository.snapshots", "l"),
    (".status.repository.newest", "[o]"),
    (".status.repository.newest[].id", "s"),
    (".status.repository.newest[].time", "t"),
    (".status.repository.newest[].bytes", "l"),
    (".status.repository.newest[].incomplete", "b"),
    (".status.repository.nothing", "s"),
    (".status.conditions", "[o]"),
    (".status.conditions[].type", "s"),
    (".status.conditions[].status", "s"),
    (".status.conditions[].reason", "s"),
    (".status.conditions[].message", "s"),
    (".status.conditions[].lastTransitionTime", "t"),
    (".status.conditions[].observedGeneration", "l"),
    (".status.external", "{s}"),
    (".status.rsync", "o"),
    (".status.rsync.sshKeys", "s"),
    (".status.rsync.address", "s"),
    (".status.rsync.port", "i"),
    (".status.rsyncTLS", "o"),
    (".status.rsyncTLS.keySecret", "s"),
];

const SOURCE_STATUS: Table = &[
    (".status.restic", "o"),
    (".status.restic.lastPruned", "t"),
    (".status.restic.lastUnlocked", "s"),
    (".status.syncthing", "o"),
    (".status.syncthing.ID", "s"),
    (".status.syncthing.address", "s"),
    (".status.syncthing.peers", "[o]"),
    (".status.syncthing.peers[].address", "s"),
    (".status.syncthing.peers[].ID", "s"),
    (".status.syncthing.peers[].connected", "b"),
    (".status.syncthing.peers[].introducedBy", "s"),
    (".status.syncthing.peers[].name", "s"),
];

const DESTINATION_STATUS: Table = &[
    (".status.latestImage", "o"),
    (".status.latestImage.apiGroup", "s"),
    (".status.latestImage.kind", "s"),
    (".status.latestImage.name", "s"),
    (".status.rsyncTLS.address", "s"),
    (".status.rsyncTLS.port", "i"),
];

fn group(name: &str) -> Table {
    match name {
        "source volume" => &[
            ("copyMethod", "c"),
            ("capacity", "q"),
            ("storageClassName", "s"),
            ("accessModes", "+"),
            ("volumeSnapshotClassName", "s"),
        ],
        "destination volume" => &[
            ("copyMethod", "c"),
            ("capacity", "q"),
            ("storageClassName", "s"),
            ("accessModes", "+"),
            ("volumeSnapshotClassName", "s"),
            ("destinationPVC", "s"),
            ("cleanupTempPVC", "b"),
        ],
        "mover" => &[
            ("moverSecurityContext", "*"),
            ("moverServiceAccount", "s"),
            ("moverPodLabels", "{s}"),
            ("moverResources", "*"),
            ("moverAffinity", "*"),
            ("moverVolumes", "[o]"),
            ("moverVolumes[].mountPath", "s"),
            ("moverVolumes[].volumeSource", "o"),
            ("moverVolumes[].volumeSource.secret", "*"),
            ("moverVolumes[].volumeSource.nfs", "*"),
            ("moverVolumes[].volumeSource.persistentVolumeClaim", "*"),
        ],
        "rclone" => &[
            ("rcloneConfigSection", "s"),
            ("rcloneDestPath", "s"),
            ("rcloneConfig", "s"),
            ("customCA", "o"),
            ("customCA.secretName", "s"),
            ("customCA.configMapName", "s"),
            ("customCA.key", "s"),
        ],
        "restic" => &[
            ("repository", "s"),
            ("customCA", "o"),
            ("customCA.secretName", "s"),
            ("customCA.configMapName", "s"),
            ("customCA.key", "s"),
            ("cacheCapacity", "q"),
            ("cacheStorageClassName", "s"),
            ("cacheAccessModes", "[s]"),
        ],
        other => panic!("no group {other}"),
    }
}

fn check_paths(crd: &Value, tables: &[Table]) {
    let mut expected = BTreeMap::new();
    for (path, kind) in tables.iter().copied().flatten() {
        let groups: Vec<&str> = kind.split(['<', '>']).filter(|name| kind.contains('<') && !name.is_empty()).collect();
        for (field, kind) in groups.iter().flat_map(|name| group(name)) {
            expected.insert(format!("{path}.{field}"), (*kind).to_owned());
        }
        expected.insert((*path).to_owned(), if groups.is_empty() { (*kind).to_owned() } else { "o".to_owned() });
    }
    let mut found = BTreeMap::new();
    collect(schema(crd), "", &mut found);
    found.remove("");
    for (path, kind) in &expected {
        assert_eq!(found.get(path), Some(kind), "{path}");
    }
    let unknown: Vec<_> = found.keys().filter(|path| !expected.contains_key(*path)).collect();
    assert!(unknown.is_empty(), "fields that VolSync does not have, and this test does not know: {unknown:?}");
}

/// The type of every path, in the letters of [`Table`].
fn collect(node: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    let kind = kind(node, path);
    let foreign = kind == "*";
    found.insert(path.to_owned(), kind);
    if foreign {
        return;
    }
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        collect(property, &format!("{path}.{name}"), found);
    }
    for (name, property) in node["items"]["properties"].as_object().into_iter().flatten() {
        collect(property, &format!("{path}[].{name}"), found);
    }
}

fn kind(node: &Value, path: &str) -> String {
    let name = path.rsplit('.').next().unwrap();
    if ["moverSecurityContext", "moverResources", "moverAffinity", "nfs", "persistentVolumeClaim", "secret"]
        .contains(&name)
    {
        // Whatever they are in detail, they are structural, and nothing of them is let through unseen.
        assert!(node["properties"].as_object().is_some_and(|fields| !fields.is_empty()), "{path}");
        return "*".to_owned();
    }
    if node["x-kubernetes-int-or-string"] == true {
        assert!(node.get("type").is_none(), "{path}");
        return "q".to_owned();
    }
    match (node["type"].as_str().unwrap_or_default(), node["format"].as_str()) {
        ("string", None) if node["enum"] == json!(["Direct", "None", "Clone", "Snapshot"]) => "c".to_owned(),
        ("string", None) => "s".to_owned(),
        ("string", Some("date-time")) => "t".to_owned(),
        ("boolean", None) => "b".to_owned(),
        ("integer", Some("int32")) if node["minimum"] == 0 && node["maximum"] == 65535 => "p".to_owned(),
        ("integer", Some("int32")) => "i".to_owned(),
        ("integer", Some("int64")) => "l".to_owned(),
        ("array", None) if node["minItems"] == 1 => "+".to_owned(),
        ("array", None) => format!("[{}]", kind(&node["items"], "")),
        ("object", None) if node.get("additionalProperties").is_some() => {
            format!("{{{}}}", kind(&node["additionalProperties"], ""))
        }
        ("object", None) => "o".to_owned(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn nothing_is_required_that_volsync_does_not_require() {
    for (crd, own) in [
        (
            source(),
            json!({
                ".spec.syncthing.peers[]": ["ID", "address", "introducer"],
                ".status.syncthing.peers[]": ["ID", "address", "connected"],
            }),
        ),
        (destination(), json!({".status.latestImage": ["kind", "name"]})),
    ] {
        let mut expected: BTreeMap<String, Value> = serde_json::from_value(own).unwrap();
        expected.insert(
            ".status.conditions[]".into(),
            json!(["lastTransitionTime", "message", "reason", "status", "type"]),
        );
        for section in ["rsyncTLS", "rclone", "restic", "syncthing"] {
            if schema(&crd)["properties"]["spec"]["properties"].get(section).is_some() {
                let path = format!(".spec.{section}.moverVolumes[]");
                expected.insert(path, json!(["mountPath", "volumeSource"]));
            }
        }
        let mut found = BTreeMap::new();
        walk(schema(&crd), &mut |path, node| {
            if let Some(required) = node.get("required").filter(|_| !is_foreign(path)) {
                let mut names: Vec<&str> = required.as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
                names.sort_unstable();
                found.insert(path.to_owned(), json!(names));
            }
        });
        assert_eq!(found, expected);
    }
}

#[test]
fn patterns_stand_where_volsync_has_them_and_nowhere_else() {
    for crd in [source(), destination()] {
        walk(schema(&crd), &mut |path, node| {
            let pattern = node["pattern"].as_str();
            if node["x-kubernetes-int-or-string"] == true {
                assert!(pattern.is_some_and(|p| p.starts_with(r"^(\+|-)?(([0-9]+")), "{path}");
                assert_eq!(node["anyOf"], json!([{"type": "integer"}, {"type": "string"}]), "{path}");
            } else if path == ".spec.trigger.schedule" {
                let volsync = r"^(@(annually|yearly|monthly|weekly|daily|hourly))|((((\d+,)*\d+|(\d+(\/|-)\d+)|\*(\/\d+)?)\s?){5})$";
                assert_eq!(pattern, Some(volsync));
            } else if node["format"] == "date-time" {
                // All but the one that is text in the types: see `bound_time`.
                assert_eq!(pattern.is_some(), path != ".spec.restic.restoreAsOf", "{path}");
            } else if !path.starts_with(".status.conditions[]") {
                assert_eq!(pattern, None, "{path}");
            }
        });
    }
}

/// What an API server demands of a structural schema, and what would change the meaning of VolSync's manifests.
#[test]
fn the_schemas_are_structural_and_set_no_defaults() {
    for crd in [source(), destination()] {
        walk(schema(&crd), &mut |path, node| {
            assert!(node.get("type").is_some() || node["x-kubernetes-int-or-string"] == true, "{path}: no type");
            for unwanted in [
                "$ref",
                "oneOf",
                "allOf",
                "not",
                "nullable",
                "default",
                "x-kubernetes-preserve-unknown-fields",
                "title",
            ] {
                assert!(node.get(unwanted).is_none(), "{path}: {unwanted}");
            }
            if node["x-kubernetes-list-type"] == "map" {
                let required = node["items"]["required"].as_array().unwrap();
                let keys = node["x-kubernetes-list-map-keys"].as_array().unwrap();
                assert!(keys.iter().all(|key| required.contains(key)), "{path}: an optional key");
            }
        });
    }
}

/// What the schema lets through must fit the types: one object that does not would stop the watch on all of them.
#[test]
fn every_integer_is_bounded_by_its_type() {
    for crd in [source(), destination()] {
        walk(schema(&crd), &mut |path, node| {
            let limit = match (node["type"].as_str(), node["format"].as_str()) {
                (Some("integer"), Some("int32")) => 2_f64.powi(31),
                (Some("integer"), Some("int64")) => 2_f64.powi(63),
                (Some("integer" | "number"), format) => panic!("{path}: {format:?}"),
                _ => return,
            };
            assert!(node["minimum"].as_f64().is_some_and(|least| least >= -limit), "{path}");
            assert!(node["maximum"].as_f64().is_some_and(|most| most < limit), "{path}");
        });
    }
}

#[test]
fn every_field_has_a_description() {
    for crd in [source(), destination()] {
        walk(schema(&crd), &mut |path, node| {
            let needs_none = path.ends_with("[]") || path.ends_with("{}") || path == ".metadata";
            let description = node["description"].as_str().unwrap_or_default();
            assert!(needs_none || !description.is_empty(), "{path}");
            assert!(!description.contains('\n'), "{path}");
        });
    }
}

#[test]
fn the_columns_of_a_table_are_volsyncs_then_what_is_going_on() {
    let shared = [
        json!({"name": "Last sync", "jsonPath": ".status.lastSyncTime", "type": "string", "format": "date-time"}),
        json!({"name": "Duration", "jsonPath": ".status.lastSyncDuration", "type": "string"}),
        json!({"name": "Next sync", "jsonPath": ".status.nextSyncTime", "type": "string", "format": "date-time"}),
    ];
    let condition = |field: &str| format!(".status.conditions[?(@.type=='Synchronizing')].{field}");
    let ours = [
        json!({"name": "State", "jsonPath": condition("reason"), "type": "string"}),
        json!({"name": "Message", "jsonPath": condition("message"), "type": "string", "priority": 1}),
    ];
    let shared = [&shared[..], &ours].concat();
    let first = json!({"name": "Source", "jsonPath": ".spec.sourcePVC", "type": "string"});
    let columns = |crd: &Value| crd["spec"]["versions"][0]["additionalPrinterColumns"].clone();
    assert_eq!(columns(&destination()), json!(shared));
    assert_eq!(columns(&source()), json!([&[first], &shared[..]].concat()));
}

#[test]
fn the_names_are_volsyncs() {
    for (crd, plural, kind) in [
        (source(), "replicationsources", "ReplicationSource"),
        (destination(), "replicationdestinations", "ReplicationDestination"),
    ] {
        assert_eq!(crd["metadata"], json!({"name": format!("{plural}.volsync.backube")}));
        assert_eq!(
            crd["spec"]["names"],
            json!({"kind": kind, "plural": plural, "singular": kind.to_lowercase()}),
            "no short names and no categories"
        );
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1);
        assert_eq!(versions[0]["name"], "v1alpha1");
        assert_eq!(versions[0]["subresources"], json!({"status": {}}));
    }
}

/// The whole of a CRD must fit into the annotation of a client-side `kubectl apply`: the API server's limit for all
/// annotations of an object is 256 KiB.
#[test]
fn a_crd_can_be_applied_by_the_client() {
    for crd in [source(), destination()] {
        let bytes = serde_json::to_string(&crd).unwrap().len();
        assert!(bytes < 200 * 1024, "{bytes} bytes");
    }
}

#[test]
fn the_type_of_a_crd_takes_every_keyword_of_the_schemas() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    for crd in [source(), destination()] {
        let typed: CustomResourceDefinition = serde_json::from_value(crd.clone()).unwrap();
        let mut again = serde_json::to_value(typed).unwrap();
        let mut crd = crd;
        // Limits are floating point there: 0 becomes 0.0.
        make_numbers_comparable(&mut crd);
        make_numbers_comparable(&mut again);
        assert!(again == crd, "a keyword was lost");
    }
}

fn make_numbers_comparable(value: &mut Value) {
    match value {
        Value::Number(number) => *number = serde_json::Number::from_f64(number.as_f64().unwrap()).unwrap(),
        Value::Array(values) => values.iter_mut().for_each(make_numbers_comparable),
        Value::Object(fields) => fields.values_mut().for_each(make_numbers_comparable),
        _ => {}
    }
}

#[test]
fn a_foreign_type_keeps_its_topology_for_server_side_apply() {
    let mut atomic = BTreeSet::new();
    walk(schema(&source()), &mut |path, node| {
        if let Some(rest) = path.strip_prefix(".spec.rsyncTLS.moverAffinity.nodeAffinity.")
            && node["x-kubernetes-map-type"] == "atomic"
        {
            atomic.insert(rest.to_owned());
        }
    });
    let expected = [
        "preferredDuringSchedulingIgnoredDuringExecution[].preference",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[]",
    ];
    assert_eq!(atomic, expected.map(str::to_owned).into());
    let claims = "/properties/spec/properties/rsync/properties/moverResources/properties/claims";
    assert_eq!(schema(&source()).pointer(claims).unwrap()["x-kubernetes-list-map-keys"], json!(["name"]));
}

fn source() -> Value {
    doppel::crd::definitions().unwrap()[0].clone()
}

fn destination() -> Value {
    doppel::crd::definitions().unwrap()[1].clone()
}

fn schema(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn is_foreign(path: &str) -> bool {
    ["moverAffinity", "moverResources", "moverSecurityContext", "volumeSource"]
        .iter()
        .any(|name| path.split('.').any(|part| part == *name))
}

fn walk(node: &Value, visit: &mut impl FnMut(&str, &Value)) {
    fn inner(node: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        if !path.is_empty() {
            visit(path, node);
        }
        for (name, property) in node["properties"].as_object().into_iter().flatten() {
            inner(property, &format!("{path}.{name}"), visit);
        }
        if let Some(items) = node.get("items") {
            inner(items, &format!("{path}[]"), visit);
        }
        if let Some(values) = node.get("additionalProperties") {
            inner(values, &format!("{path}{{}}"), visit);
        }
    }
    inner(node, "", visit);
}
