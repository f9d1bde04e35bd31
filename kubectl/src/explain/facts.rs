//! READ: an object, what it is made of, and the warnings about all of it. What may not be read is left out, and said to be.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde::de::DeserializeOwned;

use super::child::{self, Child, Warning};
use crate::cluster::Cluster;
use crate::error::{Error, What};
use crate::object::Object;

/// On everything that Doppel or VolSync makes.
const OURS: &str = "app.kubernetes.io/created-by=volsync";
/// Of one part. Events last an hour, and repetitions are counted in one of them; the API server itself sends no more in one page.
const MOST_EVENTS: u32 = 500;

/// All that is told of an object.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) object: Object,
    pub(super) jobs: Vec<Child>,
    pub(super) pods: Vec<Child>,
    pub(super) services: Vec<Child>,
    /// Claims that were made for it.
    pub(super) claims: Vec<Child>,
    pub(super) snapshots: Vec<Child>,
    /// The claim of the user's that it names.
    pub(super) users_claim: Found<Child>,
    pub(super) key: Found<()>,
    /// The latest first.
    pub(super) warnings: Vec<Warning>,
    /// What could not be read, and why.
    pub(super) unread: Vec<String>,
}

/// Something that an object names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<T> {
    There(T),
    Missing,
    /// It names none, or it may not be read.
    Unknown,
}

/// Reads it all, one kind after the other.
pub(super) async fn gather(cluster: &Cluster, object: Object) -> Facts {
    let mut reader = Reader { cluster, namespace: object.namespace.clone(), unread: Vec::new() };
    let uid = object.uid.clone();
    let jobs: Vec<Job> = reader.owned(&uid, "jobs").await;
    let services = reader.owned::<Service>(&uid, "services").await.into_iter().map(Child::from).collect();
    let claims = reader.owned::<PersistentVolumeClaim>(&uid, "persistentvolumeclaims").await;
    let claims = claims.into_iter().map(Child::from).collect();
    let jobs: Vec<Child> = jobs.into_iter().map(Child::from).collect();
    let mut facts = Facts {
        pods: reader.pods(&jobs).await,
        snapshots: reader.snapshots(&uid).await,
        users_claim: reader.claim(object.ends.claim.as_deref()).await,
        key: reader.key(object.ends.key_secret.as_deref()).await,
        object,
        jobs,
        services,
        claims,
        warnings: Vec::new(),
        unread: Vec::new(),
    };
    facts.warnings = reader.warnings(&facts).await;
    facts.unread = reader.unread;
    facts
}

struct Reader<'a> {
    cluster: &'a Cluster,
    namespace: String,
    unread: Vec<String>,
}

impl Reader<'_> {
    /// What the object of this UID controls.
    async fn owned<K>(&mut self, uid: &str, plural: &'static str) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let all = self.list::<K>(&ListParams::default().labels(OURS), plural).await;
        all.into_iter().filter(|child| is_controlled_by(child.meta(), uid)).collect()
    }

    async fn list<K>(&mut self, params: &ListParams, plural: &'static str) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        match self.cluster.api::<K>(&self.namespace).list(params).await {
            Ok(list) => list.items,
            Err(error) => {
                self.miss("list", plural, error);
                Vec::new()
            }
        }
    }

    async fn pods(&mut self, jobs: &[Child]) -> Vec<Child> {
        if jobs.is_empty() {
            return Vec::new();
        }
        let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        let params = ListParams::default().labels(&format!("job-name in ({})", names.join(",")));
        let pods = self.list::<Pod>(&params, "pods").await;
        let is_theirs = |pod: &Pod| jobs.iter().any(|job| is_controlled_by(&pod.metadata, &job.uid));
        pods.into_iter().filter(is_theirs).map(Child::from).collect()
    }

    async fn snapshots(&mut self, uid: &str) -> Vec<Child> {
        let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshot");
        let resource = ApiResource::from_gvk_with_plural(&kind, "volumesnapshots");
        let api: Api<DynamicObject> = Api::namespaced_with(self.cluster.client.clone(), &self.namespace, &resource);
        let list = match api.list(&ListParams::default().labels(OURS)).await {
            Ok(list) => list.items,
            // A cluster may do without snapshots.
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => {
                self.miss("list", "volumesnapshots", error);
                Vec::new()
            }
        };
        list.into_iter().filter(|snapshot| is_controlled_by(&snapshot.metadata, uid)).map(child::snapshot).collect()
    }

    async fn claim(&mut self, name: Option<&str>) -> Found<Child> {
        let Some(name) = name else { return Found::Unknown };
        match self.cluster.api::<PersistentVolumeClaim>(&self.namespace).get_opt(name).await {
            Ok(Some(claim)) => Found::There(claim.into()),
            Ok(None) => Found::Missing,
            Err(error) => {
                self.miss("get", "persistentvolumeclaims", error);
                Found::Unknown
            }
        }
    }

    /// Whether the key's Secret is there. Its metadata alone is asked for.
    async fn key(&mut self, name: Option<&str>) -> Found<()> {
        let Some(name) = name else { return Found::Unknown };
        match self.cluster.api::<Secret>(&self.namespace).get_metadata_opt(name).await {
            Ok(Some(_)) => Found::There(()),
            Ok(None) => Found::Missing,
            Err(error) => {
                self.miss("get", "secrets", error);
                Found::Unknown
            }
        }
    }

    /// Warnings about the object and its parts.
    async fn warnings(&mut self, facts: &Facts) -> Vec<Warning> {
        let parts = [&facts.jobs, &facts.pods, &facts.services, &facts.claims, &facts.snapshots];
        let mut uids: Vec<&str> = parts.into_iter().flatten().map(|child| child.uid.as_str()).collect();
        uids.push(&facts.object.uid);
        if let Found::There(claim) = &facts.users_claim {
            uids.push(&claim.uid);
        }
        let mut warnings = Vec::new();
        for uid in uids {
            let about = format!("type=Warning,involvedObject.uid={uid}");
            let unread = self.unread.len();
            let events = self.list::<Event>(&ListParams::default().fields(&about).limit(MOST_EVENTS), "events").await;
            warnings.extend(events.into_iter().map(Warning::from));
            // It would be the same for the others.
            if self.unread.len() > unread {
                break;
            }
        }
        child::merged(warnings)
    }

    fn miss(&mut self, verb: &'static str, plural: &'static str, error: kube::Error) {
        let error = self.cluster.error(verb, What::Other(plural), &self.namespace, error);
        let why = match error {
            Error::Forbidden { action, .. } => format!("you may not {action}"),
            error => error.to_string(),
        };
        self.unread.push(why);
    }
}

fn is_controlled_by(metadata: &ObjectMeta, uid: &str) -> bool {
    let owners = metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}
