//! One namespace of one cluster, and in it what a user of VolSync writes: manifests, with nothing of Doppel in them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::clusters::{self, Cluster, until};
use super::compare;

/// How long anything may take that is waited for. VolSync's own tests wait 300 s for most of it.
const PATIENCE: u64 = 120;

/// As whom the movers of a namespace run, and the pods that write and read volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Movers {
    /// A user without rights, as Pod Security `restricted` demands.
    Unprivileged,
    /// Root, with what the namespace's annotation allows.
    Privileged,
}

/// What an unprivileged user writes into `moverSecurityContext`, and into pods.
const SECURITY: &str = "{runAsUser: 1234, runAsGroup: 5678, fsGroup: 5678, runAsNonRoot: true, \
    seccompProfile: {type: RuntimeDefault}}";

const NAMESPACE: &str = "
apiVersion: v1
kind: Namespace
metadata:
  name: @NAMESPACE@
  labels: {pod-security.kubernetes.io/enforce: @LEVEL@}
  annotations: {volsync.backube/privileged-movers: '@PRIVILEGED@'}
";

const DESTINATION: &str = "
apiVersion: volsync.backube/v1alpha1
kind: ReplicationDestination
metadata:
  name: @NAME@
spec:
  rsyncTLS:
    copyMethod: Snapshot
    capacity: @SIZE@
    accessModes: [ReadWriteOnce]
    volumeMode: @MODE@
    moverSecurityContext: @SECURITY@
";

const SOURCE: &str = "
apiVersion: volsync.backube/v1alpha1
kind: ReplicationSource
metadata:
  name: @NAME@
spec:
  sourcePVC: data-source
  trigger: @TRIGGER@
  rsyncTLS:
    keySecret: @KEY@
    address: @ADDRESS@
    copyMethod: Snapshot
    moverSecurityContext: @SECURITY@
";

const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: @NAME@
spec:
  accessModes: [ReadWriteOnce]
  volumeMode: @MODE@
  resources: {requests: {storage: @SIZE@}}
  dataSourceRef: @FROM@
";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: @NAME@
spec:
  terminationGracePeriodSeconds: 0
  securityContext: @SECURITY@
  containers:
    - name: shell
      image: doppel.test/busybox:1
      command: [/bin/busybox, sleep, '1000000']
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: @CAPABILITIES@}}
";

/// A namespace of its own, and the destination in it.
pub(super) struct Stage {
    cluster: Cluster,
    namespace: String,
    movers: Movers,
    /// The ReplicationSource's name.
    pub(super) source: String,
    /// The ReplicationDestination's name.
    pub(super) destination: String,
    /// `Filesystem` or `Block`.
    mode: &'static str,
}

impl Stage {
    /// Files, by a ReplicationSource named `source` and a ReplicationDestination named `destination`.
    pub(super) fn new(cluster: Cluster, namespace: &str, movers: Movers) -> Self {
        clusters::up();
        let stage = Self {
            cluster,
            namespace: namespace.to_owned(),
            movers,
            source: "source".to_owned(),
            destination: "destination".to_owned(),
            mode: "Filesystem",
        };
        cluster.kubectl(&["delete", "namespace", namespace, "--ignore-not-found"]);
        let (level, privileged) = match movers {
            Movers::Unprivileged => ("restricted", "false"),
            Movers::Privileged => ("privileged", "true"),
        };
        let values = [("NAMESPACE", namespace), ("LEVEL", level), ("PRIVILEGED", privileged)];
        cluster.kubectl_with(&["create", "-f", "-"], &stage.filled(NAMESPACE, &values));
        stage
    }

    pub(super) fn named(self, destination: &str) -> Self {
        Self { destination: destination.to_owned(), ..self }
    }

    pub(super) fn with_source_named(self, source: &str) -> Self {
        Self { source: source.to_owned(), ..self }
    }

    pub(super) fn of_blocks(self) -> Self {
        Self { mode: "Block", ..self }
    }

    /// A manifest with these values. Where movers are privileged, no user is named.
    fn filled(&self, manifest: &str, values: &[(&str, &str)]) -> String {
        // A device is compared as a whole.
        let size = if self.mode == "Block" { "64Mi" } else { "1Gi" };
        let mut text = manifest.replace("@MODE@", self.mode).replace("@SIZE@", size);
        match self.movers {
            Movers::Unprivileged => text = text.replace("@SECURITY@", SECURITY),
            Movers::Privileged => {
                let lines = text.lines().filter(|line| !line.contains("@SECURITY@"));
                text = lines.fold(String::new(), |text, line| text + line + "\n");
            }
        }
        for (name, value) in values {
            text = text.replace(&format!("@{name}@"), value);
        }
        text
    }

