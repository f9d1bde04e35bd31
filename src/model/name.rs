//! The names and labels of child objects.
//!
//! They are those of VolSync (its observable names are part of the API: a running installation is taken over with every
//! address, key, volume and image). Job and Service names and label values are limited to 63 characters; a longer one
//! becomes its prefix and the CRC-32/IEEE of the object's name. Other names are not shortened as long as the API takes
//! them; beyond that they end in a digest.

use super::mover::Mover;
use super::replication::{Owner, Role};

/// Longest label value, and longest name of a Service (RFC 1035 label).
const LABEL_LIMIT: usize = 63;
/// Longest name of anything else (RFC 1123 subdomain).
const NAME_LIMIT: usize = 253;

/// Label on everything that Doppel creates, kept from VolSync.
pub const CREATED_BY: (&str, &str) = ("app.kubernetes.io/created-by", "volsync");
/// Label on temporary objects: the UID of the object whose iteration they serve.
pub const CLEANUP_LABEL: &str = "volsync.backube/cleanup";
/// Label by which a user takes a snapshot away from the operator.
pub const DO_NOT_DELETE_LABEL: &str = "volsync.backube/do-not-delete";
/// Labels that begin like this mark a snapshot from which a claim is being populated.
pub const POPULATOR_LABEL_PREFIX: &str = "volsync.backube/volpop-pvc-";
/// Label, and annotation where the name is too long for a label, on a prime: the claim that it is filled for.
pub const PRIME_FOR: &str = "volsync.backube/populator-pvc-for";
/// Volume annotation: `<namespace>/<snapshot>` that it was made from.
pub const POPULATED_FROM_ANNOTATION: &str = "volsync.backube/populated-from";
/// Claim annotation of Kubernetes' scheduler: the node that the claim's first pod is to run on.
pub const SELECTED_NODE_ANNOTATION: &str = "volume.kubernetes.io/selected-node";
/// Claim annotation of Kubernetes: the CSI driver that an in-tree provisioner's work was passed on to.
pub const MIGRATED_ANNOTATION: &str = "pv.kubernetes.io/migrated-to";
/// Claim annotation: what a claim that is to be filled waits for, in words. Its user is told of each once.
pub const WAITS_FOR_ANNOTATION: &str = "doppel.backube/waits-for";
/// Namespace annotation that allows privileged movers.
pub const PRIVILEGED_MOVERS_ANNOTATION: &str = "volsync.backube/privileged-movers";
/// Namespace annotation of OpenShift: the users that pods of the namespace run as (OpenShift: "Managing security context
/// constraints", "About pre-allocated security context constraints values").
pub const USER_RANGE_ANNOTATION: &str = "openshift.io/sa.scc.uid-range";
/// Claim annotation by which VolSync remembers the snapshot that it is taking in an iteration.
pub const NOTED_IMAGE_ANNOTATION: &str = "volsync.backube/snapname";
/// Annotation on Jobs and their pods: `<kind>/<name>` of the object they work for, so that a pod's change finds it.
pub const OWNER_ANNOTATION: &str = "doppel.backube/owner";
/// Labels that Kubernetes puts on the pods of a Job: the Job's name and UID (k8s.io/api `batch/v1`). No user can give them other
/// values.
pub const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";
/// See [`JOB_NAME_LABEL`].
pub const JOB_UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
/// What a mover's pod calls the volume that it reads or writes, VolSync's too.
pub const DATA_VOLUME: &str = "data";
/// Annotation on Jobs, claims and snapshots: which iteration they were made for.
pub const ITERATION_ANNOTATION: &str = "doppel.backube/iteration";
/// Annotation on a destination's Jobs: the UID of the claim that they write to.
pub const RECEIVER_ANNOTATION: &str = "doppel.backube/claim-uid";
/// Annotation on Jobs: which attempt of the present iteration this is, counted from 1.
pub const ATTEMPT_ANNOTATION: &str = "doppel.backube/attempt";
/// Annotation on Jobs: fingerprint of the run that was asked for, so that a changed wish is noticed.
pub const FINGERPRINT_ANNOTATION: &str = "doppel.backube/fingerprint";

