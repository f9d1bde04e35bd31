//! Where things are read: in what watches have told, where that is known, and else from the API server.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Reader;
use crate::mirror::Mirrored;
use crate::model::name;
use crate::resources::snapshot::VolumeSnapshot;

impl Reader<'_> {
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.owner.namespace)
    }

    /// What the API server has.
    pub(super) async fn get<K>(&self, name: &str) -> kube::Result<Option<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api::<K>().get_opt(name).await
    }

    /// A child, as far as watches know. If there is one nevertheless, or another's of its name, it cannot be created, and the pass that
    /// follows asks for it.
    pub(super) async fn child<K>(&self, name: &str) -> kube::Result<Option<K>>
    where
        K: Mirrored + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self.told(name) {
            Some(told) => Ok(told),
            None => self.get(name).await,
        }
    }

    /// What others made, or what is applied and not created. It is asked for where watches know of none: of those made by others
    /// they tell later than the wish that names them, or not at all.
    pub(super) async fn other<K>(&self, name: &str) -> kube::Result<Option<K>>
    where
        K: Mirrored + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self.told(name) {
            Some(Some(found)) => Ok(Some(found)),
            Some(None) | None => self.get(name).await,
        }
    }

    fn told<K: Mirrored>(&self, name: &str) -> Option<Option<K>> {
        let found = self.mirrors?.of::<K>().get(&self.owner.namespace, name)?;
        Some(found.map(|found| (*found).clone()))
    }

    /// Snapshots that carry the label of this operator's children; whose they are is in each.
    pub(super) async fn labelled_snapshots(&self) -> kube::Result<Vec<VolumeSnapshot>> {
        let told = self.mirrors.and_then(|mirrors| mirrors.of::<VolumeSnapshot>().all_in(&self.owner.namespace));
        if let Some(told) = told {
            return Ok(told.iter().map(|snapshot| (**snapshot).clone()).collect());
        }
        let (key, value) = name::CREATED_BY;
        let selector = ListParams::default().labels(&format!("{key}={value}"));
        match self.api::<VolumeSnapshot>().list(&selector).await {
            Ok(snapshots) => Ok(snapshots.items),
            // A cluster without the snapshot API has none.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The pods of all Jobs of this name, the present one among them if there is one.
    pub(super) async fn pods(&self, name: &str, present: Option<&Job>) -> kube::Result<Vec<Pod>> {
        let told = self.mirrors.filter(|_| present.is_none_or(has_watched_pods));
        match told.and_then(|mirrors| mirrors.of::<Pod>().all_in(&self.owner.namespace)) {
            Some(told) => {
                let of_job =
                    told.iter().filter(|pod| pod.labels().get(name::JOB_NAME_LABEL).is_some_and(|job| job == name));
                Ok(of_job.map(|pod| (**pod).clone()).collect())
            }
            None => self.all_pods(&[name.to_owned()]).await,
        }
    }

    /// The pods of all Jobs of these names, as the API server has them.
    pub(super) async fn all_pods(&self, jobs: &[String]) -> kube::Result<Vec<Pod>> {
        let selector = ListParams::default().labels(&format!("{} in ({})", name::JOB_NAME_LABEL, jobs.join(",")));
        Ok(self.api::<Pod>().list(&selector).await?.items)
    }

    pub(super) async fn namespace(&self) -> kube::Result<PartialObjectMeta<Namespace>> {
        let name = &self.owner.namespace;
        let told =
            self.mirrors.and_then(|mirrors| mirrors.of::<PartialObjectMeta<Namespace>>().get("", name)).flatten();
        match told {
            Some(told) => Ok((*told).clone()),
            None => Api::<Namespace>::all(self.client.clone()).get_metadata(name).await,
        }
    }
}

/// Whether watches tell of a Job's pods: not of one of VolSync's, nor where a user chose another label.
fn has_watched_pods(job: &Job) -> bool {
    let (key, value) = name::CREATED_BY;
    let template = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    template.and_then(|metadata| metadata.labels.as_ref()?.get(key)).is_some_and(|label| label == value)
}
