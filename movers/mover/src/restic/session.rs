//! The connection to a repository.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use doppel_contract::psk::Key;
use doppel_restic::error::Error;
use doppel_restic::format::compress::Compression;
use doppel_restic::format::config::Version;
use doppel_restic::repository::Repository;
use doppel_restic::repository::lock::Holder;
use doppel_storage::{Haste, Manners, Storage};

use super::Trouble;
use super::access::Access;
use crate::run::{Reason, Switch};

pub(super) struct Session {
    storage: Arc<dyn Storage>,
    password: Key,
    pub(super) holder: Holder,
    pub(super) compression: Compression,
    pub(super) pack_size: usize,
    stopped: Arc<AtomicBool>,
    haste: Haste,
}

impl Session {
    pub(super) fn new(access: Access, holder: Holder) -> Result<Self, Trouble> {
        let Access { location, settings: _, proxies, password, trusted, compression, pack_size } = access;
        let haste = Haste::default();
        let manners = Manners { haste: haste.clone(), proxies, ..Manners::default() };
        let storage = doppel_storage::open(location, trusted.as_deref(), manners).map_err(Error::Storage)?;
        let stopped = Arc::default();
        Ok(Self { storage: storage.into(), password, holder, compression, pack_size, stopped, haste })
    }

    /// Does work in the repository, all of which ends soon once the switch is thrown. Throws it at the work's end.
    pub(super) fn ending_with<T>(&self, switch: &Switch, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            scope.spawn(|| self.end_with(switch));
            let done = work();
            switch.throw(Reason::Done);
            done
        })
    }

    fn end_with(&self, switch: &Switch) {
        const AGAIN: Duration = Duration::from_secs(3600);
        while !switch.stop().wait(AGAIN) {}
        self.stopped.store(true, Ordering::Relaxed);
        self.haste.begin();
    }

    pub(super) fn open(&self) -> Result<Repository, Error> {
        let repository = Repository::open(Arc::clone(&self.storage), self.password.expose())?;
        Ok(repository.stopped_by(Arc::clone(&self.stopped)))
    }

    /// Makes a repository of the version that restic makes, too.
    pub(super) fn init(&self) -> Result<Repository, Error> {
        let repository = Repository::init(Arc::clone(&self.storage), self.password.expose(), Version::V2)?;
        Ok(repository.stopped_by(Arc::clone(&self.stopped)))
    }
}

/// What this machine is called.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
