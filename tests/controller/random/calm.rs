//! What users do when it becomes calm, and what has to come of it.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::population::interpret::destination;
use doppel::replication::interpret::Kind;
use doppel::resources::snapshot::VolumeSnapshot;

use super::cluster::{Cluster, unless_overtaken};
use super::state::{all, describe, is_deleted, place, uid};

const OURS: &str = "app.kubernetes.io/created-by";
const KEEP: &str = "volsync.backube/do-not-delete";
const WANTED: &str = "calm";

impl Cluster {
    /// Everybody wants one synchronization more, of everything that there is, and nothing that keeps it from being done.
    pub(super) async fn put_right(&mut self) {
        for namespace in self.namespaces.clone() {
            self.allow_every_copy(&namespace).await;
            let wanted = json!({"spec": {"paused": false, "trigger": {"manual": WANTED, "schedule": null}}});
            let sources = self.api::<ReplicationSource>(&namespace);
            unless_overtaken(sources.patch("a", &PatchParams::default(), &Patch::Merge(&wanted)).await);
            let destinations = self.api::<ReplicationDestination>(&namespace);
            unless_overtaken(destinations.patch("a", &PatchParams::default(), &Patch::Merge(&wanted)).await);
            // Claims are filled from snapshots only.
            let snapshot = json!({"spec": {"rsyncTLS": {"copyMethod": "Snapshot"}}});
            let patched = destinations.patch("a", &PatchParams::default(), &Patch::Merge(snapshot)).await;
            if patched.is_err() {
                for claim in ["p", "q"] {
                    let claims = self.api::<PersistentVolumeClaim>(&namespace);
                    unless_overtaken(claims.delete(claim, &DeleteParams::background()).await);
                }
            }
        }
    }

    /// A user follows the advice of `NameTaken`: a snapshot that he keeps has the name that the next copy is to have.
    pub(super) async fn clear_the_way(&mut self) {
        let is_in_the_way = |one: &&VolumeSnapshot| is_kept(one) && one.name_any() == "volsync-a-src";
        for kept in all::<VolumeSnapshot>(&self.client).await.iter().filter(is_in_the_way) {
            self.remove(&self.api(&kept.namespace().unwrap()), kept).await;
        }
    }

    /// What is not synchronized or filled.
    pub(super) async fn unsettled(&self) -> Vec<String> {
        let mut unsettled = Vec::new();
        unsettled.extend(all::<ReplicationSource>(&self.client).await.iter().filter_map(unsynchronized));
        unsettled.extend(all::<ReplicationDestination>(&self.client).await.iter().filter_map(unsynchronized));
        let claims = all::<PersistentVolumeClaim>(&self.client).await;
        for claim in claims.iter().filter(|claim| destination(claim).is_some()) {
            let prime = format!("vs-prime-{}", uid(claim));
            let is_filled = claim.spec.as_ref().is_some_and(|spec| spec.volume_name.is_some());
            if is_deleted(claim) || !is_filled || claims.iter().any(|other| other.name_any() == prime) {
                unsettled.push(format!("claim {}: {:?}", place(claim), claim.annotations()));
            }
        }
        unsettled
    }

    pub(super) async fn delete_everything(&mut self) {
        for namespace in self.namespaces.clone() {
            let parameters = DeleteParams::background();
            unless_overtaken(self.api::<ReplicationSource>(&namespace).delete("a", &parameters).await);
            unless_overtaken(self.api::<ReplicationDestination>(&namespace).delete("a", &parameters).await);
            for claim in ["p", "q"] {
                unless_overtaken(self.api::<PersistentVolumeClaim>(&namespace).delete(claim, &parameters).await);
            }
        }
        self.removed.extend(all::<VolumeSnapshot>(&self.client).await.iter().map(place));
    }

    /// What is there beyond what users made: snapshots that they keep belong to them.
    pub(super) async fn left_over(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        left.extend(all::<ReplicationSource>(&self.client).await.iter().map(describe));
        left.extend(all::<ReplicationDestination>(&self.client).await.iter().map(describe));
        left.extend(all::<Job>(&self.client).await.iter().map(describe));
        left.extend(all::<Pod>(&self.client).await.iter().map(describe));
        let is_users = |claim: &&PersistentVolumeClaim| matches!(claim.name_any().as_str(), "data-a" | "dest-a");
        let claims = all::<PersistentVolumeClaim>(&self.client).await;
        left.extend(claims.iter().filter(|claim| !is_users(claim)).map(describe));
        let snapshots = all::<VolumeSnapshot>(&self.client).await;
        let (kept, snapshots): (Vec<_>, Vec<_>) = snapshots.iter().partition(|one| is_kept(one));
        left.extend(snapshots.into_iter().map(describe));
        left.extend(all::<Service>(&self.client).await.iter().filter(is_ours).map(describe));
        left.extend(all::<Secret>(&self.client).await.iter().filter(is_ours).map(describe));
        left.extend(all::<ServiceAccount>(&self.client).await.iter().filter(is_ours).map(describe));
        if left.is_empty() {
            let volumes = all::<PersistentVolume>(&self.client).await;
            if volumes.len() > 4 {
                left.extend(volumes.iter().map(describe));
            }
            for snapshot in kept {
                self.remove(&self.api(&snapshot.namespace().unwrap()), snapshot).await;
            }
        }
        left
    }
}

fn unsynchronized<K: Kind>(object: &K) -> Option<String> {
    let status = object.status();
    let is_idle = status.condition.as_ref().is_some_and(|condition| condition.message == "Waiting for manual trigger");
    let is_done = is_idle && status.last_manual.as_deref() == Some(WANTED);
    (!is_done).then(|| format!("{} {}: {status:?}", K::ROLE.kind(), place(object)))
}

/// Whether it belongs to a user.
fn is_kept(snapshot: &VolumeSnapshot) -> bool {
    snapshot.labels().contains_key(KEEP) && snapshot.owner_references().is_empty()
}

fn is_ours(object: &&impl ResourceExt) -> bool {
    object.labels().contains_key(OURS)
}
