//! The source of rsync over TLS: sends the volume, then tells the destination that all of it was sent.
//!
//! Each attempt has connections of its own. For a Doppel one is enough: with the tree in the module `data` both ends know
//! that the run is complete. For others follow, in VolSync's order, the list of symbolic links into `control`, by which
//! VolSync undoes what its daemon did to them; a look at one of them, if an older VolSync may have done something else; and
//! the file `complete` into `control`, which ends the destination's run. `complete` is sent only by the attempt that sent
//! the whole tree: a destination that was replaced in between may be an empty one. A block device takes one connection
//! ([`device`]).

mod attempts;
mod device;

use std::thread;

use doppel_block::connection::PROTOCOL;
use doppel_block::device::Device;
use doppel_contract::{Fault, LeftOut, Phase, Request, Retry, RsyncTlsSource, Tally, Verdict, Volume};
use doppel_rsync::links::{self, Probe};
use doppel_rsync::outcome::{Outcome, Peer};
use doppel_rsync::proto::keep::{Extra, Keep};
use doppel_rsync::push::{self, PushOptions, Pushed};
use doppel_rsync::upload::{self, COMPLETE, CONTROL, SYMLINKS};
use doppel_transport::address::Address;
use doppel_transport::client::Client;
use doppel_transport::deadlines::Deadlines;
use doppel_transport::error::Error as TransportError;
use doppel_transport::keys::Keys;
use doppel_transport::stream::Connection;
use doppel_volume::monitor::Monitor;
use doppel_volume::tree::Tree;

use crate::failure::Failure;
use crate::progress::Counters;
use crate::run::{Ended, FAREWELL, Switch};
use attempts::{Attempts, Came, Next};

/// Sends the volume and reports.
pub(crate) fn send(request: &Request, work: &RsyncTlsSource, counters: &Counters, switch: &Switch) -> Ended {
    let outcome = thread::scope(|scope| {
        scope.spawn(|| switch.throw_after(request.deadline_seconds));
        let outcome = prepare(request, work, counters, switch).and_then(|source| source.send());
        // Ends the clock.
        switch.throw(crate::run::Reason::Done);
        outcome
    });
    let elapsed = counters.elapsed();
    match outcome {
        Ok(Outcome { tally, left_out, remarks, peer: _, complete: _ }) => {
            let verdict = if left_out.is_empty() { Verdict::Complete } else { Verdict::Incomplete(left_out) };
            Ended { verdict, tally, remarks, repository: None, elapsed }
        }
        Err(failure) => {
            let (tally, remarks) = (Tally::default(), LeftOut::default());
            Ended { verdict: failure.verdict(), tally, remarks, repository: None, elapsed }
        }
    }
}

struct Source<'r> {
    volume: Opened,
    client: Client,
    address: Address,
    options: PushOptions,
    counters: &'r Counters,
    switch: &'r Switch,
}

enum Opened {
    Tree(Tree),
    Device(Device),
}

/// Why an attempt failed, and whether it got as far as a destination.
struct Trouble {
    came: Came,
    failure: Failure,
    /// The destination would take the rest.
    not_taken: Option<Extra>,
}

fn prepare<'r>(
    request: &Request,
    work: &RsyncTlsSource,
    counters: &'r Counters,
    switch: &'r Switch,
) -> Result<Source<'r>, Failure> {
    let RsyncTlsSource { address, port, key_file, empty_source, verification } = work;
    let address = Address::new(address, *port)?;
    let client = Client::new(&Keys::read(key_file)?, Deadlines::MOVER, switch.stop().clone());
    let client = client.map_err(|error| Failure::from(&error))?;
    let (volume, client) = match &request.volume {
        Volume::Tree(path) => (Opened::Tree(Tree::open(path)?), client),
        Volume::Device(volume) => (Opened::Device(Device::open_source(&volume.device)?), client.naming(PROTOCOL)),
    };
    let options = PushOptions { empty_source: *empty_source, verification: *verification };
    Ok(Source { volume, client, address, options, counters, switch })
}

