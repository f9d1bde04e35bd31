//! One connection: made, known to be to the right server, logged in, and speaking SFTP.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, Handler};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Preferred, SshId, cipher};
use russh_sftp::client::RawSftpSession;
use tokio::net::TcpStream;

use super::failure::failed;
use super::identity::Identity;
use super::known_hosts::Verdict;
use crate::Kind;
use crate::location::Sftp;
use crate::location::sftp::{KNOWN_HOSTS, PASSWORD, PRIVATE_KEY};
use crate::remote::Failed;

/// A connection that takes longer is not coming.
const CONNECT: Duration = Duration::from_secs(15);

/// How long a server may take until it can be asked for files. Those that look up the names of clients take half a minute.
const GREETING: Duration = Duration::from_secs(60);

/// After so long without a sign of life the server is asked for one, and after [`UNANSWERED`] of these it is gone.
const SILENCE: Duration = Duration::from_secs(15);
const UNANSWERED: usize = 3;

/// How long an answer may take while the connection lives: a disk may be slow, and a link that has to carry first what was
/// sent before.
const ANSWER: Duration = Duration::from_secs(5 * 60);

/// What a server may send before we have taken it, in bytes: all parts that are asked for at a time, for all operations.
const WINDOW: u32 = 8 << 20;

pub(super) struct Session {
    pub(super) sftp: RawSftpSession,
    /// By name, with their versions.
    extensions: HashMap<String, String>,
    /// The connection lasts as long as this.
    connection: Handle<Guard>,
}

impl Session {
    pub(super) async fn open(place: &Sftp, identity: &Arc<Identity>) -> Result<Self, Failed> {
        let Sftp { host, port, .. } = place;
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await;
        let late = |_| Failed::passing(format_args!("{host} does not answer at port {port}"));
        let unreachable = |error| Failed::passing(format_args!("connecting to {host} at port {port}: {error}"));
        let stream = connected.map_err(late)?.map_err(unreachable)?;
        // If it cannot be had, small packets are late, and that is all.
        let _ = stream.set_nodelay(true);
        let opened = tokio::time::timeout(GREETING, Self::greet(stream, place, identity)).await;
        opened.unwrap_or_else(|_| Err(Failed::passing(format_args!("no login within {} s", GREETING.as_secs()))))
    }

    async fn greet(stream: TcpStream, place: &Sftp, identity: &Arc<Identity>) -> Result<Self, Failed> {
        let guard = Guard { identity: Arc::clone(identity), host: place.host.clone(), port: place.port };
        let mut connection = client::connect_stream(Arc::new(guard.config()), stream, guard).await?;
        log_in(&mut connection, identity).await?;
        let channel = subsystem(connection.channel_open_session().await?).await?;
        let config = russh_sftp::client::Config { request_timeout_secs: ANSWER.as_secs(), ..Default::default() };
        let sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
        let extensions = sftp.init().await.map_err(failed)?.extensions;
        Ok(Self { sftp, extensions, connection })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.connection.is_closed()
    }

    /// Whether the server offers a version of an extension (OpenSSH's PROTOCOL, section 4).
    pub(super) fn offers(&self, extension: &str, version: &str) -> bool {
        self.extensions.get(extension).is_some_and(|offered| offered == version)
    }
}

/// Lets no server pass that is not known.
struct Guard {
    identity: Arc<Identity>,
    host: String,
    port: u16,
}

impl Guard {
    fn config(&self) -> client::Config {
        let preferred = Preferred {
            key: Cow::Owned(self.identity.known_hosts.algorithms(&self.host, self.port)),
            // Processors have instructions for the first.
            cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR]),
            ..Preferred::DEFAULT
        };
        client::Config {
            client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-doppel_", env!("CARGO_PKG_VERSION")))),
            window_size: WINDOW,
            maximum_packet_size: 65_535,
            keepalive_interval: Some(SILENCE),
            keepalive_max: UNANSWERED,
            preferred,
            ..client::Config::default()
        }
    }
}

impl Handler for Guard {
    type Error = Failed;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Failed> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Err(Failed::lasting(Kind::Settings, "the server shows a certificate, which was not asked for"));
        };
        let (host, print) = (&self.host, key.fingerprint(HashAlg::Sha256));
        let why = match self.identity.known_hosts.judge(host, self.port, key) {
            Verdict::Known => return Ok(true),
            Verdict::Changed => format!(
                "{host} is known by another key than the one that it shows, {print}: either it was installed anew, or somebody \
                 else answers; after finding out, write its line of `ssh-keyscan` to {KNOWN_HOSTS}"
            ),
            Verdict::Revoked => format!("{host} shows the key {print}, which {KNOWN_HOSTS} calls revoked"),
            Verdict::Unknown => format!(
                "{host} shows the key {print}, and is not known; compare it with the server's, and write its line of \
                 `ssh-keyscan -p {}` to {KNOWN_HOSTS}",
                self.port
            ),
        };
        Err(Failed::lasting(Kind::Settings, why))
    }
}

async fn log_in(connection: &mut Handle<Guard>, identity: &Identity) -> Result<(), Failed> {
    let user = &identity.user;
    let mut takes = Vec::new();
    for key in &identity.keys {
        let Some(key) = signing(connection, key).await? else { continue };
        match connection.authenticate_publickey(user, key).await? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => takes = remaining_methods.to_vec(),
        }
    }
    if let Some(password) = &identity.password {
        match connection.authenticate_password(user, password.expose()).await? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => takes = remaining_methods.to_vec(),
        }
    }
    let takes: Vec<&str> = takes.iter().map(<&str>::from).collect();
    let advice = match &identity.password {
        Some(_) => format!("see whether {PASSWORD} is right"),
        None => format!("add the public half of {PRIVATE_KEY} to its authorized_keys, or write {PASSWORD}"),
    };
    let why = format!("the server does not let {user} in (it takes: {}); {advice}", takes.join(", "));
    Err(Failed::lasting(Kind::Denied, why))
}

/// A key with the hash that its signatures have; nothing if the server takes only SHA-1.
async fn signing(
    connection: &Handle<Guard>,
    key: &Arc<PrivateKey>,
) -> Result<Option<PrivateKeyWithHashAlg>, russh::Error> {
    if !key.algorithm().is_rsa() {
        return Ok(Some(PrivateKeyWithHashAlg::new(Arc::clone(key), None)));
    }
    // A server that does not say what it takes (RFC 8308) takes SHA-512 since RFC 8332.
    let hash = connection.best_supported_rsa_hash().await?.unwrap_or(Some(HashAlg::Sha512));
    Ok(hash.map(|hash| PrivateKeyWithHashAlg::new(Arc::clone(key), Some(hash))))
}

/// The channel, once the server speaks SFTP in it.
async fn subsystem(mut channel: Channel<client::Msg>) -> Result<Channel<client::Msg>, Failed> {
    channel.request_subsystem(true, "sftp").await?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(channel),
            Some(ChannelMsg::Failure) => {
                return Err(Failed::lasting(Kind::Settings, "the server has no SFTP (in OpenSSH: Subsystem sftp)"));
            }
            Some(_) => {}
            None => return Err(Failed::passing("the server ended the connection before SFTP began")),
        }
    }
}
