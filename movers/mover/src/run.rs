//! One run: the work, watched by a switch, a clock and a display, and the report on it.

use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use doppel_contract::{DEBUG_ENV, ExitCode, Fault, LeftOut, Phase, Report, Retry, Tally, Verdict, Work};
use doppel_transport::stop::Stop;
use indicatif::ProgressBar;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::failure::Failure;
use crate::progress::{Counters, milliseconds};
use crate::settings::{Audience, Settings};
use crate::summary::summary;
use crate::{destination, display, source, tell};

/// How long to listen to a peer that was said goodbye to.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// How the work ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) tally: Tally,
    pub(crate) remarks: LeftOut,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

/// Does what the settings say and reports on it.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    let Settings { request, termination_message, audience } = settings;
    let bar = display::bar(*audience);
    start_log(*audience, &bar);
    let switch = Switch::default();
    let counters = Arc::new(Counters::new(match request.work {
        Work::RsyncTlsSource(_) => Phase::Connecting,
        Work::RsyncTlsDestination(_) => Phase::Waiting,
    }));
    if let Some(port) = request.progress_port {
        tell::answer_at(port, &counters);
    }
    let ended = thread::scope(|scope| {
        let signals = match Signals::new([SIGTERM, SIGINT]) {
            Ok(signals) => signals,
            Err(error) => return ended_at_once(&format!("watch for signals: {error}")),
        };
        let handle = signals.handle();
        scope.spawn(|| obey(signals, &switch));
        scope.spawn(|| display::show(&counters, *audience, &bar));
        let ended = match &request.work {
            Work::RsyncTlsSource(work) => source::send(request, work, &counters, &switch),
            Work::RsyncTlsDestination(work) => destination::receive(request, work, &counters, &switch),
        };
        counters.end();
        // Whoever still watches the switch, a deadline for example, is no longer needed.
        switch.throw(Reason::Done);
        handle.close();
        ended
    });
    let Ended { verdict, tally, remarks, elapsed } = ended;
    let report = Report { verdict, tally, remarks, repository: None, elapsed_ms: milliseconds(elapsed) };
    match audience {
        Audience::Person => eprint!("{}", summary(&report)),
        Audience::Program => display::print_line(&report),
    }
    write_termination_message(termination_message.as_deref(), &report);
    ExitCode::from(&report)
}

fn ended_at_once(message: &str) -> Ended {
    let verdict = Failure::new(Fault::Ours, Retry::Later, message).verdict();
    Ended { verdict, tally: Tally::default(), remarks: LeftOut::default(), elapsed: Duration::ZERO }
}

/// Ends the run early, or says that it has ended.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    stop: Stop,
    reason: OnceLock<Reason>,
}

/// Why a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is nothing more to do.
    Done,
    /// Somebody wants it to end.
    Signal,
    /// It took more than this many seconds.
    Deadline(NonZeroU64),
}

impl Switch {
    /// Ends every wait. The first reason counts.
    pub(crate) fn throw(&self, reason: Reason) {
        let _ = self.reason.set(reason);
        self.stop.stop();
    }

    /// What the transport watches.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Throws the switch after so many seconds, unless somebody else has thrown it before.
    pub(crate) fn throw_after(&self, deadline: Option<NonZeroU64>) {
        if let Some(seconds) = deadline
            && !self.stop.wait(Duration::from_secs(seconds.get()))
        {
            self.throw(Reason::Deadline(seconds));
        }
    }

    /// The failure of a run that was ended early; `last` is what had gone wrong before, if anything.
    pub(crate) fn interruption(&self, last: Option<&Failure>) -> Option<Failure> {
        let before = last.map_or_else(String::new, |last| format!("; before that: {}", last.message));
        match self.reason.get()? {
            Reason::Done => None,
            Reason::Signal => Some(Failure::new(Fault::Ours, Retry::Later, format!("stopped by a signal{before}"))),
            Reason::Deadline(seconds) => {
                let fault = last.map_or(Fault::Network, |last| last.fault);
                let message = format!("not done within the deadline of {seconds} s{before}");
                Some(Failure::new(fault, Retry::Later, message))
            }
        }
    }
}

/// The first signal ends the run in order, the second at once.
fn obey(mut signals: Signals, switch: &Switch) {
    let mut asked = false;
    for _ in signals.forever() {
        if asked {
            std::process::exit(ExitCode::FailedRetryLater.code().into());
        }
        asked = true;
        tracing::warn!("Received a signal, stopping; another one stops at once");
        switch.throw(Reason::Signal);
    }
}

/// Leaves the report where the kubelet looks for it. That file is written once and may not be replaced: it is a mount.
pub(crate) fn write_termination_message(path: Option<&Path>, report: &Report) {
    if let Some(path) = path
        && let Err(error) = std::fs::write(path, report.to_termination_message())
    {
        tracing::error!(path = %path.display(), %error, "Could not write the termination message");
    }
}

fn start_log(audience: Audience, bar: &ProgressBar) {
    let level = if std::env::var_os(DEBUG_ENV).is_some() { Level::DEBUG } else { Level::INFO };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    match audience {
        Audience::Person => {
            let log = log.without_time();
            log.with_writer(AboveBar(bar.clone())).init();
        }
        Audience::Program => log.json().with_writer(io::stderr).init(),
    }
}

/// Standard error, with the progress bar out of the way while something is written.
#[derive(Debug, Clone)]
struct AboveBar(ProgressBar);

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_to_end_counts() {
        let switch = Switch::default();
        assert_eq!(switch.interruption(None), None);
        switch.throw(Reason::Signal);
        switch.throw(Reason::Done);
        assert!(switch.interruption(None).unwrap().message.as_str().contains("signal"));
    }

    #[test]
    fn a_missed_deadline_tells_what_had_gone_wrong_before() {
        let switch = Switch::default();
        switch.throw(Reason::Deadline(NonZeroU64::new(7).unwrap()));
        let last = Failure::new(Fault::Peer, Retry::Later, "the peer refused");
        let failure = switch.interruption(Some(&last)).unwrap();
        assert_eq!((failure.fault, failure.retry), (Fault::Peer, Retry::Later));
        assert_eq!(failure.message.as_str(), "not done within the deadline of 7 s; before that: the peer refused");
    }
}
