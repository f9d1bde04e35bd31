//! PURE: what a claim says becomes a [`Population`], if it is to be filled from a ReplicationDestination.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use serde_json::Value;

use crate::api::GROUP;
use crate::model::name;
use crate::model::population::{ClaimShape, Claimant, Named, Population};
use crate::model::replication::{Role, VolumeMode};

/// What the claim asks for. None of one that is to be filled by others, or is being deleted: what was made for it then goes
/// with it.
#[must_use]
pub fn interpret(claim: &PersistentVolumeClaim) -> Option<Population> {
    if claim.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let destination = destination(claim)?;
    let spec = claim.spec.clone().unwrap_or_default();
    let annotation = |key: &str| claim.annotations().get(key).filter(|value| !value.is_empty()).cloned();
    let request = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage"));
    Some(Population {
        claim: Claimant {
            namespace: claim.namespace().unwrap_or_default(),
            name: claim.name_any(),
            uid: claim.uid().unwrap_or_default(),
        },
        resource_version: claim.resource_version().unwrap_or_default(),
        destination,
        node: annotation(name::SELECTED_NODE_ANNOTATION),
        migrated: annotation(name::MIGRATED_ANNOTATION).is_some(),
        created: claim.creation_timestamp().map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
        told: annotation(name::WAITS_FOR_ANNOTATION),
        shape: ClaimShape {
            request: request.map(|size| size.0.clone()),
            // What was read as JSON is written as JSON.
            resources: serde_json::to_value(spec.resources.unwrap_or_default()).unwrap_or(Value::Null),
            access_modes: spec.access_modes.unwrap_or_default(),
            storage_class: spec.storage_class_name,
            attributes_class: spec.volume_attributes_class_name,
            mode: match spec.volume_mode.as_deref() {
                Some("Block") => VolumeMode::Block,
                _ => VolumeMode::Filesystem,
            },
        },
        volume: spec.volume_name.filter(|name| !name.is_empty()),
    })
}

/// The ReplicationDestination that a claim is to be filled from.
#[must_use]
pub fn destination(claim: &PersistentVolumeClaim) -> Option<Named> {
    let reference = claim.spec.as_ref()?.data_source_ref.as_ref()?;
    let is_ours = reference.api_group.as_deref() == Some(GROUP) && reference.kind == Role::Destination.kind();
    if !is_ours || reference.name.is_empty() {
        return None;
    }
    let name = reference.name.clone();
    Some(match reference.namespace.clone().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) if Some(&namespace) != claim.namespace().as_ref() => Named::Elsewhere { namespace, name },
        _ => Named::Here(name),
    })
}

/// Whether a claim is to be filled from a ReplicationDestination and has no volume yet.
#[must_use]
pub fn is_unfilled(claim: &PersistentVolumeClaim) -> bool {
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    destination(claim).is_some() && volume.is_empty()
}

/// The name of the claim that a prime was made for.
#[must_use]
pub fn claim_of_prime(prime: &PersistentVolumeClaim) -> Option<&str> {
    let controller = prime.owner_references().iter().find(|reference| reference.controller == Some(true))?;
    let is_prime = controller.kind == "PersistentVolumeClaim"
        && prime.metadata.name.as_deref() == Some(&name::prime(&controller.uid));
    is_prime.then_some(controller.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(reference: &Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "data", "namespace": "shop", "uid": "u1"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "dataSourceRef": reference},
        }))
        .unwrap()
    }

    fn named(group: &str, kind: &str, name: &str, namespace: Option<&str>) -> Option<Named> {
        destination(&claim(&json!({"apiGroup": group, "kind": kind, "name": name, "namespace": namespace})))
    }

    #[test]
    fn only_a_claim_that_names_a_replication_destination_is_filled() {
        let here = Some(Named::Here("rd".to_owned()));
        assert_eq!(named("volsync.backube", "ReplicationDestination", "rd", None), here);
        assert_eq!(named("volsync.backube", "ReplicationDestination", "rd", Some("")), here);
        assert_eq!(named("volsync.backube", "ReplicationDestination", "rd", Some("shop")), here);
        for (group, kind, name) in [
            ("volsync.backube", "ReplicationSource", "rd"),
            ("snapshot.storage.k8s.io", "VolumeSnapshot", "rd"),
            ("other", "ReplicationDestination", "rd"),
            ("volsync.backube", "ReplicationDestination", ""),
        ] {
            assert_eq!(named(group, kind, name, None), None, "{group} {kind} {name}");
        }
        assert_eq!(interpret(&PersistentVolumeClaim::default()), None);
    }

    #[test]
    fn another_namespace_is_not_taken_for_the_claims_own() {
        let elsewhere = Named::Elsewhere { namespace: "bank".to_owned(), name: "rd".to_owned() };
        assert_eq!(named("volsync.backube", "ReplicationDestination", "rd", Some("bank")), Some(elsewhere));
    }

    #[test]
    fn a_claim_that_is_being_deleted_is_not_filled() {
        let mut deleted = claim(&json!({"apiGroup": GROUP, "kind": "ReplicationDestination", "name": "rd"}));
        assert!(interpret(&deleted).is_some());
        deleted.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-11-23T10:00:00Z")).unwrap());
        assert_eq!(interpret(&deleted), None);
    }

    #[test]
    fn a_prime_is_told_by_its_controller_and_its_name_together() {
        let prime = |name: &str, kind: &str| -> PersistentVolumeClaim {
            let owner = json!({"apiVersion": "v1", "kind": kind, "name": "data", "uid": "u1", "controller": true});
            serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": [owner]}})).unwrap()
        };
        assert_eq!(claim_of_prime(&prime("vs-prime-u1", "PersistentVolumeClaim")), Some("data"));
        assert_eq!(claim_of_prime(&prime("vs-prime-u2", "PersistentVolumeClaim")), None);
        assert_eq!(claim_of_prime(&prime("vs-prime-u1", "Pod")), None);
        assert_eq!(claim_of_prime(&claim(&Value::Null)), None);
    }
}
