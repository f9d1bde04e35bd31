//! What a status says, the same for both kinds.

use doppel_contract::{Nothing, RepositoryReport, Snapshot};
use jiff::Timestamp;

use super::progress::Progress;
use super::queue::Turn;
use super::readiness::{Failure, Readiness};
use super::replication::{Beginner, Image, Phase};

/// A status, apart from its spelling in the API.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// The generation of the spec that the rest is about.
    pub observed_generation: Option<i64>,
    /// Begin of the iteration under way; absent when none is.
    pub last_sync_start: Option<Timestamp>,
    /// End of the last success.
    pub last_sync: Option<Timestamp>,
    /// How long the last success took, as Go writes durations.
    pub last_duration: Option<String>,
    /// When the schedule fires next.
    pub next_sync: Option<Timestamp>,
    /// The manual trigger's value that the last success answered.
    pub last_manual: Option<String>,
    /// How the last mover ended.
    pub latest_mover: MoverStatus,
    /// The condition `Synchronizing`.
    pub condition: Option<Condition>,
    /// The conditions `Ready`, `Reconciling` and `Stalled`.
    pub readiness: Option<Readiness>,
    /// What is to be remembered of the iteration under way.
    pub current: Option<CurrentSync>,
    /// Where a destination listens.
    pub address: Option<String>,
    /// The generated key's Secret.
    pub key_secret: Option<String>,
    /// A destination's published image.
    pub image: Option<Image>,
    /// When a source's repository was pruned last.
    pub last_pruned: Option<Timestamp>,
    /// The value of `spec.restic.unlock` that it was unlocked for last.
    pub last_unlocked: Option<String>,
    /// What the repository held at the end of the last success.
    pub catalogue: Option<Catalogue>,
}

/// What a repository holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Snapshots of the volume.
    pub snapshots: u64,
    /// The newest of them, newest first.
    pub newest: Vec<Snapshot>,
    /// Why nothing was stored or restored, where that was so.
    pub nothing: Option<Nothing>,
}

impl From<&RepositoryReport> for Catalogue {
    fn from(report: &RepositoryReport) -> Self {
        Self { snapshots: report.snapshots, newest: report.newest.clone(), nothing: report.nothing }
    }
}

/// How the last mover ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MoverStatus {
    /// Successful or Failed; absent before the first end.
    pub result: Option<MoverResult>,
    /// Its last words.
    pub logs: Option<String>,
}

/// A mover's result as VolSync spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoverResult {
    /// `Successful`
    Successful,
    /// `Failed`
    Failed,
}

/// The condition `Synchronizing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Why.
    pub reason: ConditionReason,
    /// In words.
    pub message: String,
    /// Since when its status (true or false) is what it is.
    pub since: Timestamp,
}

/// The reasons of the condition `Synchronizing`, VolSync's and `Paused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionReason {
    /// An iteration is under way.
    SyncInProgress,
    /// Nothing to do before the schedule fires.
    WaitingForSchedule,
    /// Nothing to do before the manual trigger changes.
    WaitingForManual,
    /// What the last iteration left is being removed.
    CleaningUp,
    /// An iteration is under way, but its mover is held by `spec.paused`.
    Paused,
    /// Something failed, or has to be changed first.
    Error,
}

impl ConditionReason {
    /// The condition's status.
    #[must_use]
    pub fn is_synchronizing(self) -> bool {
        self == Self::SyncInProgress
    }

    /// As the API spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SyncInProgress => "SyncInProgress",
            Self::WaitingForSchedule => "WaitingForSchedule",
            Self::WaitingForManual => "WaitingForManual",
            Self::CleaningUp => "CleaningUp",
            Self::Paused => "Paused",
            Self::Error => "Error",
        }
    }

    /// Reads what [`ConditionReason::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::SyncInProgress,
            Self::WaitingForSchedule,
            Self::WaitingForManual,
            Self::CleaningUp,
            Self::Paused,
            Self::Error,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == text)
    }
}

/// What is to be remembered of the iteration under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrentSync {
    /// Who began it.
    pub begun_by: Beginner,
    /// The manual trigger's value when it began.
    pub manual: Option<String>,
    /// How many attempts failed. An iteration ends with a success only, so they failed in a row.
    pub failed_attempts: u32,
    /// The latest of them.
    pub last_failure: Option<Failure>,
    /// When the next attempt begins.
    pub next_attempt: Option<Timestamp>,
    /// Whether it waits for a place among those that may cost something, or has one.
    pub turn: Option<Turn>,
    /// How far its mover is, while that runs and says so.
    pub progress: Option<Progress>,
}

impl CurrentSync {
    /// What is remembered from now on of an iteration of which nothing was: VolSync began it.
    #[must_use]
    pub fn of(phase: &Phase) -> Self {
        match phase {
            Phase::Running(running) => {
                Self { begun_by: running.begun_by, manual: running.manual.clone(), ..Self::default() }
            }
            Phase::Never | Phase::Idle { .. } => Self::default(),
        }
    }
}

impl Status {
    /// What it says about places.
    #[must_use]
    pub fn turn(&self) -> Option<&Turn> {
        self.current.as_ref()?.turn.as_ref()
    }

    /// The same, but for how far the mover is: as it said last, as long as it runs.
    #[must_use]
    pub fn with_progress(mut self, runs: bool, latest: Option<Progress>) -> Self {
        if let Some(current) = &mut self.current {
            current.progress = if runs { latest.or(current.progress) } else { None };
        }
        self
    }

    /// The same, but for what it says about places. There is nothing to say between iterations.
    #[must_use]
    pub fn with_turn(mut self, turn: Option<Turn>, phase: &Phase) -> Self {
        match (&mut self.current, phase) {
            (Some(current), _) => current.turn = turn,
            (None, Phase::Running(_)) if turn.is_some() => {
                self.current = Some(CurrentSync { turn, ..CurrentSync::of(phase) });
            }
            (None, _) => {}
        }
        self
    }
}
