//! An established connection: a reader and a writer for threads that block.
//!
//! Both halves share the TLS state behind a mutex. Each locks it for one attempt on the socket, which never blocks, and
//! waits for the socket without it. So one thread may sleep in a read for hours while another one writes.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use doppel_contract::{Fault, Retry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use s2n_tls::error::{Error as TlsError, ErrorType};
use s2n_tls_tokio::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stop::Stop;
use crate::tls::Session;
use crate::wire::{self, Wire};

/// An authenticated peer.
pub struct Connection {
    /// What the peer sends.
    pub reader: Reader,
    /// What the peer shall receive.
    pub writer: Writer,
    /// Where the peer is.
    pub peer: SocketAddr,
    /// Whether both ends named the same application protocol, where one was named: then it is what both speak.
    pub agreed: bool,
}

/// The receiving half. Buffered by one TLS record; end of file is the peer's orderly end, a connection that just ends is
/// an error.
pub struct Reader {
    shared: Arc<Shared>,
    buffer: Box<[u8]>,
    filled: usize,
    taken: usize,
}

/// The sending half. Small writes are collected until eight whole records are full or somebody flushes; what fills a
/// record by itself is sent at once, without being copied. Dropping it sends nothing.
pub struct Writer {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
}

/// A connection that ended early, as the source of the [`io::Error`] of a [`Reader`] or [`Writer`].
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Neither side sent anything for too long.
    #[error("the connection was silent for {seconds} s")]
    Idle {
        /// The deadline.
        seconds: u64,
    },
    /// The connection ended without the peer's saying so: it was killed, or something between cut it.
    #[error("the peer is gone: the connection ended in the middle")]
    Cut,
    /// The kernel gave the connection up.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// Bytes arrived that the peer did not encrypt.
    #[error("the connection was damaged or tampered with: {0}")]
    Damaged(String),
    /// [`Stop`] was thrown.
    #[error("stopped")]
    Stopped,
    /// The TLS library could not go on.
    #[error("encrypt or decrypt: {0}")]
    Local(String),
}

struct Shared {
    tls: Mutex<TlsStream<Wire, Session>>,
    socket: Arc<TcpStream>,
    stop: Stop,
    /// Milliseconds for which both may be silent.
    idle: AtomicU64,
    begin: Instant,
    /// Milliseconds after `begin` at which bytes last moved, in either direction.
    moved: AtomicU64,
}

impl Connection {
    /// The longest record of TLS (RFC 8446 section 5.1).
    const RECORD: usize = 16 * 1024;
    /// As many bytes as the TLS library encrypts before it calls the kernel: eight records.
    const BATCH: usize = 8 * Self::RECORD;

    pub(crate) fn new(
        tls: TlsStream<Wire, Session>,
        socket: Arc<TcpStream>,
        stop: &Stop,
        idle: Duration,
    ) -> io::Result<Self> {
        let peer = canonical(socket.peer_addr()?);
        stop.watch(&socket);
        let shared = Arc::new(Shared {
            tls: Mutex::new(tls),
            socket,
            stop: stop.clone(),
            idle: AtomicU64::new(milliseconds(idle)),
            begin: Instant::now(),
            moved: AtomicU64::new(0),
        });
        let reader = Reader { shared: Arc::clone(&shared), buffer: vec![0; Self::RECORD].into(), filled: 0, taken: 0 };
        let writer = Writer { shared, buffer: Vec::with_capacity(Self::BATCH) };
        Ok(Self { reader, writer, peer, agreed: false })
    }

    /// Lets both be silent for this long from now on, where the protocol has longer silences than others.
    pub fn allow_silence(&self, idle: Duration) {
        self.reader.shared.idle.store(milliseconds(idle), Ordering::Relaxed);
    }

    /// A way to find out, from any thread, whether the peer is still there.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse(Arc::downgrade(&self.reader.shared.socket))
    }

    /// Ends the connection in order: sends what is left and the end mark, then discards what the peer still sends until
    /// it ends too, at most for `patience`. Closing a socket with unread bytes would make the kernel reset it, and the
    /// peer would lose our last words.
    ///
    /// # Errors
    /// When the peer did not get all of it. Its own end is of no interest.
    pub fn finish(mut self, patience: Duration) -> io::Result<()> {
        self.writer.end()?;
        let deadline = Instant::now() + patience;
        let mut sink = vec![0; Self::RECORD];
        let more = |length: io::Result<usize>| length.is_ok_and(|length| length > 0);
        while more(self.reader.shared.receive(&mut sink, Some(deadline))) && Instant::now() < deadline {}
        Ok(())
    }
}

/// Whether a connection's peer is still there, which shows only when somebody asks: a peer that lost its network says
/// nothing, as one that is at work.
#[derive(Debug, Clone)]
pub struct Pulse(Weak<TcpStream>);

impl Pulse {
    /// Whether the connection was not closed by its owner yet.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Lets the kernel ask the peer's kernel, whatever the peer itself is doing, and break the connection if there is no answer
    /// within about ten seconds. Says whether there is still a connection.
    pub fn take(&self) -> bool {
        // A socket of which no option can be set is one that has ended.
        self.0.upgrade().is_some_and(|socket| wire::ask_soon(&socket).is_ok())
    }
}

/// A peer's address as people know it: a dual-stack socket sees IPv4 as `::ffff:10.0.0.1`.
pub(crate) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

