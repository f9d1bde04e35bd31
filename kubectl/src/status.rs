//! `status`: both kinds in one table, once or as they change.

mod table;
mod watch;

use std::io::{IsTerminal as _, Write as _};

use doppel::api::common::ProgressStatus;
use jiff::Timestamp;
use serde::Serialize;

use crate::args::{Output, StatusArgs};
use crate::cluster::{Cluster, Scope};
use crate::error::Error;
use crate::object::{Kind, Object};
use crate::progress;
use crate::state::{self, Failure, Standing};
use table::Paint;

/// What the table, and `-o json`, have of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) namespace: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) standing: Standing,
    pub(crate) reason: String,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    pub(crate) paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<ProgressStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_sync_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_sync_duration: Option<String>,
    /// Of the next synchronization, or attempt at one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consecutive_failures: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_failure: Option<Failure>,
}

impl From<&Object> for Row {
    fn from(object: &Object) -> Self {
        let state = state::of(object);
        let sync = object.sync();
        Self {
            namespace: object.namespace.clone(),
            kind: object.kind,
            name: object.name.clone(),
            method: object.method.to_string(),
            standing: state.standing,
            reason: state.reason,
            message: state.message,
            since: state.since,
            paused: object.paused,
            progress: progress::of(object),
            last_sync_time: sync.last_sync_time.map(|time| time.0),
            last_sync_duration: sync.last_sync_duration.map(|text| crate::text::one_line(&text)),
            next_time: state::next(object),
            consecutive_failures: state::failures(object),
            last_failure: state::failure(object),
        }
    }
}

/// As `-o json` has a list.
#[derive(Serialize)]
struct List<'a> {
    items: &'a [Row],
}

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, namespace: &str, args: &StatusArgs) -> Result<(), Error> {
    let scope = if args.all_namespaces { Scope::Everywhere } else { Scope::Namespace(namespace.to_owned()) };
    // Also before watching: a watch tells of a missing right only by never telling anything.
    let objects = cluster.list(&scope, args.name.as_deref()).await?;
    if args.watch {
        return watch::run(cluster, &scope, args).await;
    }
    if objects.is_empty()
        && let Some(name) = &args.name
    {
        return Err(cluster.nothing_of(name, scope));
    }
    let rows: Vec<Row> = objects.iter().map(Row::from).collect();
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", json(&List { items: &rows })?)?,
        Output::Table if rows.is_empty() => eprintln!("{}", nothing(&scope)),
        Output::Table => write!(out, "{}", table::render(&rows, Timestamp::now(), paint()))?,
    }
    Ok(())
}

fn nothing(scope: &Scope) -> String {
    match scope {
        Scope::Everywhere => "There are no ReplicationSources or ReplicationDestinations.".to_owned(),
        Scope::Namespace(namespace) => format!(
            "There are no ReplicationSources or ReplicationDestinations in namespace {namespace}; -A looks in all namespaces."
        ),
    }
}

/// Colours are for people (https://no-color.org).
fn paint() -> Paint {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && std::io::stdout().is_terminal() { Paint::Colour } else { Paint::Plain }
}

/// As JSON for people and scripts.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))
}
