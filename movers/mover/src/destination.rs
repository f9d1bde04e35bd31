//! The destination of rsync over TLS: waits for a source, receives what it sends, ends when the source says that it is
//! done.
//!
//! A destination does not know when its source will come, or how often it has to try. So nothing that happens on a single
//! connection ends the run: not a stranger, not a wrong key, not a source that dies in the middle. Only the volume itself
//! does, when it fails.

mod device;
mod ledger;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use doppel_block::connection::PROTOCOL;
use doppel_block::device::Device;
use doppel_block::receive::Destination as DeviceDestination;
use doppel_contract::{Fault, LeftOut, Phase, Problem, Request, Retry, RsyncTlsDestination, Tally, Volume};
use doppel_rsync::error::Error as SessionError;
use doppel_rsync::outcome::Outcome;
use doppel_rsync::push;
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_rsync::upload::COMPLETE;
use doppel_transport::deadlines::Deadlines;
use doppel_transport::error::Error as TransportError;
use doppel_transport::keys::Keys;
use doppel_transport::server::Listener;
use doppel_transport::stream::{Connection, Pulse};
use doppel_volume::monitor::Monitor;
use doppel_volume::tree::Tree;

use crate::failure::Failure;
use crate::memory;
use crate::progress::Counters;
use crate::run::{Ended, FAREWELL, Reason, Switch};
use ledger::{Ledger, Number, Then};

/// Receives into the volume until the source is done, and reports.
pub(crate) fn receive(request: &Request, work: &RsyncTlsDestination, counters: &Counters, switch: &Switch) -> Ended {
    match listen(request, work, switch) {
        Ok((opened, listener)) => {
            let volume = match &opened {
                Opened::Tree(tree) => {
                    let modules = Modules::new(tree, work.empty_source);
                    Receiver::Tree(match memory::for_list() {
                        Some(bytes) => modules.with_list_memory(bytes),
                        None => modules,
                    })
                }
                Opened::Device(device) => Receiver::Device(device),
            };
            let destination = Destination {
                volume,
                counters,
                switch,
                deadline: request.deadline_seconds,
                ledger: Mutex::default(),
                begin: OnceLock::new(),
                last_failure: Mutex::default(),
                pulses: Mutex::default(),
                broken: OnceLock::new(),
                sessions: AtomicUsize::new(0),
                refused: AtomicU64::new(0),
            };
            destination.receive(listener)
        }
        Err(failure) => ended(failure, Tally::default(), Duration::ZERO),
    }
}

enum Opened {
    Tree(Tree),
    Device(DeviceDestination),
}

fn ended(failure: Failure, tally: Tally, elapsed: Duration) -> Ended {
    Ended { verdict: failure.verdict(), tally, remarks: LeftOut::default(), repository: None, elapsed }
}

fn listen(request: &Request, work: &RsyncTlsDestination, switch: &Switch) -> Result<(Opened, Listener), Failure> {
    let RsyncTlsDestination { port, key_file, empty_source } = work;
    let keys = Keys::read(key_file)?;
    let opened = match &request.volume {
        Volume::Tree(path) => Opened::Tree(Tree::open(path)?),
        Volume::Device(volume) => {
            let device = Device::open_destination(&volume.device)?;
            Opened::Device(DeviceDestination::new(device, *empty_source))
        }
    };
    let listener = Listener::bind(port.get(), &keys, Deadlines::MOVER, switch.stop().clone());
    let listener = listener.map_err(|error| Failure::from(&error))?;
    let listener = match opened {
        Opened::Tree(_) => listener,
        Opened::Device(_) => listener.naming(PROTOCOL),
    };
    Ok((opened, listener))
}

/// Where sessions store what they receive.
enum Receiver<'r> {
    Tree(Modules<'r>),
    Device(&'r DeviceDestination),
}

struct Destination<'r> {
    volume: Receiver<'r>,
    counters: &'r Counters,
    switch: &'r Switch,
    deadline: Option<NonZeroU64>,
    ledger: Mutex<Ledger>,
    /// When the first authenticated peer came.
    begin: OnceLock<Instant>,
    /// What went wrong last, for whoever wants to know why the run did not end.
    last_failure: Mutex<Option<Failure>>,
    /// The connections of all sessions, and of some that have ended.
    pulses: Mutex<Vec<Pulse>>,
    /// The volume failed; the run is over.
    broken: OnceLock<Failure>,
    sessions: AtomicUsize,
    refused: AtomicU64,
}

/// Connections of authenticated peers at a time. A source has one; its successor, and a few that hang, may overlap. Each
/// takes two threads and about 1 MiB.
const SESSIONS: usize = 8;

