//! The TLS side of a connection: what is offered, what is accepted, and what a refusal means.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use doppel_contract::psk;
use s2n_tls::config::Config;
use s2n_tls::connection::{Builder, Connection};
use s2n_tls::enums::{Mode, PskHmac, Version};
use s2n_tls::error::{Error as TlsError, ErrorType};
use s2n_tls::psk::Psk;
use s2n_tls::security::Policy;

use crate::error::Error;
use crate::wire::Witness;

/// TLS 1.3 only; AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305 in this order; X25519, P-256, P-384 with a key share for the
/// first. Numbered policies of s2n-tls never change. A PSK with a SHA-256 binder excludes AES-256-GCM by itself.
const POLICY: &str = "AWS-CRT-SDK-TLSv1.3";

/// Bytes of whole records that are encrypted before they are written to the socket together: eight of 16 KiB each, with
/// header, content type and tag (22 bytes), and their rounding by the library.
pub(crate) const SEND_BUFFER: u32 = 8 * (16 * 1024 + 64);

/// Makes connections that can be opened with these keys only. Cheap to clone; each handshake takes a clone of its own.
#[derive(Clone)]
pub(crate) struct Sessions {
    config: Config,
    keys: Arc<Vec<Psk>>,
    /// The application protocol to be named to the peer.
    protocol: Option<&'static str>,
    alert: Arc<AtomicU16>,
}

impl Sessions {
    pub(crate) fn new<'a>(keys: impl Iterator<Item = &'a psk::Psk>) -> Result<Self, Error> {
        let build = || {
            let mut config = Config::builder();
            config
                .set_security_policy(&Policy::from_version(POLICY)?)?
                // Without certificates to trust none can be accepted, whatever a peer shows. No tickets (the default): a
                // resumption would prove nothing about the key.
                .with_system_certs(false)?
                // s2n would delay a refusal by up to 30 s to blind timing attacks on CBC padding. TLS 1.3 has no CBC.
                .set_max_blinding_delay(0)?
                .set_send_buffer_size(SEND_BUFFER)?;
            let keys = keys.map(external_psk).collect::<Result<Vec<_>, _>>()?;
            Ok((config.build()?, keys))
        };
        let (config, keys) = build().map_err(|error: TlsError| Error::Local { reason: error.to_string() })?;
        Ok(Self { config, keys: Arc::new(keys), protocol: None, alert: Arc::default() })
    }

    /// Names an application protocol (ALPN, RFC 7301). A peer that knows none, such as stunnel, ignores it.
    pub(crate) fn naming(self, protocol: &'static str) -> Self {
        Self { protocol: Some(protocol), ..self }
    }

    /// The same keys for another handshake.
    pub(crate) fn fresh(&self) -> Self {
        Self { alert: Arc::default(), ..self.clone() }
    }

    /// The alert that the peer of this handshake sent, once its connection is dropped.
    pub(crate) fn alert(&self) -> Option<u8> {
        self.alert.load(Ordering::Acquire).checked_sub(1).and_then(|alert| u8::try_from(alert).ok())
    }
}

impl Builder for Sessions {
    type Output = Session;

    fn build_connection(&self, mode: Mode) -> Result<Session, TlsError> {
        let mut connection = self.config.build_connection(mode)?;
        for key in self.keys.iter() {
            connection.append_psk(key)?;
        }
        connection.set_application_protocol_preference(self.protocol)?;
        connection.prefer_throughput()?.set_receive_buffering(true)?;
        Ok(Session { connection, alert: Arc::clone(&self.alert) })
    }
}

fn external_psk(psk: &psk::Psk) -> Result<Psk, TlsError> {
    let mut builder = Psk::builder()?;
    builder.set_identity(psk.identity().as_bytes())?.set_secret(psk.key().expose())?.set_hmac(PskHmac::SHA256)?;
    builder.build()
}

/// A TLS connection that leaves the peer's alert behind: a handshake that fails drops its connection, and the alert tells
/// a wrong key from a wrong protocol.
pub(crate) struct Session {
    connection: Connection,
    alert: Arc<AtomicU16>,
}

impl Session {
    /// Whether the handshake was what it must be. The policy and the empty trust store leave nothing else; this is the
    /// line that says so.
    pub(crate) fn is_authenticated(&self) -> bool {
        let psk = self.connection.negotiated_psk_identity_length().is_ok_and(|length| length > 0);
        let version = self.connection.actual_protocol_version();
        psk && matches!(version, Ok(Version::TLS13))
    }

