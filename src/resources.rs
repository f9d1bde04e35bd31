//! PURE: one builder for each kind of child object. They render what `plan` decided and decide nothing themselves.
//!
//! Every object of a namespace is born with that, the label `created-by`, and a controller reference to its owner.

pub mod account;
pub mod claim;
pub mod job;
pub mod populator;
pub mod prime;
pub mod secret;
pub mod service;
pub mod snapshot;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::model::name;
use crate::model::replication::{IterationId, Lifetime, Owner};

/// The API group and version of the two kinds.
pub const API_VERSION: &str = "volsync.backube/v1alpha1";

/// Metadata of a child.
fn metadata(owner: &Owner, name: &str, lifetime: Lifetime) -> ObjectMeta {
    let mut labels = BTreeMap::from([(name::CREATED_BY.0.to_owned(), name::CREATED_BY.1.to_owned())]);
    if lifetime == Lifetime::Temporary {
        labels.insert(name::CLEANUP_LABEL.to_owned(), owner.uid.clone());
    }
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(owner.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![owner_reference(owner)]),
        ..ObjectMeta::default()
    }
}

/// Notes which iteration a claim or a snapshot is made for, and which value of the copy trigger a copy answers.
fn note_reasons(metadata: &mut ObjectMeta, iteration: Option<&IterationId>, answers: Option<&String>) {
    let iteration = iteration.map(|id| (name::ITERATION_ANNOTATION.to_owned(), id.to_string()));
    let answers = answers.map(|value| (name::COPY_ANSWERS_ANNOTATION.to_owned(), value.clone()));
    metadata.annotations = Some(iteration.into_iter().chain(answers).collect());
}

/// The reference by which a child is found, and collected when its owner is deleted.
#[must_use]
pub fn owner_reference(owner: &Owner) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: owner.role.kind().to_owned(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn map(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    pairs.iter().cloned().collect()
}
