//! Leader election: of all instances only the holder of the Lease acts.

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};

/// The Lease's name.
const LEASE: &str = "doppel-operator";
/// Seconds after which an instance that was killed is taken for gone. One that ends in order releases the Lease at once.
const DURATION_SECONDS: u64 = 15;
/// Seconds before the end of the Lease at which its holder renews it.
const GRACE_SECONDS: u64 = 10;

/// This instance's part in the election.
pub struct Lease(LeaseManager);

impl Lease {
    /// A part in the election in this namespace, under this name.
    ///
    /// # Errors
    /// When the API server refuses the Lease.
    pub async fn new(client: Client, namespace: &str, identity: &str) -> Result<Self, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client, LEASE)
            .with_namespace(namespace)
            .with_identity(identity)
            .with_duration(DURATION_SECONDS)
            .with_grace(GRACE_SECONDS)
            .with_field_manager(crate::apply::FIELD_MANAGER)
            .build()
            .await?;
        Ok(Self(manager))
    }

    /// Resolves when this instance holds the Lease.
    ///
    /// # Errors
    /// When the API server refuses the Lease.
    pub async fn acquired(&self) -> Result<(), LeaseManagerError> {
        while !self.0.changed().await? {}
        Ok(())
    }

    /// Renews the Lease, and resolves when it was lost.
    pub async fn lost(&self) -> Option<LeaseManagerError> {
        loop {
            match self.0.changed().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    /// Gives the Lease up, so that the next instance acts at once.
    pub async fn release(&self) {
        if let Err(error) = self.0.release().await {
            tracing::warn!(%error, "Lease was not released");
        }
    }
}
