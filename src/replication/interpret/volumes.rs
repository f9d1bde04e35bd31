//! `moverVolumes`: what is mounted into a mover's pod beside its volume.

use std::collections::BTreeSet;

use super::json;
use crate::api::common::{MoverVolume, MoverVolumeSource};
use crate::model::mover::Section;
use crate::model::pod::{Content, ExtraVolume, Need};
use crate::model::reason::Reason;

/// Longest name of a pod's volume (RFC 1123 label).
const NAME_LIMIT: usize = 63;

/// The volumes, each under a name and a path of its own.
pub(super) fn extra_volumes(section: Section, volumes: &[MoverVolume]) -> Result<Vec<ExtraVolume>, Reason> {
    let mut names = BTreeSet::new();
    let mut paths = BTreeSet::new();
    let mut extra = Vec::new();
    for (index, MoverVolume { mount_path, volume_source }) in volumes.iter().enumerate() {
        let field = |name: &str| section.field(&format!("moverVolumes[{index}].{name}"));
        let path = relative(mount_path).map_err(|why| Reason::FieldInvalid { field: field("mountPath"), why })?;
        if !paths.insert(path.clone()) {
            let why = format!("{mount_path:?} is the path of another volume too; give each its own");
            return Err(Reason::FieldInvalid { field: field("mountPath"), why });
        }
        extra.push(ExtraVolume {
            name: name(&path, &mut names),
            mount_path: format!("/mnt/{path}"),
            content: content(&field("volumeSource"), volume_source)?,
        });
    }
    Ok(extra)
}

/// The path beneath `/mnt`, without what leads nowhere.
fn relative(mount_path: &str) -> Result<String, String> {
    let parts: Vec<_> = mount_path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("it is empty; name a directory, which is made beneath /mnt".to_owned());
    }
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(format!("{mount_path:?} holds . or ..; a volume can only be mounted beneath /mnt"));
    }
    // Kubernetes refuses a colon; a line break would tear messages apart.
    if let Some(character) = mount_path.chars().find(|c| *c == ':' || c.is_control()) {
        return Err(format!("{mount_path:?} holds {character:?}, which no mount path may"));
    }
    Ok(parts.join("/"))
}

/// VolSync's name where it is a name, and nobody has it yet: `a/b` and `a-b` would share one. Else a digest of the path;
/// paths differ, so digests of 64 bits do.
fn name(path: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = format!("u-{}", path.replace('/', "-"));
    let is_label = plain.len() <= NAME_LIMIT
        && plain.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !plain.ends_with('-');
    let digest = || format!("u-{:016x}", xxhash_rust::xxh3::xxh3_64(path.as_bytes()));
    let name = if is_label && !taken.contains(&plain) { plain } else { digest() };
    taken.insert(name.clone());
    name
}