    /// Whether both ends named the same application protocol.
    pub(crate) fn agrees(&self) -> bool {
        self.connection.application_protocol().is_some()
    }
}

impl AsRef<Connection> for Session {
    fn as_ref(&self) -> &Connection {
        &self.connection
    }
}

impl AsMut<Connection> for Session {
    fn as_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(alert) = self.connection.alert() {
            self.alert.store(u16::from(alert) + 1, Ordering::Release);
        }
    }
}

/// What a failed handshake means. Errors of s2n-tls are told apart by the names of their codes.
pub(crate) fn refusal(peer: &str, error: TlsError, alert: Option<u8>, witness: &Witness) -> Error {
    let peer = peer.to_owned();
    if witness.is_foreign() {
        return Error::Protocol { peer, reason: "it does not speak TLS".to_owned() };
    }
    match (error.kind(), alert) {
        (ErrorType::Alert, Some(alert)) => {
            let reason = format!("it refused with TLS alert {alert} ({})", alert_name(alert));
            if alert_means_key(alert) {
                Error::Authentication { peer, reason }
            } else {
                Error::Protocol { peer, reason }
            }
        }
        (ErrorType::IOError, _) => Error::Lost { peer, source: io::Error::from(error) },
        (ErrorType::ConnectionClosed, _) => {
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection");
            Error::Lost { peer, source }
        }
        (ErrorType::ProtocolError, _) => match key_trouble(error.name()) {
            Some(reason) => Error::Authentication { peer, reason: reason.to_owned() },
            None => Error::Protocol { peer, reason: error.message().to_owned() },
        },
        _ => Error::Local { reason: format!("TLS handshake with {peer}: {error}") },
    }
}

/// The alert for a peer whose handshake failed so, where the library sends none (RFC 8446 sections 4.2.11 and 6.2).
pub(crate) fn alert_for(error: &TlsError) -> Option<u8> {
    const HANDSHAKE_FAILURE: u8 = 40;
    const DECRYPT_ERROR: u8 = 51;
    match (error.kind(), error.name()) {
        (ErrorType::ProtocolError, WRONG_KEY) => Some(DECRYPT_ERROR),
        (ErrorType::ProtocolError, NO_KEY | NO_CIPHER) => Some(HANDSHAKE_FAILURE),
        _ => None,
    }
}

const WRONG_KEY: &str = "S2N_ERR_BAD_PSK_BINDER";

/// A server that finds no key of its own in the offer looks for a certificate next, and has none.
const NO_KEY: &str = "S2N_ERR_NO_VALID_SIGNATURE_SCHEME";

const NO_CIPHER: &str = "S2N_ERR_CIPHER_NOT_SUPPORTED";

fn key_trouble(name: &str) -> Option<&'static str> {
    match name {
        WRONG_KEY => Some("its key is not ours, though the identity is"),
        NO_KEY => Some("it offered no identity of ours"),
        // A client that is shown a certificate trusts none.
        _ if name.starts_with("S2N_ERR_CERT_") || name == "S2N_ERR_NO_CERT_FOUND" => {
            Some("it showed a certificate instead of using the key")
        }
        _ => None,
    }
}

/// RFC 8446 section 6.2: what OpenSSL's server answers to a key that it does not know (40), that does not verify (47), and
/// what others use for the same (51, 115).
fn alert_means_key(alert: u8) -> bool {
    matches!(alert, 40 | 47 | 51 | 115)
}

/// RFC 8446 section 6.
fn alert_name(alert: u8) -> &'static str {
    match alert {
        0 => "close notify",
        10 => "unexpected message",
        20 => "bad record MAC",
        22 => "record overflow",
        40 => "handshake failure",
        42..=46 => "certificate trouble",
        47 => "illegal parameter",
        48 => "unknown certificate authority",
        50 => "decode error",
        51 => "decrypt error",
        70 => "protocol version",
        71 => "insufficient security",
        80 => "internal error",
        109 => "missing extension",
        110 => "unsupported extension",
        115 => "unknown PSK identity",
        116 => "certificate required",
        _ => "see RFC 8446 section 6",
    }
}
