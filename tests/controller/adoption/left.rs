//! What VolSync leaves in a cluster when it is scaled to zero, in its shapes: names, labels, owners and fields as they are known
//! of VolSync 0.17 with `rsyncTLS`, written from that knowledge and not by VolSync.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role as RbacRole, RoleBinding};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use doppel::model::replication::{Lifetime, Role};
use doppel::replication::interpret::Kind;
use doppel::resources::snapshot::VolumeSnapshot;

use super::super::world::World;

/// The destination's image, from the last iteration of VolSync.
pub(super) const IMAGE: &str = "volsync-x-dst-20261120100000";
/// What the annotation of a claim calls the snapshot that VolSync is taking.
pub(super) const NOTE: &str = "volsync.backube/snapname";

/// The children of one object of VolSync's, to be made one after the other.
pub(super) struct Left {
    world: World,
    role: Role,
    uid: String,
}

/// How VolSync's mover ended, as its Job says.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Succeeded,
    Failed,
}

impl Left {
    /// Of this world's object, which has this spec. The status is written last: see [`Left::status`].
    pub(super) async fn of<K: Kind>(world: &World, spec: Value) -> Self {
        let object = world.create_object::<K>(spec).await;
        Self { world: world.clone(), role: K::ROLE, uid: object.uid().unwrap() }
    }

