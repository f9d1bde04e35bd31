//! What is asked for once more before it is acted upon: a volume's data hangs on it, and no precondition of a write can hold it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Client, ResourceExt};

use super::{Reader, mover};
use crate::model::name;
use crate::model::observed::Observed;
use crate::model::replication::{Direction, Image, Replication};
use crate::model::step::Step;

/// Whether a mover that is about to start is alone, and whether a destination's claim from which an image is about to be made, or which
/// is about to be one, is still the one that was received into.
///
/// # Errors
/// When the API server cannot be read.
pub async fn confirm(
    client: &Client,
    (wish, seen): (&Replication, &Observed),
    steps: &[Step],
    image: Option<&Image>,
) -> kube::Result<bool> {
    let reader = Reader { client, mirrors: None, owner: &wish.owner };
    if steps.iter().any(|step| matches!(step, Step::StartMover(_))) && !reader.is_nobody_at_work(wish).await? {
        return Ok(false);
    }
    let is_made_now =
        steps.iter().any(|step| matches!(step, Step::TakeSnapshot(_))) || matches!(image, Some(Image::Claim(_)));
    match &wish.direction {
        Direction::Destination { .. } if is_made_now => reader.is_still_there(seen).await,
        Direction::Destination { .. } | Direction::Source { .. } => Ok(true),
    }
}

impl Reader<'_> {
    async fn is_nobody_at_work(&self, wish: &Replication) -> kube::Result<bool> {
        let pods = self.all_pods(&name::jobs(self.owner)).await?;
        Ok(!pods.iter().any(|pod| mover::is_at_work(pod, wish.mover.name())))
    }

    async fn is_still_there(&self, seen: &Observed) -> kube::Result<bool> {
        let Some(claim) = &seen.claim else { return Ok(true) };
        let found = self.get::<PersistentVolumeClaim>(&claim.name).await?;
        Ok(found.is_some_and(|found| {
            found.uid().as_ref() == Some(&claim.uid) && found.metadata.deletion_timestamp.is_none()
        }))
    }
}
