//! How far the run is: counted by the engine's threads, read by the display.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use doppel_contract::{Phase, Progress};
use doppel_volume::monitor::Monitor;

/// Counters that many threads add to and one reads.
#[derive(Debug)]
pub(crate) struct Counters {
    begin: Instant,
    state: Mutex<State>,
    changed: Condvar,
    found_entries: AtomicU64,
    found_bytes: AtomicU64,
    all_found: AtomicBool,
    done_entries: AtomicU64,
    done_bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    ended: bool,
}

impl Counters {
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            begin: Instant::now(),
            state: Mutex::new(State { phase, ended: false }),
            changed: Condvar::new(),
            found_entries: AtomicU64::new(0),
            found_bytes: AtomicU64::new(0),
            all_found: AtomicBool::new(false),
            done_entries: AtomicU64::new(0),
            done_bytes: AtomicU64::new(0),
        }
    }

    /// Begins to count again, for another attempt.
    pub(crate) fn restart(&self) {
        self.all_found.store(false, Ordering::Relaxed);
        for counter in [&self.found_entries, &self.found_bytes, &self.done_entries, &self.done_bytes] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Nothing more will change.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Waits until the phase is another one than `seen`, the run has ended, or this much time has passed. Says whether the
    /// run goes on.
    pub(crate) fn wait(&self, seen: Phase, at_most: Duration) -> bool {
        let unchanged = |state: &mut State| state.phase == seen && !state.ended;
        let waited = self.changed.wait_timeout_while(self.state(), at_most, unchanged);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.ended
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    pub(crate) fn now(&self) -> Progress {
        let total =
            |counter: &AtomicU64| self.all_found.load(Ordering::Relaxed).then(|| counter.load(Ordering::Relaxed));
        Progress {
            phase: self.state().phase,
            entries: self.done_entries.load(Ordering::Relaxed),
            entries_total: total(&self.found_entries),
            bytes: self.done_bytes.load(Ordering::Relaxed),
            bytes_total: total(&self.found_bytes),
            elapsed_ms: milliseconds(self.elapsed()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds, for a report.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Monitor for Counters {
    fn phase(&self, phase: Phase) {
        let mut state = self.state();
        if state.phase != phase {
            state.phase = phase;
            self.changed.notify_all();
        }
    }

    fn found(&self, entries: u64, bytes: u64) {
        self.found_entries.fetch_add(entries, Ordering::Relaxed);
        self.found_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn all_found(&self) {
        self.all_found.store(true, Ordering::Relaxed);
    }

    fn done(&self, entries: u64, bytes: u64) {
        self.done_entries.fetch_add(entries, Ordering::Relaxed);
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_known_once_all_is_found_and_forgotten_by_another_attempt() {
        let counters = Counters::new(Phase::Connecting);
        counters.found(10, 1000);
        counters.done(3, 30);
        assert_eq!((counters.now().entries, counters.now().entries_total), (3, None));
        counters.all_found();
        assert_eq!((counters.now().bytes, counters.now().bytes_total), (30, Some(1000)));
        counters.restart();
        assert_eq!((counters.now().bytes, counters.now().bytes_total), (0, None));
    }

    #[test]
    fn whoever_waits_is_woken_by_another_phase_and_by_the_end() {
        let counters = Counters::new(Phase::Connecting);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| counters.wait(Phase::Connecting, Duration::from_secs(60)));
            counters.phase(Phase::Walking);
            assert!(waiter.join().unwrap());
            let waiter = scope.spawn(|| counters.wait(Phase::Walking, Duration::from_secs(60)));
            counters.end();
            assert!(!waiter.join().unwrap());
        });
        assert!(counters.elapsed() < Duration::from_secs(60));
    }
}
