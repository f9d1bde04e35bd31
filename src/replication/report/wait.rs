//! What is waited for, in words.

use super::IN_PROGRESS;
use crate::model::mover::Mover;
use crate::model::name;
use crate::model::pod::Placement;
use crate::model::queue::{Limit, Queued};
use crate::model::replication::{Replication, Role};
use crate::replication::plan::Wait;

/// The message of `Synchronizing`.
pub(super) fn waiting(wait: &Wait, wish: &Replication, failed_attempts: u32) -> String {
    let what = what(wait, wish);
    match failed_attempts {
        0 => format!("{IN_PROGRESS}: {what}"),
        failed => {
            format!("{IN_PROGRESS}: {what} (attempt {}; why the last one failed is in latestMoverStatus)", failed + 1)
        }
    }
}

/// The same without what is said of every synchronization.
pub(super) fn what(wait: &Wait, wish: &Replication) -> String {
    let because = |text: String, why: &Option<String>| match why {
        Some(why) => format!("{text}: {}", doppel_contract::Line::new(why)),
        None => text,
    };
    match wait {
        Wait::Queued(queued) => queue(queued),
        Wait::SnapshotReady { name, error } => {
            because(format!("waiting until VolumeSnapshot {name} is ready to use"), error)
        }
        Wait::CopyTrigger { claim } => format!(
            "PersistentVolumeClaim {claim} is copied when its annotation {} has a new value",
            name::COPY_TRIGGER_ANNOTATION
        ),
        Wait::Gone { kind, name } => format!("waiting until the former {kind} {name} is gone"),
        Wait::FormerMover { pod } => {
            format!(
                "Pod {pod} of a Job that was deleted still uses the volume; the mover starts when that pod has ended"
            )
        }
        Wait::MoverStart { job, placement, reason } => {
            let place = placement.as_ref().map_or_else(String::new, |Placement { node, pod, .. }| {
                format!(" on node {node}, where Pod {pod} uses its volume")
            });
            because(format!("waiting until the mover of Job {job} starts{place}"), reason)
        }
        Wait::ClaimInUse { claim, pod } => format!(
            "PersistentVolumeClaim {claim} is ReadWriteOncePod and Pod {pod} uses it; the mover starts when that pod is gone"
        ),
        Wait::UserUnscheduled { claim, pod } => format!(
            "Pod {pod} uses PersistentVolumeClaim {claim} and has no node yet; the mover starts on the node that it gets"
        ),
        Wait::ClaimsApart(places) => {
            let [(claim, pod, node), (other_claim, other_pod, other_node)] = &**places;
            format!(
                "the mover needs PersistentVolumeClaim {claim}, which Pod {pod} uses on node {node}, and {other_claim}, which \
                 Pod {other_pod} uses on node {other_node}; bring both pods to one node"
            )
        }
        Wait::Mover { job } => match (wish.owner.role, &wish.mover) {
            (Role::Destination, Mover::RsyncTls(_)) => {
                format!("the mover of Job {job} is running, it waits for its source or receives")
            }
            (Role::Source, Mover::RsyncTls(_)) | (_, Mover::Restic(_)) => format!("the mover of Job {job} is running"),
        },
    }
}

fn queue(Queued { position, before: _, full: (limit, most), since }: &Queued) -> String {
    let (place, flag) = match limit {
        Limit::Cluster => ("the cluster".to_owned(), "--max-syncs"),
        Limit::Namespace(name) => (format!("namespace {name}"), "--max-syncs-per-namespace"),
        Limit::Node(name) => (format!("node {name}"), "--max-syncs-per-node"),
        Limit::StorageClass(name) => (format!("StorageClass {name}"), "--max-syncs-per-storage-class"),
    };
    format!(
        "queued since {since} at position {position}: {place} has as many synchronizations under way as it may, {most} ({flag} \
         of the operator)"
    )
}
