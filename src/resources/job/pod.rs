//! A mover's pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, EnvVar, KeyToPath, LocalObjectReference,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile,
    SecretVolumeSource, SecurityContext, Volume, VolumeDevice, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::de::DeserializeOwned;

use doppel_contract::Work;

use super::{BuildError, extra, placement};
use crate::model::mover::{Certificates, Holder};
use crate::model::name;
use crate::model::observed::Privilege;
use crate::model::pod::{MoverImage, Verbosity};
use crate::model::replication::VolumeMode;
use crate::model::step::MoverRun;

/// User and group of a mover where nobody says otherwise; also those of the image.
const MOVER_UID: i64 = 65532;
/// Where the volume is attached.
const DATA_PATH: &str = "/data";
const BLOCK_PATH: &str = "/dev/block";
const CACHE_PATH: &str = "/cache";
/// Where certificates are mounted, and under which name: those of VolSync's movers.
const CERTIFICATES_PATH: &str = "/customCA";
const CERTIFICATES_FILE: &str = "ca.crt";
/// What a privileged mover may do beyond an ordinary process: the list of VolSync, which has SETGID for rsync-tls alone.
const PRIVILEGED_CAPABILITIES: [&str; 3] = ["DAC_OVERRIDE", "CHOWN", "FOWNER"];
const RSYNC_TLS_CAPABILITY: &str = "SETGID";

/// The pod of one attempt.
pub(super) fn build(run: &MoverRun, image: &MoverImage) -> Result<PodSpec, BuildError> {
    let security_context = security_context(run)?;
    let (affinity, tolerations) = placement::build(run)?;
    let mut volumes =
        vec![claim_volume(name::DATA_VOLUME, &run.claim, run.read_only), secret_volume(run, &security_context)];
    let mut mounts = vec![VolumeMount { read_only: Some(true), ..mount("keys", run.secret.path) }];
    if let Some(certificates) = &run.certificates {
        volumes.push(certificates_volume(certificates));
        mounts.push(VolumeMount { read_only: Some(true), ..mount("custom-ca", CERTIFICATES_PATH) });
    }
    if let Some(cache) = &run.cache {
        volumes.push(claim_volume("cache", cache, false));
        mounts.push(mount("cache", CACHE_PATH));
    }
    if run.mode == VolumeMode::Filesystem {
        mounts.push(VolumeMount { read_only: Some(run.read_only), ..mount(name::DATA_VOLUME, DATA_PATH) });
    }
    for extra in &run.pod.volumes {
        let (volume, mount) = extra::build(extra)?;
        volumes.push(volume);
        mounts.push(mount);
    }
    Ok(PodSpec {
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(run.account.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: (!run.pull_secrets.is_empty()).then(|| pull_secrets(run)),
        affinity,
        tolerations,
        security_context: Some(security_context),
        containers: vec![Container {
            name: run.mover.to_owned(),
            image: Some(image.reference.clone()),
            command: Some(vec!["/doppel-mover".to_owned(), "run".to_owned()]),
            env: Some(environment(run, image)),
            volume_mounts: Some(mounts),
            volume_devices: (run.mode == VolumeMode::Block)
                .then(|| vec![VolumeDevice { name: name::DATA_VOLUME.to_owned(), device_path: BLOCK_PATH.to_owned() }]),
            resources: Some(resources(run)?),
            security_context: Some(container_security_context(run)),
            ..Container::default()
        }],
        volumes: Some(volumes),
        ..PodSpec::default()
    })
}

fn environment(run: &MoverRun, image: &MoverImage) -> Vec<EnvVar> {
    let variable = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    // Plain structs of strings and numbers always serialize.
    let request = serde_json::to_string(&run.request).unwrap_or_default();
    let mut variables = vec![variable(doppel_contract::REQUEST_ENV, request)];
    if run.verbosity == Verbosity::Debug {
        variables.push(variable(doppel_contract::DEBUG_ENV, "1".to_owned()));
    }
    if matches!(run.request.work, Work::ResticBackup(_) | Work::ResticRestore(_)) {
        variables.extend(image.proxies.iter().map(|(name, value)| variable(name, value.clone())));
    }
    variables
}

fn pull_secrets(run: &MoverRun) -> Vec<LocalObjectReference> {
    run.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn claim_volume(name: &str, claim: &str, read_only: bool) -> Volume {
    Volume {
        name: name.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: read_only.then_some(true),
        }),
        ..Volume::default()
    }
}