    fn side(&self) -> &'static str {
        match self.role {
            Role::Source => "src",
            Role::Destination => "dst",
        }
    }

    fn metadata(&self, name: &str, lifetime: Lifetime) -> Value {
        let mut labels = json!({"app.kubernetes.io/created-by": "volsync"});
        if lifetime == Lifetime::Temporary {
            labels["volsync.backube/cleanup"] = json!(self.uid);
        }
        let owner = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": self.role.kind(), "name": self.world.name,
            "uid": self.uid, "controller": true, "blockOwnerDeletion": true});
        json!({"name": name, "labels": labels, "ownerReferences": [owner]})
    }

    /// ServiceAccount, Role and RoleBinding of the mover.
    pub(super) async fn account(&self) {
        let name = format!("volsync-{}-x", self.side());
        let metadata = self.metadata(&name, Lifetime::Kept);
        let world = &self.world;
        world
            .create::<ServiceAccount>(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}))
            .await;
        let rbac = "rbac.authorization.k8s.io";
        let version = format!("{rbac}/v1");
        world
            .create::<RbacRole>(json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": []}))
            .await;
        world
            .create::<RoleBinding>(json!({"apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name}]}))
            .await;
    }

    /// The generated key.
    pub(super) async fn key(&self) {
        let metadata = self.metadata("volsync-rsync-tls-x", Lifetime::Kept);
        let line = format!("volsync:{}", "5a".repeat(64));
        self.world
            .create::<Secret>(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
                "stringData": {"psk.txt": line}}))
            .await;
    }

    /// A destination's Service; its address.
    pub(super) async fn service(&self) -> String {
        let mut metadata = self.metadata("volsync-rsync-tls-dst-x", Lifetime::Kept);
        metadata["annotations"] = json!({"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"});
        let service = self
            .world
            .create::<Service>(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
                "type": "ClusterIP", "selector": self.pod_labels(),
                "ports": [{"name": "rsync-tls", "protocol": "TCP", "port": 8000, "targetPort": 8000}]}}))
            .await;
        service.spec.unwrap().cluster_ip.unwrap()
    }

    fn pod_labels(&self) -> Value {
        json!({"app.kubernetes.io/name": format!("{}-x", self.side()),
            "app.kubernetes.io/component": "rsync-tls-mover", "app.kubernetes.io/part-of": "volsync"})
    }

    /// A destination's dynamic claim.
    pub(super) async fn destination_claim(&self) {
        self.claim("volsync-x-dst", Lifetime::Kept, Value::Null).await;
    }

    async fn claim(&self, name: &str, lifetime: Lifetime, source: Value) {
        let metadata = self.metadata(name, lifetime);
        self.world
            .create::<PersistentVolumeClaim>(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": metadata, "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
                    "resources": {"requests": {"storage": "1Gi"}}, "dataSource": source}}))
            .await;
        let bound = json!({"status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}}});
        let api = self.world.api::<PersistentVolumeClaim>();
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(bound)).await.unwrap();
    }

    /// A source's point-in-time copy: a snapshot, and the claim that was made from it.
    pub(super) async fn copy(&self) {
        self.snapshot("volsync-x-src", ("data", Lifetime::Temporary), true).await;
        let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "volsync-x-src"});
        self.claim("volsync-x-src", Lifetime::Temporary, source).await;
    }

    /// A snapshot of a claim, bound; whether it is ready is what the driver says.
    pub(super) async fn snapshot(&self, name: &str, (claim, lifetime): (&str, Lifetime), ready: bool) {
        let metadata = self.metadata(name, lifetime);
        self.world
            .create::<VolumeSnapshot>(json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
                "metadata": metadata, "spec": {"source": {"persistentVolumeClaimName": claim}}}))
            .await;
        self.set_ready(name, ready).await;
    }

    pub(super) async fn set_ready(&self, snapshot: &str, ready: bool) {
        let status = json!({"status": {"boundVolumeSnapshotContentName": format!("snapcontent-{snapshot}"),
            "readyToUse": ready, "restoreSize": "1Gi"}});
        let api = self.world.api::<VolumeSnapshot>();
        api.patch_status(snapshot, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }

    /// The note on the destination's claim that VolSync is taking this snapshot.
    pub(super) async fn note(&self, snapshot: &str) {
        let patch = json!({"metadata": {"annotations": {NOTE: snapshot}}});
        let api = self.world.api::<PersistentVolumeClaim>();
        api.patch("volsync-x-dst", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// A mover's Job; its UID.
    pub(super) async fn job(&self) -> String {
        let name = format!("volsync-rsync-tls-{}-x", self.side());
        let (claim, script) = match self.role {
            Role::Source => ("volsync-x-src", "/mover-rsync-tls/client.sh"),
            Role::Destination => ("volsync-x-dst", "/mover-rsync-tls/server.sh"),
        };
        let mut labels = self.pod_labels();
        labels["app.kubernetes.io/created-by"] = json!("volsync");
        let container = json!({"name": "rsync-tls", "image": "quay.io/backube/volsync:0.17.0",
            "command": ["/bin/bash", "-c", script], "env": [{"name": "PRIVILEGED_MOVER", "value": "0"}],
            "securityContext": {"allowPrivilegeEscalation": false, "privileged": false,
                "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "keys", "mountPath": "/keys"},
                {"name": "tempdir", "mountPath": "/tmp"}]});
        let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "keys", "secret": {"secretName": "volsync-rsync-tls-x", "defaultMode": 0o600}},
            {"name": "tempdir", "emptyDir": {"medium": "Memory"}}]);
        let template = json!({"metadata": {"name": name, "labels": labels}, "spec": {"restartPolicy": "Never",
            "serviceAccountName": format!("volsync-{}-x", self.side()), "containers": [container],
            "volumes": volumes}});
        let metadata = self.metadata(&name, Lifetime::Temporary);
        let job = self
            .world
            .create::<Job>(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
                "spec": {"backoffLimit": 2, "parallelism": 1, "template": template}}))
            .await;
        job.uid().unwrap()
    }

    /// Lets the Job end, as pod and Job controller tell it.
    pub(super) async fn end_job(&self, uid: &str, end: End) {
        let code = match end {
            End::Succeeded => 0,
            End::Failed => 1,
        };
        self.world.finish_pod(uid, code, "").await;
        let time = "2026-11-23T10:00:02Z";
        let condition =
            |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time, "lastProbeTime": time});
        // In the order in which Kubernetes 1.31 and newer demand them.
        let status = match end {
            End::Succeeded => json!({"startTime": "2026-11-23T10:00:00Z", "completionTime": time, "succeeded": 1,
                "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]}),
            End::Failed => json!({"startTime": "2026-11-23T10:00:00Z", "failed": 3,
                "conditions": [condition("FailureTarget"), condition("Failed")]}),
        };
        let name = format!("volsync-rsync-tls-{}-x", self.side());
        let api = self.world.api::<Job>();
        let patch = json!({"status": status});
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// The object's status.
    pub(super) async fn status<K: Kind>(&self, status: Value) {
        let patch = json!({"status": status});
        let api = self.world.api::<K>();
        api.patch_status(&self.world.name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// All that a destination has between iterations; the address of its Service.
    pub(super) async fn destination(&self) -> String {
        self.account().await;
        self.key().await;
        self.destination_claim().await;
        self.snapshot(IMAGE, ("volsync-x-dst", Lifetime::Kept), true).await;
        self.service().await
    }
}

/// A condition as VolSync writes it.
pub(super) fn condition(status: &str, reason: &str, message: &str) -> Value {
    json!([{"type": "Synchronizing", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-20T10:00:31Z"}])
}

/// The condition during an iteration.
pub(super) fn in_progress() -> Value {
    condition("True", "SyncInProgress", "Synchronization in-progress")
}

/// Everything that carries VolSync's label, as `kind/name`, with its UID.
pub(super) async fn identities(world: &World) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect::<Service>(world, &mut found).await;
    collect::<Secret>(world, &mut found).await;
    collect::<ServiceAccount>(world, &mut found).await;
    collect::<RbacRole>(world, &mut found).await;
    collect::<RoleBinding>(world, &mut found).await;
    collect::<PersistentVolumeClaim>(world, &mut found).await;
    collect::<VolumeSnapshot>(world, &mut found).await;
    collect::<Job>(world, &mut found).await;
    found
}

async fn collect<K>(world: &World, found: &mut BTreeMap<String, String>)
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let ours = ListParams::default().labels("app.kubernetes.io/created-by=volsync");
    for object in world.api::<K>().list(&ours).await.unwrap() {
        found.insert(format!("{}/{}", K::kind(&()), object.name_any()), object.uid().unwrap());
    }
}
