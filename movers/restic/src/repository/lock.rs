//! Holding a lock, and removing those that nobody holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use doppel_contract::Line;
use doppel_storage::Kind;
use jiff::Timestamp;

use crate::error::Error;
use crate::format::Malformed;
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::format::lock::Lock;
use crate::format::time::Time;
use crate::repository::{Folder, Repository};

/// Who holds a lock, for others to see, and whose locks are known to be nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The host. A mover puts its pod here, so that whoever knows that the pod is gone knows that its locks are.
    pub host: String,
    /// The user.
    pub user: String,
    /// The number of the process on that host.
    pub process: u32,
    /// Hosts that are gone. Their locks are removed if they are in the way.
    pub gone: Vec<String>,
}

/// Whether others may work at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

/// Which locks [`unlock`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// Those that nobody holds any more.
    Stale,
    /// All of them, which is safe only if nobody else works in the repository.
    All,
}

/// A lock that is held, and renewed by a thread. Dropped, it is removed.
pub(crate) struct Held {
    renewed: Arc<Renewed>,
    end: Option<Sender<()>>,
    renewer: Option<JoinHandle<()>>,
}

/// How often a lock is renewed, as restic does.
const RENEW: Duration = Duration::from_secs(5 * 60);
/// How soon that is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// Seven and a half minutes before others take it for stale, the work ends; restic does the same.
const LOST: i64 = 30 * 60 - 7 * 60 - 30;
/// Two locks that were written at the same time see each other after this, also in a store whose listings lag.
const SETTLE: Duration = Duration::from_millis(if cfg!(fuzzing) { 0 } else { 200 });

impl Held {
    /// Takes a lock.
    pub(crate) fn acquire(repository: &Repository, holder: &Holder, mode: Mode) -> Result<Self, Error> {
        let lock = Lock {
            time: Time::utc(Timestamp::now()),
            exclusive: mode == Mode::Exclusive,
            hostname: holder.host.clone(),
            username: holder.user.clone(),
            pid: holder.process,
            uid: None,
            gid: None,
        };
        make_way(repository, holder, &lock, None)?;
        let id = write(repository, &lock)?;
        std::thread::sleep(SETTLE);
        if let Err(error) = make_way(repository, holder, &lock, Some(id)) {
            // The first error says more.
            let _ = repository.remove(Folder::Locks, &id);
            return Err(error);
        }
        let renewed = Arc::new(Renewed(AtomicI64::new(lock.time.at().as_second())));
        let (end, ended) = channel();
        let renewer = Renewer { repository: repository.clone(), lock, id, renewed: Arc::clone(&renewed) };
        let renewer = std::thread::Builder::new().name("lock".to_owned()).spawn(move || renewer.run(&ended));
        match renewer {
            Ok(renewer) => Ok(Self { renewed, end: Some(end), renewer: Some(renewer) }),
            Err(error) => {
                let _ = repository.remove(Folder::Locks, &id);
                Err(Error::Resources(error))
            }
        }
    }

