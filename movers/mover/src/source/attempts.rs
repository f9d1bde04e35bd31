//! When to try again, and when to give up. Pure: time is an argument.

use std::time::Duration;

/// What has been tried in one run.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: u32,
    incomplete: u32,
    knocks: u32,
    /// Since when nobody has been there.
    absent_since: Option<Duration>,
}

/// What came of an attempt that was no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nobody was there to transfer to: a destination that starts later than its source looks like this.
    NobodyThere,
    /// The transfer failed, and might not another time.
    Failed,
    /// The transfer ended in order but left something out.
    Incomplete,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try again after this much time.
    Wait(Duration),
    /// Report it.
    GiveUp,
}

impl Attempts {
    /// Five transfers with 2, 4, 8 and 16 s between them, as VolSync's source.
    const FAILED: u32 = 5;

    /// What was left out because it changed or vanished while it was read is there the second time. What cannot be read
    /// never is, and a whole pass over a large tree is not cheap.
    const INCOMPLETE: u32 = 2;

    /// How often to knock: at first in quick succession, so that a destination that starts a moment later is met at once.
    const FIRST_KNOCK: Duration = Duration::from_millis(250);
    const SLOWEST_KNOCK: Duration = Duration::from_secs(8);

    /// How long to knock: as long as a destination takes from one synchronization to the next, several times over. What
    /// lasts longer is better told to a user, and tried again, by the operator.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// What to do after an attempt that ended at `now`, counted from the begin of the run.
    pub(crate) fn after(&mut self, came: Came, now: Duration) -> Next {
        if came == Came::NobodyThere {
            return self.knock_again(now);
        }
        self.knocks = 0;
        self.absent_since = None;
        let (count, limit) = match came {
            Came::Incomplete => (&mut self.incomplete, Self::INCOMPLETE),
            Came::Failed | Came::NobodyThere => (&mut self.failed, Self::FAILED),
        };
        *count += 1;
        if *count < limit { Next::Wait(Duration::from_secs(1 << *count)) } else { Next::GiveUp }
    }

    fn knock_again(&mut self, now: Duration) -> Next {
        let since = *self.absent_since.get_or_insert(now);
        if now.saturating_sub(since) >= Self::PATIENCE {
            return Next::GiveUp;
        }
        let pause = Self::FIRST_KNOCK * 2_u32.saturating_pow(self.knocks.min(16));
        self.knocks += 1;
        Next::Wait(pause.min(Self::SLOWEST_KNOCK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds of all waits, in a world where attempts take no time, until it gives up.
    fn waits(came: Came) -> Vec<f64> {
        let (mut attempts, mut now, mut waits) = (Attempts::default(), Duration::ZERO, Vec::new());
        while let Next::Wait(wait) = attempts.after(came, now) {
            now += wait;
            waits.push(wait.as_secs_f64());
        }
        waits
    }

    #[test]
    fn a_transfer_that_fails_is_tried_five_times() {
        assert_eq!(waits(Came::Failed), [2.0, 4.0, 8.0, 16.0]);
    }

    #[test]
    fn an_incomplete_transfer_is_tried_twice() {
        assert_eq!(waits(Came::Incomplete), [2.0]);
    }

    #[test]
    fn a_destination_that_is_not_there_is_waited_for_half_a_minute_at_first_impatiently() {
        let waits = waits(Came::NobodyThere);
        assert_eq!(waits[..7], [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]);
        let total: f64 = waits.iter().sum();
        assert!((30.0..38.0).contains(&total), "{total}");
    }

    #[test]
    fn a_destination_that_was_there_is_waited_for_anew() {
        let mut attempts = Attempts::default();
        let second = Duration::from_secs(1);
        attempts.after(Came::NobodyThere, Duration::ZERO);
        assert_eq!(attempts.after(Came::Failed, 29 * second), Next::Wait(2 * second));
        assert_eq!(attempts.after(Came::NobodyThere, 31 * second), Next::Wait(second / 4));
        assert_eq!(attempts.after(Came::NobodyThere, 60 * second), Next::Wait(second / 2));
        // Its transfers are not forgotten.
        for _ in 0..3 {
            assert!(matches!(attempts.after(Came::Failed, 100 * second), Next::Wait(_)));
        }
        assert_eq!(attempts.after(Came::Failed, 200 * second), Next::GiveUp);
    }
}
