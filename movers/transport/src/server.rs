//! The listening end.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::net::sockopt;
use s2n_tls_tokio::TlsAcceptor;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::client::{establish, runtime};
use crate::deadlines::Deadlines;
use crate::error::Error;
use crate::keys::Keys;
use crate::stop::Stop;
use crate::stream::{Connection, canonical};
use crate::tls::{self, Sessions};
use crate::wire::Handshake;

/// Listens on a port and hands out peers that proved one of the keys.
///
/// Strangers cost little: until a connection has sent its first byte it is a socket and nothing else. At most
/// [`Listener::STRANGERS`] of them are kept; a newer one displaces the one that has waited longest, so that idle
/// connections in any number cannot keep out a peer that speaks at once.
pub struct Listener {
    runtime: Runtime,
    listener: TcpListener,
    sessions: Sessions,
    deadlines: Deadlines,
    stop: Stop,
    handshakes: JoinSet<Result<Connection, Error>>,
    waiting: VecDeque<(AbortHandle, String)>,
}

impl Listener {
    /// A peer's handshake takes two round trips, at most 1 s on earth. To displace it within that time a flood needs 256
    /// connections a second, and each that speaks costs about 60 KiB: 15 MiB for all.
    pub const STRANGERS: usize = 256;

    /// The longest queue of connections that the kernel completes before they are accepted.
    const BACKLOG: u32 = 1024;

    /// Listens on this port, on all addresses of both IP versions; on IPv4 alone where IPv6 is off. Port 0 is any free one.
    ///
    /// # Errors
    /// When the port is taken or may not be used.
    pub fn bind(port: u16, keys: &Keys, deadlines: Deadlines, stop: Stop) -> Result<Self, Error> {
        let sessions = Sessions::new(keys.all())?;
        let runtime = runtime()?;
        let entered = runtime.enter();
        let listener = listen_dual(port).or_else(|error| match error.kind() {
            // Taken or forbidden it is on IPv4 too, and half a service would be worse than the error.
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            _ => listen_ipv4(port),
        });
        let listener = listener.map_err(|source| Error::Listen { port, source })?;
        drop(entered);
        let (handshakes, waiting) = (JoinSet::new(), VecDeque::new());
        Ok(Self { runtime, listener, sessions, deadlines, stop, handshakes, waiting })
    }

    /// Names an application protocol to those who ask for it: see [`Connection::agreed`].
    #[must_use]
    pub fn naming(self, protocol: &'static str) -> Self {
        Self { sessions: self.sessions.naming(protocol), ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits for the next peer. Must be called again soon: strangers are only looked after within a call.
    ///
    /// # Errors
    /// Of one connection: [`Error::Stopped`] is the only one after which calling again is of no use.
    pub fn accept(&mut self) -> Result<Connection, Error> {
        let Self { runtime, listener, sessions, deadlines, stop, handshakes, waiting } = self;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    () = stop.stopped() => return Err(Error::Stopped),
                    Some(ended) = handshakes.join_next() => {
                        waiting.retain(|(task, _)| !task.is_finished());
                        // A task that was displaced is reported by whoever displaced it.
                        if let Ok(outcome) = ended {
                            return outcome;
                        }
                    }
                    accepted = listener.accept() => match accepted {
                        Ok((socket, peer)) => {
                            let peer = canonical(peer).to_string();
                            let task = shake_hands(socket, peer.clone(), sessions.fresh(), *deadlines, stop.clone());
                            waiting.push_back((handshakes.spawn(task), peer));
                            if waiting.len() > Self::STRANGERS && let Some((oldest, peer)) = waiting.pop_front() {
                                oldest.abort();
                                return Err(Error::Crowded { peer });
                            }
                        }
                        Err(error) => rest(&error).await,
                    },
                }
            }
        })
    }
}

async fn shake_hands(
    socket: TcpStream,
    peer: String,
    sessions: Sessions,
    deadlines: Deadlines,
    stop: Stop,
) -> Result<Connection, Error> {
    let handshake = async {
        // The TLS state is made for those who speak.
        if let Err(source) = socket.readable().await {
            return Err(Error::Lost { peer: peer.clone(), source });
        }
        let (socket, witness) = Handshake::new(socket).map_err(|source| Error::Lost { peer: peer.clone(), source })?;
        match TlsAcceptor::new(sessions.clone()).accept(socket).await {
            Ok(tls) => establish(&peer, tls, &stop, deadlines.idle),
            Err(error) => {
                if let Some(alert) = tls::alert_for(&error) {
                    witness.refuse(alert);
                }
                Err(tls::refusal(&peer, error, sessions.alert(), &witness))
            }
        }
    };
    let seconds = deadlines.handshake.as_secs();
    timeout(deadlines.handshake, handshake).await.unwrap_or(Err(Error::Slow { peer: peer.clone(), seconds }))
}

/// Accepting fails for one connection, or because there are no descriptors left: then time frees some.
async fn rest(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tokio::time::sleep(PAUSE).await;
    }
}

fn listen_dual(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    listen(socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
}

fn listen_ipv4(port: u16) -> io::Result<TcpListener> {
    listen(TcpSocket::new_v4()?, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
}

fn listen(socket: TcpSocket, address: SocketAddr) -> io::Result<TcpListener> {
    // A port whose last connections are still winding down is free.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(Listener::BACKLOG)
}
