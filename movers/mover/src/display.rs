//! What is shown while the run goes on: a bar for a person, JSON lines for a program.

use std::io::{self, Write};
use std::time::Duration;

use doppel_contract::{Phase, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Counters;
use crate::settings::Audience;

/// Shows the counters until the run ends. The bar is where the log is printed above.
pub(crate) fn show(counters: &Counters, audience: Audience, bar: &ProgressBar) {
    match audience {
        Audience::Person => draw(counters, bar),
        Audience::Program => print(counters),
    }
}

/// The bar, hidden from programs.
pub(crate) fn bar(audience: Audience) -> ProgressBar {
    match audience {
        Audience::Person => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        Audience::Program => ProgressBar::hidden(),
    }
}

fn draw(counters: &Counters, bar: &ProgressBar) {
    const REDRAW: Duration = Duration::from_millis(100);
    loop {
        let now = counters.now();
        bar.set_style(style(&now));
        bar.set_message(message(&now));
        if let Some(total) = now.bytes_total {
            bar.set_length(total);
        }
        bar.set_position(now.bytes);
        bar.tick();
        if !counters.wait(now.phase, REDRAW) {
            return bar.finish_and_clear();
        }
    }
}

fn style(now: &Progress) -> ProgressStyle {
    let template = match now.bytes_total {
        Some(_) => "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "{spinner} {msg} {bytes} {elapsed}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn message(now: &Progress) -> String {
    let entries = match (now.entries, now.entries_total) {
        (0, None) => String::new(),
        (done, None) => format!(", {done} entries"),
        (done, Some(total)) => format!(", {done} of {total} entries"),
    };
    format!("{}{entries}", doing(now.phase))
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting for a source",
        Phase::Connecting => "connecting",
        Phase::Walking => "reading the tree",
        Phase::Transferring => "transferring",
        Phase::Flushing => "flushing to disk",
    }
}

/// A line when the phase changes, and one a second while something moves.
fn print(counters: &Counters) {
    const LINE: Duration = Duration::from_secs(1);
    let mut printed = None;
    loop {
        let now = counters.now();
        let still = Progress { elapsed_ms: 0, ..now };
        if printed != Some(still) {
            printed = Some(still);
            print_line(&now);
        }
        if !counters.wait(now.phase, LINE) {
            return;
        }
    }
}

/// One JSON line on standard output. Whoever closed it does not want to know.
pub(crate) fn print_line(value: &impl serde::Serialize) {
    if let Ok(json) = serde_json::to_string(value) {
        let _ = writeln!(io::stdout().lock(), "{json}");
    }
}
