//! `snapshots`: what the repository of an object holds, as its latest run told.

use std::io::Write as _;

use doppel::api::common::SnapshotStatus;
use indicatif::HumanBytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::args::{Output, SnapshotsArgs};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::object::{Method, Object};
use crate::status::json;
use crate::text;

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, namespace: &str, args: &SnapshotsArgs) -> Result<(), Error> {
    let object = cluster.find(namespace, args.which.name(), args.which.kind()).await?;
    if object.method != Method::One("restic") {
        let why = format!("its method is {}; only repositories of restic have snapshots", object.method);
        return Err(Error::Refused { object: object.to_string(), why });
    }
    let listed = List::of(&object);
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", json(&listed)?)?,
        Output::Table => write!(out, "{}", table(&object, &listed, Timestamp::now()))?,
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    /// When the repository was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Timestamp>,
    /// How many there are; the newest of them are the items.
    snapshots: i64,
    items: Vec<SnapshotStatus>,
}

impl List {
    fn of(object: &Object) -> Self {
        let sync = object.sync();
        let repository = sync.repository.unwrap_or_default();
        let items = repository.newest.unwrap_or_default();
        Self { seen: sync.last_sync_time.map(|time| time.0), snapshots: repository.snapshots.unwrap_or(0), items }
    }
}

fn table(object: &Object, list: &List, now: Timestamp) -> String {
    let Some(seen) = list.seen else {
        return format!("{object} was not synchronized yet, so it is not known what its repository holds.\n");
    };
    if list.snapshots == 0 && list.items.is_empty() {
        return format!(
            "The latest run of {object}, {}, did not list what its repository holds.\n",
            text::moment(seen, now)
        );
    }
    let mut text = String::new();
    if !list.items.is_empty() {
        text.push_str(&format!("{:<10}{:<22}{:<12}{:<12}{}\n", "SNAPSHOT", "TIME", "AGE", "SIZE", "COMPLETE"));
    }
    for SnapshotStatus { id, time, bytes, incomplete } in &list.items {
        let at = time.as_ref().map_or_else(|| "-".to_owned(), |time| format!("{:.0}", time.0));
        let age = time.as_ref().map_or_else(|| "-".to_owned(), |time| text::age(time.0, now));
        let size = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let size = size.map_or_else(|| "-".to_owned(), |size| HumanBytes(size).to_string());
        let complete = if *incomplete == Some(true) { "no" } else { "yes" };
        text.push_str(&format!(
            "{:<10}{at:<22}{age:<12}{size:<12}{complete}\n",
            text::one_line(id.as_deref().unwrap_or("-"))
        ));
    }
    let count = usize::try_from(list.snapshots).unwrap_or(0);
    let more = count.saturating_sub(list.items.len());
    let rest = if more > 0 { format!(", {more} of them older than these") } else { String::new() };
    text.push_str(&format!("{count} snapshots{rest}, as of {}\n", text::moment(seen, now)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn snapshots_are_listed_newest_first_with_what_is_left_out_said() {
        let object = fixtures::object("restic");
        let expected = include_str!("../tests/fixtures/snapshots.txt");
        let shown = table(&object, &List::of(&object), fixtures::now());
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn of_a_run_that_did_not_count_no_count_is_told() {
        let mut object = fixtures::object("restic");
        object.status.as_mut().unwrap().repository = None;
        let shown = table(&object, &List::of(&object), fixtures::now());
        assert!(shown.contains("did not list what its repository holds") && !shown.contains("0 snapshots"), "{shown}");
    }

    #[test]
    fn before_the_first_run_nothing_is_known() {
        let mut object = fixtures::object("restic");
        object.status = None;
        let shown = table(&object, &List::of(&object), fixtures::now());
        assert!(shown.contains("was not synchronized yet"), "{shown}");
    }
}
