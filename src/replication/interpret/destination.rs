//! ReplicationDestination.

use k8s_openapi::api::core::v1::TypedLocalObjectReference;

use super::{
    Candidate, Choice, Interpretation, Kind, choose, empty_source, extra_claims, key_source, name, pairs, pod_settings,
    restic, wish,
};
use crate::api::common::CopyMethod;
use crate::api::destination::{
    DestinationRsyncTls, DestinationRsyncTlsStatus, DestinationVolumeOptions, ReplicationDestination,
    ReplicationDestinationSpec,
};
use crate::model::mover::{Listen, Meeting, Mover, RsyncTls, Section};
use crate::model::reason::Reason;
use crate::model::replication::{Direction, Image, Lifetime, Publish, Replication, Role, Target, VolumeMode};
use crate::model::status::Status;
use crate::replication::left::{Left, LeftOf};

/// What a Service is annotated with when the user does not say: on AWS a load balancer that passes TCP through.
const DEFAULT_SERVICE_ANNOTATION: (&str, &str) = ("service.beta.kubernetes.io/aws-load-balancer-type", "nlb");
const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";
const WITHOUT_CLAIM: &str = " when destinationPVC is not";

impl Kind for ReplicationDestination {
    const ROLE: Role = Role::Destination;

    fn interpret(&self) -> Interpretation {
        interpret(self).into()
    }

    fn status(&self) -> Status {
        let Some(status) = &self.status else {
            return Status::default();
        };
        Status {
            key_secret: status.rsync_tls.as_ref().and_then(|rsync| rsync.key_secret.clone()),
            address: status.rsync_tls.as_ref().and_then(|rsync| rsync.address.clone()),
            image: status.latest_image.as_ref().map(read_image),
            ..super::status::read(&status.sync)
        }
    }

    fn has_status(&self) -> bool {
        self.status.is_some()
    }

    fn set_status(&mut self, status: Status) {
        let written = self.status.get_or_insert_default();
        let has_meeting = status.key_secret.is_some() || status.address.is_some();
        written.rsync_tls = has_meeting.then(|| DestinationRsyncTlsStatus {
            key_secret: status.key_secret.clone(),
            address: status.address.clone(),
            port: None,
        });
        written.latest_image = status.image.as_ref().map(write_image);
        super::status::write(&mut written.sync, status);
    }

    fn claims(&self) -> Vec<&str> {
        let sections = self.spec.rsync_tls.iter().map(|section| (&section.volume, &section.mover));
        let sections = sections.chain(self.spec.restic.iter().map(|section| (&section.volume, &section.mover)));
        let mut claims = Vec::new();
        for (volume, mover) in sections {
            claims.extend(volume.destination_pvc.as_deref());
            claims.extend(extra_claims(mover));
        }
        claims
    }

    fn left(of: &Left) -> &LeftOf<Self> {
        &of.destinations
    }
}

fn read_image(reference: &TypedLocalObjectReference) -> Image {
    let name = reference.name.clone();
    if reference.kind == "VolumeSnapshot" { Image::Snapshot(name) } else { Image::Claim(name) }
}

fn write_image(image: &Image) -> TypedLocalObjectReference {
    let (group, kind, name) = match image {
        Image::Claim(name) => ("", "PersistentVolumeClaim", name),
        Image::Snapshot(name) => (SNAPSHOT_GROUP, "VolumeSnapshot", name),
    };
    TypedLocalObjectReference { api_group: Some(group.to_owned()), kind: kind.to_owned(), name: name.clone() }
}

fn interpret(object: &ReplicationDestination) -> Result<Option<Replication>, Reason> {
    // Destructured, so that a new section cannot be forgotten.
    let ReplicationDestinationSpec { trigger, rsync, rsync_tls, rclone, restic: restic_section, external, paused } =
        &object.spec;
    let candidates = [
        Candidate::new("spec.rsync", "rsync", rsync.is_some()),
        Candidate::new("spec.rsyncTLS", "rsync-tls", rsync_tls.is_some()),
        Candidate::new("spec.rclone", "rclone", rclone.is_some()),
        Candidate::new("spec.restic", "restic", restic_section.is_some()),
        Candidate::new("spec.external", "external", external.is_some()),
    ];
    let (publish, target, mover) = match (choose(&candidates)?, rsync_tls, restic_section) {
        (Choice::RsyncTls, Some(section), _) => (
            publish(Section::RSYNC_TLS, &section.volume)?,
            target(&section.volume, mode(section.volume_mode.as_deref())?)?,
            Mover::RsyncTls(rsync_tls_of(object, section)?),
        ),
        (Choice::Restic, _, Some(section)) => (
            publish(Section::RESTIC, &section.volume)?,
            target(&section.volume, None)?,
            Mover::Restic(restic::restore(section)?),
        ),
        _ => return Ok(None),
    };
    wish(object, (trigger.as_ref(), *paused), (Direction::Destination { publish, target }, mover)).map(Some)
}

