//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::object::Kind;

/// Shows what the replications of Doppel (and VolSync) do, why they wait and what to do about it, begins one, and pairs volumes of two clusters.
///
/// It acts with your own rights on the cluster of your kubeconfig's current context. Objects that VolSync serves are understood,
/// too; they tell less.
#[derive(Debug, Parser)]
#[command(name = "kubectl-doppel", bin_name = "kubectl doppel", version, after_help = CODES)]
pub(crate) struct Typed {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const CODES: &str = "\
Exit codes: 0 done; 1 it could not be done; 2 what was typed cannot be carried out; 3 a synchronization failed; 4 not done in time;
5 the object, or the API, is not there; 6 no permission; 7 an object of a needed name is somebody else's; 130 interrupted.";

/// How clusters are reached.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The kubeconfig; in place of KUBECONFIG and ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig to use, in place of the current one.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The namespace, in place of the context's own.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show sources and destinations in one table: what each does, its last and next synchronization, and what went wrong.
    ///
    /// READY says whether the copy that is asked for is there: "yes", "not yet" (it will be, without anybody's help), "stalled"
    /// (somebody should look: kubectl doppel explain NAME), "held" (paused), "-" (nobody said, as for objects of VolSync).
    Status(StatusArgs),
    /// Say what one object does, what it waits for and since when, what failed, what it is made of, and what to do next.
    ///
    /// It only reads: the object, its Jobs, pods, Services, claims and snapshots, whether its key's Secret is there (never what is in
    /// it), and warning Events about all of these. What you may not read is left out, and said to be.
    Explain(ExplainArgs),
    /// Begin a synchronization now.
    ///
    /// It sets spec.trigger.manual to a value of its own. While that is set, a schedule is not in force; so where there is a
    /// schedule, the value is taken back as soon as the synchronization has begun, and the schedule goes on.
    Sync(SyncArgs),
    /// List the newest snapshots in the repository of an object, as its latest run told.
    Snapshots(SnapshotsArgs),
    /// Fill a claim from a repository: from its newest snapshot, or from the newest that was made at a time or before.
    ///
    /// It writes a ReplicationDestination, restore-PVC, that reaches the repository as NAME does, and waits until the claim is filled. Run
    /// again, that object is used again. A claim that is not there is made like the one that was backed up.
    Restore(RestoreArgs),
    /// Replicate a volume into another cluster: make destination, key and source in one go.
    ///
    /// It creates a ReplicationDestination (rsyncTLS), waits until that has an address and a key, copies the key's Secret beside the
    /// source (as NAME-psk), and creates the ReplicationSource. All that can be wrong is looked for first, in both clusters. Run it again
    /// after a failure: what is there is kept, what is missing is made. An option that is given then changes what this made before, and
    /// the fields are told; objects of others, and of other pairs, are never touched.
    ///
    /// To undo it, delete the ReplicationSource and the Secret NAME-psk, then the ReplicationDestination, and with it the double.
    #[command(after_help = PAIR_EXAMPLES)]
    Pair(Box<PairArgs>),
    /// Print a completion script.
    ///
    /// For the program by its own name: source <(kubectl-doppel completion bash).
    Completion {
        /// For which shell.
        shell: CompletionShell,
    },
}

const PAIR_EXAMPLES: &str = "\
Examples:
  # Claim data in namespace shop of cluster west gets a double in cluster east, every night.
  kubectl doppel pair west/shop/data east/shop --schedule '0 3 * * *'

  # The same from the current context and namespace, under another name; see first what would be made.
  kubectl doppel pair data east/shop/data-of-west --schedule '0 3 * * *' --dry-run

  # Once now, and then by hand.
  kubectl doppel pair west/shop/data east/shop && kubectl doppel --context west -n shop sync data --kind source --wait";

/// One object.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The name of a ReplicationSource or a ReplicationDestination; or KIND/NAME, as kubectl prints it.
    #[arg(value_name = "NAME", value_parser = named)]
    named: Named,
    /// Which of the two, where both have the name.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    kind: Option<Kind>,
    name: String,
}

impl Which {
    pub(crate) fn name(&self) -> &str {
        &self.named.name
    }

