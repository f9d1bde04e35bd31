//! READ: the world around one object, reduced to [`Observed`]. Reads exactly what the wish refers to, decides nothing.

mod confirm;
mod mover;
mod neighbours;
mod secrets;
mod sight;

use std::collections::BTreeMap;

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Client, ResourceExt};

pub use self::confirm::confirm;
use crate::api::GROUP;
use crate::mirror::Mirrors;
use crate::model::copy_trigger::{CopyStatus, CopyTrigger};
use crate::model::mover::{Meeting, Mover, RsyncTls};
use crate::model::name;
use crate::model::observed::{self, Claimed, Observed, Ownership, Privilege};
use crate::model::pod::MoverImage;
use crate::model::replication::{Direction, IterationId, Owner, Phase, Publish, Replication, Target, VolumeMode};
use crate::population::observe::{claims_being_filled, marks};
use crate::resources::snapshot::VolumeSnapshot;

/// Looks at the world around one object: where `mirrors` are given at what watches have told, and else at what the API server has.
///
/// # Errors
/// When the API server cannot be read.
pub async fn observe(
    (client, mirrors): (&Client, Option<&Mirrors>),
    image: &MoverImage,
    wish: &Replication,
) -> kube::Result<Observed> {
    let reader = Reader { client, mirrors, owner: &wish.owner };
    // An idle object needs nothing but what cleanup removes.
    let (volumes, (job, former_pods), other_jobs, surroundings) = match &wish.phase {
        Phase::Never => return Ok(Observed::default()),
        Phase::Idle { .. } => {
            let name = name::job(&wish.owner, &wish.mover);
            let (volumes, job, others) =
                futures::try_join!(reader.volumes(wish), reader.job(&name), reader.other_jobs(&wish.mover))?;
            (volumes, (job, Vec::new()), others, Observed::default())
        }
        Phase::Running(_) => {
            let (volumes, movers, others) =
                futures::try_join!(reader.volumes(wish), reader.movers(&wish.mover), reader.other_jobs(&wish.mover))?;
            let needs_secrets = needs_secrets(&volumes, movers.0.as_ref());
            let surroundings = reader.surroundings(&wish.mover, needs_secrets).await?;
            (volumes, movers, others, surroundings)
        }
    };
    let seen = Observed { job, other_jobs, former_pods, ..merge(volumes, surroundings) };
    if matches!(wish.phase, Phase::Running(_)) && is_yet_to_start(seen.job.as_ref()) {
        return reader.neighbours(wish, image, seen).await;
    }
    Ok(seen)
}

/// Whether a mover may be started in this pass, or waits for its start.
fn is_yet_to_start(job: Option<&observed::Job>) -> bool {
    job.is_none_or(|job| matches!(job.mover, observed::MoverState::Starting(_)))
}

/// Whether a mover may be started now, or what it is to copy may be made. One that has a Job was given its Secrets, and while a copy or
/// an image is made they are not needed: they are not watched, so each look is a request.
fn needs_secrets(volumes: &Observed, job: Option<&observed::Job>) -> bool {
    let is_copied = volumes.copy_snapshot.as_ref().is_none_or(|copy| copy.ready);
    job.is_none() && volumes.image.is_none() && is_copied
}

/// Volumes of the one, surroundings of the other.
fn merge(volumes: Observed, surroundings: Observed) -> Observed {
    let Observed { claim, copy_claim, copy_snapshot, image, snapshots, cache_claim, .. } = volumes;
    Observed { claim, copy_claim, copy_snapshot, image, snapshots, cache_claim, ..surroundings }
}

struct Reader<'a> {
    client: &'a Client,
    mirrors: Option<&'a Mirrors>,
    owner: &'a Owner,
}

