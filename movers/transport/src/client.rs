//! The connecting end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use s2n_tls_tokio::{TlsConnector, TlsStream};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::{Address, literal};
use crate::deadlines::Deadlines;
use crate::error::Error;
use crate::keys::Keys;
use crate::stop::Stop;
use crate::stream::Connection;
use crate::tls::{self, Session, Sessions};
use crate::wire::{self, Handshake, Wire};

/// Connects to peers with one key, the first of a file.
pub struct Client {
    sessions: Sessions,
    deadlines: Deadlines,
    stop: Stop,
}

impl Client {
    /// A client that proves itself with the first of these keys.
    ///
    /// # Errors
    /// When the TLS library refuses them.
    pub fn new(keys: &Keys, deadlines: Deadlines, stop: Stop) -> Result<Self, Error> {
        Ok(Self { sessions: Sessions::new(keys.first())?, deadlines, stop })
    }

    /// Names an application protocol to the peer: see [`Connection::agreed`].
    #[must_use]
    pub fn naming(self, protocol: &'static str) -> Self {
        Self { sessions: self.sessions.naming(protocol), ..self }
    }

    /// Connects: looks the name up, tries each of its addresses, proves the key and lets the peer prove it.
    ///
    /// # Errors
    /// Says which of these went wrong.
    pub fn connect(&self, address: &Address) -> Result<Connection, Error> {
        let runtime = runtime()?;
        let connected = runtime.block_on(async {
            tokio::select! {
                connected = self.open(address) => connected,
                () = self.stop.stopped() => Err(Error::Stopped),
            }
        });
        // A look-up that hangs in the system's resolver cannot be ended; its thread is left behind, not waited for.
        runtime.shutdown_background();
        connected
    }

    async fn open(&self, address: &Address) -> Result<Connection, Error> {
        let deadlines = self.deadlines;
        let deadline = Instant::now() + deadlines.connect;
        let socket = connect_tcp(address, deadline).await?;
        let peer = address.to_string();
        let sessions = self.sessions.fresh();
        let connector = TlsConnector::new(sessions.clone());
        let (socket, witness) = Handshake::new(socket).map_err(|source| Error::Lost { peer: peer.clone(), source })?;
        match timeout(deadlines.handshake, connector.connect(address.server_name(), socket)).await {
            Ok(Ok(tls)) => establish(&peer, tls, &self.stop, deadlines.idle),
            Ok(Err(error)) => Err(tls::refusal(&peer, error, sessions.alert(), &witness)),
            Err(_) => Err(Error::Slow { peer, seconds: deadlines.handshake.as_secs() }),
        }
    }
}

/// Tries the addresses of a name in the resolver's order. Each gets an equal part of the time that is left, so that one
/// that swallows packets does not keep the next from being tried.
async fn connect_tcp(address: &Address, deadline: Instant) -> Result<TcpStream, Error> {
    let targets = look_up(address, deadline).await?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let count = targets.len();
    for (index, target) in targets.into_iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count - index).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(target)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        }
    }
    Err(Error::Connect { address: address.to_string(), source: last })
}

async fn look_up(address: &Address, deadline: Instant) -> Result<Vec<SocketAddr>, Error> {
    let port = address.port().get();
    if let Some(host) = literal(address.host()) {
        return Ok(vec![SocketAddr::new(host, port)]);
    }
    let found = match timeout_at(deadline, tokio::net::lookup_host((address.host(), port))).await {
        Ok(found) => found.map(Iterator::collect),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer from the resolver")),
    };
    found.map_err(|source| Error::Lookup { address: address.to_string(), source })
}

/// Makes a connection for blocking threads of one whose handshake is done.
pub(crate) fn establish(
    peer: &str,
    tls: TlsStream<Handshake, Session>,
    stop: &Stop,
    idle: Duration,
) -> Result<Connection, Error> {
    let (session, socket) = tls.into_parts();
    if !session.is_authenticated() {
        return Err(Error::Authentication { peer: peer.to_owned(), reason: "it did not use the key".to_owned() });
    }
    let connection = || {
        let socket = std::sync::Arc::new(socket.into_socket()?);
        wire::set_options(&socket)?;
        let agreed = session.agrees();
        let tls = TlsStream::from_parts(session, Wire(socket.clone()));
        Connection::new(tls, socket, stop, idle).map(|connection| Connection { agreed, ..connection })
    };
    connection().map_err(|source| Error::Lost { peer: peer.to_owned(), source })
}

/// A runtime for handshakes, on the thread that waits for them.
pub(crate) fn runtime() -> Result<Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(|error| Error::Local { reason: error.to_string() })
}
