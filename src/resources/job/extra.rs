//! The volumes of `moverVolumes`.

use k8s_openapi::api::core::v1::{Volume, VolumeMount};

use super::BuildError;
use super::pod::parse;
use crate::model::pod::{Content, ExtraVolume};

const FIELD: &str = "moverVolumes";

/// The volume, and where it is mounted.
pub(super) fn build(extra: &ExtraVolume) -> Result<(Volume, VolumeMount), BuildError> {
    let mut volume = Volume { name: extra.name.clone(), ..Volume::default() };
    match &extra.content {
        Content::Secret { source, .. } => volume.secret = parse(FIELD, Some(source))?,
        Content::Claim { source, .. } => volume.persistent_volume_claim = parse(FIELD, Some(source))?,
        Content::Nfs(source) => volume.nfs = parse(FIELD, Some(source))?,
    }
    let mount =
        VolumeMount { name: extra.name.clone(), mount_path: extra.mount_path.clone(), ..VolumeMount::default() };
    Ok((volume, mount))
}
