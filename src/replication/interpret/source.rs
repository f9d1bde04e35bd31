//! ReplicationSource.

use std::net::IpAddr;
use std::num::NonZeroU16;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Candidate, Choice, Interpretation, Kind, choose, empty_source, extra_claims, key_source, name, pod_settings,
    restic, wish,
};
use crate::api::common::CopyMethod;
use crate::api::source::{
    ReplicationSource, ReplicationSourceSpec, SourceResticStatus, SourceRsyncTls, SourceRsyncTlsStatus,
    SourceVolumeOptions,
};
use crate::model::mover::{Meeting, Mover, RsyncTls, Section};
use crate::model::reason::Reason;
use crate::model::replication::{CopyShape, Direction, Replication, Role, SourceCopy};
use crate::model::status::Status;
use crate::replication::left::{Left, LeftOf};

/// The port of a destination where none is given.
const DEFAULT_PORT: i32 = 8000;

impl Kind for ReplicationSource {
    const ROLE: Role = Role::Source;

    fn interpret(&self) -> Interpretation {
        interpret(self).into()
    }

    fn status(&self) -> Status {
        let Some(status) = &self.status else {
            return Status::default();
        };
        let key_secret = status.rsync_tls.as_ref().and_then(|rsync| rsync.key_secret.clone());
        let upkeep = status.restic.clone().unwrap_or_default();
        Status {
            key_secret,
            last_pruned: upkeep.last_pruned.map(|time| time.0),
            last_unlocked: upkeep.last_unlocked,
            ..super::status::read(&status.sync)
        }
    }

    fn has_status(&self) -> bool {
        self.status.is_some()
    }

    fn set_status(&mut self, status: Status) {
        let written = self.status.get_or_insert_default();
        written.rsync_tls = status.key_secret.clone().map(|secret| SourceRsyncTlsStatus { key_secret: Some(secret) });
        let upkeep = SourceResticStatus {
            last_pruned: status.last_pruned.map(Time),
            last_unlocked: status.last_unlocked.clone(),
        };
        written.restic = (upkeep != SourceResticStatus::default()).then_some(upkeep);
        super::status::write(&mut written.sync, status);
    }

    fn claims(&self) -> Vec<&str> {
        let movers = self.spec.rsync_tls.iter().map(|section| &section.mover);
        let movers = movers.chain(self.spec.restic.iter().map(|section| &section.mover));
        let volumes = movers.flat_map(extra_claims);
        self.spec.source_pvc.iter().map(String::as_str).chain(volumes).collect()
    }

    fn left(of: &Left) -> &LeftOf<Self> {
        &of.sources
    }
}

fn interpret(object: &ReplicationSource) -> Result<Option<Replication>, Reason> {
    // Destructured, so that a new section cannot be forgotten.
    let ReplicationSourceSpec {
        source_pvc,
        trigger,
        rsync,
        rsync_tls,
        rclone,
        restic: restic_section,
        syncthing,
        external,
        paused,
    } = &object.spec;
    let candidates = [
        Candidate::new("spec.rsync", "rsync", rsync.is_some()),
        Candidate::new("spec.rsyncTLS", "rsync-tls", rsync_tls.is_some()),
        Candidate::new("spec.rclone", "rclone", rclone.is_some()),
        Candidate::new("spec.restic", "restic", restic_section.is_some()),
        Candidate::new("spec.syncthing", "syncthing", syncthing.is_some()),
        Candidate::new("spec.external", "external", external.is_some()),
    ];
    let claim = || {
        name(source_pvc.as_ref()).ok_or_else(|| Reason::FieldMissing { field: "spec.sourcePVC".to_owned(), when: "" })
    };
    let (claim, copy, mover) = match (choose(&candidates)?, rsync_tls, restic_section) {
        (Choice::RsyncTls, Some(section), _) => {
            (claim()?, copy(Section::RSYNC_TLS, &section.volume)?, Mover::RsyncTls(rsync_tls_of(object, section)?))
        }
        (Choice::Restic, _, Some(section)) => {
            (claim()?, copy(Section::RESTIC, &section.volume)?, Mover::Restic(restic::backup(object, section)?))
        }
        _ => return Ok(None),
    };
    wish(object, (trigger.as_ref(), *paused), (Direction::Source { claim, copy }, mover)).map(Some)
}

fn copy(section: Section, options: &SourceVolumeOptions) -> Result<SourceCopy, Reason> {
    let SourceVolumeOptions { copy_method, capacity, storage_class_name, access_modes, volume_snapshot_class_name } =
        options;
    let shape = CopyShape {
        capacity: capacity.as_ref().map(|quantity| quantity.0.clone()),
        storage_class: storage_class_name.clone(),
        access_modes: access_modes.clone(),
    };
    match copy_method {
        Some(CopyMethod::Direct | CopyMethod::None) => Ok(SourceCopy::Direct),
        Some(CopyMethod::Clone) => Ok(SourceCopy::Clone(shape)),
        Some(CopyMethod::Snapshot) => {
            Ok(SourceCopy::Snapshot { class: name(volume_snapshot_class_name.as_ref()), shape })
        }
        None => Err(Reason::FieldMissing { field: section.field("copyMethod"), when: ": Direct, Clone or Snapshot" }),
    }
}

fn rsync_tls_of(object: &ReplicationSource, section: &SourceRsyncTls) -> Result<RsyncTls, Reason> {
    let SourceRsyncTls { volume: _, key_secret, address, port, allow_empty_source, mover } = section;
    Ok(RsyncTls {
        key: key_source(object, key_secret.as_ref()),
        meeting: Meeting::Call { address: host(address.as_ref())?, port: port_number(*port)? },
        empty_source: empty_source(*allow_empty_source),
        pod: pod_settings(Section::RSYNC_TLS, mover)?,
    })
}

/// A host name or an IP address, without brackets.
fn host(address: Option<&String>) -> Result<String, Reason> {
    let field = Section::RSYNC_TLS.field("address");
    let address = name(address).ok_or_else(|| Reason::FieldMissing {
        field: field.clone(),
        when: ": the address in the status of the ReplicationDestination",
    })?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&address);
    let is_address = bare.parse::<IpAddr>().is_ok();
    let is_name = bare.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if is_address || (is_name && bare == address && !bare.is_empty()) {
        return Ok(bare.to_owned());
    }
    let why = format!(
        "{address:?} is neither a host name nor an IP address; write it without a scheme or a port (that is spec.rsyncTLS.port)"
    );
    Err(Reason::FieldInvalid { field, why })
}

fn port_number(port: Option<i32>) -> Result<NonZeroU16, Reason> {
    let number = port.unwrap_or(DEFAULT_PORT);
    u16::try_from(number).ok().and_then(NonZeroU16::new).ok_or_else(|| Reason::FieldInvalid {
        field: Section::RSYNC_TLS.field("port"),
        why: format!("{number} is not a TCP port; it must be from 1 to 65535"),
    })
}
