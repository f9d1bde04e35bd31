//! A socket that does not block, in the form in which the TLS library asks for one, and the waits around it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The socket of an established connection. "Pending" means that the kernel would block: whoever polls must wait for the
/// socket itself (`poll(2)`), no runtime will wake it.
pub(crate) struct Wire(pub(crate) Arc<TcpStream>);

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let target = buf.initialize_unfilled();
        would_block(context, || (&*self.0).read(target)).map_ok(|length| buf.advance(length))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        would_block(context, || (&*self.0).write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(std::net::Shutdown::Write))
    }
}

fn would_block(context: &Context<'_>, mut call: impl FnMut() -> io::Result<usize>) -> Poll<io::Result<usize>> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The contract of a future; nobody listens to it.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            result => return Poll::Ready(result),
        }
    }
}

/// The socket of a handshake, on a runtime. When a handshake fails the TLS library mostly says nothing but "close notify"
/// and shuts the socket down. Here that word is swallowed and the socket stays open, so that the peer can be told why
/// ([`Witness::refuse`]).
pub(crate) struct Handshake {
    socket: tokio::net::TcpStream,
    first_byte: Arc<OnceLock<u8>>,
}

/// What is left of a handshake that failed, after the TLS library has let go of the socket.
pub(crate) struct Witness {
    socket: TcpStream,
    first_byte: Arc<OnceLock<u8>>,
}

// RFC 8446 section 5.1: the first byte of a record is its type. A handshake begins with one of these in the clear.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

const ALERT_LENGTH: [u8; 2] = [0, 2];
const CLOSE_NOTIFY: u8 = 0;

impl Handshake {
    pub(crate) fn new(socket: tokio::net::TcpStream) -> io::Result<(Self, Witness)> {
        // A flight of the handshake is several small writes, of which each but the first would wait for a round trip; and so
        // would the last packet of each batch of an engine.
        socket.set_nodelay(true)?;
        let twin = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        let first_byte = Arc::new(OnceLock::new());
        Ok((Self { socket, first_byte: Arc::clone(&first_byte) }, Witness { socket: twin, first_byte }))
    }

    /// The socket of an established connection: still one that does not block.
    pub(crate) fn into_socket(self) -> io::Result<TcpStream> {
        self.socket.into_std()
    }
}

impl Witness {
    /// Whether the peer's first byte belonged to another protocol.
    pub(crate) fn is_foreign(&self) -> bool {
        self.first_byte.get().is_some_and(|first| !begins_tls(*first))
    }

    /// Sends a fatal alert in the clear (RFC 8446 section 6), as an endpoint must that has no keys yet. Nothing was sent
    /// before, so the seven bytes fit the socket's buffer.
    pub(crate) fn refuse(&self, alert: u8) {
        const FATAL: u8 = 2;
        let [high, low] = ALERT_LENGTH;
        // The peer may be gone already; then nobody needs to know.
        let _ = (&self.socket).write(&[ALERT, 3, 3, high, low, FATAL, alert]);
    }
}

fn begins_tls(first: u8) -> bool {
    matches!(first, ALERT | HANDSHAKE)
}

impl AsyncRead for Handshake {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.socket).poll_read(context, buf);
        if let Some(first) = buf.filled().get(before)
            && !begins_tls(*this.first_byte.get_or_init(|| *first))
        {
            // Whatever its bytes say as a TLS record, a long one to wait for maybe, they do not mean it.
            buf.set_filled(before);
        }
        outcome
    }
}

impl AsyncWrite for Handshake {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let [ALERT, _, _, length @ .., _, CLOSE_NOTIFY] = bytes
            && *length == ALERT_LENGTH
        {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Sets what every connection needs.
///
/// Keepalive after 180 s as VolSync's stunnel has it; four probes 30 s apart find a dead peer within 5 minutes,
/// and the same for data that nobody acknowledges, for which the kernel alone would try for a quarter of an hour.
pub(crate) fn set_options(socket: &TcpStream) -> io::Result<()> {
    const KEEPALIVE_IDLE: Duration = Duration::from_secs(180);
    const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
    const KEEPALIVE_PROBES: u32 = 4;
    const UNACKNOWLEDGED_MS: u32 = 300_000;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_MS)?;
    Ok(())
}

/// Finds a dead peer sooner: once a second the kernel asks, and after [`SUSPICION`] without an answer, counted from the last sign
/// of life, the connection is broken. The peer's kernel answers, so one that only works in silence is not harmed.
pub(crate) fn ask_soon(socket: &TcpStream) -> io::Result<()> {
    const EACH: Duration = Duration::from_secs(1);
    sockopt::set_tcp_user_timeout(socket, u32::try_from(SUSPICION.as_millis()).unwrap_or(u32::MAX))?;
    sockopt::set_tcp_keepintvl(socket, EACH)?;
    // This one last: setting it starts the clock anew.
    sockopt::set_tcp_keepidle(socket, EACH)?;
    Ok(())
}

/// A network that loses everything for longer than this is no network to transfer over. (A lost packet is sent again after
/// 0.2, 0.6, 1.4, 3 and 6 s.)
pub(crate) const SUSPICION: Duration = Duration::from_secs(10);