impl Source<'_> {
    /// Tries until it is done, or trying is of no use.
    fn send(&self) -> Result<Outcome, Failure> {
        let mut attempts = Attempts::default();
        loop {
            let (came, trouble) = match self.attempt() {
                Ok(outcome) if outcome.left_out.is_empty() => return Ok(outcome),
                Ok(outcome) => (Came::Incomplete, Ok(outcome)),
                Err(Trouble { came, failure, not_taken: _ }) => (came, Err(failure)),
            };
            if let Some(interruption) = self.switch.interruption(trouble.as_ref().err()) {
                return Err(interruption);
            }
            if trouble.as_ref().is_err_and(|failure| failure.retry == Retry::AfterChange) {
                return trouble;
            }
            let Next::Wait(pause) = attempts.after(came, self.counters.elapsed()) else {
                return trouble;
            };
            let seconds = pause.as_secs_f64();
            match &trouble {
                Err(failure) => tracing::warn!(reason = %failure.message, wait = seconds, "Will try again"),
                Ok(outcome) => {
                    tracing::warn!(
                        left_out = outcome.left_out.count,
                        wait = seconds,
                        "Left something out, will try again"
                    );
                }
            }
            self.counters.phase(Phase::Connecting);
            if self.switch.stop().wait(pause) {
                return Err(self.switch.interruption(trouble.as_ref().err()).unwrap_or_else(interrupted));
            }
        }
    }

    /// One attempt, to its end or to the point at which it turns out that something was left out.
    fn attempt(&self) -> Result<Outcome, Trouble> {
        self.counters.restart();
        self.counters.phase(Phase::Connecting);
        match &self.volume {
            Opened::Tree(tree) => self.send_tree(tree),
            Opened::Device(device) => self.send_device(device),
        }
    }

    fn send_tree(&self, tree: &Tree) -> Result<Outcome, Trouble> {
        let Pushed { mut outcome, symlinks, fragile } = self.push(tree)?;
        if outcome.complete || !outcome.left_out.is_empty() {
            return Ok(outcome);
        }
        if outcome.peer == Peer::Rsync && !symlinks.is_empty() {
            self.over_a_connection(|connection| upload::upload(connection, CONTROL, SYMLINKS, &symlinks))?;
        }
        if let Some(Probe { path, target }) = &fragile.probe {
            let stored = self.over_a_connection(|connection| links::look(connection, path))?;
            if stored.as_ref() != Some(target) {
                outcome.left_out = fragile.links;
                return Ok(outcome);
            }
        }
        // VolSync sends its own script; any content will do, but an empty file would not be noticed by everybody.
        self.over_a_connection(|connection| upload::upload(connection, CONTROL, COMPLETE, b"complete\n"))?;
        Ok(outcome)
    }

    /// Sends the tree, without what the destination refuses to keep.
    fn push(&self, tree: &Tree) -> Result<Pushed, Trouble> {
        let mut keep = Keep::ALL;
        loop {
            let pushed = self.over_a_connection(|connection| {
                push::push_keeping(connection, tree, &self.options, keep, self.counters)
            });
            match pushed {
                // Each time something less is kept, so this ends.
                Err(Trouble { not_taken: Some(extra), .. }) if keep.has(extra) => {
                    tracing::warn!(what = extra.words(), "The destination refuses to keep something");
                    keep = keep.without(extra);
                }
                pushed => return pushed,
            }
        }
    }

    fn connect(&self) -> Result<Connection, Trouble> {
        self.client.connect(&self.address).map_err(|error| {
            let came = if before_the_door(&error) { Came::NobodyThere } else { Came::Failed };
            Trouble { came, failure: Failure::from(&error), not_taken: None }
        })
    }

    fn over_a_connection<T>(
        &self,
        session: impl FnOnce(Streams<'_>) -> Result<T, doppel_rsync::error::Error>,
    ) -> Result<T, Trouble> {
        let mut connection = self.connect()?;
        let Connection { reader, writer, .. } = &mut connection;
        let done = session(push::Connection { reader, writer });
        let done = done.map_err(|error| {
            let not_taken = if let doppel_rsync::error::Error::NotTaken(extra) = error { Some(extra) } else { None };
            Trouble { came: Came::Failed, failure: Failure::from(&error), not_taken }
        })?;
        // The session said goodbye within the protocol; how the connection ends changes nothing any more.
        if let Err(error) = connection.finish(FAREWELL) {
            tracing::debug!(%error, "The connection did not end in order");
        }
        Ok(done)
    }
}

type Streams<'c> = push::Connection<&'c mut doppel_transport::stream::Reader, &'c mut doppel_transport::stream::Writer>;

/// Whether there may be no destination behind the address yet. Load balancers accept connections to nobody: they close
/// them, or let them hang.
fn before_the_door(error: &TransportError) -> bool {
    matches!(
        error,
        TransportError::Lookup { .. }
            | TransportError::Connect { .. }
            | TransportError::Lost { .. }
            | TransportError::Slow { .. }
    )
}

fn interrupted() -> Failure {
    Failure::new(Fault::Ours, Retry::Later, "stopped")
}