fn publish(section: Section, options: &DestinationVolumeOptions) -> Result<Publish, Reason> {
    match options.copy_method {
        Some(CopyMethod::Direct | CopyMethod::None) => Ok(Publish::Direct),
        Some(CopyMethod::Snapshot) => {
            Ok(Publish::Snapshot { class: name(options.volume_snapshot_class_name.as_ref()) })
        }
        Some(CopyMethod::Clone) => {
            Err(Reason::CopyMethod { value: "Clone".to_owned(), allowed: "Direct, None, or Snapshot" })
        }
        None => Err(Reason::FieldMissing { field: section.field("copyMethod"), when: ": Direct or Snapshot" }),
    }
}

fn mode(written: Option<&str>) -> Result<Option<VolumeMode>, Reason> {
    match written {
        None | Some("") => Ok(None),
        Some("Filesystem") => Ok(Some(VolumeMode::Filesystem)),
        Some("Block") => Ok(Some(VolumeMode::Block)),
        Some(other) => {
            let why = format!("{other:?} is no volume mode; write Filesystem or Block");
            Err(Reason::FieldInvalid { field: Section::RSYNC_TLS.field("volumeMode"), why })
        }
    }
}

fn target(options: &DestinationVolumeOptions, mode: Option<VolumeMode>) -> Result<Target, Reason> {
    let DestinationVolumeOptions {
        copy_method: _,
        capacity,
        storage_class_name,
        access_modes,
        volume_snapshot_class_name: _,
        destination_pvc,
        cleanup_temp_pvc,
    } = options;
    if let Some(claim) = name(destination_pvc.as_ref()) {
        return Ok(Target::Existing { claim, mode });
    }
    let missing = |field: &str| Reason::FieldMissing { field: field.to_owned(), when: WITHOUT_CLAIM };
    let access_modes = access_modes.clone().filter(|modes| !modes.is_empty()).ok_or_else(|| missing("accessModes"))?;
    let capacity = capacity.as_ref().ok_or_else(|| missing("capacity"))?;
    Ok(Target::Dynamic {
        capacity: capacity.0.clone(),
        storage_class: storage_class_name.clone(),
        access_modes,
        mode: mode.unwrap_or(VolumeMode::Filesystem),
        lifetime: if *cleanup_temp_pvc == Some(true) { Lifetime::Temporary } else { Lifetime::Kept },
    })
}

fn rsync_tls_of(object: &ReplicationDestination, section: &DestinationRsyncTls) -> Result<RsyncTls, Reason> {
    let DestinationRsyncTls {
        volume: _,
        volume_mode: _,
        key_secret,
        service_type,
        service_annotations,
        allow_empty_source,
        mover,
    } = section;
    let (key, value) = DEFAULT_SERVICE_ANNOTATION;
    let annotations = match service_annotations {
        Some(given) => pairs(Some(given)),
        None => vec![(key.to_owned(), value.to_owned())],
    };
    let service_type = name(service_type.as_ref()).unwrap_or_else(|| "ClusterIP".to_owned());
    if !matches!(service_type.as_str(), "ClusterIP" | "LoadBalancer" | "NodePort") {
        let why = format!("{service_type:?} must be ClusterIP, LoadBalancer or NodePort");
        return Err(Reason::FieldInvalid { field: Section::RSYNC_TLS.field("serviceType"), why });
    }
    Ok(RsyncTls {
        key: key_source(object, key_secret.as_ref()),
        meeting: Meeting::Listen(Listen { service_type, annotations }),
        empty_source: empty_source(*allow_empty_source),
        pod: pod_settings(Section::RSYNC_TLS, mover)?,
    })
}
