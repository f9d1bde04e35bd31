//! Users: they make, change and delete what is theirs, and what is not.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::replication::interpret::Kind;
use doppel::resources::snapshot::VolumeSnapshot;

use super::cluster::{Cluster, unless_overtaken};
use super::state::{all, is_deleted, place, uid, version};

const OURS: &str = "app.kubernetes.io/created-by";
const KEEP: &str = "volsync.backube/do-not-delete";

impl Cluster {
    /// Somebody does something. Returns what.
    pub(super) async fn act_as_user(&mut self) -> String {
        let namespace = self.namespaces[self.dice.below(2)].clone();
        let namespace = namespace.as_str();
        match self.dice.below(30) {
            0..=4 => self.want::<ReplicationSource>(namespace).await,
            5..=9 => self.want::<ReplicationDestination>(namespace).await,
            10..=13 => self.want_claim(namespace).await,
            14 => self.delete_one::<ReplicationSource>(|_| true).await,
            15 => self.delete_one::<ReplicationDestination>(|_| true).await,
            16 | 17 => {
                self.delete_one::<PersistentVolumeClaim>(|claim| matches!(claim.name_any().as_str(), "p" | "q")).await
            }
            18 | 19 => self.delete_one::<Job>(|_| true).await,
            20 => self.delete_one::<Pod>(|_| true).await,
            21 => self.delete_one::<VolumeSnapshot>(|_| true).await,
            22 => self.delete_one::<PersistentVolumeClaim>(|claim| claim.name_any().starts_with("volsync-")).await,
            23 => self.delete_one::<Service>(|service| service.labels().contains_key(OURS)).await,
            24 => self.delete_one::<Secret>(|secret| secret.labels().contains_key(OURS)).await,
            25 => self.delete_one::<ServiceAccount>(|account| account.labels().contains_key(OURS)).await,
            26 => self.keep_a_snapshot().await,
            27 | 28 => self.allow_copies(namespace).await,
            _ => self.allow_every_copy(namespace).await,
        }
    }

    /// A replication is wanted, or wanted otherwise.
    async fn want<K: Kind + serde::Serialize>(&mut self, namespace: &str) -> String {
        let spec = if K::ROLE.kind() == "ReplicationSource" { self.source() } else { self.destination() };
        let object = json!({"apiVersion": "volsync.backube/v1alpha1", "kind": K::ROLE.kind(),
            "metadata": {"name": "a"}, "spec": spec});
        let api = self.api::<K>(namespace);
        if api.get_opt("a").await.unwrap().is_some() {
            unless_overtaken(api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await);
            format!("{} {namespace}/a is changed: {spec}", K::ROLE.kind())
        } else {
            self.create::<K>(namespace, object).await;
            format!("{} {namespace}/a is made: {spec}", K::ROLE.kind())
        }
    }

    fn source(&mut self) -> Value {
        let copy_method = *self.dice.pick(&["Direct", "Snapshot", "Clone"]).unwrap();
        json!({"sourcePVC": "data-a", "paused": self.dice.one_in(8), "trigger": self.trigger(),
            "rsyncTLS": {"copyMethod": copy_method, "address": "192.0.2.1"}})
    }

    fn destination(&mut self) -> Value {
        let copy_method = *self.dice.pick(&["Direct", "Snapshot", "Snapshot", "Snapshot"]).unwrap();
        let claim = self.dice.one_in(4).then_some("dest-a");
        json!({"paused": self.dice.one_in(8), "trigger": self.trigger(), "rsyncTLS": {"copyMethod": copy_method,
            "capacity": "1Gi", "accessModes": ["ReadWriteOnce"], "destinationPVC": claim,
            "cleanupTempPVC": self.dice.one_in(3)}})
    }

    /// A merge patch: the other kinds of triggers are removed.
    fn trigger(&mut self) -> Value {
        match self.dice.below(6) {
            0 => json!({"manual": null, "schedule": "0 0 1 1 *"}),
            1 => json!({"manual": null, "schedule": null}),
            _ => json!({"manual": format!("m{}", self.dice.throw() % 1000), "schedule": null}),
        }
    }

    async fn want_claim(&mut self, namespace: &str) -> String {
        let name = *self.dice.pick(&["p", "q"]).unwrap();
        let source = json!({"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "a"});
        self.create_claim(namespace, name, &json!({"dataSourceRef": source})).await;
        format!("claim {namespace}/{name} is to be filled")
    }

    /// One object is deleted, as kubectl does it.
    async fn delete_one<K>(&mut self, which: impl Fn(&K) -> bool) -> String
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let all = Api::<K>::all(self.client.clone()).list(&ListParams::default()).await.unwrap();
        let now = version(all.metadata.resource_version.as_deref());
        let found: Vec<_> = all.items.into_iter().filter(|one| !is_deleted(one) && which(one)).collect();
        let Some(doomed) = self.dice.pick(&found) else {
            return format!("no {} is there to be deleted", K::kind(&()));
        };
        self.removed.insert(place(doomed));
        self.ends.insert(uid(doomed), now);
        let api = self.api::<K>(&doomed.namespace().unwrap());
        unless_overtaken(api.delete(&doomed.name_any(), &DeleteParams::background()).await);
        format!("{} {} is deleted by a user", K::kind(&()), place(doomed))
    }

    async fn keep_a_snapshot(&mut self) -> String {
        let all = all::<VolumeSnapshot>(&self.client).await;
        let Some(kept) = self.dice.pick(&all) else {
            return "no snapshot is there to be kept".to_owned();
        };
        let patch = json!({"metadata": {"labels": {KEEP: "yes"}}});
        let api = self.api::<VolumeSnapshot>(&kept.namespace().unwrap());
        unless_overtaken(api.patch(&kept.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await);
        format!("a user keeps snapshot {}", place(kept))
    }

    /// The application says when its volume may be copied, and that it may be now.
    async fn allow_copies(&mut self, namespace: &str) -> String {
        let value = format!("c{}", self.dice.throw() % 1000);
        self.annotate(namespace, &json!({"use-copy-trigger": "", "copy-trigger": value})).await;
        format!("{namespace}/data-a may be copied: {value}")
    }

    pub(super) async fn allow_every_copy(&mut self, namespace: &str) -> String {
        self.annotate(namespace, &json!({"use-copy-trigger": null, "copy-trigger": null})).await;
        format!("{namespace}/data-a may be copied at any time")
    }

    async fn annotate(&self, namespace: &str, annotations: &Value) {
        let full = annotations.as_object().unwrap().clone().into_iter();
        let full = full.map(|(key, value)| (format!("volsync.backube/{key}"), value));
        let patch = json!({"metadata": {"annotations": full.collect::<serde_json::Map<_, _>>()}});
        let api = self.api::<PersistentVolumeClaim>(namespace);
        unless_overtaken(api.patch("data-a", &PatchParams::default(), &Patch::Merge(patch)).await);
    }
}