    #[track_caller]
    pub(super) fn apply(&self, manifest: &str, values: &[(&str, &str)]) {
        self.cluster.kubectl_with(&["-n", &self.namespace, "apply", "-f", "-"], &self.filled(manifest, values));
    }

    #[track_caller]
    pub(super) fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&[&["-n", &self.namespace], arguments].concat())
    }

    #[track_caller]
    pub(super) fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"])).unwrap()
    }

    /// Merges this into an object.
    #[track_caller]
    pub(super) fn patch(&self, (kind, name): (&str, &str), patch: &Value) {
        self.kubectl(&["patch", kind, name, "--type=merge", "-p", &patch.to_string()]);
    }

    /// Names of all objects of a kind.
    #[track_caller]
    pub(super) fn names(&self, kind: &str) -> Vec<String> {
        let names = self.kubectl(&["get", kind, "-o", "name"]);
        names.lines().filter_map(|line| Some(line.split_once('/')?.1.to_owned())).collect()
    }

    /// Runs a shell script in a pod.
    #[track_caller]
    pub(super) fn shell(&self, pod: &str, script: &str) -> String {
        self.cluster.kubectl_with(&["-n", &self.namespace, "exec", "-i", pod, "--", "sh", "-s"], script)
    }

    /// Kills the processes of a pod's only container: it ends as it would for lack of memory.
    #[track_caller]
    pub(super) fn kill(&self, pod: &str) {
        let status = self.get("pod", pod)["status"].clone();
        self.cluster.kill_container(status["containerStatuses"][0]["containerID"].as_str().unwrap());
    }

    /// Evicts a pod, as a drain of its node does.
    #[track_caller]
    pub(super) fn evict(&self, pod: &str) {
        let metadata = json!({"name": pod, "namespace": self.namespace});
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", self.namespace);
        self.cluster.kubectl_with(&["create", "--raw", &path, "-f", "-"], &eviction.to_string());
    }

    /// Waits until something is so; what was seen last is in the message if it never is.
    #[track_caller]
    pub(super) fn until(&self, what: &str, seen: impl Fn() -> Value, met: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        until(what, PATIENCE, || {
            last = seen();
            if met(&last) { Ok(()) } else { Err(last.to_string()) }
        });
        last
    }

    /// The claim `data-source`, filled by this script, which runs where the volume is.
    #[track_caller]
    pub(super) fn fill(&self, script: &str) {
        self.claim("data-source", "null");
        self.pod("writer", &["data-source"]);
        self.write(script);
    }

    /// Changes what is in `data-source`.
    #[track_caller]
    pub(super) fn write(&self, script: &str) {
        let place = if self.mode == "Block" { "true" } else { "cd /data-source" };
        self.shell("writer", &format!("set -e; {place}\n{script}\nsync"));
    }

    #[track_caller]
    pub(super) fn claim(&self, name: &str, from: &str) {
        self.apply(CLAIM, &[("NAME", name), ("FROM", from)]);
    }

    /// A claim that is to be filled by the ReplicationDestination.
    #[track_caller]
    pub(super) fn claim_from_destination(&self, name: &str) {
        let from = json!({"kind": "ReplicationDestination", "apiGroup": "volsync.backube", "name": self.destination});
        self.claim(name, &from.to_string());
    }

    /// A running pod with these claims, each at its name.
    #[track_caller]
    pub(super) fn pod(&self, name: &str, claims: &[&str]) {
        let attached = match self.mode {
            "Block" => ("volumeDevices", "devicePath"),
            _ => ("volumeMounts", "mountPath"),
        };
        let of_each =
            |value: &dyn Fn(&str) -> Value| json!(claims.iter().map(|claim| value(claim)).collect::<Vec<_>>());
        let mounts = of_each(&|claim| json!({"name": claim, attached.1: format!("/{claim}")}));
        let volumes = of_each(&|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}));
        let capabilities = match self.movers {
            Movers::Unprivileged => "[]",
            Movers::Privileged => "[CHOWN, DAC_OVERRIDE, FOWNER]",
        };
        let manifest = format!("{POD}      {}: {mounts}\n  volumes: {volumes}\n", attached.0);
        self.apply(&manifest, &[("NAME", name), ("CAPABILITIES", capabilities)]);
        self.kubectl(&["wait", "pod", name, "--for=condition=Ready", "--timeout=120s"]);
    }

    /// The ReplicationDestination, until it has address and key.
    #[track_caller]
    pub(super) fn create_destination(&self) {
        self.create_destination_with("");
    }

    /// The same with these lines at the end of its manifest, which is that of `spec.rsyncTLS`.
    #[track_caller]
    pub(super) fn create_destination_with(&self, lines: &str) {
        self.apply(&format!("{DESTINATION}{lines}"), &[("NAME", &self.destination)]);
        self.until(
            "address and key",
            || self.destination_status()["rsyncTLS"].clone(),
            |told| told["address"].is_string() && told["keySecret"].is_string(),
        );
    }

    /// The ReplicationSource, with what its destination says.
    #[track_caller]
    pub(super) fn create_source(&self, trigger: &str) {
        let told = self.destination_status()["rsyncTLS"].clone();
        let (address, key) = (told["address"].as_str().unwrap(), told["keySecret"].as_str().unwrap());
        let values = [("NAME", self.source.as_str()), ("TRIGGER", trigger), ("ADDRESS", address), ("KEY", key)];
        self.apply(SOURCE, &values);
    }

    pub(super) fn source_status(&self) -> Value {
        self.get("replicationsource", &self.source)["status"].clone()
    }

    pub(super) fn destination_status(&self) -> Value {
        self.get("replicationdestination", &self.destination)["status"].clone()
    }

    /// The image that the ReplicationDestination publishes after this one.
    #[track_caller]
    pub(super) fn await_image(&self, former: Option<&str>) -> String {
        let status = self.until(
            "a new image",
            || self.destination_status(),
            |status| {
                let image = &status["latestImage"];
                image["kind"] == "VolumeSnapshot" && image["name"].as_str().is_some_and(|name| Some(name) != former)
            },
        );
        status["latestImage"]["name"].as_str().unwrap().to_owned()
    }

    /// Synchronizes by hand, and returns the image that came of it.
    #[track_caller]
    pub(super) fn synchronize(&self, tag: &str, former: Option<&str>) -> String {
        self.patch(("replicationsource", &self.source), &json!({"spec": {"trigger": {"manual": tag}}}));
        self.await_synchronized(tag);
        self.await_image(former)
    }

    /// Waits until the source has answered this trigger.
    #[track_caller]
    pub(super) fn await_synchronized(&self, tag: &str) {
        self.until("the synchronization", || self.source_status(), |status| status["lastManualSync"] == tag);
    }

    /// Waits until this claim is filled.
    #[track_caller]
    pub(super) fn await_bound(&self, claim: &str) {
        self.kubectl(&["wait", "pvc", claim, "--for=jsonpath={.status.phase}=Bound", "--timeout=120s"]);
    }

    /// Waits until an object is gone.
    #[track_caller]
    pub(super) fn await_gone(&self, kind: &str, name: &str) {
        self.until("its end", || json!(self.names(kind)), |names| !names.as_array().unwrap().contains(&json!(name)));
    }

    /// Fails unless this claim holds what `data-source` holds. Both are mounted in one pod at first, as in VolSync's tests: that
    /// gives the group of `fsGroup` to what is in either. Returns how many entries were compared.
    #[track_caller]
    pub(super) fn assert_same_files(&self, claim: &str) -> usize {
        self.pod(&format!("compares-{claim}"), &["data-source", claim]);
        let (source, double) = (self.volume("data-source"), self.volume(claim));
        let differences = compare::differences(&source, &double);
        assert!(differences.is_empty(), "{} differences, the first: {:?}", differences.len(), differences.first());
        compare::count(&source)
    }

    /// The same of block devices.
    #[track_caller]
    pub(super) fn assert_same_blocks(&self, claim: &str) {
        let pod = format!("compares-{claim}");
        self.pod(&pod, &["data-source", claim]);
        let digests = self.shell(&pod, &format!("sha256sum </data-source; sha256sum </{claim}"));
        let digests: Vec<_> = digests.lines().collect();
        assert_eq!(digests.len(), 2, "{digests:?}");
        assert_eq!(digests[0], digests[1], "digests differ");
    }

    /// Where a claim's volume is on this machine.
    #[track_caller]
    pub(super) fn volume(&self, claim: &str) -> PathBuf {
        let volume = self.kubectl(&["get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}"]);
        let handle = self.cluster.kubectl(&["get", "pv", &volume, "-o", "jsonpath={.spec.csi.volumeHandle}"]);
        self.cluster.volumes().join(handle)
    }

    /// Removes the namespace, without waiting for it.
    pub(super) fn discard(self) {
        self.cluster.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}
