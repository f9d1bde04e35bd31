//! The claim that is filled in place of a user's, and the references by which it and the user's hold what they need.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, TypedObjectReference, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::snapshot;
use crate::model::name;
use crate::model::population::{Claimant, Standing, Upkeep};
use crate::model::step::fill::{NewPrime, Seen};

const CLAIM: &str = "PersistentVolumeClaim";

/// A prime. It has the claim for its controller, so it goes when the claim goes.
///
/// # Errors
/// When the claim's `resources`, which are carried through, are none.
pub fn build(claim: &Claimant, new: &NewPrime) -> serde_json::Result<PersistentVolumeClaim> {
    let label = name::label_value(&claim.name);
    let full_name = (label != claim.name).then(|| (name::PRIME_FOR.to_owned(), claim.name.clone()));
    let node = new.node.as_ref().map(|node| (name::SELECTED_NODE_ANNOTATION.to_owned(), node.clone()));
    let annotations: BTreeMap<_, _> = full_name.into_iter().chain(node).collect();
    let (created_by, operator) = name::CREATED_BY;
    let labels = [(created_by.to_owned(), operator.to_owned()), (name::PRIME_FOR.to_owned(), label)];
    let controller = OwnerReference {
        controller: Some(true),
        block_owner_deletion: Some(true),
        ..reference(&claim.name, &claim.uid)
    };
    Ok(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(new.name.clone()),
            namespace: Some(claim.namespace.clone()),
            labels: Some(labels.into()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![controller]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(new.shape.access_modes.clone()),
            resources: Some(serde_json::from_value::<VolumeResourceRequirements>(new.shape.resources.clone())?),
            storage_class_name: new.shape.storage_class.clone(),
            volume_attributes_class_name: new.shape.attributes_class.clone(),
            volume_mode: Some(new.shape.mode.name().to_owned()),
            data_source_ref: Some(TypedObjectReference {
                api_group: Some(snapshot::GROUP.to_owned()),
                kind: snapshot::KIND.to_owned(),
                name: new.origin.clone(),
                namespace: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    })
}

/// A reference to a claim, which neither controls nor blocks anything.
#[must_use]
pub fn reference(name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "v1".to_owned(),
        kind: CLAIM.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    }
}

/// Whether an owner reference is the claim's own, or a prime's that was made for it.
#[must_use]
pub fn is_of(claim: &Claimant, reference: &OwnerReference) -> bool {
    reference.uid == claim.uid || (reference.kind == CLAIM && reference.name == name::prime(&claim.uid))
}

/// How a snapshot stands with others than the claim.
#[must_use]
pub fn standing(claim: &Claimant, snapshot: &impl ResourceExt) -> Standing {
    let labels = snapshot.labels();
    let is_ours = labels.get(name::CREATED_BY.0).map(String::as_str) == Some(name::CREATED_BY.1)
        && !labels.contains_key(name::DO_NOT_DELETE_LABEL);
    Standing {
        uid: snapshot.uid().unwrap_or_default(),
        upkeep: if is_ours { Upkeep::Ours } else { Upkeep::Theirs },
        has_other_owners: snapshot.owner_references().iter().any(|reference| !is_of(claim, reference)),
    }
}

/// A merge patch that gives a volume to the claim.
#[must_use]
pub fn hand_over(claim: &Claimant, claim_version: &str, volume: &Seen, origin: &str) -> Value {
    json!({
        "metadata": {
            "resourceVersion": volume.resource_version,
            "annotations": {name::POPULATED_FROM_ANNOTATION: format!("{}/{origin}", claim.namespace)},
        },
        "spec": {"claimRef": {
            "apiVersion": "v1", "kind": CLAIM, "namespace": claim.namespace, "name": claim.name, "uid": claim.uid,
            "resourceVersion": claim_version,
        }},
    })
}
