//! What the commands by hand print.

use std::fmt::Write;

use doppel_contract::{LeftOut, Line};
use doppel_restic::check::Checked;
use doppel_restic::forget::Forgotten;
use doppel_restic::prune::Pruned;
use doppel_restic::snapshots::Stored;
use indicatif::{HumanBytes, HumanCount};

/// A line for each snapshot.
pub(super) fn table(all: &[Stored]) -> String {
    let mut text = format!("{:8}  {:20}  {:12}  {:>10}  {}\n", "ID", "Time", "Host", "Size", "Paths");
    for Stored { id, snapshot } in all {
        let time = snapshot.time.at().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let size = snapshot.summary.map(|summary| HumanBytes(summary.counts.total_bytes_processed).to_string());
        let host = Line::new(&snapshot.hostname);
        let mut paths = Line::new(snapshot.paths.join(" ")).to_string();
        if !snapshot.is_complete() {
            paths.push_str("  (incomplete)");
        }
        let _ = writeln!(text, "{:8}  {time:20}  {host:12}  {:>10}  {paths}", id.short(), size.unwrap_or_default());
    }
    let _ = writeln!(text, "{} snapshots", HumanCount(all.len() as u64));
    text
}

/// As `restic snapshots --json` prints it: the snapshot's own fields, its ID, and the begin of that.
pub(super) fn json(all: &[Stored]) -> String {
    let values = all.iter().filter_map(|Stored { id, snapshot }| {
        let mut value = serde_json::to_value(snapshot).ok()?;
        let fields = value.as_object_mut()?;
        fields.insert("id".to_owned(), id.to_string().into());
        fields.insert("short_id".to_owned(), id.short().into());
        Some(value)
    });
    format!("{}\n", serde_json::Value::Array(values.collect()))
}

pub(super) fn forgotten(forgotten: &Forgotten, dry_run: bool) -> String {
    let Forgotten { kept, removed } = forgotten;
    let done = if dry_run { "would be forgotten" } else { "forgotten" };
    let mut text = String::new();
    for stored in removed {
        let time = stored.snapshot.time.at();
        let _ = writeln!(text, "{}  {time}  {done}", stored.id.short());
    }
    let _ =
        writeln!(text, "{} snapshots {done}, {} kept", HumanCount(removed.len() as u64), HumanCount(kept.len() as u64));
    text
}

pub(super) fn pruned(pruned: &Pruned) -> String {
    let Pruned { packs_removed, packs_repacked, bytes_removed, bytes_repacked, bytes_unused } = pruned;
    format!(
        "removed {} packs with {}, {} of them written anew with {}; {} of unneeded content stay\n",
        HumanCount(*packs_removed),
        HumanBytes(*bytes_removed),
        HumanCount(*packs_repacked),
        HumanBytes(*bytes_repacked),
        HumanBytes(*bytes_unused)
    )
}

pub(super) fn checked(checked: &Checked) -> String {
    let Checked { damage, remarks, snapshots, trees, packs, packs_read } = checked;
    let mut text = String::new();
    list(&mut text, "damaged", damage);
    list(&mut text, "remark", remarks);
    let verdict =
        if damage.is_empty() { "no damage was found".to_owned() } else { format!("{} damaged", damage.count) };
    let _ = writeln!(text, "{snapshots} snapshots, {trees} trees, {packs} packs, {packs_read} of them read: {verdict}");
    text
}

fn list(text: &mut String, word: &str, entries: &LeftOut) {
    for entry in &entries.first {
        let _ = writeln!(text, "{word}: {}: {}", entry.path, entry.why);
    }
    let unlisted = entries.count.saturating_sub(entries.first.len() as u64);
    if unlisted > 0 {
        let _ = writeln!(text, "{word}: {unlisted} more");
    }
}