/// Annotation, of any value, on an object whose movers are to log all they do.
pub const DEBUG_ANNOTATION: &str = "volsync.backube/enable-debug-mover";
/// Claim annotations by which an application says when its volume may be copied: whether it does, and the value that it
/// changes when the next copy may be made. Users write them.
pub const USE_COPY_TRIGGER_ANNOTATION: &str = "volsync.backube/use-copy-trigger";
/// See [`USE_COPY_TRIGGER_ANNOTATION`].
pub const COPY_TRIGGER_ANNOTATION: &str = "volsync.backube/copy-trigger";
/// Claim annotations by which the operator answers: the value that the last copy was made for.
pub const LATEST_COPY_TRIGGER_ANNOTATION: &str = "volsync.backube/latest-copy-trigger";
/// Where the copy stands.
pub const LATEST_COPY_STATUS_ANNOTATION: &str = "volsync.backube/latest-copy-status";
/// Since when the operator waits for a new value.
pub const COPY_TRIGGER_SINCE_ANNOTATION: &str = "volsync.backube/latest-copy-trigger-waiting-since";
/// Annotation on a copy: the value of the copy trigger that it was made for.
pub const COPY_ANSWERS_ANNOTATION: &str = "doppel.backube/copy-trigger";
/// Annotation on Jobs: fingerprint of how its mover was to start.
pub const START_ANNOTATION: &str = "doppel.backube/start";

/// The value of [`CLEANUP_LABEL`] and of a Service's selector labels.
pub type Labels = Vec<(String, String)>;

/// Point-in-time copy of a source: the snapshot and the claim share the name.
#[must_use]
pub fn source_copy(owner: &Owner) -> String {
    fitting("volsync-", &owner.name, "-src")
}

/// Dynamic destination claim.
#[must_use]
pub fn destination_claim(owner: &Owner, mover: &Mover) -> String {
    let suffix = match mover {
        Mover::RsyncTls(_) => "-dst",
        Mover::Restic(_) => "-dest",
    };
    fitting("volsync-", &owner.name, suffix)
}

/// The cache of restic.
#[must_use]
pub fn cache(owner: &Owner) -> String {
    fitting(&format!("volsync-{}-", side(owner.role)), &owner.name, "-cache")
}

/// Job.
#[must_use]
pub fn job(owner: &Owner, mover: &Mover) -> String {
    match mover {
        Mover::RsyncTls(_) => rsync_tls(owner),
        Mover::Restic(_) => restic(owner),
    }
}

/// The Jobs of all movers that an object may ask for.
#[must_use]
pub fn jobs(owner: &Owner) -> [String; 2] {
    [rsync_tls(owner), restic(owner)]
}

fn restic(owner: &Owner) -> String {
    limited(&format!("volsync-{}-", side(owner.role)), &owner.name)
}

/// Job and Service of rsync-tls.
#[must_use]
pub fn rsync_tls(owner: &Owner) -> String {
    limited(&format!("volsync-rsync-tls-{}-", side(owner.role)), &owner.name)
}

/// Generated Secret of rsync-tls. A source and a destination of one name in one namespace share it.
#[must_use]
pub fn rsync_tls_secret(owner: &Owner) -> String {
    fitting("volsync-rsync-tls-", &owner.name, "")
}

/// Generated ServiceAccount.
#[must_use]
pub fn service_account(owner: &Owner) -> String {
    fitting(&format!("volsync-{}-", side(owner.role)), &owner.name, "")
}

/// Copy of a Secret for pulling the movers' image, for one owner. The content is part of the name: the copy of another
/// content is another Secret, so none has to be overwritten.
#[must_use]
pub fn pull_secret(owner: &Owner, original: &str, content: &[u8]) -> String {
    let digest = xxhash_rust::xxh3::xxh3_64(&[owner.uid.as_bytes(), content].concat());
    format!("volsync-pull-{:08x}-{digest:016x}", crc32fast::hash(original.as_bytes()))
}

