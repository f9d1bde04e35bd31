//! WRITE: performs the steps that fill claims.
//!
//! A prime is created and never applied: one that somebody else made under its name meanwhile is left alone. Everything else
//! belongs to others too: a volume is patched at the version that was seen, a snapshot as long as it stands with others as it did.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{Api, Patch, PropagationPolicy};
use kube::core::Status;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::{Applier, ApplyError, merge_parameters, post_parameters};
use crate::model::name;
use crate::model::population::{Claimant, Holder};
use crate::model::step::Doomed;
use crate::model::step::fill::{FillStep, SeenImage};
use crate::resources::prime;
use crate::resources::snapshot::VolumeSnapshot;

impl Applier {
    /// Performs these steps for one claim, in order. `prime` is the one that there is before them.
    ///
    /// # Errors
    /// The first step that fails; the steps behind it were not tried.
    pub async fn fill(&self, claim: &Claimant, prime: Option<&Doomed>, steps: &[FillStep]) -> Result<(), ApplyError> {
        for step in steps {
            let performed = self.perform_fill(claim, prime, step).await;
            performed.map_err(|source| ApplyError::Api { step: step.describe(), source })?;
        }
        Ok(())
    }

    async fn perform_fill(&self, claim: &Claimant, prime: Option<&Doomed>, step: &FillStep) -> kube::Result<()> {
        let namespace = &claim.namespace;
        match step {
            FillStep::HoldImage { image, holders } => {
                let mark = json!(name::label_value(&claim.name));
                self.mark(claim, image, (mark, references(claim, prime, holders))).await
            }
            FillStep::LetImageGo(image) => self.mark(claim, image, (Value::Null, Vec::new())).await,
            FillStep::DeleteImage { image, resource_version } => {
                let seen = (image, Some(resource_version));
                self.delete::<VolumeSnapshot>(namespace, seen, PropagationPolicy::Background).await.map(drop)
            }
            FillStep::CreatePrime(new) => {
                let prime = prime::build(claim, new).map_err(kube::Error::SerdeError)?;
                self.api(namespace).create(&post_parameters(), &prime).await.map(drop)
            }
            FillStep::PlacePrime { prime, node } => {
                let annotations = json!({name::SELECTED_NODE_ANNOTATION: node});
                // Another prime of this name has another UID, and refuses the patch.
                let patch = json!({"metadata": {"uid": prime.uid, "annotations": annotations}});
                self.merge::<PersistentVolumeClaim>(namespace, &prime.name, &patch).await.map(drop)
            }
            FillStep::HandOver { volume, claim_version, origin } => {
                let patch = prime::hand_over(claim, claim_version, volume, origin);
                let volumes = Api::<PersistentVolume>::all(self.client.clone());
                volumes.patch(&volume.name, &merge_parameters(), &Patch::Merge(patch)).await.map(drop)
            }
            FillStep::DeletePrime(prime) => {
                let seen = (prime, None);
                self.delete::<PersistentVolumeClaim>(namespace, seen, PropagationPolicy::Background).await.map(drop)
            }
        }
    }

    /// Sets or removes a snapshot's mark, and replaces those of its owners that are the claim's own. Owners are written as one
    /// list, so claims that are filled from one snapshot take turns.
    async fn mark(
        &self,
        claim: &Claimant,
        image: &SeenImage,
        (mark, own): (Value, Vec<OwnerReference>),
    ) -> kube::Result<()> {
        let _turn = self.turns.take(&claim.namespace, &image.name).await;
        let snapshot = self.api::<VolumeSnapshot>(&claim.namespace).get_metadata(&image.name).await?;
        if prime::standing(claim, &snapshot) != image.standing {
            return Err(changed_since(&image.name));
        }
        let others = snapshot.owner_references().iter().filter(|reference| !prime::is_of(claim, reference)).cloned();
        let owners: Vec<_> = others.chain(own).collect();
        let patch = json!({"metadata": {
            "resourceVersion": snapshot.resource_version(),
            "labels": {name::populator_mark(&claim.uid): mark},
            "ownerReferences": owners,
        }});
        self.merge::<VolumeSnapshot>(&claim.namespace, &image.name, &patch).await.map(drop)
    }
}

/// What the API server says of a resourceVersion that is not the present one.
fn changed_since(name: &str) -> kube::Error {
    let status = Status::failure(&format!("VolumeSnapshot {name} has changed since it was seen"), "Conflict");
    kube::Error::Api(status.with_code(409).boxed())
}

/// Turns at writing to one object. A fixed number of places, each for many objects: a turn takes two requests, a few
/// milliseconds, and there are not more passes at a time than places.
#[derive(Clone)]
pub(super) struct Turns(Arc<[Mutex<()>; 64]>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Mutex::new(()))))
    }
}

impl Turns {
    async fn take(&self, namespace: &str, name: &str) -> Option<MutexGuard<'_, ()>> {
        let digest = xxhash_rust::xxh3::xxh3_64(format!("{namespace}/{name}").as_bytes());
        let place = usize::try_from(digest % 64).ok().and_then(|place| self.0.get(place))?;
        Some(place.lock().await)
    }
}

fn references(claim: &Claimant, prime: Option<&Doomed>, holders: &BTreeSet<Holder>) -> Vec<OwnerReference> {
    let reference = |holder: &Holder| match holder {
        Holder::Claim => Some(prime::reference(&claim.name, &claim.uid)),
        Holder::Prime => prime.map(|prime| prime::reference(&prime.name, &prime.uid)),
    };
    holders.iter().filter_map(reference).collect()
}
