//! How far a synchronization is: a bar on a terminal, elsewhere a line whenever the operator has heard of its mover.

use doppel::api::common::ProgressStatus;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use crate::progress;

/// A bar below what was said. It goes away with this.
pub(super) struct Bar {
    drawn: ProgressBar,
    shown: Option<ProgressStatus>,
}

impl Bar {
    /// One that does not show anything yet.
    pub(super) fn new() -> Self {
        let drawn = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
        // A template that does not parse would be a defect of this line; without it the bar is only plainer.
        if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {msg}") {
            drawn.set_style(style.progress_chars("=> "));
        }
        Self { drawn, shown: None }
    }

    /// A line for good, above the bar.
    pub(super) fn say(&self, line: &str) {
        self.drawn.suspend(|| println!("{line}"));
    }

    /// How far it is now.
    pub(super) fn show(&mut self, now: Option<&ProgressStatus>) {
        if self.shown.as_ref() == now {
            return;
        }
        self.shown = now.cloned();
        let Some(now) = now else { return self.drawn.finish_and_clear() };
        let line = progress::line(now);
        if self.drawn.is_hidden() {
            return println!("{:.0}  {line}", Timestamp::now());
        }
        self.drawn.reset();
        self.drawn.set_position(progress::percent(now).unwrap_or(0));
        self.drawn.set_message(line);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}
