//! What a destination knows of its sessions, and when its run is over. Pure: no sockets, no clock.

use doppel_contract::{LeftOut, Tally, Verdict};
use doppel_rsync::outcome::{Outcome, Peer};

/// The sessions so far.
///
/// The engine lets in one at a time to write to the volume, and a session that was turned away never gets here. But how a session
/// ended is told here later than it ended, and by then its successor may have begun, or have ended too: what was told late
/// must not be taken for the present state of the volume. So each session has a number.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sessions: u64,
    /// The last session that wrote to the volume.
    last: State,
    /// The one before it, of a peer that takes two passes.
    before_last: State,
    tally: Tally,
    complete: bool,
}

/// A session that writes to the volume. Later ones have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(u64);

#[derive(Debug, Default)]
enum State {
    /// It broke off; or there was none.
    #[default]
    Failed,
    /// Nothing was told of its end yet.
    Open,
    /// It ended in order.
    Ended(Outcome),
}

/// What to do after a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next connection may come.
    GoOn,
    /// The source is done.
    End,
    /// The source says that it is done, but sent nothing that this run could vouch for.
    Disbelieve,
}

impl Ledger {
    /// A session began to write to the volume: what was said before it no longer describes the volume.
    pub(crate) fn data_begins(&mut self) -> Number {
        self.sessions += 1;
        self.before_last = std::mem::replace(&mut self.last, State::Open);
        Number(self.sessions)
    }

    /// A session that wrote to the volume ended in order.
    pub(crate) fn data_ends(&mut self, number: Number, outcome: Outcome) -> Then {
        add(&mut self.tally, &outcome.tally);
        self.note(number, State::Ended(outcome));
        self.then()
    }

    /// A session that wrote to the volume broke off.
    pub(crate) fn data_fails(&mut self, number: Number) {
        self.note(number, State::Failed);
    }

    fn note(&mut self, Number(number): Number, state: State) {
        match self.sessions - number {
            0 => self.last = state,
            1 => self.before_last = state,
            // Nobody asks about it any more.
            _ => {}
        }
    }

    /// The source says that all of it was sent.
    ///
    /// VolSync's destination believes it in any case. But a destination that was replaced after its source had sent the
    /// data, by one with another volume, would then publish what it never received. No source of VolSync says it without
    /// at least one session before.
    pub(crate) fn complete(&mut self) -> Then {
        self.complete = !matches!(self.last, State::Failed);
        if self.complete { self.then() } else { Then::Disbelieve }
    }

    /// While a session writes, of the pod of a source that overlaps with its successor perhaps, the volume is between two
    /// states: its end is awaited.
    fn then(&self) -> Then {
        if self.complete && matches!(self.last, State::Ended(_)) { Then::End } else { Then::GoOn }
    }

    /// The verdict on a run whose source is done.
    pub(crate) fn settle(self) -> (Verdict, Tally, LeftOut) {
        let Self { last, before_last, mut tally, sessions: _, complete: _ } = self;
        let last = if let State::Ended(last) = last { last } else { Outcome::default() };
        let Outcome { tally: tree, mut left_out, mut remarks, peer, complete: _ } = last;
        (tally.entries, tally.devices, tally.bytes) = (tree.entries, tree.devices, tree.bytes);
        // VolSync's source copies in one pass and deletes in a second: what the first left out is still missing.
        if let (Peer::Rsync, State::Ended(first)) = (peer, before_last) {
            append(&mut left_out, first.left_out);
            append(&mut remarks, first.remarks);
        }
        let verdict = if left_out.is_empty() { Verdict::Complete } else { Verdict::Incomplete(left_out) };
        (verdict, tally, remarks)
    }

    /// What was counted, for a run that ended early.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }
}

/// Adds what a session moved. The tree's own size is the last session's.
fn add(total: &mut Tally, session: &Tally) {
    let Tally {
        entries: _,
        devices: _,
        bytes: _,
        files_sent,
        literal_bytes,
        matched_bytes,
        zeroed_bytes,
        read_bytes,
        deleted,
        wire_sent,
        wire_received,
    } = session;
    total.zeroed_bytes += zeroed_bytes;
    total.read_bytes += read_bytes;
    total.files_sent += files_sent;
    total.literal_bytes += literal_bytes;
    total.matched_bytes += matched_bytes;
    total.deleted += deleted;
    total.wire_sent += wire_sent;
    total.wire_received += wire_received;
}

