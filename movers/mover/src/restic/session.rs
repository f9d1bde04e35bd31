//! The connection to a repository.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use doppel_contract::psk::Key;
use doppel_restic::error::Error;
use doppel_restic::format::compress::Compression;
use doppel_restic::format::config::Version;
use doppel_restic::repository::Repository;
use doppel_restic::repository::cache::Cache;
use doppel_restic::repository::lock::Holder;
use doppel_storage::{Haste, Manners, Storage};

use super::Trouble;
use super::access::Access;
use crate::run::{Reason, Switch};

pub(super) struct Session {
    storage: Arc<dyn Storage>,
    password: Key,
    pub(super) holder: Holder,
    /// Certificates of authorities, in PEM.
    pub(super) trusted: Option<PathBuf>,
    pub(super) compression: Compression,
    pub(super) pack_size: usize,
    /// Where caches are, if any is kept.
    cache: Option<PathBuf>,
    stopped: Arc<AtomicBool>,
    haste: Haste,
}

impl Session {
    pub(super) fn new(access: Access, holder: Holder) -> Result<Self, Trouble> {
        Self::stopped_by(Arc::default(), Haste::default(), access, holder)
    }

    /// A connection to another repository, which ends with this one.
    pub(super) fn beside(&self, access: Access) -> Result<Self, Trouble> {
        Self::stopped_by(Arc::clone(&self.stopped), self.haste.clone(), access, self.holder.clone())
    }

    fn stopped_by(stopped: Arc<AtomicBool>, haste: Haste, access: Access, holder: Holder) -> Result<Self, Trouble> {
        let Access { location, settings: _, proxies, password, trusted, compression, pack_size } = access;
        let manners = Manners { haste: haste.clone(), proxies, ..Manners::default() };
        let storage = doppel_storage::open(location, trusted.as_deref(), manners).map_err(Error::Storage)?;
        let (storage, cache) = (storage.into(), None);
        Ok(Self { storage, password, holder, trusted, compression, pack_size, cache, stopped, haste })
    }

    /// Keeps caches of repositories in this folder.
    pub(super) fn cached_in(self, cache: Option<PathBuf>) -> Self {
        Self { cache, ..self }
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
        Ok(self.prepared(Repository::open(Arc::clone(&self.storage), self.password.expose())?))
    }

    /// Makes a repository of the version that restic makes, too.
    pub(super) fn init(&self) -> Result<Repository, Error> {
        Ok(self.prepared(Repository::init(Arc::clone(&self.storage), self.password.expose(), Version::V2)?))
    }

    fn prepared(&self, repository: Repository) -> Repository {
        let repository = repository.stopped_by(Arc::clone(&self.stopped));
        let Some(base) = &self.cache else { return repository };
        match Cache::open(base, repository.id()) {
            Ok(cache) => repository.cached_in(cache),
            Err(error) => {
                let cache = base.display().to_string();
                tracing::warn!(cache, reason = %error, "The cache cannot be used; this run does without");
                repository
            }
        }
    }
}

/// What this machine is called.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
