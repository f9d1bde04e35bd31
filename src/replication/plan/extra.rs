//! What a mover mounts beside its volume has to be there first.

use super::{Outcome, gone};
use crate::model::observed::Observed;
use crate::model::pod::{Content, Need};
use crate::model::reason::Reason;
use crate::model::replication::Replication;

/// Refuses to start a mover whose pod could not: the kubelet would wait for a missing object without an end.
pub(super) fn require(wish: &Replication, seen: &Observed) -> Result<(), Outcome> {
    for (index, volume) in wish.mover.pod().volumes.iter().enumerate() {
        let field = |name: &str| wish.mover.section().field(&format!("moverVolumes[{index}].volumeSource.{name}"));
        let namespace = wish.owner.namespace.clone();
        match &volume.content {
            Content::Secret { name, need: Need::Required, .. } if !seen.extra_secrets.contains(name) => {
                return Err(Outcome::Blocked(Reason::SecretMissing {
                    field: field("secret.secretName"),
                    name: name.clone(),
                    namespace,
                    remedy: "create it, correct the name, or set optional",
                }));
            }
            Content::Claim { name, .. } => match seen.extra_claims.iter().find(|claim| claim.name == *name) {
                Some(claim) if claim.deleting => return Err(gone("PersistentVolumeClaim", name)),
                Some(_) => {}
                None => {
                    let field = field("persistentVolumeClaim.claimName");
                    return Err(Outcome::Blocked(Reason::ClaimMissing { field, name: name.clone(), namespace }));
                }
            },
            Content::Secret { .. } | Content::Nfs(_) => {}
        }
    }
    Ok(())
}
