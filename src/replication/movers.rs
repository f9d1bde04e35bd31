//! The movers at work: how far each is, asked of itself from time to time.
//!
//! A mover tells whoever connects ([`Request::progress_port`](doppel_contract::Request)). So the operator needs no right to read
//! logs, and movers need no token. Where a NetworkPolicy keeps the operator from a mover, a status tells no progress, and all
//! else is as ever.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doppel_contract::Progress as Said;
use futures::StreamExt;
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use super::plan::mover::PROGRESS_PORT;
use super::queue::line::Key;
use super::report::to_seconds;
use super::wake::Waker;
use crate::model::progress::Progress;

/// A mover is asked this often, and for the first time when it has run for so long: short runs cost nothing.
const PAUSE: Duration = Duration::from_secs(10);
/// Where many are at work each is asked less often, so that all statuses together change five times a second at most.
const PAUSE_FOR_EACH: Duration = Duration::from_millis(200);
/// One that cannot be reached is asked again after this.
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// An answer takes a millisecond within a cluster.
const PATIENCE: Duration = Duration::from_secs(2);
/// Asked at the same time.
const AT_ONCE: usize = 32;

/// The movers at work.
pub(super) struct Movers {
    at_work: Mutex<BTreeMap<Key, AtWork>>,
    waker: Waker,
}

struct AtWork {
    address: IpAddr,
    ask_at: Instant,
    told: Option<(Said, Progress)>,
}

impl Movers {
    pub(super) fn new(waker: Waker) -> Self {
        Self { at_work: Mutex::default(), waker }
    }

    /// A mover is at work at this address; or none is.
    pub(super) fn note(&self, key: &Key, address: Option<IpAddr>) {
        let mut at_work = self.at_work();
        let Some(address) = address else {
            at_work.remove(key);
            return;
        };
        if at_work.get(key).is_none_or(|known| known.address != address) {
            at_work.insert(key.clone(), AtWork { address, ask_at: Instant::now() + PAUSE, told: None });
        }
    }

    /// What it said last.
    pub(super) fn progress(&self, key: &Key) -> Option<Progress> {
        self.at_work().get(key)?.told.map(|(_, progress)| progress)
    }

    /// Asks all of them, again and again. Whoever has come further is woken.
    pub(super) async fn ask_all(&self) -> Infallible {
        let mut clock = interval(Duration::from_secs(1));
        loop {
            clock.tick().await;
            let ask = |(key, address)| async move { self.hear(key, address, ask(address).await) };
            futures::stream::iter(self.due()).for_each_concurrent(AT_ONCE, ask).await;
        }
    }

    fn due(&self) -> Vec<(Key, IpAddr)> {
        let mut at_work = self.at_work();
        let now = Instant::now();
        let count = u32::try_from(at_work.len()).unwrap_or(u32::MAX);
        let pause = PAUSE.max(PAUSE_FOR_EACH.saturating_mul(count));
        let due = at_work.iter_mut().filter(|(_, mover)| mover.ask_at <= now);
        due.map(|(key, mover)| {
            mover.ask_at = now + pause;
            (key.clone(), mover.address)
        })
        .collect()
    }

    fn hear(&self, key: Key, address: IpAddr, answer: io::Result<Said>) {
        let mut at_work = self.at_work();
        // It may have ended meanwhile, or be another one.
        let Some(mover) = at_work.get_mut(&key).filter(|mover| mover.address == address) else { return };
        match answer {
            Ok(said) => {
                let before = mover.told.map(|(before, _)| before);
                let still = before.is_some_and(|before| Said { elapsed_ms: said.elapsed_ms, ..before } == said);
                if !still {
                    let now = to_seconds(Timestamp::now());
                    mover.told = Some((said, Progress::new(&said, before.as_ref(), now)));
                    self.waker.wake(key);
                }
            }
            Err(error) => {
                tracing::debug!(%address, %error, "Mover did not say how far it is");
                mover.ask_at = Instant::now() + LONG_PAUSE;
            }
        }
    }

    fn at_work(&self) -> MutexGuard<'_, BTreeMap<Key, AtWork>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is at that address may be anything: it gets a moment to say a line, and no more is read.
async fn ask(address: IpAddr) -> io::Result<Said> {
    let answer = async {
        let connection = TcpStream::connect((address, PROGRESS_PORT.get())).await?;
        let mut line = Vec::with_capacity(Said::LONGEST_LINE);
        connection.take(Said::LONGEST_LINE as u64).read_to_end(&mut line).await?;
        Ok(serde_json::from_slice(&line)?)
    };
    timeout(PATIENCE, answer).await?
}