/// Certificates are no secret.
fn certificates_volume(certificates: &Certificates) -> Volume {
    let file = KeyToPath { key: certificates.key.clone(), path: CERTIFICATES_FILE.to_owned(), mode: None };
    let (mut secret, mut config_map) = (None, None);
    match &certificates.holder {
        Holder::Secret(name) => {
            secret = Some(SecretVolumeSource {
                secret_name: Some(name.clone()),
                items: Some(vec![file]),
                ..SecretVolumeSource::default()
            });
        }
        Holder::ConfigMap(name) => {
            config_map = Some(ConfigMapVolumeSource {
                name: name.clone(),
                items: Some(vec![file]),
                ..ConfigMapVolumeSource::default()
            });
        }
    }
    Volume { name: "custom-ca".to_owned(), secret, config_map, ..Volume::default() }
}

/// The Secret, as narrow as its reader allows: its files belong to root, so a mover that is neither root nor in the
/// volume's group (fsGroup, which the kubelet grants) can only read them by everybody's right. Nobody else is in the pod.
fn secret_volume(run: &MoverRun, security_context: &PodSecurityContext) -> Volume {
    let runs_as_root = run.privilege == Privilege::Privileged || security_context.run_as_user == Some(0);
    let mode = if runs_as_root || security_context.fs_group.is_some() { 0o400 } else { 0o444 };
    Volume {
        name: "keys".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(run.secret.name.clone()),
            default_mode: Some(mode),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The user's context, with what hardening it leaves open filled in.
fn security_context(run: &MoverRun) -> Result<PodSecurityContext, BuildError> {
    let given: Option<PodSecurityContext> = parse("moverSecurityContext", run.pod.security_context.as_ref())?;
    let mut context = given.unwrap_or_default();
    context
        .seccomp_profile
        .get_or_insert_with(|| SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None });
    match run.privilege {
        Privilege::Unprivileged => {
            let user = *context.run_as_user.get_or_insert(MOVER_UID);
            context.run_as_group.get_or_insert(MOVER_UID);
            context.run_as_non_root.get_or_insert(user != 0);
        }
        Privilege::Assigned => {
            context.run_as_non_root.get_or_insert(context.run_as_user != Some(0));
        }
        Privilege::Privileged => {}
    }
    Ok(context)
}

fn container_security_context(run: &MoverRun) -> SecurityContext {
    let privileged = run.privilege == Privilege::Privileged;
    let rsync_tls = matches!(run.request.work, Work::RsyncTlsSource(_) | Work::RsyncTlsDestination(_));
    let capabilities = PRIVILEGED_CAPABILITIES.into_iter().chain(rsync_tls.then_some(RSYNC_TLS_CAPABILITY));
    SecurityContext {
        allow_privilege_escalation: Some(false),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: privileged.then(|| capabilities.map(str::to_owned).collect()),
        }),
        run_as_user: privileged.then_some(0),
        run_as_non_root: privileged.then_some(false),
        ..SecurityContext::default()
    }
}

/// The user's, or a memory limit that holds the file list of some millions of files and stops a runaway.
fn resources(run: &MoverRun) -> Result<ResourceRequirements, BuildError> {
    let given = parse("moverResources", run.pod.resources.as_ref())?;
    let quantities = |pairs: [(&str, &str); 2]| {
        Some(pairs.map(|(key, value)| (key.to_owned(), Quantity(value.to_owned()))).into_iter().collect())
    };
    Ok(given.unwrap_or_else(|| ResourceRequirements {
        requests: quantities([("cpu", "10m"), ("memory", "32Mi")]),
        limits: Some(BTreeMap::from([("memory".to_owned(), Quantity("1Gi".to_owned()))])),
        claims: None,
    }))
}

pub(super) fn parse<T: DeserializeOwned>(
    field: &'static str,
    value: Option<&serde_json::Value>,
) -> Result<Option<T>, BuildError> {
    value.map(|value| serde_json::from_value(value.clone())).transpose().map_err(|source| BuildError { field, source })
}
