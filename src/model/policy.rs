//! What whoever runs the operator says about all synchronizations alike.

use std::num::NonZeroU64;

use jiff::SignedDuration;

use super::queue::Limits;

/// How synchronizations are held to what a cluster can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// How many at the same time.
    pub limits: Limits,
    /// How long they may take.
    pub deadlines: Deadlines,
    /// How far their schedules are spread.
    pub jitter: Jitter,
}

/// How long parts of a synchronization may take. A bound on silence is the mover's own (ten minutes without a byte of its peer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Until a mover's pod runs, and until a copy is ready; absent: for ever.
    pub start: Option<SignedDuration>,
    /// Seconds that one attempt of a mover may run.
    pub run: NonZeroU64,
}

impl Deadlines {
    /// A run of more than a day is taken for stuck. Nothing is lost by ending it: the next attempt goes on with the files that are
    /// not there yet.
    pub const RUN: NonZeroU64 = match NonZeroU64::new(24 * 60 * 60) {
        Some(seconds) => seconds,
        None => unreachable!(),
    };
    /// Seconds. Clones of large volumes, and nodes that are made when they are needed, take some tens of minutes.
    pub const START: i64 = 60 * 60;
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { start: Some(SignedDuration::from_secs(Self::START)), run: Self::RUN }
    }
}

/// How far a schedule is spread: by at most so many hundredths of the time between two of its firings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Jitter(u8);

impl Jitter {
    /// Most hundredths: a firing is nearer to its own time than to the next one.
    pub const MOST: u8 = 50;

    /// None if that is too much.
    #[must_use]
    pub fn new(percent: u8) -> Option<Self> {
        (percent <= Self::MOST).then_some(Self(percent))
    }

    /// By how many millionths of its period the schedule of this object is late: always the same for one UID, and anything from
    /// nothing to the whole for many.
    #[must_use]
    pub fn of(self, uid: &str) -> u32 {
        let range = u64::from(self.0) * 10_000;
        let part = xxhash_rust::xxh3::xxh3_64(uid.as_bytes()).checked_rem(range).unwrap_or(0);
        // Less than 500,000.
        u32::try_from(part).unwrap_or(0)
    }
}
