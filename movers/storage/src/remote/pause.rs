//! How long to wait between attempts.

use std::time::Duration;

/// The first one is at most this long, each further one at most twice as long as the one before.
const FIRST: Duration = Duration::from_millis(500);

/// None is longer: a service that is well again is used again soon.
const LONGEST: Duration = Duration::from_secs(30);

/// The pauses of one operation. Each is between half and all of its limit, by chance: movers that were turned away together do
/// not come back together.
#[derive(Debug)]
pub(super) struct Pauses {
    limit: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { limit: FIRST }
    }
}

impl Pauses {
    pub(super) fn next(&mut self) -> Duration {
        let limit = self.limit;
        self.limit = (limit * 2).min(LONGEST);
        limit.mul_f64(0.5 + chance() / 2.0)
    }
}

/// Between 0 and 1. The standard library seeds each of its hashers with chance; no more is needed here.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    #[expect(clippy::cast_precision_loss, reason = "of 64 random bits, 53 will do")]
    let share = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let mut pauses = Pauses::default();
        let mut limit = FIRST;
        for _ in 0..20 {
            let pause = pauses.next();
            assert!(pause >= limit / 2 && pause <= limit, "{pause:?} of {limit:?}");
            limit = (limit * 2).min(LONGEST);
        }
        assert_ne!(Pauses::default().next(), Pauses::default().next());
    }
}
