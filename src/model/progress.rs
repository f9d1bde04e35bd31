//! How far a mover is.

use std::time::Duration;

use doppel_contract::{Phase, Progress as Said};
use jiff::Timestamp;

/// How far a mover is, as it said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// When it said so.
    pub at: Timestamp,
    /// What it is doing.
    pub phase: Phase,
    /// Entries that are done.
    pub entries: u64,
    /// Entries of the whole tree, once that is known.
    pub entries_total: Option<u64>,
    /// Bytes of content that are done, whether they were sent or found unchanged.
    pub bytes: u64,
    /// Bytes of content in the whole volume, once that is known.
    pub bytes_total: Option<u64>,
    /// Bytes a second since it was asked before.
    pub rate: Option<u64>,
}

impl Progress {
    /// What a mover said at this moment, and what it had said before.
    #[must_use]
    pub fn new(said: &Said, before: Option<&Said>, at: Timestamp) -> Self {
        let Said { phase, entries, entries_total, bytes, bytes_total, elapsed_ms: _ } = *said;
        Self {
            at,
            phase,
            entries,
            entries_total,
            bytes,
            bytes_total,
            rate: before.and_then(|before| rate(before, said)),
        }
    }

    /// How long it takes at this rate, if the rate says anything.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.bytes_total?.saturating_sub(self.bytes);
        Some(Duration::from_secs(left.div_ceil(self.rate.filter(|rate| *rate > 0)?)))
    }

    /// A phase as the API spells it.
    #[must_use]
    pub fn phase_name(phase: Phase) -> &'static str {
        match phase {
            Phase::Waiting => "Waiting",
            Phase::Connecting => "Connecting",
            Phase::Walking => "Walking",
            Phase::Transferring => "Transferring",
            Phase::Flushing => "Flushing",
        }
    }

    /// Reads what [`Progress::phase_name`] wrote.
    #[must_use]
    pub fn parse_phase(text: &str) -> Option<Phase> {
        [Phase::Waiting, Phase::Connecting, Phase::Walking, Phase::Transferring, Phase::Flushing]
            .into_iter()
            .find(|phase| Self::phase_name(*phase) == text)
    }
}

/// None when the mover began to count anew, or is another one.
fn rate(before: &Said, said: &Said) -> Option<u64> {
    let milliseconds = said.elapsed_ms.checked_sub(before.elapsed_ms).filter(|passed| *passed > 0)?;
    let bytes = said.bytes.checked_sub(before.bytes)?;
    Some(u64::try_from(u128::from(bytes) * 1000 / u128::from(milliseconds)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: u64, elapsed_ms: u64) -> Said {
        let phase = Phase::Transferring;
        Said { phase, entries: 1, entries_total: Some(2), bytes, bytes_total: Some(10_000), elapsed_ms }
    }

    #[test]
    fn rate_and_rest_follow_from_what_was_done_since_it_was_asked_before() {
        let progress = Progress::new(&said(4_000, 3_000), Some(&said(1_000, 1_000)), Timestamp::UNIX_EPOCH);
        assert_eq!((progress.rate, progress.remaining()), (Some(1_500), Some(Duration::from_secs(4))));
    }

    #[test]
    fn nothing_is_foretold_without_a_rate() {
        let first = Progress::new(&said(4_000, 3_000), None, Timestamp::UNIX_EPOCH);
        assert_eq!((first.rate, first.remaining()), (None, None));
        let stands = Progress::new(&said(4_000, 3_000), Some(&said(4_000, 1_000)), Timestamp::UNIX_EPOCH);
        assert_eq!((stands.rate, stands.remaining()), (Some(0), None));
        for anew in [said(100, 5_000), said(5_000, 10)] {
            assert_eq!(Progress::new(&anew, Some(&said(4_000, 3_000)), Timestamp::UNIX_EPOCH).rate, None);
        }
    }
}