fn append(all: &mut LeftOut, more: LeftOut) {
    let LeftOut { count, first } = more;
    let unlisted = count.saturating_sub(first.len() as u64);
    for problem in first {
        all.add(problem.path, problem.why);
    }
    all.count += unlisted;
}

#[cfg(test)]
mod tests {
    use super::*;
    use doppel_contract::Line;

    fn outcome(peer: Peer, left_out: u64, files_sent: u64) -> Outcome {
        let mut outcome = Outcome { peer, ..Outcome::default() };
        outcome.tally = Tally { files_sent, entries: 10, ..Tally::default() };
        for _ in 0..left_out {
            outcome.left_out.add(Line::new("a"), Line::new("no"));
        }
        outcome
    }

    fn session(ledger: &mut Ledger, outcome: Outcome) -> Then {
        let number = ledger.data_begins();
        ledger.data_ends(number, outcome)
    }

    #[test]
    fn a_run_ends_when_the_source_says_so_after_its_data() {
        let mut ledger = Ledger::default();
        assert_eq!(session(&mut ledger, outcome(Peer::Doppel, 0, 3)), Then::GoOn);
        assert_eq!(ledger.complete(), Then::End);
        let (verdict, tally, _) = ledger.settle();
        assert_eq!((verdict, tally.files_sent, tally.entries), (Verdict::Complete, 3, 10));
    }

    #[test]
    fn a_source_that_says_it_is_done_without_having_sent_anything_is_not_believed() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.complete(), Then::Disbelieve);
        let number = ledger.data_begins();
        ledger.data_fails(number);
        assert_eq!(ledger.complete(), Then::Disbelieve);
        assert_eq!(session(&mut ledger, outcome(Peer::Rsync, 0, 1)), Then::GoOn);
        assert_eq!(ledger.complete(), Then::End);
    }

    #[test]
    fn a_session_under_way_is_awaited_and_must_end_in_order() {
        let mut ledger = Ledger::default();
        session(&mut ledger, outcome(Peer::Doppel, 0, 1));
        let number = ledger.data_begins();
        assert_eq!(ledger.complete(), Then::GoOn);
        ledger.data_fails(number);
        assert_eq!(session(&mut ledger, outcome(Peer::Doppel, 0, 1)), Then::End);
    }

    #[test]
    fn what_is_told_late_of_a_session_does_not_speak_of_its_successor() {
        let mut ledger = Ledger::default();
        let killed = ledger.data_begins();
        let whole = ledger.data_begins();
        assert_eq!(ledger.data_ends(whole, outcome(Peer::Doppel, 0, 1)), Then::GoOn);
        assert_eq!(ledger.complete(), Then::End, "its predecessor is over, whenever that is told");
        ledger.data_fails(killed);
        assert_eq!(ledger.settle().0, Verdict::Complete);
    }

    #[test]
    fn what_is_told_late_of_the_first_pass_counts_as_such() {
        let mut ledger = Ledger::default();
        let (first, second) = (ledger.data_begins(), ledger.data_begins());
        ledger.data_ends(second, outcome(Peer::Rsync, 0, 0));
        ledger.data_ends(first, outcome(Peer::Rsync, 2, 1));
        assert_eq!(ledger.complete(), Then::End);
        let (verdict, tally, _) = ledger.settle();
        assert!(matches!(verdict, Verdict::Incomplete(left_out) if left_out.count == 2));
        assert_eq!((tally.files_sent, tally.entries), (1, 10));
    }

    #[test]
    fn what_the_first_of_two_passes_left_out_is_missing() {
        let mut ledger = Ledger::default();
        session(&mut ledger, outcome(Peer::Rsync, 2, 1));
        session(&mut ledger, outcome(Peer::Rsync, 0, 0));
        assert_eq!(ledger.complete(), Then::End);
        let (verdict, tally, _) = ledger.settle();
        assert!(matches!(verdict, Verdict::Incomplete(left_out) if left_out.count == 2));
        assert_eq!(tally.files_sent, 1);
    }

    #[test]
    fn what_an_earlier_attempt_left_out_is_forgotten_once_it_is_there() {
        for (peer, sessions) in [(Peer::Rsync, [3, 0, 0, 0].as_slice()), (Peer::Doppel, &[3, 0])] {
            let mut ledger = Ledger::default();
            for left_out in sessions {
                session(&mut ledger, outcome(peer, *left_out, 1));
            }
            ledger.complete();
            assert_eq!(ledger.settle().0, Verdict::Complete);
        }
    }
}