impl Writer {
    /// Sends what is left and tells the peer that nothing will follow. The reader goes on.
    ///
    /// # Errors
    /// When the connection ended early.
    pub fn end(&mut self) -> io::Result<()> {
        self.flush()?;
        self.shared.attempt(PollFlags::OUT, None, AsyncWrite::poll_shutdown)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > Connection::BATCH {
            self.flush()?;
        }
        if self.buffer.is_empty() && bytes.len() >= Connection::RECORD {
            return self.shared.send(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let sent = self.shared.send(rest)?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        self.buffer.clear();
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.filled && target.len() >= Connection::RECORD {
            return self.shared.receive(target, None);
        }
        let length = self.fill_buf()?.read(target)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.filled {
            self.taken = 0;
            self.filled = 0;
            self.filled = self.shared.receive(&mut self.buffer, None)?;
        }
        Ok(self.buffer.get(self.taken..self.filled).unwrap_or_default())
    }

    fn consume(&mut self, length: usize) {
        self.taken = self.filled.min(self.taken + length);
    }
}

impl Shared {
    /// Receives at most one record; nothing at the peer's orderly end.
    fn receive(&self, target: &mut [u8], limit: Option<Instant>) -> io::Result<usize> {
        self.attempt(PollFlags::IN, limit, |tls, context| {
            let mut target = ReadBuf::new(target);
            tls.poll_read(context, &mut target).map_ok(|()| target.filled().len())
        })
    }

    /// Sends at least one byte.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(PollFlags::OUT, None, |tls, context| tls.poll_write(context, bytes))
    }

    /// Tries until the socket lets it happen. A call of the TLS library that could not finish must be repeated with the
    /// same bytes before any other of its direction, which this loop does.
    fn attempt<T>(
        &self,
        direction: PollFlags,
        limit: Option<Instant>,
        mut call: impl FnMut(Pin<&mut TlsStream<Wire, Session>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let outcome = {
                let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
                call(Pin::new(&mut *tls), &mut context)
            };
            match outcome {
                Poll::Ready(Ok(done)) => {
                    self.moved.store(self.now(), Ordering::Relaxed);
                    return Ok(done);
                }
                Poll::Ready(Err(error)) => return Err(self.explain(error).into()),
                Poll::Pending => self.wait(direction, limit)?,
            }
        }
    }

    /// Sleeps until the socket is ready, for as long as anything moves in either direction.
    fn wait(&self, direction: PollFlags, limit: Option<Instant>) -> io::Result<()> {
        loop {
            let silent = Duration::from_millis(self.now().saturating_sub(self.moved.load(Ordering::Relaxed)));
            let idle = Duration::from_millis(self.idle.load(Ordering::Relaxed));
            let mut left = idle.saturating_sub(silent);
            if let Some(limit) = limit {
                left = left.min(limit.saturating_duration_since(Instant::now()));
            }
            if left.is_zero() {
                return Err(StreamError::Idle { seconds: silent.as_secs() }.into());
            }
            // Rounded up to the clock's grain, or the last round would spin.
            let timeout = Timespec::try_from(left + Duration::from_millis(1)).ok();
            match poll(&mut [PollFd::new(&*self.socket, direction)], timeout.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(StreamError::Broken(errno.into()).into()),
            }
        }
    }

    fn explain(&self, error: io::Error) -> StreamError {
        if self.stop.is_stopped() {
            return StreamError::Stopped;
        }
        let kind = error.kind();
        match TlsError::try_from(error) {
            Ok(error) => match error.kind() {
                ErrorType::ConnectionClosed => StreamError::Cut,
                ErrorType::IOError => StreamError::Broken(kind.into()),
                ErrorType::ProtocolError | ErrorType::Alert => StreamError::Damaged(error.message().to_owned()),
                _ => StreamError::Local(error.to_string()),
            },
            // Only the end mark is written to the socket without the library.
            Err(_) => StreamError::Broken(kind.into()),
        }
    }

    fn now(&self) -> u64 {
        milliseconds(self.begin.elapsed())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl StreamError {
    /// The reason of an error of a [`Reader`] or [`Writer`], however deep an engine has wrapped it.
    #[must_use]
    pub fn of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        if let Some(found) = error.downcast_ref::<Self>() {
            return Some(found);
        }
        // The source of an `io::Error` is the source of what it carries; this is what it carries.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match inner {
            Some(inner) => Self::of(inner),
            None => error.source().and_then(Self::of),
        }
    }

    /// Whose fault it seems to be.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Idle { .. } | Self::Cut | Self::Broken(_) => Fault::Network,
            Self::Damaged(_) => Fault::Peer,
            Self::Stopped | Self::Local(_) => Fault::Ours,
        }
    }

    /// When to try again: the next connection may be a better one.
    #[must_use]
    pub fn retry(&self) -> Retry {
        Retry::Later
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        // Never `Interrupted`: the standard library repeats calls that end so.
        let kind = match &error {
            StreamError::Idle { .. } => io::ErrorKind::TimedOut,
            StreamError::Cut => io::ErrorKind::UnexpectedEof,
            StreamError::Broken(source) if source.kind() != io::ErrorKind::Interrupted => source.kind(),
            StreamError::Damaged(_) => io::ErrorKind::InvalidData,
            StreamError::Stopped => io::ErrorKind::ConnectionAborted,
            StreamError::Broken(_) | StreamError::Local(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
