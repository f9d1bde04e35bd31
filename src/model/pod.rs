//! A mover's pod: what users say about it, what it mounts beside the volume, and where it must run.
//!
//! Objects of Kubernetes' API are carried through as JSON: only `resources` looks into them.

use serde::Serialize;
use serde_json::Value;

/// What a user says about a mover's pod.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PodSettings {
    /// `PodSecurityContext`.
    pub security_context: Option<Value>,
    /// ServiceAccount to use instead of a generated one.
    pub service_account: Option<String>,
    /// Labels to add.
    pub labels: Vec<(String, String)>,
    /// `ResourceRequirements`.
    pub resources: Option<Value>,
    /// `Affinity`.
    pub affinity: Option<Value>,
    /// Additional volumes.
    pub volumes: Vec<ExtraVolume>,
}

impl PodSettings {
    /// The claims among the additional volumes.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().filter_map(|volume| match &volume.content {
            Content::Claim { name, .. } => Some(name.as_str()),
            Content::Secret { .. } | Content::Nfs(_) => None,
        })
    }

    /// The Secrets among the additional volumes.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().filter_map(|volume| match &volume.content {
            Content::Secret { name, .. } => Some(name.as_str()),
            Content::Claim { .. } | Content::Nfs(_) => None,
        })
    }
}

/// One of `moverVolumes`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtraVolume {
    /// Its name in the pod; no other volume there has it.
    pub name: String,
    /// Where it is mounted: an absolute path beneath `/mnt`.
    pub mount_path: String,
    /// What is mounted there.
    pub content: Content,
}

/// What an additional volume holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Content {
    /// Files of a Secret.
    Secret {
        /// The Secret.
        name: String,
        /// Whether the pod can do without it.
        need: Need,
        /// `SecretVolumeSource`.
        source: Value,
    },
    /// A claim.
    Claim {
        /// The claim.
        name: String,
        /// `PersistentVolumeClaimVolumeSource`.
        source: Value,
    },
    /// A directory of an NFS server: `NFSVolumeSource`.
    Nfs(Value),
}

/// Whether a pod can do without something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Need {
    /// It cannot.
    Required,
    /// It can.
    Optional,
}

/// How much a mover logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Verbosity {
    /// What a user may have to know.
    #[default]
    Normal,
    /// Everything.
    Debug,
}

/// The image that movers are started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoverImage {
    /// Its reference.
    pub reference: String,
    /// The operator's namespace, which holds the Secrets for pulling it.
    pub namespace: String,
    /// Their names. A pod needs a copy of each in its own namespace.
    pub pull_secrets: Vec<String>,
    /// Environment variables that name proxies, for movers that go to stores.
    pub proxies: Vec<(&'static str, String)>,
}

/// Where a mover must run so that it can use a volume that a pod uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The node to which the volume is attached.
    pub node: String,
    /// What that pod tolerates, and so its node may demand: a list of `Toleration`.
    pub tolerations: Vec<Value>,
    /// That pod.
    #[serde(skip)]
    pub pod: String,
}
