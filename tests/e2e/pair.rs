//! One ReplicationSource in a, one ReplicationDestination in b, and the volumes on both sides.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::clusters::{self, Cluster, until};

const SECURITY: &str = r#"{"runAsUser": 1000, "runAsGroup": 1000}"#;

/// A pair of objects in a namespace of its own, in both clusters.
pub(super) struct Pair {
    pub(super) namespace: String,
    movers: Movers,
}

/// Who the movers of a namespace are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Movers {
    /// The user 1000, as the pod that writes the volume is.
    Ordinary,
    /// Root with the few capabilities of a privileged namespace.
    Privileged,
}

impl Pair {
    /// Namespaces, a volume in a, a destination in b, its key in a. The source is not there yet.
    pub(super) fn new(namespace: &str) -> Self {
        Self::with(namespace, Movers::Ordinary)
    }

    /// Namespaces for movers of this kind, with nothing in them.
    pub(super) fn namespaces(namespace: &str, movers: Movers) -> Self {
        clusters::up();
        let pair = Self { namespace: namespace.to_owned(), movers };
        for cluster in Cluster::BOTH {
            cluster.kubectl(&["delete", "namespace", namespace, "--ignore-not-found"]);
            cluster.kubectl(&["create", "namespace", namespace]);
            if movers == Movers::Privileged {
                cluster.kubectl(&["annotate", "namespace", namespace, "volsync.backube/privileged-movers=true"]);
            }
        }
        pair
    }

    /// As [`Pair::new`], with movers of this kind.
    pub(super) fn with(namespace: &str, movers: Movers) -> Self {
        let pair = Self::namespaces(namespace, movers);
        pair.apply(Cluster::A, &json!([claim("data", &Value::Null), pod("writer", "data")]));
        pair.wait_for_pod(Cluster::A, "writer");
        let section = json!({"copyMethod": "Snapshot", "capacity": "4Gi", "accessModes": ["ReadWriteOnce"],
            "serviceType": "LoadBalancer", "moverSecurityContext": pair.security()});
        pair.apply(Cluster::B, &json!([object("ReplicationDestination", &json!({"rsyncTLS": section}))]));
        pair.bring_the_key();
        pair
    }

    /// Waits for the destination's address and key, and brings the key to the source's cluster.
    pub(super) fn bring_the_key(&self) {
        until("the destination's address and key", 60, || {
            let told = self.status(Cluster::B)["rsyncTLS"].clone();
            (told["address"].is_string() && told["keySecret"].is_string()).then_some(()).ok_or_else(|| told.to_string())
        });
        let secret = self.status(Cluster::B)["rsyncTLS"]["keySecret"].as_str().unwrap().to_owned();
        let secret: Value =
            serde_json::from_str(&self.kubectl(Cluster::B, &["get", "secret", &secret, "-o", "json"])).unwrap();
        let copy = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": secret["data"]});
        self.apply(Cluster::A, &json!([copy]));
    }

    fn security(&self) -> Value {
        match self.movers {
            Movers::Ordinary => serde_json::from_str(SECURITY).unwrap(),
            Movers::Privileged => json!({}),
        }
    }

    /// Runs kubectl in the pair's namespace.
    #[track_caller]
    pub(super) fn kubectl(&self, cluster: Cluster, arguments: &[&str]) -> String {
        cluster.kubectl(&[&["-n", &self.namespace], arguments].concat())
    }

    /// Runs a shell script in a pod.
    #[track_caller]
    pub(super) fn shell(&self, cluster: Cluster, pod: &str, script: &str) -> String {
        cluster.kubectl_with(&["-n", &self.namespace, "exec", "-i", pod, "--", "sh", "-s"], script)
    }

