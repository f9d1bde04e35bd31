//! What all services behind a network have in common: attempts, how many at a time, and for how long.
//!
//! A service makes one attempt at a time and says of a failure whether it may pass. Everything else is decided here, once: a
//! store's callers block, and inside of it a runtime with two threads of its own drives the connections.

mod pause;

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::location::Proxies;
use crate::{Error, Kind, Object, Part, Storage};

/// One attempt at a service.
pub(crate) trait Service: Send + Sync {
    async fn read(&self, name: &str) -> Result<Bytes, Failed>;

    /// `length` bytes, never fewer.
    async fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Failed>;

    async fn write(&self, name: &str, content: Bytes) -> Result<(), Failed>;

    /// Adds to `found`, which the attempt before may have left behind: go on from there, or begin again.
    async fn list(&self, folder: &str, found: &mut Vec<Object>) -> Result<(), Failed>;

    async fn remove(&self, name: &str) -> Result<(), Failed>;
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) kind: Kind,
    /// Whether another attempt may succeed.
    pub(crate) passing: bool,
    pub(crate) why: String,
}

impl Failed {
    /// A failure that another attempt will not mend.
    pub(crate) fn lasting(kind: Kind, why: impl Display) -> Self {
        Self { kind, passing: false, why: why.to_string() }
    }

    /// A failure that may pass.
    pub(crate) fn passing(why: impl Display) -> Self {
        Self { kind: Kind::Unreachable, passing: true, why: why.to_string() }
    }
}

/// How a store is to be treated.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Requests at a time. restic's default is 5, for every service but a local folder.
    pub connections: usize,
    /// How long an operation is tried while nothing has ever worked: an address may be wrong, and somebody waits.
    pub first_patience: Duration,
    /// How long one is tried after something has worked. restic's, too, is 15 minutes.
    pub patience: Duration,
    /// Cuts patience short.
    pub haste: Haste,
    /// Who passes requests on.
    pub proxies: Proxies,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            connections: 5,
            first_patience: Duration::from_secs(60),
            patience: Duration::from_secs(15 * 60),
            haste: Haste::default(),
            proxies: Proxies::default(),
        }
    }
}

/// Makes all operations end soon, those that are under way too: the process is to end, and a lock is still to be removed.
#[derive(Debug, Clone, Default)]
pub struct Haste(watch::Sender<bool>);

impl Haste {
    /// What an operation may take from now on, or from its begin.
    const LEFT: Duration = Duration::from_secs(5);

    /// From now on there is little time.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Ends some time after [`Self::begin`] was called.
    async fn over(&self) {
        // The sender lives as long as `self`: there is nothing else to wait for than the call.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
        tokio::time::sleep(Self::LEFT).await;
    }
}

/// A service, as a store.
pub(crate) struct Remote<S> {
    service: S,
    manners: Manners,
    places: Semaphore,
    /// Whether anything has ever worked.
    answered: AtomicBool,
    runtime: Runtime,
}

impl<S: Service> Remote<S> {
    pub(crate) fn new(service: S, manners: Manners) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("store").enable_all().build();
        let runtime = runtime.map_err(|error| Error::new(Kind::Other, "starting threads for a store", error))?;
        let places = Semaphore::new(manners.connections.max(1));
        Ok(Self { service, manners, places, answered: AtomicBool::new(false), runtime })
    }

    fn run<T>(&self, operation: String, attempt: impl AsyncFnMut() -> Result<T, Failed>) -> Result<T, Error> {
        self.runtime.block_on(self.operate(operation, attempt))
    }

    async fn operate<T>(&self, operation: String, attempt: impl AsyncFnMut() -> Result<T, Failed>) -> Result<T, Error> {
        // Nobody closes the semaphore.
        let _place = self.places.acquire().await;
        let worked_before = self.answered.load(Ordering::Relaxed);
        let patience = if worked_before { self.manners.patience } else { self.manners.first_patience };
        let (begin, mut last) = (Instant::now(), None);
        let failed = tokio::select! {
            done = self.attempts(&operation, attempt, &mut last) => match done {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            },
            () = tokio::time::sleep(patience) => gave_up(last, begin),
            () = self.manners.haste.over() => gave_up(last, begin),
        };
        Err(Error::new(failed.kind, operation, failed.why))
    }

    async fn read_part(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
        self.operate(format!("reading {name}"), async || self.service.read_range(name, offset, length).await).await
    }

    /// Tries until it has worked, or trying is of no use.
    async fn attempts<T>(
        &self,
        operation: &str,
        mut attempt: impl AsyncFnMut() -> Result<T, Failed>,
        last: &mut Option<Failed>,
    ) -> Result<T, Failed> {
        let mut pauses = pause::Pauses::default();
        loop {
            let failed = match attempt().await {
                Ok(value) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(failed) if failed.passing => failed,
                Err(failed) => {
                    // It answers, if only to say no.
                    self.answered.store(true, Ordering::Relaxed);
                    return Err(failed);
                }
            };
            let pause = pauses.next();
            tracing::warn!(operation, reason = failed.why, wait = pause.as_secs_f64(), "Will try again");
            *last = Some(failed);
            tokio::time::sleep(pause).await;
        }
    }
}

fn gave_up(last: Option<Failed>, begin: Instant) -> Failed {
    let why = last.map_or_else(|| "no answer".to_owned(), |last| last.why);
    let seconds = begin.elapsed().as_secs_f64();
    Failed::lasting(Kind::Unreachable, format_args!("{why}; tried for {seconds:.0} s"))
}

impl<S: Service> Storage for Remote<S> {
    fn read(&self, name: &str) -> Result<Bytes, Error> {
        self.run(format!("reading {name}"), async || self.service.read(name).await)
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
        self.runtime.block_on(self.read_part(name, offset, length))
    }

    fn read_ranges(&self, parts: &[Part]) -> Vec<Result<Bytes, Error>> {
        self.runtime.block_on(join_all(parts.iter().map(|part| self.read_part(&part.name, part.offset, part.length))))
    }

    fn write(&self, name: &str, content: Bytes) -> Result<(), Error> {
        self.run(format!("writing {name}"), async || self.service.write(name, content.clone()).await)
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        let mut found = Vec::new();
        self.run(format!("listing {folder}"), async || self.service.list(folder, &mut found).await)?;
        Ok(found)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.run(format!("removing {name}"), async || self.service.remove(name).await)
    }
}

#[cfg(test)]
mod tests;
