//! How far the destination's two threads are, and when both are over. The one that tells of blocks runs ahead of the one
//! that stores what is answered, but not by more than a window: what was told and not yet answered is what a failure has to
//! wait for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use doppel_contract::Line;

use crate::proto::direct::BLOCK;

/// The state that both threads share.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    told: u64,
    answered: u64,
    over: Option<Over>,
}

/// Why nothing more has to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Over {
    /// The source has nothing more to say, or is gone.
    Ended,
    /// Our device failed; the source has to be told so.
    Failed(Line),
}

impl Pace {
    /// Blocks that may be told and not answered, 256 MiB of the device. The source answers every 64 MiB at the latest; a
    /// round trip of 100 ms would still let 2.5 GiB/s through. Their digests fit the sockets' buffers.
    pub(crate) const WINDOW: u64 = (256 << 20) / BLOCK;

    /// The source is about to hear of so many more blocks.
    pub(crate) fn tell(&self, blocks: u64) {
        self.state().told += blocks;
    }

    /// Waits until the source is close enough. Says why it need not hear more, once it need not.
    pub(crate) fn wait(&self) -> Option<Over> {
        let far = |state: &mut State| state.over.is_none() && state.told - state.answered > Self::WINDOW;
        let state = self.moved.wait_while(self.state(), far).unwrap_or_else(PoisonError::into_inner);
        state.over.clone()
    }

    /// Waits for the end.
    pub(crate) fn wait_for_end(&self) -> Over {
        let lasts = |state: &mut State| state.over.is_none();
        let state = self.moved.wait_while(self.state(), lasts).unwrap_or_else(PoisonError::into_inner);
        state.over.clone().unwrap_or(Over::Ended)
    }

    /// The source has answered for blocks up to here. Says whether it had heard of them.
    pub(crate) fn answer(&self, answered: u64) -> bool {
        let mut state = self.state();
        let heard = answered <= state.told;
        if heard {
            state.answered = answered;
            self.moved.notify_one();
        }
        heard
    }

    /// Nothing more has to be told. The first reason counts.
    pub(crate) fn end(&self, why: Over) {
        self.state().over.get_or_insert(why);
        self.moved.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_runs_ahead_of_the_source_by_more_than_the_window() {
        let pace = Pace::default();
        pace.tell(Pace::WINDOW + 1);
        std::thread::scope(|scope| {
            let teller = scope.spawn(|| pace.wait());
            assert!(pace.answer(1));
            assert_eq!(teller.join().unwrap(), None);
        });
    }

    #[test]
    fn an_answer_about_what_was_not_told_is_noticed() {
        let pace = Pace::default();
        pace.tell(3);
        assert!(pace.answer(3) && !pace.answer(4));
    }

    #[test]
    fn the_end_ends_the_wait_and_its_first_reason_counts() {
        let pace = Pace::default();
        pace.tell(Pace::WINDOW * 2);
        let failed = Over::Failed(Line::new("no space"));
        std::thread::scope(|scope| {
            let teller = scope.spawn(|| pace.wait());
            pace.end(failed.clone());
            pace.end(Over::Ended);
            assert_eq!(teller.join().unwrap(), Some(failed));
        });
    }
}