    #[track_caller]
    pub(super) fn apply(&self, cluster: Cluster, objects: &Value) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        cluster.kubectl_with(&["-n", &self.namespace, "apply", "-f", "-"], &list.to_string());
    }

    /// The source, triggered by hand.
    pub(super) fn create_source(&self, tag: &str) {
        self.apply(Cluster::A, &json!([self.source(tag)]));
    }

    /// The source as a manifest.
    pub(super) fn source(&self, tag: &str) -> Value {
        let address = self.status(Cluster::B)["rsyncTLS"]["address"].clone();
        object(
            "ReplicationSource",
            &json!({"sourcePVC": "data", "trigger": {"manual": tag}, "rsyncTLS": {
            "copyMethod": "Snapshot", "keySecret": "key", "address": address, "moverSecurityContext": self.security()}}),
        )
    }

    pub(super) fn trigger(&self, tag: &str) {
        let patch = json!({"spec": {"trigger": {"manual": tag}}}).to_string();
        self.kubectl(Cluster::A, &["patch", "replicationsource", "x", "--type=merge", "-p", &patch]);
    }

    /// The status of this cluster's object, null before there is one.
    pub(super) fn status(&self, cluster: Cluster) -> Value {
        let kind = match cluster {
            Cluster::A => "replicationsource",
            Cluster::B => "replicationdestination",
        };
        let object: Value = serde_json::from_str(&self.kubectl(cluster, &["get", kind, "x", "-o", "json"])).unwrap();
        object["status"].clone()
    }

    pub(super) fn message(&self, cluster: Cluster) -> String {
        let status = self.status(cluster);
        let condition =
            status["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Synchronizing");
        condition.and_then(|one| one["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// Waits until the object's condition says this.
    #[track_caller]
    pub(super) fn await_message(&self, cluster: Cluster, expected: &str, seconds: u64) {
        until(expected, seconds, || {
            let status = self.status(cluster);
            self.message(cluster).contains(expected).then_some(()).ok_or_else(|| status.to_string())
        });
    }

    /// Waits until the source has answered this trigger.
    #[track_caller]
    pub(super) fn await_synchronized(&self, tag: &str, seconds: u64) {
        until("the synchronization", seconds, || {
            let status = self.status(Cluster::A);
            (status["lastManualSync"] == tag).then_some(()).ok_or_else(|| status.to_string())
        });
    }

    pub(super) fn image(&self) -> Option<String> {
        self.status(Cluster::B)["latestImage"]["name"].as_str().map(str::to_owned)
    }

    /// Waits until the destination has published another image than this.
    #[track_caller]
    pub(super) fn await_image(&self, former: Option<&str>) -> String {
        let mut image = None;
        until("a new image", 90, || {
            image = self.image();
            (image.is_some() && image.as_deref() != former)
                .then_some(())
                .ok_or_else(|| self.status(Cluster::B).to_string())
        });
        image.unwrap()
    }

    /// Fails unless a claim made from the image holds what the source's volume holds.
    #[track_caller]
    pub(super) fn assert_equal(&self, image: &str) {
        let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": image});
        self.apply(Cluster::B, &json!([claim(image, &source), pod(image, image)]));
        self.wait_for_pod(Cluster::B, image);
        let digest = include_str!("../support/digest.sh");
        assert_eq!(self.shell(Cluster::A, "writer", digest), self.shell(Cluster::B, image, digest), "digests differ");
        self.kubectl(Cluster::B, &["delete", "pod,pvc", image, "--wait=false"]);
    }

    /// Where a claim's volume is on this machine.
    #[track_caller]
    pub(super) fn volume(&self, cluster: Cluster, claim: &str) -> PathBuf {
        let volume = self.kubectl(cluster, &["get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}"]);
        let handle = cluster.kubectl(&["get", "pv", &volume, "-o", "jsonpath={.spec.csi.volumeHandle}"]);
        cluster.volumes().join(handle)
    }

    /// A claim of cluster b made from the image, bound.
    #[track_caller]
    pub(super) fn claim_from(&self, image: &str) {
        let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": image});
        self.apply(Cluster::B, &json!([claim(image, &source)]));
        self.kubectl(Cluster::B, &["wait", "pvc", image, "--for=jsonpath={.status.phase}=Bound", "--timeout=60s"]);
    }

    /// Deletes both objects and waits until nothing of them is left.
    #[track_caller]
    pub(super) fn assert_nothing_left_behind(&self) {
        self.kubectl(Cluster::A, &["delete", "replicationsource", "x"]);
        self.kubectl(Cluster::B, &["delete", "replicationdestination", "x"]);
        let kinds = "jobs,pods,pvc,services,secrets,serviceaccounts,volumesnapshots";
        for cluster in Cluster::BOTH {
            until("nothing is left", 90, || {
                let ours = ["get", kinds, "-l", "app.kubernetes.io/created-by=volsync", "-o", "name"];
                let left = self.kubectl(cluster, &ours);
                if left.is_empty() { Ok(()) } else { Err(left) }
            });
        }
    }

    #[track_caller]
    pub(super) fn wait_for_pod(&self, cluster: Cluster, pod: &str) {
        self.kubectl(cluster, &["wait", "pod", pod, "--for=condition=Ready", "--timeout=120s"]);
    }

    /// Removes the namespaces, without waiting for it.
    pub(super) fn discard(self) {
        for cluster in Cluster::BOTH {
            cluster.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
        }
    }
}

pub(super) fn object(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "volsync.backube/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
}

fn claim(name: &str, source: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}}, "dataSourceRef": source}})
}

/// A pod that sleeps beside a claim, at /data.
pub(super) fn pod(name: &str, claim: &str) -> Value {
    let security: Value = serde_json::from_str(SECURITY).unwrap();
    let container = json!({"name": "shell", "image": "doppel.test/busybox:1",
        "command": ["/bin/busybox", "sleep", "1000000"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "securityContext": security, "terminationGracePeriodSeconds": 0, "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}})
}
