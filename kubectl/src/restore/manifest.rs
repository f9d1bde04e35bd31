//! PURE: the claim and the ReplicationDestination of a restore.

use std::collections::BTreeMap;

use doppel::api::common::{CopyMethod, CustomCa, MoverConfig, ResticCache, Trigger};
use doppel::api::destination::{
    DestinationRestic, DestinationVolumeOptions, ReplicationDestination, ReplicationDestinationSpec,
};
use doppel::api::source::ReplicationSource;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The label of what this program makes.
pub(super) const MADE_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kubectl-doppel");

/// How a repository is reached: what a source and a destination say of it alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Repository {
    secret: Option<String>,
    custom_ca: Option<CustomCa>,
    cache: ResticCache,
    mover: MoverConfig,
}

impl Repository {
    pub(super) fn of_source(source: &ReplicationSource) -> Option<Self> {
        let restic = source.spec.restic.as_deref()?.clone();
        Some(Self { secret: restic.repository, custom_ca: restic.custom_ca, cache: restic.cache, mover: restic.mover })
    }

    pub(super) fn of_destination(destination: &ReplicationDestination) -> Option<Self> {
        let restic = destination.spec.restic.as_deref()?.clone();
        Some(Self { secret: restic.repository, custom_ca: restic.custom_ca, cache: restic.cache, mover: restic.mover })
    }
}

/// What is to be restored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    pub(super) namespace: String,
    /// The claim that is filled.
    pub(super) claim: String,
    pub(super) at: Option<Timestamp>,
    pub(super) delete: bool,
    /// The value of the trigger.
    pub(super) tag: String,
}

/// The object's name.
pub(super) fn name(claim: &str) -> String {
    format!("restore-{claim}")
}

pub(super) fn destination(wish: &Wish, repository: Repository) -> ReplicationDestination {
    let Wish { namespace, claim, at, delete, tag } = wish;
    ReplicationDestination {
        metadata: metadata(namespace, name(claim)),
        spec: ReplicationDestinationSpec {
            trigger: Some(Trigger { manual: Some(tag.clone()), schedule: None }),
            restic: Some(Box::new(DestinationRestic {
                volume: DestinationVolumeOptions {
                    copy_method: Some(CopyMethod::Direct),
                    destination_pvc: Some(claim.clone()),
                    ..DestinationVolumeOptions::default()
                },
                repository: repository.secret,
                custom_ca: repository.custom_ca,
                cache: repository.cache,
                cleanup_cache_pvc: Some(true),
                restore_as_of: at.map(|at| at.to_string()),
                enable_file_deletion: delete.then_some(true),
                mover: repository.mover,
                ..DestinationRestic::default()
            })),
            ..ReplicationDestinationSpec::default()
        },
        status: None,
    }
}

/// A claim like the one that was backed up. A volume to restore to is written to.
pub(super) fn claim(wish: &Wish, like: &PersistentVolumeClaim) -> PersistentVolumeClaim {
    let spec = like.spec.clone().unwrap_or_default();
    let had = like.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage").cloned());
    let asked = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned());
    let writable: Vec<String> = spec.access_modes.into_iter().flatten().filter(|mode| mode != "ReadOnlyMany").collect();
    let modes = if writable.is_empty() { vec!["ReadWriteOnce".to_owned()] } else { writable };
    PersistentVolumeClaim {
        metadata: metadata(&wish.namespace, wish.claim.clone()),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(modes),
            storage_class_name: spec.storage_class_name,
            resources: Some(VolumeResourceRequirements {
                requests: had.or(asked).map(|size| BTreeMap::from([("storage".to_owned(), size)])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn metadata(namespace: &str, name: String) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name),
        labels: Some(BTreeMap::from([(MADE_BY.0.to_owned(), MADE_BY.1.to_owned())])),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish() -> Wish {
        Wish {
            namespace: "shop".to_owned(),
            claim: "data-restored".to_owned(),
            at: Some("2026-11-23T04:05:06Z".parse().unwrap()),
            delete: true,
            tag: "tag".to_owned(),
        }
    }

    #[test]
    fn a_restore_reaches_the_repository_as_its_source_does() {
        let source = serde_json::from_str(include_str!("../../tests/fixtures/restic.json")).unwrap();
        let made = destination(&wish(), Repository::of_source(&source).unwrap());
        let made = serde_json::to_value(made).unwrap();
        assert_eq!(made["metadata"]["name"], "restore-data-restored");
        assert_eq!(
            made["spec"],
            json!({"trigger": {"manual": "tag"}, "restic": {"repository": "data-restic", "copyMethod": "Direct",
                "destinationPVC": "data-restored", "restoreAsOf": "2026-11-23T04:05:06Z", "enableFileDeletion": true,
                "cleanupCachePVC": true, "customCA": {"configMapName": "trust", "key": "ca.crt"},
                "moverSecurityContext": {"runAsUser": 1000}}})
        );
    }

    #[test]
    fn a_new_claim_is_like_the_one_that_was_backed_up() {
        let like = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadOnlyMany"], "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "pv"}, "status": {"capacity": {"storage": "2Gi"}}});
        let made = claim(&wish(), &serde_json::from_value(like).unwrap());
        assert_eq!(
            serde_json::to_value(made.spec).unwrap(),
            json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}})
        );
    }
}
