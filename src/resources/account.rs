//! The ServiceAccount of a mover. It has no rights, and no token of it is mounted anywhere.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::metadata;
use crate::model::replication::{Lifetime, Owner};

/// The account of this name.
#[must_use]
pub fn build(owner: &Owner, name: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(owner, name, Lifetime::Kept),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