    pub(crate) fn kind(&self) -> Option<Kind> {
        self.named.kind.or(self.kind)
    }
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Only objects of this name.
    pub(crate) name: Option<String>,
    /// In all namespaces.
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// How to write it. With --watch, JSON is one object a line, for each that changed.
    #[arg(long, short, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// Stay, and show what changes until Ctrl-C.
    #[arg(long, short)]
    pub(crate) watch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) which: Which,
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Wait until it is done, and show how far it is. Ctrl-C ends the waiting, not the synchronization.
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// How many failed attempts in a row are a failure. The operator goes on trying in any case.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempts: u32,
    /// How long to wait: 90s, 10m, 2h. With --wait as long as it takes where it is absent, otherwise 1m for the begin.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct SnapshotsArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How to write it.
    #[arg(long, short, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The newest snapshot made at this time or before: 2026-11-23T04:05:06Z. The newest of all where it is absent.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<jiff::Timestamp>,
    /// The claim to fill; one that is there is written into. Where it is absent, a new one: the claim's name and -restored.
    #[arg(long, value_name = "PVC")]
    pub(crate) to: Option<String>,
    /// Delete what is in the claim and not in the snapshot.
    #[arg(long)]
    pub(crate) delete: bool,
    /// How long to wait: 90s, 10m, 2h. As long as it takes where it is absent.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print the manifests, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// The claim to copy: [[CONTEXT/]NAMESPACE/]PVC. What is left out is that of --context and -n, or the current one.
    pub(crate) source: String,
    /// Where its double is to be: CONTEXT/NAMESPACE[/NAME]. NAME is that of the objects that are made; the claim's where it is absent.
    pub(crate) destination: String,
    /// When to synchronize, as a cron schedule: '0 3 * * *', '@daily', 'CRON_TZ=Europe/Berlin 0 3 * * *'.
    #[arg(long, value_name = "CRON")]
    pub(crate) schedule: Option<String>,
    /// Synchronize once now, and then whenever `kubectl doppel sync` says so. So it is where neither is said of a new pair.
    #[arg(long, conflicts_with = "schedule")]
    pub(crate) manual: bool,
    /// How the source's volume is held still while it is copied; by a Snapshot where it is absent.
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) copy_method: Option<SourceCopy>,
    /// What of the destination can be used: a Snapshot after each synchronization, or the volume itself (Direct); Snapshot where it is absent.
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) destination_copy_method: Option<DestinationCopy>,
    /// How the destination is reached. Where it is absent, LoadBalancer between two contexts and ClusterIP within one.
    ///
    /// ClusterIP between two clusters needs a network that both are in.
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) service_type: Option<ServiceType>,
    /// The size of the double; the claim's where it is absent.
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) capacity: Option<String>,
    /// Access modes of the double, separated by commas; the claim's where they are absent.
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    pub(crate) access_modes: Vec<String>,
    /// The StorageClass of the double; its cluster's default where it is absent.
    #[arg(long, value_name = "NAME")]
    pub(crate) storage_class: Option<String>,
    /// How long to wait for the destination's address and key: 90s, 10m, 2h.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Print the manifests, without the key, and change nothing. The API servers check them all the same.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum SourceCopy {
    Snapshot,
    Clone,
    Direct,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum DestinationCopy {
    Snapshot,
    Direct,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServiceType {
    #[value(name = "ClusterIP")]
    ClusterIp,
    #[value(name = "LoadBalancer")]
    LoadBalancer,
}

impl ServiceType {
    /// As the API has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

impl From<CompletionShell> for Shell {
    fn from(shell: CompletionShell) -> Self {
        match shell {
            CompletionShell::Bash => Self::Bash,
            CompletionShell::Zsh => Self::Zsh,
            CompletionShell::Fish => Self::Fish,
        }
    }
}

/// A year: longer is a slip of the fingers, and every wait ends.
const LONGEST: Duration = Duration::from_hours(8_760);

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write it as 90s, 10m or 2h".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        _ => return Err(wrong()),
    };
    let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    // Unlike u64's own parser: no sign.
    let count = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<u64>().ok()).flatten();
    let seconds = count.and_then(|count| count.checked_mul(unit)).ok_or_else(wrong)?;
    let duration = Duration::from_secs(seconds);
    if duration.is_zero() || duration > LONGEST {
        return Err("between 1s and 8760h".to_owned());
    }
    Ok(duration)
}

/// No name of an object has a slash, so that what stands before one is a kind, in any form that kubectl takes.
fn named(text: &str) -> Result<Named, String> {
    let Some((kind, name)) = text.split_once('/') else {
        return Ok(Named { kind: None, name: text.to_owned() });
    };
    let written = kind.to_lowercase();
    let written = written.strip_suffix(".volsync.backube").unwrap_or(&written);
    let is = |kind: &Kind| [kind.short(), kind.plural(), &kind.to_string().to_lowercase()].contains(&written);
    match Kind::ALL.into_iter().find(is) {
        Some(kind) => Ok(Named { kind: Some(kind), name: name.to_owned() }),
        None => Err(format!("{kind} is neither replicationsource nor replicationdestination")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Typed::command().debug_assert();
    }

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7_200)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds));
        }
        for wrong in ["", "s", "0s", "90", "+5m", "-5m", "1.5h", "9999999999999999999h", "8761h", "5ä"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_object_can_be_named_as_kubectl_prints_it() {
        let source = |name: &str| Ok(Named { kind: Some(Kind::Source), name: name.to_owned() });
        assert_eq!(named("data"), Ok(Named { kind: None, name: "data".to_owned() }));
        for text in [
            "replicationsource.volsync.backube/data",
            "ReplicationSource/data",
            "replicationsources/data",
            "source/data",
        ] {
            assert_eq!(named(text), source("data"), "{text}");
        }
        let refused = named("pvc/data").unwrap_err();
        assert_eq!(refused, "pvc is neither replicationsource nor replicationdestination");
    }

    #[test]
    fn flags_stand_before_and_after_the_command() {
        for line in [["kubectl-doppel", "-n", "shop", "status"], ["kubectl-doppel", "status", "-n", "shop"]] {
            assert_eq!(Typed::try_parse_from(line).unwrap().connection.namespace.as_deref(), Some("shop"));
        }
    }

    #[test]
    fn one_namespace_and_all_of_them_exclude_each_other() {
        assert!(Typed::try_parse_from(["kubectl-doppel", "status", "-A", "-n", "shop"]).is_err());
    }
}
