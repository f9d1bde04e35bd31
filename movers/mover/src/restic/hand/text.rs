//! What the commands by hand print.

use std::fmt::Write;

use doppel_contract::{LeftOut, Line};
use doppel_restic::check::Checked;
use doppel_restic::copy::Copied;
use doppel_restic::forget::Forgotten;
use doppel_restic::look::Entry;
use doppel_restic::prune::Pruned;
use doppel_restic::snapshots::Stored;
use doppel_restic::stats::Stats;
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Map, Value, json};

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
    let values = all.iter().map(|stored| Value::Object(fields(stored)));
    format!("{}\n", Value::Array(values.collect()))
}

fn fields(Stored { id, snapshot }: &Stored) -> Map<String, Value> {
    let mut fields = match serde_json::to_value(snapshot) {
        Ok(Value::Object(fields)) => fields,
        // A snapshot is an object.
        _ => Map::new(),
    };
    fields.insert("id".to_owned(), id.to_string().into());
    fields.insert("short_id".to_owned(), id.short().into());
    fields
}

/// As `restic ls --json` begins.
pub(super) fn snapshot_line(stored: &Stored) -> String {
    let mut fields = fields(stored);
    for name in ["message_type", "struct_type"] {
        fields.insert(name.to_owned(), "snapshot".into());
    }
    format!("{}\n", Value::Object(fields))
}

/// As `restic ls --json` says it.
pub(super) fn entry_json(entry: &Entry<'_>) -> String {
    let Entry { path, name, kind, mode, uid, gid, size, modified, accessed, changed, inode, target: _ } = entry;
    let mut value = json!({
        "name": String::from_utf8_lossy(name), "type": kind, "path": String::from_utf8_lossy(path), "uid": uid, "gid": gid,
        "mode": mode, "permissions": permissions(*mode), "mtime": modified, "atime": accessed, "ctime": changed,
        "inode": inode, "message_type": "node", "struct_type": "node",
    });
    if let (Some(size), Some(fields)) = (size, value.as_object_mut()) {
        fields.insert("size".to_owned(), (*size).into());
    }
    format!("{value}\n")
}

/// As `restic ls --long` says it, with the time in UTC.
pub(super) fn entry_long(entry: &Entry<'_>) -> String {
    let time = entry.modified.get(..19).unwrap_or_default().replace('T', " ");
    let target = if entry.target.is_empty() { String::new() } else { format!(" -> {}", printable(entry.target)) };
    let (mode, path, size) = (permissions(entry.mode), printable(&entry.path), entry.size.unwrap_or_default());
    format!("{mode} {:5} {:5} {size:6} {time} {path}{target}\n", entry.uid, entry.gid)
}

/// A mode as Go's `fs.FileMode` prints it: the letters of its upper bits, and the nine that everybody knows.
fn permissions(mode: u32) -> String {
    let is_set = |bit: u32| mode & (1 << bit) != 0;
    let letters = "dalTLDpSugct?".chars().zip((19..32).rev()).filter(|(_, bit)| is_set(*bit));
    let mut text: String = letters.map(|(letter, _)| letter).collect();
    if text.is_empty() {
        text.push('-');
    }
    text.extend("rwxrwxrwx".chars().zip((0..9).rev()).map(|(letter, bit)| if is_set(bit) { letter } else { '-' }));
    text
}

/// Names of any length, of which no byte does anything to a terminal.
pub(super) fn printable(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() { text.extend(character.escape_default()) } else { text.push(character) }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

pub(super) fn stats(stats: &Stats) -> String {
    let Stats { snapshots, bytes, files, blobs, uncompressed, compressed: _ } = stats;
    let mut text = format!("{} snapshots\n", HumanCount(*snapshots));
    for (count, noun) in [(files, "files and directories"), (blobs, "blobs")] {
        if *count > 0 {
            let _ = writeln!(text, "{} {noun}", HumanCount(*count));
        }
    }
    let _ = writeln!(text, "{}", HumanBytes(*bytes));
    if *uncompressed > 0 {
        let _ = writeln!(text, "{} before compression", HumanBytes(*uncompressed));
    }
    text
}

/// As `restic stats --json` says it.
pub(super) fn stats_json(stats: &Stats) -> String {
    let Stats { snapshots, bytes, files, blobs, uncompressed, compressed: (plain, packed) } = stats;
    let mut fields = Map::new();
    fields.insert("snapshots_count".to_owned(), (*snapshots).into());
    fields.insert("total_size".to_owned(), (*bytes).into());
    let counts = [("total_file_count", files), ("total_blob_count", blobs), ("total_uncompressed_size", uncompressed)];
    for (name, count) in counts.into_iter().filter(|(_, count)| **count > 0) {
        fields.insert(name.to_owned(), (*count).into());
    }
    #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
    let ratio = |of: u64, to: u64| of as f64 / to as f64;
    if *packed > 0 {
        fields.insert("compression_ratio".to_owned(), ratio(*plain, *packed).into());
        fields.insert("compression_progress".to_owned(), (ratio(*plain, *uncompressed) * 100.0).into());
    }
    if *uncompressed > 0 {
        fields.insert("compression_space_saving".to_owned(), ((1.0 - ratio(*bytes, *uncompressed)) * 100.0).into());
    }
    format!("{}\n", Value::Object(fields))
}

pub(super) fn copied(copied: &Copied) -> String {
    let Copied { copied, there, blobs, bytes } = copied;
    let mut text = String::new();
    for (from, to) in copied {
        let _ = writeln!(text, "snapshot {} saved, copied from source snapshot {}", to.short(), from.short());
    }
    let _ = writeln!(
        text,
        "{} snapshots copied with {} blobs of {}, {} were there already",
        HumanCount(copied.len() as u64),
        HumanCount(*blobs),
        HumanBytes(*bytes),
        HumanCount(there.len() as u64)
    );
    text
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
