//! The table as it changes: drawn anew on a terminal, a line for each change elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;

use super::{Row, paint, table};
use crate::args::{Output, StatusArgs};
use crate::cluster::{Cluster, Scope};
use crate::error::Error;
use crate::object::Object;

/// Ages are in seconds.
const TICK: Duration = Duration::from_secs(1);
/// Changes come in bursts, ten patches for one synchronization; a person sees no more than this a second.
const CALM: Duration = Duration::from_millis(100);

/// Shows what changes, until Ctrl-C.
pub(super) async fn run(cluster: &Cluster, scope: &Scope, args: &StatusArgs) -> Result<(), Error> {
    let (sources, source_changes) = follow::<ReplicationSource>(cluster, scope, args.name.as_deref());
    let (destinations, destination_changes) = follow::<ReplicationDestination>(cluster, scope, args.name.as_deref());
    let mut changes = futures::stream::select(source_changes, destination_changes);
    let mut tick = tokio::time::interval(TICK);
    // One for the whole time: a new one would miss what came before it.
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut shown = Shown { rows: Vec::new(), trouble: None };
    loop {
        let is_tick = tokio::select! {
            change = changes.next() => {
                shown.trouble = change.and_then(Result::err);
                false
            }
            _ = tick.tick() => true,
            _ = &mut interrupt => return Ok(()),
        };
        if !(sources.is_ready() && destinations.is_ready()) {
            continue;
        }
        if !is_tick {
            tokio::time::sleep(CALM).await;
        }
        let mut rows: Vec<Row> = sources.rows();
        rows.extend(destinations.rows());
        rows.sort_by(|a, b| (&a.namespace, a.kind, &a.name).cmp(&(&b.namespace, b.kind, &b.name)));
        shown.show(rows, args.output)?;
    }
}

/// What was shown last.
struct Shown {
    rows: Vec<Row>,
    /// Why the watch is interrupted, while it is.
    trouble: Option<String>,
}

impl Shown {
    fn show(&mut self, rows: Vec<Row>, output: Output) -> Result<(), Error> {
        let now = Timestamp::now();
        let mut out = std::io::stdout().lock();
        match output {
            Output::Json => {
                for row in changed(&self.rows, &rows) {
                    let line = serde_json::to_string(row).map_err(|error| Error::Output(error.into()))?;
                    writeln!(out, "{line}")?;
                }
            }
            Output::Table if std::io::stdout().is_terminal() => {
                // Home, then each line erased as it is written, then what is below: no flicker (ECMA-48 CUP, EL, ED).
                let text = table::render(&rows, now, paint()).replace('\n', "\u{1b}[K\n");
                let trouble = self.trouble.as_deref().unwrap_or_default();
                write!(out, "\u{1b}[H{text}\u{1b}[K\n{now:.0}  Ctrl-C ends  {trouble}\u{1b}[K\u{1b}[J")?;
            }
            Output::Table => {
                let new: Vec<Row> = changed(&self.rows, &rows).cloned().collect();
                if !new.is_empty() {
                    write!(out, "{}", table::render(&new, now, paint()))?;
                }
            }
        }
        out.flush()?;
        self.rows = rows;
        Ok(())
    }
}

/// Rows that are not as they were.
fn changed<'a>(old: &[Row], new: &'a [Row]) -> impl Iterator<Item = &'a Row> {
    new.iter().filter(|row| !old.contains(row))
}

/// One kind's objects, as the watch knows them.
struct Followed<K: Resource<DynamicType = ()> + 'static>(Store<K>);

impl<K> Followed<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    Object: From<K>,
{
    fn is_ready(&self) -> bool {
        // Ready when it was listed once.
        futures::FutureExt::now_or_never(self.0.wait_until_ready()).is_some_and(|ready| ready.is_ok())
    }

    fn rows(&self) -> Vec<Row> {
        self.0.state().into_iter().map(|object| Row::from(&Object::from((*object).clone()))).collect()
    }
}

/// Follows one kind. The stream has an item for each change, and the words of each failure; it never ends.
fn follow<K>(
    cluster: &Cluster,
    scope: &Scope,
    name: Option<&str>,
) -> (Followed<K>, impl Stream<Item = Result<(), String>> + Unpin + use<K>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let mut config = watcher::Config::default();
    if let Some(name) = name {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let changes = watcher(cluster.scoped::<K>(scope), config)
        .default_backoff()
        .reflect(writer)
        .map(|event| event.map(|_| ()).map_err(|error| crate::text::one_line(&error.to_string())));
    (Followed(store), Box::pin(changes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn only_what_changed_is_told_again() {
        let row = |name: &str| Row::from(&fixtures::object(name));
        let (old, mut new) = ([row("idle"), row("running")], [row("idle"), row("running")]);
        assert_eq!(changed(&old, &new).count(), 0);
        new[1].reason = "CleaningUp".to_owned();
        assert_eq!(changed(&old, &new).map(|row| row.name.as_str()).collect::<Vec<_>>(), ["running"]);
    }
}
