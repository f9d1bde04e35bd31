//! A byte stream to a peer that holds the same pre-shared key: TLS 1.3, nothing else accepted, every wait bounded.
//!
//! [`client::connect`] and [`server::Listener`] end in a [`stream::Connection`]: a reader and a writer for an engine that
//! blocks and runs in threads of its own. Handshakes run on a small tokio runtime, because a listener must keep hundreds
//! of strangers waiting at once; established connections need none. There the two halves share the TLS state behind a
//! mutex, work on a socket that does not block, and sleep in `poll(2)` without holding the mutex. So bytes cross no extra
//! thread and no queue on their way between the engine and the kernel.
//!
//! The wire is the one of stunnel with `PSKsecrets` (VolSync's): external PSK, `psk_dhe_ke`, X25519, binder hash SHA-256.
//!
//! This crate opens no file but the key file, and knows nothing of what is transferred.

pub mod address;
pub mod client;
pub mod deadlines;
pub mod error;
pub mod keys;
pub mod server;
pub mod stop;
pub mod stream;

mod tls;
mod wire;
