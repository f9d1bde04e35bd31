//! What was typed, and what the program uses of it.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

use crate::model::pod::MoverImage;

/// Keeps a double of every volume: replicates PersistentVolumeClaims, serving the VolSync API.
#[derive(Debug, Parser)]
#[command(name = "doppel", version, about)]
pub struct Typed {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `doppel` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Operator(OperatorArgs),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
}

/// How the operator runs. Each flag can be given as an environment variable.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    /// Image of the movers: the one that holds /doppel-mover.
    #[arg(long, env = "MOVER_IMAGE")]
    pub mover_image: String,
    /// Secrets of the operator's namespace with which the movers' image is pulled, separated by commas. Each is copied to
    /// where movers run; not for movers with a ServiceAccount of the user's.
    #[arg(long, env = "MOVER_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub mover_image_pull_secrets: Vec<String>,
    /// Namespace of the operator's own Lease, and of its Secrets.
    #[arg(long, env = "POD_NAMESPACE", default_value = "doppel-system")]
    pub namespace: String,
    /// Name under which this instance holds the Lease.
    #[arg(long, env = "POD_NAME", default_value = "doppel")]
    pub identity: String,
    /// Whether to wait for the Lease before acting. Without it only one instance may run.
    #[arg(long, env = "LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Address of /healthz and /readyz.
    #[arg(long, env = "HEALTH_PROBE_BIND_ADDRESS", default_value = "[::]:8081")]
    pub health_probe_bind_address: SocketAddr,
    /// Address of /metrics.
    #[arg(long, env = "METRICS_BIND_ADDRESS", default_value = "[::]:8080")]
    pub metrics_bind_address: SocketAddr,
    /// Which log lines to write, as tracing-subscriber's EnvFilter reads it.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

impl OperatorArgs {
    /// The image that movers are started from.
    #[must_use]
    pub fn image(&self) -> MoverImage {
        let names = self.mover_image_pull_secrets.iter().map(|name| name.trim());
        MoverImage {
            reference: self.mover_image.clone(),
            namespace: self.namespace.clone(),
            // An empty list is one empty word.
            pull_secrets: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        }
    }
}