fn content(field: &str, source: &MoverVolumeSource) -> Result<Content, Reason> {
    // Destructured, so that a new kind cannot be forgotten.
    let MoverVolumeSource { secret, nfs, persistent_volume_claim: claim } = source;
    let missing = |name: &str| Reason::FieldMissing { field: format!("{field}.{name}"), when: "" };
    match (secret, nfs, claim) {
        (Some(secret), None, None) => Ok(Content::Secret {
            name: super::name(secret.secret_name.as_ref()).ok_or_else(|| missing("secret.secretName"))?,
            need: if secret.optional == Some(true) { Need::Optional } else { Need::Required },
            source: json(format!("{field}.secret"), secret)?,
        }),
        (None, Some(nfs), None) => Ok(Content::Nfs(json(format!("{field}.nfs"), nfs)?)),
        (None, None, Some(claim)) => Ok(Content::Claim {
            name: super::name(Some(&claim.claim_name)).ok_or_else(|| missing("persistentVolumeClaim.claimName"))?,
            source: json(format!("{field}.persistentVolumeClaim"), claim)?,
        }),
        _ => Err(Reason::FieldInvalid {
            field: field.to_owned(),
            why: "set exactly one of secret, nfs and persistentVolumeClaim".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(volumes: Value) -> Result<Vec<ExtraVolume>, String> {
        let volumes: Vec<MoverVolume> = serde_json::from_value(volumes).unwrap();
        extra_volumes(Section::RSYNC_TLS, &volumes).map_err(|reason| reason.to_string())
    }

    fn at(paths: &[&str]) -> Value {
        let volume = |path: &&str| json!({"mountPath": path, "volumeSource": {"secret": {"secretName": "s"}}});
        paths.iter().map(volume).collect()
    }

    #[test]
    fn each_kind_is_mounted_beneath_mnt_under_the_name_of_its_path() {
        let volumes = read(json!([
            {"mountPath": "certificates", "volumeSource": {"secret": {"secretName": "s", "optional": true}}},
            {"mountPath": "/repo/a/", "volumeSource": {"persistentVolumeClaim": {"claimName": "c"}}},
            {"mountPath": "far", "volumeSource": {"nfs": {"server": "192.0.2.1", "path": "/x"}}},
        ]))
        .unwrap();
        let places: Vec<_> = volumes.iter().map(|volume| (volume.name.as_str(), volume.mount_path.as_str())).collect();
        assert_eq!(
            places,
            [("u-certificates", "/mnt/certificates"), ("u-repo-a", "/mnt/repo/a"), ("u-far", "/mnt/far")]
        );
        assert!(matches!(&volumes[0].content, Content::Secret { name, need: Need::Optional, .. } if name == "s"));
        assert!(matches!(&volumes[1].content, Content::Claim { name, .. } if name == "c"));
        assert!(matches!(&volumes[2].content, Content::Nfs(_)));
    }

    #[test]
    fn no_two_volumes_have_one_name_and_every_name_is_one() {
        let long = "x".repeat(100);
        let paths = ["a/b", "a-b", "A", "a_b", "a.b", "ä", "a-", &long];
        let names: BTreeSet<_> = read(at(&paths)).unwrap().into_iter().map(|volume| volume.name).collect();
        assert_eq!(names.len(), paths.len(), "{names:?}");
        for name in &names {
            assert!(name.len() <= 63 && name.is_ascii() && !name.ends_with('-'), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        }
        assert!(names.contains("u-a-b"), "the first keeps the plain name: {names:?}");
    }

    #[test]
    fn a_path_that_leads_elsewhere_or_is_taken_is_refused_with_its_field() {
        let table = [
            (vec![""], "spec.rsyncTLS.moverVolumes[0].mountPath: it is empty"),
            (vec!["/"], "spec.rsyncTLS.moverVolumes[0].mountPath: it is empty"),
            (vec!["../data"], "spec.rsyncTLS.moverVolumes[0].mountPath: \"../data\" holds . or .."),
            (vec!["a/./b"], "spec.rsyncTLS.moverVolumes[0].mountPath: \"a/./b\" holds . or .."),
            (vec!["a:b"], "spec.rsyncTLS.moverVolumes[0].mountPath: \"a:b\" holds ':'"),
            (vec!["a", "/a/"], "spec.rsyncTLS.moverVolumes[1].mountPath: \"/a/\" is the path of another volume"),
        ];
        for (paths, expected) in table {
            let refused = read(at(&paths)).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}");
        }
    }

    #[test]
    fn a_source_that_is_none_or_two_is_refused_with_its_field() {
        let table = [
            (json!({}), "spec.rsyncTLS.moverVolumes[0].volumeSource: set exactly one of"),
            (
                json!({"secret": {"secretName": "s"}, "persistentVolumeClaim": {"claimName": "c"}}),
                "spec.rsyncTLS.moverVolumes[0].volumeSource: set exactly one of",
            ),
            (json!({"secret": {}}), "spec.rsyncTLS.moverVolumes[0].volumeSource.secret.secretName must be provided"),
            (
                json!({"persistentVolumeClaim": {"claimName": ""}}),
                "spec.rsyncTLS.moverVolumes[0].volumeSource.persistentVolumeClaim.claimName must be provided",
            ),
        ];
        for (source, expected) in table {
            let refused = read(json!([{"mountPath": "a", "volumeSource": source}])).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}");
        }
    }
}
