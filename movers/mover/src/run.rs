//! One run: the work, watched by a switch, a clock and a display, and the report on it.

use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use doppel_contract::{
    DEBUG_ENV, ExitCode, Fault, LeftOut, Phase, Report, RepositoryReport, Retry, Tally, Verdict, Work,
};
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
use crate::{destination, display, restic, source, tell};

/// How long to listen to a peer that was said goodbye to.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// How the work ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) tally: Tally,
    pub(crate) remarks: LeftOut,
    /// Of a run that has to do with a repository of restic's.
    pub(crate) repository: Option<RepositoryReport>,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

impl Ended {
    pub(crate) fn report(self) -> Report {
        let Self { verdict, tally, remarks, repository, elapsed } = self;
        Report { verdict, tally, remarks, repository, elapsed_ms: milliseconds(elapsed) }
    }
}

/// Does what the settings say and reports on it.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    let Settings { request, termination_message, audience } = settings;
    let counters = Arc::new(Counters::new(match request.work {
        Work::RsyncTlsDestination(_) => Phase::Waiting,
        Work::RsyncTlsSource(_) | Work::ResticBackup(_) | Work::ResticRestore(_) => Phase::Connecting,
    }));
    if let Some(port) = request.progress_port {
        tell::answer_at(port, &counters);
    }
    let aborted = ExitCode::FailedRetryLater.code();
    let report = watched(&counters, *audience, aborted, |switch| match &request.work {
        Work::RsyncTlsSource(work) => source::send(request, work, &counters, switch),
        Work::RsyncTlsDestination(work) => destination::receive(request, work, &counters, switch),
        Work::ResticBackup(work) => restic::back_up(request, work, &counters, switch),
        Work::ResticRestore(work) => restic::restore(request, work, &counters, switch),
    });
    write_termination_message(termination_message.as_deref(), &report);
    ExitCode::from(&report)
}

/// Does work while signals are obeyed and the counters are shown; then shows the report.
pub(crate) fn watched(
    counters: &Counters,
    audience: Audience,
    aborted: u8,
    work: impl FnOnce(&Switch) -> Ended,
) -> Report {
    let bar = display::bar(audience);
    start_log(audience, &bar);
    let ended = obeying(aborted, |switch| {
        thread::scope(|scope| {
            scope.spawn(|| display::show(counters, audience, &bar));
            let ended = work(switch);
            counters.end();
            ended
        })
    });
    let report = ended.unwrap_or_else(|error| ended_at_once(&format!("watch for signals: {error}"))).report();
    match audience {
        Audience::Person => eprint!("{}", summary(&report)),
        Audience::Program => display::print_line(&report),
    }
    report
}

/// Does work that the first signal ends in order. The second one ends the process at once, with the code `aborted`.
pub(crate) fn obeying<T>(aborted: u8, work: impl FnOnce(&Switch) -> T) -> io::Result<T> {
    let switch = Switch::default();
    let signals = Signals::new([SIGTERM, SIGINT])?;
    let handle = signals.handle();
    Ok(thread::scope(|scope| {
        scope.spawn(|| obey(signals, &switch, aborted));
        let done = work(&switch);
        // Whoever still watches the switch, a deadline for example, is no longer needed.
        switch.throw(Reason::Done);
        handle.close();
        done
    }))
}

fn ended_at_once(message: &str) -> Ended {
    let verdict = Failure::new(Fault::Ours, Retry::Later, message).verdict();
    Ended { verdict, tally: Tally::default(), remarks: LeftOut::default(), repository: None, elapsed: Duration::ZERO }
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

    /// Why it was thrown, if it was.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.reason.get().copied()
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
fn obey(mut signals: Signals, switch: &Switch, aborted: u8) {
    let mut asked = false;
    for _ in signals.forever() {
        if asked {
            std::process::exit(aborted.into());
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
