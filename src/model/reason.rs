//! Why an object's wish cannot be carried out: each names the object, the field, and what to do.

use super::schedule::ScheduleError;

/// A cause that only a change of the world outside can remove. It becomes the condition `Synchronizing=False`, reason
/// `Error`; the object is looked at again when something that concerns it changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No section.
    #[error("a replication method must be specified - enabled movers: [restic rsync-tls]; set exactly one of {0}")]
    NoMover(String),
    /// More than one section.
    #[error("only one replication method can be supplied; found {0}, remove all but one")]
    SeveralMovers(String),
    /// A section that this version cannot serve.
    #[error("{field}: the {mover} mover is not part of this version of Doppel; use spec.rsyncTLS or spec.restic")]
    MoverMissing {
        /// The field.
        field: &'static str,
        /// The mover's name.
        mover: &'static str,
    },
    /// A field that must be set.
    #[error("{field} must be provided{when}")]
    FieldMissing {
        /// The field.
        field: String,
        /// In which case, with a leading space, or nothing.
        when: &'static str,
    },
    /// A field whose value cannot be used.
    #[error("{field}: {why}")]
    FieldInvalid {
        /// The field.
        field: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A schedule that cannot be used.
    #[error("spec.trigger.schedule: {0}")]
    Schedule(#[from] ScheduleError),
    /// A copy method that this direction does not have.
    #[error("unsupported copyMethod: {value} -- must be {allowed}")]
    CopyMethod {
        /// What was written.
        value: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// A claim of the user's is not there.
    #[error(
        "{field}: PersistentVolumeClaim {name:?} does not exist in namespace {namespace:?}; create it or correct the name"
    )]
    ClaimMissing {
        /// The field that names it.
        field: String,
        /// Its name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// A claim of the user's is not what the user says that it is.
    #[error(
        "{field}: says {wanted}, but PersistentVolumeClaim {name:?} in namespace {namespace:?} has volumeMode {found}; correct the field, or name another claim"
    )]
    VolumeMode {
        /// The field.
        field: String,
        /// What it says.
        wanted: &'static str,
        /// The claim's name.
        name: String,
        /// The namespace.
        namespace: String,
        /// What the claim has.
        found: &'static str,
    },
    /// A user's Secret is not there.
    #[error("{field}: Secret {name:?} does not exist in namespace {namespace:?}; {remedy}")]
    SecretMissing {
        /// The field that names it.
        field: String,
        /// Its name.
        name: String,
        /// The namespace.
        namespace: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A user's ConfigMap is not there.
    #[error("{field}: ConfigMap {name:?} does not exist in namespace {namespace:?}; create it or correct the name")]
    ConfigMapMissing {
        /// The field that names it.
        field: String,
        /// Its name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// A Secret or a ConfigMap cannot be used.
    #[error("{0}")]
    SecretMalformed(String),
    /// A user's ServiceAccount is not there.
    #[error(
        "{field}: ServiceAccount {name:?} does not exist in namespace {namespace:?}; create it or remove the field"
    )]
    AccountMissing {
        /// The field that names it.
        field: String,
        /// Its name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// Something of the needed name exists and is not ours.
    #[error(
        "{kind} {name:?} exists but does not belong to this object (it belongs to {owner}); it was left alone: delete or rename it"
    )]
    NotOurs {
        /// The kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Whose it is.
        owner: String,
    },
}

impl Reason {
    /// Whether no watch tells when the cause goes away: Secrets and ConfigMaps may be read, but not watched, and of ServiceAccounts only
    /// Doppel's own are.
    #[must_use]
    pub fn is_unwatched(&self) -> bool {
        matches!(
            self,
            Self::SecretMissing { .. }
                | Self::ConfigMapMissing { .. }
                | Self::SecretMalformed(_)
                | Self::AccountMissing { .. }
        )
    }
}
