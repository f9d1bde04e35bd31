//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Shows what the replications of Doppel (and VolSync) do, and what went wrong.
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
Exit codes: 0 done; 1 it could not be done; 2 what was typed cannot be carried out; 5 the object, or the API, is not there;
6 no permission.";

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
    /// (somebody should look), "held" (paused), "-" (nobody said, as for objects of VolSync).
    Status(StatusArgs),
    /// Print a completion script.
    ///
    /// For the program by its own name: source <(kubectl-doppel completion bash).
    Completion {
        /// For which shell.
        shell: CompletionShell,
    },
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Typed::command().debug_assert();
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
