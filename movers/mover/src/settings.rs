//! What the program uses: one request, and where the report goes besides.

use std::env;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use doppel_contract::{
    EmptySource, Fault, Line, REQUEST_ENV, Report, Request, Retry, RsyncTlsDestination, RsyncTlsSource,
    TERMINATION_MESSAGE_PATH, Tally, Verdict, Verification, Work,
};

use crate::args::{Args, Command, Common, RsyncTls};
use crate::restic::args::Restic;
use crate::run::write_termination_message;

/// What the process does.
#[derive(Debug)]
pub(crate) enum Task {
    /// One run.
    Run(Settings),
    /// A command of a restic repository, by hand.
    Restic(Restic, Audience),
}

/// What one run does.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) request: Request,
    /// Where the kubelet looks for the report.
    pub(crate) termination_message: Option<PathBuf>,
    pub(crate) audience: Audience,
}

/// Who is looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A person at a terminal.
    Person,
    /// A program, or a log that one reads later.
    Program,
}

impl Args {
    /// What the typed words mean, together with the environment.
    pub(crate) fn task(self) -> anyhow::Result<Task> {
        let audience = if std::io::stderr().is_terminal() { Audience::Person } else { Audience::Program };
        let (request, termination_message) = match self.command {
            Command::Restic(restic) => return Ok(Task::Restic(restic, audience)),
            Command::Run { termination_message } => {
                let path = termination_message.or_else(kubelets_file);
                let request = requested().inspect_err(|error| report_misunderstanding(path.as_deref(), error))?;
                (request, path)
            }
            Command::RsyncTls(command) => (typed(command), None),
        };
        Ok(Task::Run(Settings { request, termination_message, audience }))
    }
}

fn kubelets_file() -> Option<PathBuf> {
    Some(PathBuf::from(TERMINATION_MESSAGE_PATH)).filter(|path| path.exists())
}

fn requested() -> anyhow::Result<Request> {
    let json = env::var(REQUEST_ENV).with_context(|| format!("read the request from the variable {REQUEST_ENV}"))?;
    serde_json::from_str(&json).with_context(|| format!("read the request in the variable {REQUEST_ENV}"))
}

/// Whoever wrote the request finds it in the pod's status.
fn report_misunderstanding(path: Option<&Path>, error: &anyhow::Error) {
    let verdict = Verdict::Failed {
        fault: Fault::Ours,
        retry: Retry::AfterChange,
        message: Line::new(format!("{error:#}; operator and mover must be of one version")),
    };
    let report =
        Report { verdict, tally: Tally::default(), remarks: Default::default(), repository: None, elapsed_ms: 0 };
    write_termination_message(path, &report);
}

fn typed(command: RsyncTls) -> Request {
    match command {
        RsyncTls::Source { common, address, port, verify } => request(common, |key_file, empty_source| {
            let verification = if verify { Verification::Checksums } else { Verification::None };
            Work::RsyncTlsSource(RsyncTlsSource { address, port, key_file, empty_source, verification })
        }),
        RsyncTls::Destination { common, port } => request(common, |key_file, empty_source| {
            Work::RsyncTlsDestination(RsyncTlsDestination { port, key_file, empty_source })
        }),
    }
}

fn request(common: Common, work: impl FnOnce(PathBuf, EmptySource) -> Work) -> Request {
    let Common { what, key_file, allow_empty_source, deadline } = common;
    let empty_source = if allow_empty_source { EmptySource::Accept } else { EmptySource::Refuse };
    Request {
        volume: what.volume(),
        work: work(key_file, empty_source),
        deadline_seconds: deadline,
        progress_port: None,
    }
}
