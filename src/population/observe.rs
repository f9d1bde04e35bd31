//! READ: the world around one claim that is to be filled, reduced to [`Surroundings`]. Decides nothing.

use std::collections::BTreeSet;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::interpret::is_unfilled;
use crate::api::destination::ReplicationDestination;
use crate::model::name;
use crate::model::observed::Ownership;
use crate::model::population::{
    Class, Holder, Image, Named, Population, Prime, PrimePhase, Published, Surroundings, Volume,
};
use crate::resources::prime;
use crate::resources::snapshot::{self, VolumeSnapshot};

/// Looks at the world around one claim.
///
/// # Errors
/// When the API server cannot be read.
pub async fn observe(client: &Client, wish: &Population) -> kube::Result<Surroundings> {
    let reader = Reader { client, wish };
    let (prime, marked) = futures::try_join!(reader.prime(), reader.marked())?;
    let mut seen = Surroundings { prime, ..Surroundings::default() };
    if wish.volume.is_none() {
        match &mut seen.prime {
            None => {
                (seen.class, seen.destination) = futures::try_join!(reader.class(), reader.destination())?;
                if let Published::Snapshot(name) = &seen.destination {
                    seen.image = reader.snapshot(name).await?.map(|snapshot| reader.to_image(&snapshot, None));
                }
            }
            Some(prime) => match &prime.volume {
                Some(volume) => seen.volume = reader.volume(volume).await?,
                None if prime.ownership == Ownership::Ours => {
                    let (class, origin) = futures::try_join!(reader.class(), reader.snapshot(&prime.origin))?;
                    seen.class = class;
                    prime.origin_exists = origin.is_some();
                }
                None => {}
            },
        }
    }
    let prime_uid = seen.prime.as_ref().map(|prime| prime.uid.as_str());
    seen.marked = marked.iter().map(|snapshot| reader.to_image(snapshot, prime_uid)).collect();
    if seen.marked.iter().any(|image| !image.standing.has_other_owners) {
        reader.find_other_claims(&mut seen.marked, &marked).await?;
    }
    Ok(seen)
}

/// UIDs of those claims of a namespace that are being filled: without a volume, or with a prime that is still there.
///
/// # Errors
/// When the API server cannot be read.
pub async fn claims_being_filled(client: &Client, namespace: &str) -> kube::Result<BTreeSet<String>> {
    let claims =
        Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    let names: BTreeSet<String> = claims.iter().map(ResourceExt::name_any).collect();
    let is_being_filled = |claim: &&PersistentVolumeClaim| {
        is_unfilled(claim) || claim.uid().is_some_and(|uid| names.contains(&name::prime(&uid)))
    };
    Ok(claims.iter().filter(is_being_filled).filter_map(ResourceExt::uid).collect())
}

/// UIDs of the claims whose mark a snapshot carries. Whether they are still being filled is another question.
pub fn marks(snapshot: &impl ResourceExt) -> impl Iterator<Item = &str> {
    snapshot.labels().keys().filter_map(|key| key.strip_prefix(name::POPULATOR_LABEL_PREFIX))
}

struct Reader<'a> {
    client: &'a Client,
    wish: &'a Population,
}

