//! The names and labels of child objects.
//!
//! They are those of VolSync (its observable names are part of the API: a running installation is taken over with every
//! address, key, volume and image). Job and Service names and label values are limited to 63 characters; a longer one
//! becomes its prefix and the CRC-32/IEEE of the object's name. Other names are never shortened.

use super::replication::{Owner, Role};

/// Longest label value, and longest name of a Service (RFC 1035 label).
const LABEL_LIMIT: usize = 63;

/// Label on everything that Doppel creates, kept from VolSync.
pub const CREATED_BY: (&str, &str) = ("app.kubernetes.io/created-by", "volsync");
/// Label on temporary objects: the UID of the object whose iteration they serve.
pub const CLEANUP_LABEL: &str = "volsync.backube/cleanup";
/// Label by which a user takes a snapshot away from the operator.
pub const DO_NOT_DELETE_LABEL: &str = "volsync.backube/do-not-delete";
/// Labels that begin like this mark a snapshot from which a claim is being populated.
pub const POPULATOR_LABEL_PREFIX: &str = "volsync.backube/volpop-pvc-";
/// Namespace annotation that allows privileged movers.
pub const PRIVILEGED_MOVERS_ANNOTATION: &str = "volsync.backube/privileged-movers";
/// Annotation on Jobs and their pods: `<kind>/<name>` of the object they work for, so that a pod's change finds it.
pub const OWNER_ANNOTATION: &str = "doppel.backube/owner";
/// Annotation on Jobs: which attempt of the present iteration this is, counted from 1.
pub const ATTEMPT_ANNOTATION: &str = "doppel.backube/attempt";
/// Annotation on Jobs: fingerprint of the run that was asked for, so that a changed wish is noticed.
pub const FINGERPRINT_ANNOTATION: &str = "doppel.backube/fingerprint";

/// The value of [`CLEANUP_LABEL`] and of a Service's selector labels.
pub type Labels = Vec<(String, String)>;

/// Point-in-time copy of a source: the snapshot and the claim share the name.
#[must_use]
pub fn source_copy(owner: &Owner) -> String {
    format!("volsync-{}-src", owner.name)
}

/// Dynamic destination claim of rsync and rsync-tls.
#[must_use]
pub fn destination_claim(owner: &Owner) -> String {
    format!("volsync-{}-dst", owner.name)
}

/// Job and Service of rsync-tls.
#[must_use]
pub fn rsync_tls(owner: &Owner) -> String {
    limited(&format!("volsync-rsync-tls-{}-", side(owner.role)), &owner.name)
}

/// Generated Secret of rsync-tls. A source and a destination of one name in one namespace share it.
#[must_use]
pub fn rsync_tls_secret(owner: &Owner) -> String {
    format!("volsync-rsync-tls-{}", owner.name)
}

/// Generated ServiceAccount.
#[must_use]
pub fn service_account(owner: &Owner) -> String {
    format!("volsync-{}-{}", side(owner.role), owner.name)
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
    format!("{claim}-{}", iteration.strftime("%Y%m%d%H%M%S"))
}

fn side(role: Role) -> &'static str {
    match role {
        Role::Source => "src",
        Role::Destination => "dst",
    }
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

    fn owner(role: Role, name: &str) -> Owner {
        Owner { role, namespace: "ns".to_owned(), name: name.to_owned(), uid: "uid".to_owned() }
    }

    #[test]
    fn names_are_those_of_volsync() {
        let source = owner(Role::Source, "db");
        let destination = owner(Role::Destination, "db");
        assert_eq!(source_copy(&source), "volsync-db-src");
        assert_eq!(destination_claim(&destination), "volsync-db-dst");
        assert_eq!(rsync_tls(&source), "volsync-rsync-tls-src-db");
        assert_eq!(rsync_tls(&destination), "volsync-rsync-tls-dst-db");
        assert_eq!(rsync_tls_secret(&source), "volsync-rsync-tls-db");
        assert_eq!(service_account(&destination), "volsync-dst-db");
        let begin: jiff::Timestamp = "2026-11-23T04:05:06Z".parse().unwrap();
        assert_eq!(image("claim", begin), "claim-20261123040506");
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