    /// Fails if others may believe that the lock is nobody's. To be asked before anything is made visible or removed.
    pub(crate) fn ensure(&self) -> Result<(), Error> {
        if self.renewed.is_lost(Timestamp::now()) { Err(Error::LockLost) } else { Ok(()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(renewer) = self.renewer.take() {
            // It does not panic; if it did, the lock becomes stale.
            let _ = renewer.join();
        }
    }
}

/// When a lock was renewed last, in seconds of Unix time. It is compared with the clock at the moment of asking: a process that
/// was stopped, with its machine perhaps, goes on as if no time had passed, and others have seen the lock grow stale.
struct Renewed(AtomicI64);

impl Renewed {
    fn is_lost(&self, now: Timestamp) -> bool {
        now.as_second().saturating_sub(self.0.load(Ordering::Relaxed)) > LOST
    }
}

struct Renewer {
    repository: Repository,
    lock: Lock,
    id: Id,
    renewed: Arc<Renewed>,
}

impl Renewer {
    fn run(mut self, ended: &Receiver<()>) {
        let mut wait = RENEW;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(wait) {
            let now = Timestamp::now();
            if self.renewed.is_lost(now) {
                // For good: what others did meanwhile is not known.
                break;
            }
            let renewed = Lock { time: Time::utc(now), ..self.lock.clone() };
            match write(&self.repository, &renewed) {
                Ok(id) => {
                    // One too many is stale before long.
                    let _ = self.repository.remove(Folder::Locks, &self.id);
                    (self.lock, self.id, wait) = (renewed, id, RENEW);
                    self.renewed.0.store(now.as_second(), Ordering::Relaxed);
                }
                Err(_) => wait = RETRY,
            }
        }
        let _ = self.repository.remove(Folder::Locks, &self.id);
    }
}

/// Removes locks.
///
/// # Errors
/// The store's. Locks that cannot be read are left if only stale ones are to go: nobody knows whose they are.
pub fn unlock(repository: &Repository, holder: &Holder, which: Unlock) -> Result<u64, Error> {
    let mut removed = 0;
    let now = Timestamp::now();
    for (id, _) in repository.list(Folder::Locks)? {
        let goes = which == Unlock::All
            || match read(repository, &id) {
                Ok(lock) => lock.is_some_and(|lock| is_nobodys(&lock, holder, now)),
                Err(Error::Damaged { .. }) => false,
                Err(error) => return Err(error),
            };
        if goes {
            repository.remove(Folder::Locks, &id)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Fails if a lock is in the way of `lock`; removes those that are nobody's.
fn make_way(repository: &Repository, holder: &Holder, lock: &Lock, own: Option<Id>) -> Result<(), Error> {
    let now = Timestamp::now();
    for (id, size) in repository.list(Folder::Locks)? {
        // An upload that was cut short can leave an empty file in some stores. restic passes it by, too.
        if Some(id) == own || size == 0 {
            continue;
        }
        match read(repository, &id)? {
            Some(other) if !lock.conflicts(&other) => {}
            Some(other) if is_nobodys(&other, holder, now) => repository.remove(Folder::Locks, &id)?,
            Some(other) => return Err(Error::Locked(Line::new(other.words()))),
            None => {}
        }
    }
    Ok(())
}

fn is_nobodys(lock: &Lock, holder: &Holder, now: Timestamp) -> bool {
    let has_died = || {
        let process = i32::try_from(lock.pid).ok().and_then(rustix::process::Pid::from_raw);
        let alive = process.map(rustix::process::test_kill_process);
        lock.hostname == holder.host && !matches!(alive, Some(Ok(()) | Err(rustix::io::Errno::PERM)))
    };
    lock.is_stale(now) || holder.gone.contains(&lock.hostname) || has_died()
}

/// The lock, if it was not removed meanwhile.
fn read(repository: &Repository, id: &Id) -> Result<Option<Lock>, Error> {
    let json = match repository.load(Folder::Locks, id, &mut Codec::new(Compression::Auto)?) {
        Err(Error::Storage(error)) if error.kind == Kind::NotFound => return Ok(None),
        json => json?,
    };
    let lock = serde_json::from_slice(&json).map_err(Malformed::from);
    lock.map(Some).map_err(Error::in_file(&Folder::Locks.file(id)))
}

fn write(repository: &Repository, lock: &Lock) -> Result<Id, Error> {
    repository.store(Folder::Locks, &serde_json::to_vec(lock).map_err(Malformed::from)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in tests")]
mod tests {
    use doppel_storage::folder;

    use super::*;
    use crate::format::config::Version;

    #[test]
    fn a_process_that_was_stopped_for_long_knows_that_its_lock_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(folder::Folder::new(folder.path()));
        let repository = Repository::init(storage, b"password", Version::V2).unwrap();
        let holder = Holder { host: "pod".to_owned(), user: "doppel".to_owned(), process: 1, gone: Vec::new() };
        let held = Held::acquire(&repository, &holder, Mode::Shared).unwrap();
        held.ensure().unwrap();
        held.renewed.0.fetch_sub(LOST + 1, Ordering::Relaxed);
        assert!(matches!(held.ensure(), Err(Error::LockLost)));
        drop(held);
        assert_eq!(repository.list(Folder::Locks).unwrap(), []);
    }
}
