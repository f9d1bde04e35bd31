//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::object::Kind;

/// Shows what the replications of Doppel (and VolSync) do and why they wait, and begins one.
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
5 the object, or the API, is not there; 6 no permission; 130 interrupted.";

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
    /// (somebody should look: -o json has the whole message), "held" (paused), "-" (nobody said, as for objects of VolSync).
    Status(StatusArgs),
    /// Begin a synchronization now.
    ///
    /// It sets spec.trigger.manual to a value of its own. While that is set, a schedule is not in force; so where there is a
    /// schedule, the value is taken back as soon as the synchronization has begun, and the schedule goes on.
    Sync(SyncArgs),
    /// Print a completion script.
    ///
    /// For the program by its own name: source <(kubectl-doppel completion bash).
    Completion {
        /// For which shell.
        shell: CompletionShell,
    },
}

/// One object.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The name of a ReplicationSource or a ReplicationDestination.
    pub(crate) name: String,
    /// Which of the two, where both have the name.
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
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
