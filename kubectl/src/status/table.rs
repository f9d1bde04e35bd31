//! PURE: rows as a table.

use jiff::Timestamp;

use super::Row;
use crate::progress;
use crate::state::Standing;
use crate::text::{age, shortened, until, words};

/// Whether a terminal shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colour,
}

const HEADERS: [&str; 11] =
    ["NAMESPACE", "KIND", "NAME", "METHOD", "READY", "DOING", "LAST SYNC", "TOOK", "NEXT", "FAILED", "LAST ERROR"];
/// The column that is painted.
const READY: usize = 4;
/// Characters of an error: with it the line stays within a wide terminal. `explain` has all of it.
const MOST_ERROR: usize = 60;

/// The table, with its header.
pub(crate) fn render(rows: &[Row], now: Timestamp, paint: Paint) -> String {
    let lines: Vec<[String; 11]> = rows.iter().map(|row| cells(row, now)).collect();
    let mut widths = HEADERS.map(str::len);
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&HEADERS.map(str::to_owned), &widths, None);
    for (row, cells) in rows.iter().zip(&lines) {
        let colour = colour(row.standing).filter(|_| paint == Paint::Colour);
        text.push_str(&line(cells, &widths, colour));
    }
    text
}

fn cells(row: &Row, now: Timestamp) -> [String; 11] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        row.namespace.clone(),
        row.kind.short().to_owned(),
        row.name.clone(),
        row.method.clone(),
        standing(row.standing).to_owned(),
        doing(row, now),
        row.last_sync_time.map_or_else(|| "never".to_owned(), |time| format!("{} ago", age(time, now))),
        or_dash(row.last_sync_duration.as_deref().map(rounded)),
        or_dash(row.next_time.map(|time| until(time, now))),
        or_dash(row.consecutive_failures.map(|count| count.to_string())),
        row.last_failure.as_ref().map_or_else(|| "-".to_owned(), |failure| shortened(&failure.message, MOST_ERROR)),
    ]
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "yes",
        Standing::Reconciling => "not yet",
        Standing::Stalled => "stalled",
        Standing::Held => "held",
        Standing::Unknown => "-",
    }
}

/// What it does and how far it is, and for how long if that is all there is to know of it.
fn doing(row: &Row, now: Timestamp) -> String {
    let mut what = words(&row.reason);
    if let Some(percent) = row.progress.as_ref().and_then(progress::percent) {
        what = format!("{what} {percent} %");
    }
    match row.since {
        Some(since) if row.next_time.is_none() => format!("{what}, {}", age(since, now)),
        _ => what,
    }
}

/// A duration of Go without its fraction of a second; anything else as it is.
fn rounded(duration: &str) -> String {
    match duration.split_once('.') {
        Some((whole, fraction))
            if fraction.ends_with('s') && !fraction.ends_with("ms") && !fraction.ends_with("µs") =>
        {
            format!("{whole}s")
        }
        _ => shortened(duration, 20),
    }
}

/// SGR parameters of ECMA-48.
fn colour(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Ready => Some("32"),
        Standing::Reconciling => Some("33"),
        Standing::Stalled => Some("31"),
        Standing::Held => Some("35"),
        Standing::Unknown => None,
    }
}

fn line(cells: &[String; 11], widths: &[usize; 11], colour: Option<&str>) -> String {
    let mut text = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()) + 2);
        match colour {
            Some(colour) if column == READY => text.push_str(&format!("\u{1b}[{colour}m{cell}\u{1b}[0m{padding}")),
            _ => text.push_str(&format!("{cell}{padding}")),
        }
    }
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn rows() -> Vec<Row> {
        let names = [
            "idle",
            "running",
            "transferring",
            "waiting",
            "queued",
            "failed",
            "paused",
            "never",
            "volsync-running",
            "volsync-failed",
        ];
        names.into_iter().map(|name| Row::from(&fixtures::object(name))).collect()
    }

    #[test]
    fn each_row_says_at_a_glance_what_its_object_does() {
        let table = render(&rows(), fixtures::now(), Paint::Plain);
        let expected = include_str!("../../tests/fixtures/table.txt");
        assert_eq!(table, expected, "\n{table}");
    }

    #[test]
    fn only_a_terminal_sees_colours_and_they_take_no_room() {
        let plain = render(&rows(), fixtures::now(), Paint::Plain);
        let coloured = render(&rows(), fixtures::now(), Paint::Colour);
        assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}[31mstalled\u{1b}[0m"));
        let stripped = ["32", "33", "31", "35", "0"]
            .iter()
            .fold(coloured, |text, code| text.replace(&format!("\u{1b}[{code}m"), ""));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_duration_of_go_loses_its_fraction_only() {
        for (duration, expected) in
            [("28.818695981s", "28s"), ("1m50.2s", "1m50s"), ("1h0m5s", "1h0m5s"), ("850.5ms", "850.5ms"), ("x", "x")]
        {
            assert_eq!(rounded(duration), expected);
        }
    }
}