impl Reader<'_> {
    async fn child_claim(&self, name: &str) -> kube::Result<Option<observed::Claim>> {
        Ok(self.child::<PersistentVolumeClaim>(name).await?.map(|claim| self.to_claim(&claim)))
    }

    async fn other_claim(&self, name: &str) -> kube::Result<Option<observed::Claim>> {
        Ok(self.other::<PersistentVolumeClaim>(name).await?.map(|claim| self.to_claim(&claim)))
    }

    async fn snapshot(&self, name: &str) -> kube::Result<Option<observed::Snapshot>> {
        Ok(self.child::<VolumeSnapshot>(name).await?.map(|snapshot| self.to_snapshot(&snapshot)))
    }

    async fn volumes(&self, wish: &Replication) -> kube::Result<Observed> {
        let data = async {
            match &wish.direction {
                Direction::Source { claim, copy: _ } => self.source_volumes(claim).await,
                Direction::Destination { target, publish } => self.destination_volumes(wish, target, publish).await,
            }
        };
        let (data, cache_claim) = futures::try_join!(data, self.cache(wish))?;
        Ok(Observed { cache_claim, ..data })
    }

    async fn cache(&self, wish: &Replication) -> kube::Result<Option<observed::Claim>> {
        match wish.mover.cache() {
            Some(_) => self.child_claim(&name::cache(self.owner)).await,
            None => Ok(None),
        }
    }

    /// The copies are looked for under every copy method, so that those of a former one are cleaned up.
    async fn source_volumes(&self, claim: &str) -> kube::Result<Observed> {
        let copy_name = name::source_copy(self.owner);
        let (claim, copy_claim, copy_snapshot) =
            futures::try_join!(self.other_claim(claim), self.child_claim(&copy_name), self.snapshot(&copy_name))?;
        let snapshots = copy_snapshot.iter().cloned().collect();
        Ok(Observed { claim, copy_claim, copy_snapshot, snapshots, ..Observed::default() })
    }

    async fn destination_volumes(
        &self,
        wish: &Replication,
        target: &Target,
        publish: &Publish,
    ) -> kube::Result<Observed> {
        let claim = async {
            match target {
                Target::Existing { claim, mode: _ } => Ok((claim.clone(), self.other_claim(claim).await?)),
                Target::Dynamic { .. } => {
                    let name = name::destination_claim(self.owner, &wish.mover);
                    let claim = self.child_claim(&name).await?;
                    Ok((name, claim))
                }
            }
        };
        let ((claim_name, claim), snapshots) = futures::try_join!(claim, self.own_snapshots())?;
        let image = match (&wish.phase, publish) {
            (Phase::Running(running), Publish::Snapshot { .. }) => {
                let noted = claim.as_ref().and_then(|claim| claim.noted_image.as_ref());
                let image_name = wish.image_name(running, &claim_name, noted);
                match snapshots.iter().find(|snapshot| snapshot.name == image_name) {
                    Some(image) => Some(image.clone()),
                    // It may be somebody else's.
                    None => self.snapshot(&image_name).await?,
                }
            }
            _ => None,
        };
        Ok(Observed { claim, image, snapshots, ..Observed::default() })
    }

    async fn own_snapshots(&self) -> kube::Result<Vec<observed::Snapshot>> {
        self.to_snapshots(&self.labelled_snapshots().await?).await
    }

    /// Of a mark without a holder its claim decides: one that is gone, or filled, wants nothing any more.
    async fn to_snapshots(&self, snapshots: &[VolumeSnapshot]) -> kube::Result<Vec<observed::Snapshot>> {
        let mut seen: Vec<_> = snapshots.iter().map(|snapshot| self.to_snapshot(snapshot)).collect();
        let is_only_marked =
            |snapshot: &VolumeSnapshot| marks(snapshot).next().is_some() && !self.has_other_owner(snapshot);
        if snapshots.iter().any(is_only_marked) {
            let being_filled = claims_being_filled(self.client, &self.owner.namespace).await?;
            for (seen, snapshot) in seen.iter_mut().zip(snapshots) {
                if seen.claimed == Claimed::InUse && is_only_marked(snapshot) {
                    let is_wanted = marks(snapshot).any(|uid| being_filled.contains(uid));
                    seen.claimed = if is_wanted { Claimed::Promised } else { Claimed::Free };
                }
            }
        }
        Ok(seen)
    }

    fn has_other_owner(&self, snapshot: &VolumeSnapshot) -> bool {
        snapshot.owner_references().iter().any(|reference| reference.uid != self.owner.uid)
    }

    /// Secrets that are not needed count as good.
    async fn surroundings(&self, mover: &Mover, needs_secrets: bool) -> kube::Result<Observed> {
        let account = mover.pod().service_account.clone().unwrap_or_else(|| name::service_account(self.owner));
        let secrets = async {
            if needs_secrets { self.secrets(mover).await } else { Ok((observed::Key::Valid, observed::Key::Valid)) }
        };
        let ((key, certificates), account, service, namespace) =
            futures::try_join!(secrets, self.other::<ServiceAccount>(&account), self.service(mover), self.namespace())?;
        let allows = |value: &String| value.eq_ignore_ascii_case("true");
        let annotations = namespace.annotations();
        let privilege = if annotations.get(name::PRIVILEGED_MOVERS_ANNOTATION).is_some_and(allows) {
            Privilege::Privileged
        } else if annotations.contains_key(name::USER_RANGE_ANNOTATION) {
            Privilege::Assigned
        } else {
            Privilege::Unprivileged
        };
        Ok(Observed {
            key,
            certificates,
            account: account.map(|account| observed::Account { ownership: self.ownership(&account) }),
            service: service.map(|service| self.to_service(&service)),
            privilege,
            ..Observed::default()
        })
    }

    /// Who calls has no Service.
    async fn service(&self, mover: &Mover) -> kube::Result<Option<Service>> {
        match mover {
            Mover::RsyncTls(RsyncTls { meeting: Meeting::Listen(_), .. }) => {
                self.other(&name::rsync_tls(self.owner)).await
            }
            Mover::RsyncTls(_) | Mover::Restic(_) => Ok(None),
        }
    }

    /// The Jobs of other movers than this one.
    async fn other_jobs(&self, mover: &Mover) -> kube::Result<Vec<observed::Job>> {
        let present = name::job(self.owner, mover);
        let others = name::jobs(self.owner).into_iter().filter(|name| *name != present);
        let found = try_join_all(others.map(|name| async move { self.job(&name).await })).await?;
        Ok(found.into_iter().flatten().filter(|job| job.ownership == Ownership::Ours).collect())
    }

    async fn job(&self, name: &str) -> kube::Result<Option<observed::Job>> {
        let Some(job) = self.child::<Job>(name).await? else {
            return Ok(None);
        };
        let pods = self.pods(&job.name_any(), Some(&job)).await?;
        let own: Vec<_> = pods.into_iter().filter(|pod| is_of(pod, &job)).collect();
        Ok(Some(self.to_job(&job, &own)))
    }

    /// The Job, and the pods of former ones of its name that may still be at work: one that is deleted with its pod's grace period
    /// still to go, or without its pod.
    async fn movers(&self, mover: &Mover) -> kube::Result<(Option<observed::Job>, Vec<String>)> {
        let name = name::job(self.owner, mover);
        let job = self.child::<Job>(&name).await?;
        // After the Job: of one that is deleted in between the pods are seen.
        let pods = self.pods(&name, job.as_ref()).await?;
        let (own, former): (Vec<_>, Vec<_>) =
            pods.into_iter().partition(|pod| job.as_ref().is_some_and(|job| is_of(pod, job)));
        let former = former.iter().filter(|pod| mover::is_at_work(pod, mover.name())).map(ResourceExt::name_any);
        Ok((job.map(|job| self.to_job(&job, &own)), former.collect()))
    }

    fn to_job(&self, job: &Job, pods: &[Pod]) -> observed::Job {
        let pod = mover::newest(pods);
        let annotation = |key: &str| job.annotations().get(key).cloned().unwrap_or_default();
        observed::Job {
            name: job.name_any(),
            uid: job.uid().unwrap_or_default(),
            ownership: self.ownership(job),
            deleting: job.metadata.deletion_timestamp.is_some(),
            iteration: iteration(job),
            attempt: annotation(name::ATTEMPT_ANNOTATION).parse().unwrap_or(1),
            claim: mover::claim(job),
            receiver: job.annotations().get(name::RECEIVER_ANNOTATION).cloned(),
            fingerprint: annotation(name::FINGERPRINT_ANNOTATION),
            start_fingerprint: annotation(name::START_ANNOTATION),
            parallelism: job.spec.as_ref().and_then(|spec| spec.parallelism).unwrap_or(1),
            since: pod.map_or_else(|| created(job), created),
            node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
            address: pod.and_then(|pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()),
            mover: mover::state(job, pods),
        }
    }

    fn ownership(&self, object: &impl ResourceExt) -> Ownership {
        match object.owner_references().iter().find(|reference| reference.controller == Some(true)) {
            None => Ownership::Nobody,
            Some(reference) if reference.uid == self.owner.uid => Ownership::Ours,
            Some(reference) if self.names_former(reference) => Ownership::Former,
            Some(reference) => Ownership::Other(format!("{}/{}", reference.kind, reference.name)),
        }
    }

    /// Whether a controller that is not the owner is a former one of its name: there is only one object of a kind and a name at a time.
    fn names_former(&self, controller: &OwnerReference) -> bool {
        let group = controller.api_version.split_once('/').map(|(group, _)| group);
        (group, controller.kind.as_str()) == (Some(GROUP), self.owner.role.kind()) && controller.name == self.owner.name
    }

    fn is_temporary(&self, object: &impl ResourceExt) -> bool {
        object.labels().get(name::CLEANUP_LABEL) == Some(&self.owner.uid)
    }

    fn to_claim(&self, claim: &PersistentVolumeClaim) -> observed::Claim {
        let spec = claim.spec.clone().unwrap_or_default();
        let status = claim.status.clone().unwrap_or_default();
        let block = spec.volume_mode.as_deref() == Some("Block");
        observed::Claim {
            name: claim.name_any(),
            uid: claim.uid().unwrap_or_default(),
            ownership: self.ownership(claim),
            temporary: self.is_temporary(claim),
            deleting: claim.metadata.deletion_timestamp.is_some(),
            phase: status.phase.unwrap_or_default(),
            mode: if block { VolumeMode::Block } else { VolumeMode::Filesystem },
            storage_class: spec.storage_class_name,
            access_modes: status.access_modes.or(spec.access_modes).unwrap_or_default(),
            capacity: status.capacity.and_then(|capacity| capacity.get("storage").map(|size| size.0.clone())),
            created: created(claim),
            iteration: iteration(claim),
            copy_trigger: copy_trigger(claim.annotations()),
            answers: claim.annotations().get(name::COPY_ANSWERS_ANNOTATION).cloned(),
            noted_image: claim.annotations().get(name::NOTED_IMAGE_ANNOTATION).filter(|name| !name.is_empty()).cloned(),
            request: spec
                .resources
                .and_then(|resources| resources.requests)
                .and_then(|requests| requests.get("storage").map(|size| size.0.clone())),
        }
    }

    fn to_snapshot(&self, snapshot: &VolumeSnapshot) -> observed::Snapshot {
        let status = snapshot.status.clone().unwrap_or_default();
        let labels = snapshot.labels();
        observed::Snapshot {
            name: snapshot.name_any(),
            uid: snapshot.uid().unwrap_or_default(),
            resource_version: snapshot.resource_version().unwrap_or_default(),
            ownership: self.ownership(snapshot),
            temporary: self.is_temporary(snapshot),
            deleting: snapshot.metadata.deletion_timestamp.is_some(),
            ready: status.bound_volume_snapshot_content_name.is_some() && status.ready_to_use == Some(true),
            error: status.error.and_then(|error| error.message),
            restore_size: status.restore_size,
            created: created(snapshot),
            iteration: iteration(snapshot),
            answers: snapshot.annotations().get(name::COPY_ANSWERS_ANNOTATION).cloned(),
            claimed: if labels.contains_key(name::DO_NOT_DELETE_LABEL) {
                Claimed::ByUser
            } else if self.has_other_owner(snapshot) || marks(snapshot).next().is_some() {
                Claimed::InUse
            } else {
                Claimed::Free
            },
        }
    }

    fn to_service(&self, service: &Service) -> observed::Service {
        let spec = service.spec.clone().unwrap_or_default();
        let service_type = spec.type_.unwrap_or_default();
        let target = |port: &k8s_openapi::api::core::v1::ServicePort| match &port.target_port {
            Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(number)) => *number,
            _ => port.port,
        };
        let assigned = || {
            let first = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
            first.hostname.clone().or_else(|| first.ip.clone())
        };
        let address = match service_type.as_str() {
            "LoadBalancer" => assigned(),
            _ => spec.cluster_ip.filter(|address| !address.is_empty() && address != "None"),
        };
        observed::Service {
            ownership: self.ownership(service),
            annotations: service.annotations().clone().into_iter().collect(),
            selector: spec.selector.unwrap_or_default().into_iter().collect(),
            ports: spec.ports.unwrap_or_default().iter().map(|port| (port.port, target(port))).collect(),
            address,
            created: created(service),
            deleting: service.metadata.deletion_timestamp.is_some(),
            service_type,
        }
    }
}

/// By UID: pods of a former Job of this name may still be there.
fn is_of(pod: &Pod, job: &Job) -> bool {
    pod.labels().get(name::JOB_UID_LABEL) == job.metadata.uid.as_ref()
}

fn created(object: &impl ResourceExt) -> Timestamp {
    object.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn iteration(object: &impl ResourceExt) -> Option<IterationId> {
    object.annotations().get(name::ITERATION_ANNOTATION)?.parse().ok()
}

fn copy_trigger(annotations: &BTreeMap<String, String>) -> Option<CopyTrigger> {
    annotations.get(name::USE_COPY_TRIGGER_ANNOTATION)?;
    let text = |key: &str| annotations.get(key).cloned();
    Some(CopyTrigger {
        wanted: text(name::COPY_TRIGGER_ANNOTATION),
        answered: text(name::LATEST_COPY_TRIGGER_ANNOTATION),
        status: text(name::LATEST_COPY_STATUS_ANNOTATION).as_deref().and_then(CopyStatus::parse),
        // What is no time is written anew.
        waiting_since: text(name::COPY_TRIGGER_SINCE_ANNOTATION).and_then(|time| time.parse().ok()),
    })
}
