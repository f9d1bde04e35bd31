//! A mover's end in words: `status.latestMoverStatus.logs`, and the reason in a condition.
//!
//! The lines of a success have the form of VolSync's filtered log, because users' tools match them: `sent .. bytes  received ..
//! bytes`, `total size is ..`, `rsync completed in ..s`, and `diskrsync completed in ..s` of a block device.

use doppel_contract::{LeftOut, Report, Tally, Verdict};

use super::repository;
use crate::model::mover::Mover;
use crate::model::observed::MoverEnd;

/// How many entries are named in a condition's message.
const NAMED: usize = 3;

/// The lines of a success.
pub(super) fn success(mover: &Mover, end: &MoverEnd) -> String {
    let Some(report) = &end.report else {
        return format!("the mover left no report ({})", end.reason);
    };
    let mut lines = statistics(mover, report);
    let program = match (mover, report.tally.devices) {
        (Mover::Restic(_), _) => "Restic",
        (Mover::RsyncTls(_), 0) => "rsync",
        (Mover::RsyncTls(_), _) => "diskrsync",
    };
    lines.push(format!("{program} completed in {}s", report.elapsed_ms.max(1).div_ceil(1000)));
    if !report.remarks.is_empty() {
        lines.push(format!("could not be kept: {}", list(&report.remarks)));
    }
    lines.join("\n")
}

/// The lines of a failure.
pub(super) fn failure(mover: &Mover, end: &MoverEnd) -> String {
    let mut lines = vec![format!("error: {}", summary(end))];
    // What was moved all the same, if anything was; and not the line by which tools know a success.
    if let Some(report) = end.report.as_ref().filter(|report| report.tally != Tally::default()) {
        lines.extend(statistics(mover, report));
    }
    lines.join("\n")
}

/// Why an attempt failed, in one line.
pub(super) fn summary(end: &MoverEnd) -> String {
    match end.report.as_ref().map(|report| &report.verdict) {
        None => match end.reason.as_str() {
            "OOMKilled" => {
                "the mover was killed because it exceeded its memory limit; raise moverResources.limits.memory"
                    .to_owned()
            }
            "DeadlineExceeded" => "the mover was ended because it ran longer than its deadline".to_owned(),
            reason => format!("the mover ended without a report ({reason})"),
        },
        Some(Verdict::Complete) => format!("the mover completed, but its container ended with {}", end.reason),
        Some(Verdict::Incomplete(left_out)) => format!("incomplete, left out {}", list(left_out)),
        Some(Verdict::Failed { message, .. }) => message.to_string(),
    }
}

fn list(problems: &LeftOut) -> String {
    let named: Vec<_> =
        problems.first.iter().take(NAMED).map(|problem| format!("{} ({})", problem.path, problem.why)).collect();
    let more = if problems.count > u64::try_from(named.len()).unwrap_or(u64::MAX) { ", ..." } else { "" };
    let noun = if problems.count == 1 { "entry" } else { "entries" };
    format!("{} {noun}: {}{more}", problems.count, named.join(", "))
}

fn statistics(mover: &Mover, report: &Report) -> Vec<String> {
    match mover {
        Mover::RsyncTls(_) => of_rsync(report),
        Mover::Restic(restic) => repository::lines(&restic.task, report),
    }
}

fn of_rsync(report: &Report) -> Vec<String> {
    // Destructured, so that a new count is not forgotten here.
    let Tally {
        entries,
        devices,
        bytes,
        files_sent,
        literal_bytes,
        matched_bytes,
        zeroed_bytes,
        read_bytes,
        deleted,
        wire_sent,
        wire_received,
    } = report.tally;
    let on_wire = wire_sent.saturating_add(wire_received);
    let elapsed_ms = report.elapsed_ms.max(1);
    let rate = u128::from(on_wire) * 1000 / u128::from(elapsed_ms);
    // In hundredths, as rsync prints it.
    let speedup = u128::from(bytes) * 100 / u128::from(on_wire.max(1));
    let moved = if devices > 0 {
        format!(
            "block device, literal {literal_bytes} bytes, zeroed {zeroed_bytes} bytes, read here {read_bytes} bytes"
        )
    } else {
        format!(
            "{entries} entries, {files_sent} files sent, {deleted} deleted, literal {literal_bytes} bytes, matched {matched_bytes} bytes"
        )
    };
    vec![
        moved,
        format!("sent {wire_sent} bytes  received {wire_received} bytes  {rate} bytes/sec"),
        format!("total size is {bytes}  speedup is {}.{:02}", speedup / 100, speedup % 100),
    ]
}
