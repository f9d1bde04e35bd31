//! What a mover of a restic repository needs: the repository's Secret, certificates, a cache, and its orders.

use std::path::{Path, PathBuf};

use doppel_contract::{Repository, ResticBackup, ResticRestore, Work};
use jiff::Timestamp;

use super::source::{USUAL_BINDING, Volume};
use super::{Draft, Late, Outcome, require_usable};
use crate::model::mover::{CacheShape, Certificates, Holder, Restic, ResticTask};
use crate::model::name;
use crate::model::observed::{Key, Observed};
use crate::model::reason::Reason;
use crate::model::replication::{Direction, Iteration, Owner, Replication, VolumeMode};
use crate::model::step::{NewClaim, Origin, Step};

/// Where a mover finds the keys of the repository's Secret as files.
pub(super) const SETTINGS_PATH: &str = "/repository";
const CACHE_PATH: &str = "/cache";
/// As VolSync's movers have it, which users know from their logs.
const CERTIFICATES_FILE: &str = "/customCA/ca.crt";

/// All that does not depend on the volume.
pub(super) fn surroundings(wish: &Replication, seen: &Observed, restic: &Restic) -> Result<(), Outcome> {
    let namespace = || wish.owner.namespace.clone();
    match &seen.key {
        Key::Valid => {}
        Key::Malformed(why) => return Err(Outcome::Blocked(Reason::SecretMalformed(why.clone()))),
        Key::Absent => {
            return Err(Outcome::Blocked(Reason::SecretMissing {
                field: wish.mover.section().field("repository"),
                name: restic.repository.clone(),
                namespace: namespace(),
                remedy: "create it with the keys RESTIC_REPOSITORY and RESTIC_PASSWORD",
            }));
        }
    }
    let Some(Certificates { holder, key: _ }) = &restic.certificates else { return Ok(()) };
    let reason = match (&seen.certificates, holder) {
        (Key::Valid, _) => return Ok(()),
        (Key::Malformed(why), _) => Reason::SecretMalformed(why.clone()),
        (Key::Absent, Holder::Secret(name)) => Reason::SecretMissing {
            field: wish.mover.section().field("customCA.secretName"),
            name: name.clone(),
            namespace: namespace(),
            remedy: "create it with the certificates, or correct the name",
        },
        (Key::Absent, Holder::ConfigMap(name)) => Reason::ConfigMapMissing {
            field: wish.mover.section().field("customCA.configMapName"),
            name: name.clone(),
            namespace: namespace(),
        },
    };
    Err(Outcome::Blocked(reason))
}

/// The cache's claim, made if need be. A mover is started without waiting for it to be bound: the scheduler waits.
pub(super) fn cache(
    draft: &mut Draft,
    wish: &Replication,
    seen: &Observed,
    (shape, volume): (&CacheShape, &Volume),
    now: Timestamp,
) -> Result<(), Outcome> {
    if volume.mode == VolumeMode::Block {
        let field = match &wish.direction {
            Direction::Source { .. } => "spec.sourcePVC".to_owned(),
            Direction::Destination { .. } => wish.mover.section().field("destinationPVC"),
        };
        let why = format!(
            "PersistentVolumeClaim {:?} has volumeMode Block, and restic keeps files only; use spec.rsyncTLS for it",
            volume.claim
        );
        return Err(Outcome::Blocked(Reason::FieldInvalid { field, why }));
    }
    let name = name::cache(&wish.owner);
    if let Some(claim) = &seen.cache_claim {
        require_usable("PersistentVolumeClaim", &name, &claim.ownership, claim.deleting)?;
        if !claim.is_bound() {
            draft.limit((claim.created, USUAL_BINDING), now, Late::Claim(name));
        }
        return Ok(());
    }
    let data = seen.copy_claim.as_ref().or(seen.claim.as_ref());
    // Nobody could write into a cache of a claim that is read only.
    let modes = data.filter(|data| !data.is_read_only()).map(|data| data.access_modes.clone());
    draft.push(Step::CreateClaim(NewClaim {
        name,
        origin: Origin::Empty,
        capacity: shape.capacity.clone(),
        storage_class: shape.storage_class.clone().or_else(|| data?.storage_class.clone()),
        access_modes: shape.access_modes.clone().or(modes).unwrap_or_else(|| vec!["ReadWriteOnce".to_owned()]),
        mode: VolumeMode::Filesystem,
        lifetime: shape.lifetime,
        iteration: wish.iteration(),
        answers: None,
    }));
    Ok(())
}

/// What the mover is told to do.
pub(super) fn work(owner: &Owner, restic: &Restic, running: &Iteration) -> Work {
    let repository = Repository {
        settings: PathBuf::from(SETTINGS_PATH),
        ca_file: restic.certificates.as_ref().map(|_| Path::new(CERTIFICATES_FILE).to_owned()),
        cache: Some(PathBuf::from(CACHE_PATH)),
        lock_owner: Some(owner.uid.clone()),
    };
    match &restic.task {
        ResticTask::Backup(backup) => Work::ResticBackup(ResticBackup {
            repository,
            retain: backup.retain.clone(),
            prune: backup.prunes(running.since),
            unlock: backup.unlocks(),
        }),
        ResticTask::Restore { as_of, previous, delete } => Work::ResticRestore(ResticRestore {
            repository,
            as_of: as_of.map(|time| time.to_string()),
            previous: *previous,
            delete: *delete,
        }),
    }
}
