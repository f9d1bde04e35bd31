//! Every path of the CRDs, with its type: VolSync's, and our own.

use super::*;

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
