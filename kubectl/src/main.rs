//! `kubectl doppel`: what replications do and why they wait, from a terminal. It is found by kubectl as a plugin, and runs by
//! itself, too.
//!
//! It is a client like kubectl: it has its user's rights, and talks to the API server only. What it says of an object is in the
//! object's status; nothing is decided here that the operator decides. Each verb is a module; what they print is built by
//! pure functions (`state`, `text`, `status::table`, `sync::progress`, `explain::page`, `pair::manifest`).

mod args;
mod cluster;
mod error;
mod explain;
#[cfg(test)]
mod fixtures;
mod follow;
mod object;
mod pair;
mod progress;
mod restore;
mod snapshots;
mod state;
mod status;
mod sync;
mod text;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Command, CompletionShell, Connection, Typed};
use crate::cluster::{Cluster, Contexts};
use crate::error::Error;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Typed::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has enough, as in `| head`.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.code() as u8)
        }
    }
}

async fn run(typed: Typed) -> Result<(), Error> {
    let Typed { connection, command } = typed;
    match command {
        Command::Completion { shell } => completion(shell),
        Command::Status(args) => {
            let (cluster, namespace) = connect(&connection).await?;
            status::run(&cluster, &namespace, &args).await
        }
        Command::Explain(args) => {
            let (cluster, namespace) = connect(&connection).await?;
            explain::run(&cluster, &namespace, &args.which).await
        }
        Command::Snapshots(args) => {
            let (cluster, namespace) = connect(&connection).await?;
            snapshots::run(&cluster, &namespace, &args).await
        }
        Command::Restore(args) => {
            let (cluster, namespace) = connect(&connection).await?;
            restore::run(&cluster, &namespace, &args).await
        }
        Command::Pair(args) => pair::run(&connection, &args).await,
        Command::Sync(args) => {
            let (cluster, namespace) = connect(&connection).await?;
            sync::run(&cluster, &namespace, &args).await
        }
    }
}

/// The cluster and the namespace that one object, or one table, is looked for in.
async fn connect(connection: &Connection) -> Result<(Cluster, String), Error> {
    let contexts = Contexts::read(connection.kubeconfig.as_deref())?;
    let cluster = contexts.connect(connection.context.as_deref()).await?;
    let namespace = connection.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
    Ok((cluster, namespace))
}

fn completion(shell: CompletionShell) -> Result<(), Error> {
    let mut out = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(shell), &mut Typed::command(), "kubectl-doppel", &mut out);
    Ok(std::io::stdout().write_all(&out)?)
}