/// Labels of a mover's pods, which are also its Service's selector.
#[must_use]
pub fn rsync_tls_pod_labels(owner: &Owner) -> Labels {
    [
        ("app.kubernetes.io/name", limited(&format!("{}-", side(owner.role)), &owner.name)),
        ("app.kubernetes.io/component", "rsync-tls-mover".to_owned()),
        ("app.kubernetes.io/part-of", "volsync".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// Snapshot of a destination claim, named after the begin of the iteration, so that every pass of one iteration finds
/// the same snapshot.
#[must_use]
pub fn image(claim: &str, iteration: jiff::Timestamp) -> String {
    fitting("", claim, &format!("-{}", iteration.strftime("%Y%m%d%H%M%S")))
}

const PRIME_PREFIX: &str = "vs-prime-";

/// The claim that is filled in place of the one of this UID.
#[must_use]
pub fn prime(claim_uid: &str) -> String {
    format!("{PRIME_PREFIX}{claim_uid}")
}

/// The UID of the claim in whose place one of this name is filled.
#[must_use]
pub fn claim_of_prime(name: &str) -> Option<&str> {
    name.strip_prefix(PRIME_PREFIX)
}

/// Label of a snapshot that the claim of this UID is filled from. Its value is the claim's name.
#[must_use]
pub fn populator_mark(claim_uid: &str) -> String {
    format!("{POPULATOR_LABEL_PREFIX}{claim_uid}")
}

/// A name as a label's value: one that is too long ends in a digest of the whole.
#[must_use]
pub fn label_value(name: &str) -> String {
    fitting_in(LABEL_LIMIT, "", name, "")
}

fn side(role: Role) -> &'static str {
    match role {
        Role::Source => "src",
        Role::Destination => "dst",
    }
}

/// A name that fits: where it would be too long, the end of its middle becomes a digest of the whole.
fn fitting(prefix: &str, name: &str, suffix: &str) -> String {
    fitting_in(NAME_LIMIT, prefix, name, suffix)
}

fn fitting_in(limit: usize, prefix: &str, name: &str, suffix: &str) -> String {
    if prefix.len() + name.len() + suffix.len() <= limit {
        return format!("{prefix}{name}{suffix}");
    }
    let digest = format!("-{:016x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
    let room = limit.saturating_sub(prefix.len() + digest.len() + suffix.len());
    // A part between two dots must not end in a hyphen, nor begin with the digest's.
    let kept = name.get(..room).unwrap_or_default().trim_end_matches(['-', '.']);
    format!("{prefix}{kept}{digest}{suffix}")
}

fn limited(prefix: &str, name: &str) -> String {
    if prefix.len() + name.len() <= LABEL_LIMIT {
        format!("{prefix}{name}")
    } else {
        format!("{prefix}{:08x}", crc32fast::hash(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mover::{CacheShape, KeySource, Listen, Meeting, Restic, ResticTask, RsyncTls};
    use crate::model::replication::Lifetime;

    fn rsync_tls_mover() -> Mover {
        let key = KeySource::Generated(String::new());
        let meeting = Meeting::Listen(Listen { service_type: String::new(), annotations: vec![] });
        Mover::RsyncTls(RsyncTls { key, meeting, empty_source: Default::default(), pod: Default::default() })
    }

    fn restic_mover() -> Mover {
        Mover::Restic(Restic {
            repository: String::new(),
            certificates: None,
            cache: CacheShape {
                capacity: String::new(),
                storage_class: None,
                access_modes: None,
                lifetime: Lifetime::Kept,
            },
            task: ResticTask::Restore { as_of: None, previous: 0, delete: false },
            pod: Default::default(),
        })
    }

    fn owner(role: Role, name: &str) -> Owner {
        Owner { role, namespace: "ns".to_owned(), name: name.to_owned(), uid: "uid".to_owned() }
    }

    #[test]
    fn names_are_those_of_volsync() {
        let source = owner(Role::Source, "db");
        let destination = owner(Role::Destination, "db");
        assert_eq!(source_copy(&source), "volsync-db-src");
        assert_eq!(destination_claim(&destination, &rsync_tls_mover()), "volsync-db-dst");
        assert_eq!(destination_claim(&destination, &restic_mover()), "volsync-db-dest");
        assert_eq!(cache(&source), "volsync-src-db-cache");
        assert_eq!(job(&source, &restic_mover()), "volsync-src-db");
        assert_eq!(job(&destination, &rsync_tls_mover()), "volsync-rsync-tls-dst-db");
        assert_eq!(rsync_tls(&source), "volsync-rsync-tls-src-db");
        assert_eq!(rsync_tls(&destination), "volsync-rsync-tls-dst-db");
        assert_eq!(rsync_tls_secret(&source), "volsync-rsync-tls-db");
        assert_eq!(service_account(&destination), "volsync-dst-db");
        let begin: jiff::Timestamp = "2026-11-23T04:05:06Z".parse().unwrap();
        assert_eq!(image("claim", begin), "claim-20261123040506");
    }

    #[test]
    fn a_name_that_the_api_would_not_take_ends_in_a_digest() {
        let (long, other) = ("x".repeat(252) + "y", "x".repeat(252) + "z");
        let begin: jiff::Timestamp = "2026-11-23T04:05:06Z".parse().unwrap();
        let all = |name: &str| {
            let (source, destination) = (owner(Role::Source, name), owner(Role::Destination, name));
            let claim = destination_claim(&destination, &rsync_tls_mover());
            let image = image(&claim, begin);
            [
                source_copy(&source),
                claim,
                rsync_tls_secret(&source),
                service_account(&source),
                image,
                rsync_tls(&source),
            ]
        };
        for (name, other) in all(&long).iter().zip(all(&other)) {
            assert!(name.len() <= 253, "{name}");
            assert_ne!(*name, other);
        }
        assert_eq!(all(&"x".repeat(241))[0], format!("volsync-{}-src", "x".repeat(241)), "as long as can be");
        let dotted = "x".repeat(223) + ".";
        assert!(!fitting("volsync-", &(dotted + &"y".repeat(40)), "-src").contains(".-"));
    }

    #[test]
    fn a_claims_name_over_63_characters_fits_into_a_label_and_stays_distinct() {
        let longest = "x".repeat(63);
        assert_eq!(label_value(&longest), longest);
        let (one, other) = (label_value(&format!("{longest}y")), label_value(&format!("{longest}z")));
        assert_eq!((one.len(), other.len()), (63, 63));
        assert_ne!(one, other);
        assert!(!label_value(&format!("{}.{}", "x".repeat(45), "y".repeat(40))).contains(".-"));
        assert_eq!((prime("7e").as_str(), claim_of_prime("vs-prime-7e")), ("vs-prime-7e", Some("7e")));
        let uid = "7e57ab1e-0000-4000-8000-000000000000";
        let (_, key) = populator_mark(uid).split_once('/').map(|(domain, key)| (domain.len(), key.len())).unwrap();
        assert!(key <= 63, "the longest name of a label");
    }

    #[test]
    fn a_name_over_63_characters_becomes_a_checksum() {
        let long = "x".repeat(42);
        assert_eq!(rsync_tls(&owner(Role::Source, &long[..41])).len(), 63);
        // CRC-32/IEEE of 42 times "x", by Python's zlib.crc32.
        assert_eq!(rsync_tls(&owner(Role::Source, &long)), "volsync-rsync-tls-src-cb5f7c02");
        assert_eq!(rsync_tls_secret(&owner(Role::Source, &long)).len(), 18 + 42);
    }
}
