//! PersistentVolumeClaims: a source's point-in-time copy, a destination's dynamic claim.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, TypedLocalObjectReference, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata;
use crate::model::replication::Owner;
use crate::model::step::{NewClaim, Origin};

/// A new claim.
#[must_use]
pub fn build(owner: &Owner, new: &NewClaim) -> PersistentVolumeClaim {
    let reference = |api_group: Option<&str>, kind: &str, name: &str| TypedLocalObjectReference {
        api_group: api_group.map(str::to_owned),
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    PersistentVolumeClaim {
        metadata: metadata(owner, &new.name, new.lifetime),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(new.access_modes.clone()),
            storage_class_name: new.storage_class.clone(),
            volume_mode: Some(new.mode.name().to_owned()),
            resources: Some(requests(&new.capacity)),
            data_source: match &new.origin {
                Origin::Empty => None,
                Origin::Snapshot(name) => Some(reference(Some("snapshot.storage.k8s.io"), "VolumeSnapshot", name)),
                Origin::Claim(name) => Some(reference(None, "PersistentVolumeClaim", name)),
            },
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn requests(capacity: &str) -> VolumeResourceRequirements {
    VolumeResourceRequirements {
        requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(capacity.to_owned()))])),
        limits: None,
    }
}