impl Reader<'_> {
    async fn get<K>(&self, name: &str) -> kube::Result<Option<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        Api::<K>::namespaced(self.client.clone(), &self.wish.claim.namespace).get_opt(name).await
    }

    /// A cluster without the snapshot API has no snapshot.
    async fn snapshot(&self, name: &str) -> kube::Result<Option<VolumeSnapshot>> {
        self.get(name).await
    }

    async fn marked(&self) -> kube::Result<Vec<VolumeSnapshot>> {
        let selector = ListParams::default().labels(&name::populator_mark(&self.wish.claim.uid));
        let api = Api::<VolumeSnapshot>::namespaced(self.client.clone(), &self.wish.claim.namespace);
        match api.list(&selector).await {
            Ok(snapshots) => Ok(snapshots.items),
            // A cluster without the snapshot API has none.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn class(&self) -> kube::Result<Class> {
        let Some(name) = &self.wish.shape.storage_class else {
            return Ok(Class::Unasked);
        };
        if name.is_empty() {
            return Ok(Class::Unasked);
        }
        let class = Api::<StorageClass>::all(self.client.clone()).get_opt(name).await?;
        Ok(class.map_or(Class::Missing, |class| match class.volume_binding_mode.as_deref() {
            Some("WaitForFirstConsumer") => Class::FirstConsumer { provisioner: class.provisioner },
            _ => Class::Immediate { provisioner: class.provisioner },
        }))
    }

    async fn destination(&self) -> kube::Result<Published> {
        let Named::Here(name) = &self.wish.destination else {
            return Ok(Published::NoDestination);
        };
        let Some(destination) = self.get::<ReplicationDestination>(name).await? else {
            return Ok(Published::NoDestination);
        };
        let image = destination.status.and_then(|status| status.latest_image).filter(|image| !image.name.is_empty());
        Ok(image.map_or(Published::Nothing, |image| {
            let group = image.api_group.as_deref().unwrap_or_default();
            if (group, image.kind.as_str()) == (snapshot::GROUP, snapshot::KIND) {
                Published::Snapshot(image.name)
            } else {
                Published::Other(format!("{}/{}", image.kind, image.name))
            }
        }))
    }

    async fn prime(&self) -> kube::Result<Option<Prime>> {
        let claim = &self.wish.claim;
        let Some(prime) = self.get::<PersistentVolumeClaim>(&name::prime(&claim.uid)).await? else {
            return Ok(None);
        };
        let controller = prime.owner_references().iter().find(|reference| reference.controller == Some(true));
        let spec = prime.spec.clone().unwrap_or_default();
        let origin = spec.data_source_ref.filter(|origin| origin.kind == snapshot::KIND).map(|origin| origin.name);
        Ok(Some(Prime {
            name: prime.name_any(),
            uid: prime.uid().unwrap_or_default(),
            ownership: match controller {
                None => Ownership::Nobody,
                // Whoever wrote our reference on something else than a claim that is made from a snapshot, it was not we.
                Some(reference) if reference.uid == claim.uid && origin.is_none() => Ownership::Nobody,
                Some(reference) if reference.uid == claim.uid => Ownership::Ours,
                Some(reference) => Ownership::Other(format!("{}/{}", reference.kind, reference.name)),
            },
            deleting: prime.metadata.deletion_timestamp.is_some(),
            created: prime.creation_timestamp().map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
            phase: match prime.status.as_ref().and_then(|status| status.phase.as_deref()) {
                Some("Bound") => PrimePhase::Bound,
                Some("Lost") => PrimePhase::Lost,
                _ => PrimePhase::Pending,
            },
            node: prime.annotations().get(name::SELECTED_NODE_ANNOTATION).cloned(),
            volume: spec.volume_name.filter(|name| !name.is_empty()),
            origin: origin.unwrap_or_default(),
            origin_exists: true,
        }))
    }

    async fn volume(&self, name: &str) -> kube::Result<Option<Volume>> {
        let volume = Api::<PersistentVolume>::all(self.client.clone()).get_opt(name).await?;
        Ok(volume.map(|volume| {
            let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone()).unwrap_or_default();
            Volume {
                name: volume.name_any(),
                resource_version: volume.resource_version().unwrap_or_default(),
                claim: match (claim.namespace, claim.name) {
                    (Some(namespace), Some(name)) => {
                        format!("PersistentVolumeClaim {name:?} of namespace {namespace:?}")
                    }
                    _ => "nobody".to_owned(),
                },
                claim_uid: claim.uid,
            }
        }))
    }

    fn to_image(&self, snapshot: &VolumeSnapshot, prime_uid: Option<&str>) -> Image {
        let claim = &self.wish.claim;
        let status = snapshot.status.clone().unwrap_or_default();
        let labels = snapshot.labels();
        let owners = snapshot.owner_references();
        let is_owner = |uid: &str| owners.iter().any(|reference| reference.uid == uid);
        let holders =
            [is_owner(&claim.uid).then_some(Holder::Claim), prime_uid.is_some_and(is_owner).then_some(Holder::Prime)];
        Image {
            name: snapshot.name_any(),
            resource_version: snapshot.resource_version().unwrap_or_default(),
            deleting: snapshot.metadata.deletion_timestamp.is_some(),
            ready: status.bound_volume_snapshot_content_name.is_some() && status.ready_to_use == Some(true),
            error: status.error.and_then(|error| error.message),
            restore_size: status.restore_size,
            marked: labels.contains_key(&name::populator_mark(&claim.uid)),
            marks: marks(snapshot).count(),
            holders: holders.into_iter().flatten().collect(),
            standing: prime::standing(claim, snapshot),
            is_promised: false,
        }
    }

    /// Another claim may want a snapshot that has no other owner: its mark says so, unless that claim is gone or filled.
    async fn find_other_claims(&self, images: &mut [Image], snapshots: &[VolumeSnapshot]) -> kube::Result<()> {
        let own = &self.wish.claim.uid;
        let others = |snapshot: &VolumeSnapshot| marks(snapshot).any(|uid| uid != own);
        if !snapshots.iter().any(others) {
            return Ok(());
        }
        let being_filled = claims_being_filled(self.client, &self.wish.claim.namespace).await?;
        for (image, snapshot) in images.iter_mut().zip(snapshots) {
            image.is_promised = marks(snapshot).any(|uid| uid != own && being_filled.contains(uid));
        }
        Ok(())
    }
}
