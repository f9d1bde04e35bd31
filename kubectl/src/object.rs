//! PURE: a ReplicationSource or a ReplicationDestination as one value, with what both have and a person asks for.

use std::fmt;

use clap::ValueEnum;
use doppel::api::common::{SyncStatus, Trigger};
use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use serde::Serialize;

/// Which of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
pub(crate) enum Kind {
    /// ReplicationSource
    #[serde(rename = "ReplicationSource")]
    Source,
    /// ReplicationDestination
    #[serde(rename = "ReplicationDestination")]
    Destination,
}

impl Kind {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Source, Self::Destination];

    /// As a table has it.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }

    /// As the API's paths have it.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Source => "replicationsources",
            Self::Destination => "replicationdestinations",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "ReplicationSource",
            Self::Destination => "ReplicationDestination",
        })
    }
}

/// An object of either kind.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: Option<String>,
    /// Of the spec, counted by the API server.
    pub(crate) generation: Option<i64>,
    /// How data travels.
    pub(crate) method: Method,
    pub(crate) trigger: Trigger,
    pub(crate) paused: bool,
    pub(crate) ends: Ends,
    /// What is known of its synchronizations; absent before anybody looked at the object.
    pub(crate) status: Option<SyncStatus>,
}

/// What an object connects, as far as its method has these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The user's claim: what is copied, or received into.
    pub(crate) claim: Option<String>,
    /// Of a source where it connects to, of a destination where it listens.
    pub(crate) address: Option<String>,
    /// Likewise; the method's own where it is absent.
    pub(crate) port: Option<i32>,
    /// The Secret with the key, or with what opens the repository.
    pub(crate) key_secret: Option<String>,
    /// Whether the operator made it: the spec names none.
    pub(crate) key_is_generated: bool,
    /// Kind and name of the latest image.
    pub(crate) image: Option<(String, String)>,
}

/// How data travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Method {
    /// By the one section of the spec.
    One(&'static str),
    /// By a provider of this name.
    External(String),
    /// No section, or several: the operator refuses it.
    Unclear,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => f.write_str(name),
            Self::External(_) => f.write_str("external"),
            Self::Unclear => f.write_str("-"),
        }
    }
}

impl Object {
    /// The section of its spec, as messages name it.
    pub(crate) fn section(&self) -> &'static str {
        match self.method {
            Method::One("restic") => "spec.restic",
            Method::One("rclone") => "spec.rclone",
            Method::One("rsync") => "spec.rsync",
            Method::One(_) | Method::External(_) | Method::Unclear => "spec.rsyncTLS",
        }
    }

    /// What is known of its synchronizations.
    pub(crate) fn sync(&self) -> SyncStatus {
        self.status.clone().unwrap_or_default()
    }

    /// The schedule, whether in force or not.
    pub(crate) fn schedule(&self) -> Option<&str> {
        self.trigger.schedule.as_deref().filter(|schedule| !schedule.is_empty())
    }

    /// The manual trigger. While there is one, a schedule is not in force.
    pub(crate) fn manual(&self) -> Option<&str> {
        self.trigger.manual.as_deref().filter(|manual| !manual.is_empty())
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A field that says something: an empty text is none to the operator either.
fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn method(sections: &[(bool, &'static str)], external: Option<Option<String>>) -> Method {
    let mut given = sections.iter().filter(|(is_given, _)| *is_given).map(|(_, name)| *name);
    match (given.next(), given.next(), external) {
        (Some(name), None, None) => Method::One(name),
        (None, _, Some(provider)) => Method::External(provider.unwrap_or_default()),
        _ => Method::Unclear,
    }
}

impl From<ReplicationSource> for Object {
    fn from(source: ReplicationSource) -> Self {
        let ReplicationSource { metadata, spec, status } = source;
        let sections = [
            (spec.rsync_tls.is_some(), "rsync-tls"),
            (spec.rsync.is_some(), "rsync"),
            (spec.restic.is_some(), "restic"),
            (spec.rclone.is_some(), "rclone"),
            (spec.syncthing.is_some(), "syncthing"),
        ];
        let tls = spec.rsync_tls.as_deref();
        let generated = status.as_ref().and_then(|status| status.rsync_tls.as_ref()?.key_secret.clone());
        let repository = spec.restic.as_ref().and_then(|restic| restic.repository.as_ref());
        let users = given(tls.and_then(|tls| tls.key_secret.as_ref()).or(repository));
        let ends = Ends {
            claim: given(spec.source_pvc.as_ref()),
            address: given(tls.and_then(|tls| tls.address.as_ref())),
            port: tls.and_then(|tls| tls.port),
            key_is_generated: users.is_none() && generated.is_some(),
            key_secret: users.or(generated),
            image: None,
        };
        Self {
            kind: Kind::Source,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            method: method(&sections, spec.external.map(|external| external.provider)),
            paused: spec.paused == Some(true),
            trigger: spec.trigger.unwrap_or_default(),
            ends,
            status: status.map(|status| status.sync),
        }
    }
}

impl From<ReplicationDestination> for Object {
    fn from(destination: ReplicationDestination) -> Self {
        let ReplicationDestination { metadata, spec, status } = destination;
        let sections = [
            (spec.rsync_tls.is_some(), "rsync-tls"),
            (spec.rsync.is_some(), "rsync"),
            (spec.restic.is_some(), "restic"),
            (spec.rclone.is_some(), "rclone"),
        ];
        let volume = spec.rsync_tls.as_ref().map(|tls| &tls.volume);
        let volume = volume.or(spec.restic.as_ref().map(|restic| &restic.volume));
        let repository = spec.restic.as_ref().and_then(|restic| restic.repository.as_ref());
        let claim = given(volume.and_then(|volume| volume.destination_pvc.as_ref()));
        let users = given(spec.rsync_tls.as_ref().and_then(|tls| tls.key_secret.as_ref()).or(repository));
        let seen = status.as_ref().and_then(|status| status.rsync_tls.clone()).unwrap_or_default();
        let image = status.as_ref().and_then(|status| status.latest_image.as_ref());
        let ends = Ends {
            claim,
            address: given(seen.address.as_ref()),
            port: seen.port,
            key_is_generated: users.is_none() && seen.key_secret.is_some(),
            key_secret: users.or(seen.key_secret),
            image: image.map(|image| (image.kind.clone(), image.name.clone())),
        };
        Self {
            kind: Kind::Destination,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            method: method(&sections, spec.external.map(|external| external.provider)),
            paused: spec.paused == Some(true),
            trigger: spec.trigger.unwrap_or_default(),
            ends,
            status: status.map(|status| status.sync),
        }
    }
}
