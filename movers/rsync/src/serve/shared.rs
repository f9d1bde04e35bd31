//! What the generator and the receiver of one session share.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use doppel_contract::{LeftOut, Line};

use crate::outcome::Peer;
use crate::proto::frame::IoErrors;
use crate::stream::messages::text_of;

/// What becomes of an entry's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// Nothing was asked for.
    Idle = 0,
    /// It was asked for.
    Requested = 1,
    /// It is stored, or was there.
    Stored = 2,
    /// What came was wrong; it is to be asked for once more.
    Again = 3,
    /// It will not be stored.
    Failed = 4,
    /// The client will not send it: it vanished or cannot be read, which the client says by its errors.
    Withheld = 5,
    /// It is stored, or has none; extended attributes of the entry were asked for.
    LacksXattrs = 6,
}

impl State {
    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Idle,
            1 => Self::Requested,
            2 => Self::Stored,
            3 => Self::Again,
            5 => Self::Withheld,
            6 => Self::LacksXattrs,
            _ => Self::Failed,
        }
    }
}

/// What the generator and the receiver of one session share.
#[derive(Debug)]
pub(super) struct Shared {
    states: Vec<AtomicU8>,
    progress: Mutex<Progress>,
    progressed: Condvar,
    /// The receiver has ended, in order or not.
    ended: AtomicBool,
    /// The client's errors so far.
    errors: AtomicU32,
    /// Bytes taken from old content, and bytes received as such; files of which content was received.
    pub(super) matched: AtomicU64,
    pub(super) literal: AtomicU64,
    pub(super) files: AtomicU64,
    reports: Mutex<Reports>,
    has_texts: AtomicBool,
    pub(super) peer: Peer,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many phases the client has ended.
    phases: u32,
    again: Vec<u32>,
}

#[derive(Debug, Default)]
struct Reports {
    left_out: LeftOut,
    remarks: LeftOut,
    /// To be told to the client.
    texts: Vec<String>,
    told: usize,
}

/// The client is told of at most this many entries by name.
const MAX_TOLD: usize = 100;

impl Shared {
    pub(super) fn new(entries: u32, peer: Peer, errors: IoErrors) -> Self {
        Self {
            states: (0..entries).map(|_| AtomicU8::new(State::Idle as u8)).collect(),
            progress: Mutex::default(),
            progressed: Condvar::new(),
            ended: AtomicBool::new(false),
            errors: AtomicU32::new(errors.0),
            matched: AtomicU64::new(0),
            literal: AtomicU64::new(0),
            files: AtomicU64::new(0),
            reports: Mutex::default(),
            has_texts: AtomicBool::new(false),
            peer,
        }
    }

    pub(super) fn state(&self, index: u32) -> State {
        self.states.get(index as usize).map_or(State::Failed, |state| State::from_number(state.load(Ordering::Acquire)))
    }

    pub(super) fn set(&self, index: u32, state: State) {
        if let Some(place) = self.states.get(index as usize) {
            place.store(state as u8, Ordering::Release);
        }
    }

    /// The entry's content was wrong: the generator shall ask again.
    pub(super) fn ask_again(&self, index: u32) {
        self.set(index, State::Again);
        self.progress().again.push(index);
    }

    /// Entries to ask for once more, in order.
    pub(super) fn take_again(&self) -> Vec<u32> {
        let mut again = std::mem::take(&mut self.progress().again);
        again.sort_unstable();
        again
    }

    /// The client has ended another phase.
    pub(super) fn end_phase(&self) {
        self.progress().phases += 1;
        self.progressed.notify_all();
    }

    /// The receiver has ended, in order or not: nobody needs to wait for it any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        // Taking the lock makes sure that nobody is between looking and waiting.
        drop(self.progress());
        self.progressed.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until the client has ended so many phases; false when it will not.
    pub(super) fn wait_for_phase(&self, phases: u32) -> bool {
        let mut progress = self.progress();
        loop {
            if progress.phases >= phases {
                return true;
            }
            if self.has_ended() {
                return false;
            }
            progress = self.progressed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn add_errors(&self, errors: IoErrors) {
        self.errors.fetch_or(errors.0, Ordering::AcqRel);
    }

    pub(super) fn errors(&self) -> IoErrors {
        IoErrors(self.errors.load(Ordering::Acquire))
    }

    /// An entry could not be stored: the run is incomplete, and the client shall know.
    pub(super) fn leave_out(&self, path: Line, why: Line) {
        let mut reports = self.lock_reports();
        if reports.told < MAX_TOLD {
            reports.told += 1;
            let text = text_of(&path, &why);
            reports.texts.push(text);
        } else if reports.told == MAX_TOLD {
            reports.told += 1;
            let text = text_of(&Line::new("and more"), &Line::new("could not be stored either"));
            reports.texts.push(text);
        }
        reports.left_out.add(path, why);
        self.has_texts.store(true, Ordering::Release);
    }

    /// An entry that the client could not read: it knows.
    pub(super) fn note_left_out(&self, path: Line, why: Line) {
        self.lock_reports().left_out.add(path, why);
    }

    pub(super) fn has_left_out(&self) -> bool {
        !self.lock_reports().left_out.is_empty()
    }

    pub(super) fn remark(&self, path: Line, why: Line) {
        self.lock_reports().remarks.add(path, why);
    }

    /// What the client has yet to be told.
    pub(super) fn take_texts(&self) -> Vec<String> {
        if self.has_texts.swap(false, Ordering::AcqRel) {
            std::mem::take(&mut self.lock_reports().texts)
        } else {
            Vec::new()
        }
    }

    pub(super) fn into_reports(self) -> (LeftOut, LeftOut) {
        let reports = self.reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        (reports.left_out, reports.remarks)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