impl Destination<'_> {
    fn receive(self, mut listener: Listener) -> Ended {
        tracing::info!(port = listener.local_address().map(|address| address.port()).ok(), "Waiting for a source");
        thread::scope(|scope| {
            loop {
                match listener.accept() {
                    Ok(connection) => self.admit(scope, connection),
                    Err(TransportError::Stopped) => break,
                    Err(error) => self.note_refusal(&error),
                }
            }
        });
        let elapsed = self.begin.get().map(Instant::elapsed).unwrap_or_default();
        let Self { ledger, last_failure, broken, switch, .. } = self;
        let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
        let last_failure = last_failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = broken.into_inner().or_else(|| switch.interruption(last_failure.as_ref())) {
            return ended(failure, ledger.tally(), elapsed);
        }
        let (verdict, tally, remarks) = ledger.settle();
        Ended { verdict, tally, remarks, repository: None, elapsed }
    }

    fn admit<'s>(&'s self, scope: &'s Scope<'s, '_>, connection: Connection) {
        if self.begin.set(Instant::now()).is_ok() {
            scope.spawn(|| self.switch.throw_after(self.deadline));
        }
        if self.sessions.fetch_add(1, Ordering::AcqRel) >= SESSIONS {
            self.sessions.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!(peer = %connection.peer, "Closed a connection, there are too many");
            return;
        }
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(Pulse::is_there);
        pulses.push(connection.pulse());
        drop(pulses);
        scope.spawn(move || {
            let then = match &self.volume {
                Receiver::Tree(modules) => self.session(connection, modules),
                Receiver::Device(device) => self.device_session(connection, device),
            };
            self.sessions.fetch_sub(1, Ordering::AcqRel);
            match then {
                Then::GoOn => {}
                Then::End => self.switch.throw(Reason::Done),
                Then::Disbelieve => {
                    tracing::warn!("The source says it is done, but sent no data to this run; waiting on");
                }
            }
        });
    }

    fn session(&self, mut connection: Connection, modules: &Modules<'_>) -> Then {
        let peer = connection.peer;
        let session = Session { destination: self, number: OnceLock::new() };
        let Connection { reader, writer, .. } = &mut connection;
        let served = serve(push::Connection { reader, writer }, modules, &session);
        if let Err(error) = connection.finish(FAREWELL) {
            tracing::debug!(%peer, %error, "The connection did not end in order");
        }
        let number = session.number.into_inner();
        if number.is_some() {
            self.counters.phase(Phase::Waiting);
        }
        match served {
            Ok(Served::Data(outcome)) => {
                let count = outcome.left_out.count;
                tracing::info!(%peer, entries = outcome.tally.entries, left_out = count, "Received the source's tree");
                *self.last_failure() = outcome.left_out.first.first().map(|Problem { path, why }| {
                    let message =
                        format!("the last transfer left out {count} entries, the first of them {path}: {why}");
                    Failure::new(Fault::Volume, Retry::Later, message)
                });
                self.data_ends(number, outcome)
            }
            Ok(Served::Control { name, content: _ }) if name == COMPLETE => self.ledger().complete(),
            // Links are stored as they are; no list of them is needed.
            Ok(Served::Control { .. } | Served::Listing) => Then::GoOn,
            Err(error) => {
                if let SessionError::Busy = error {
                    self.doubt_the_others();
                }
                let volume_failed = matches!(error, SessionError::Volume(_));
                self.note_failure(peer, Failure::from(&error), volume_failed, number)
            }
        }
    }

    /// A Doppel that sent all says so within the session.
    fn data_ends(&self, number: Option<Number>, outcome: Outcome) -> Then {
        let mut ledger = self.ledger();
        // An engine reports a phase before it ends in order.
        let number = number.unwrap_or_else(|| ledger.data_begins());
        let (complete, then) = (outcome.complete, ledger.data_ends(number, outcome));
        if complete { ledger.complete() } else { then }
    }

    /// A source opens its connections one after the other, and its successor comes when it is gone. So when one comes while
    /// another is received, that one may be dead: a node that failed, or a pod whose network went before it could say goodbye.
    fn doubt_the_others(&self) {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner).retain(Pulse::take);
    }

    fn note_failure(&self, peer: SocketAddr, failure: Failure, volume_failed: bool, number: Option<Number>) -> Then {
        tracing::warn!(%peer, reason = %failure.message, "A session failed");
        if let Some(number) = number {
            self.ledger().data_fails(number);
        }
        if volume_failed {
            let _ = self.broken.set(failure);
            return Then::End;
        }
        *self.last_failure() = Some(failure);
        Then::GoOn
    }

    /// Anybody can cause refusals, as many as they like; the log gets the first of them, then fewer and fewer.
    fn note_refusal(&self, error: &TransportError) {
        const ALL_LOGGED: u64 = 10;
        let count = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if count <= ALL_LOGGED || count.is_power_of_two() {
            tracing::warn!(%error, count, "Refused a connection");
        }
        if let TransportError::Authentication { .. } | TransportError::Protocol { .. } = error {
            *self.last_failure() = Some(Failure::from(error));
        }
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's view of the run. An engine reports phases only of a session that writes to the volume.
struct Session<'d> {
    destination: &'d Destination<'d>,
    /// Its number, once it has begun to write.
    number: OnceLock<Number>,
}

impl Monitor for Session<'_> {
    fn phase(&self, phase: Phase) {
        self.number.get_or_init(|| {
            self.destination.counters.restart();
            self.destination.ledger().data_begins()
        });
        self.destination.counters.phase(phase);
    }

    fn found(&self, entries: u64, bytes: u64) {
        self.destination.counters.found(entries, bytes);
    }

    fn all_found(&self) {
        self.destination.counters.all_found();
    }

    fn done(&self, entries: u64, bytes: u64) {
        self.destination.counters.done(entries, bytes);
    }
}
