//! Who we are to a server, and which servers we know: what the location says, or else the files of the user who runs this.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, PrivateKey};

use super::KnownHosts;
use crate::location::sftp::{KNOWN_HOSTS, PASSPHRASE, PASSWORD, PRIVATE_KEY};
use crate::location::{Hidden, Sftp, Written};
use crate::{Error, Kind};

/// The private keys in a user's `.ssh`, in the order of OpenSSH.
const OF_A_USER: [&str; 3] = ["id_rsa", "id_ecdsa", "id_ed25519"];

pub(super) struct Identity {
    pub(super) user: String,
    pub(super) keys: Vec<Arc<PrivateKey>>,
    pub(super) password: Option<Hidden>,
    pub(super) known_hosts: KnownHosts,
}

impl Identity {
    pub(super) fn of(place: &Sftp) -> Result<Self, Error> {
        let passphrase = place.passphrase.as_ref();
        let keys = match &place.key {
            Some(key) => {
                let key = private_key(&content(PRIVATE_KEY, key)?, passphrase);
                vec![Arc::new(key.map_err(|what| settings(format!("{PRIVATE_KEY}: {what}")))?)]
            }
            None if place.password.is_some() => Vec::new(),
            None => of_the_user(place.home.as_deref(), passphrase),
        };
        if keys.is_empty() && place.password.is_none() {
            let files = "~/.ssh has none that can be used";
            return Err(settings(format!("{PRIVATE_KEY} and {PASSWORD} are missing, and {files}; write one of them")));
        }
        let (user, password) = (place.user.clone(), place.password.clone());
        Ok(Self { user, keys, password, known_hosts: known_hosts(place)? })
    }
}

fn known_hosts(place: &Sftp) -> Result<KnownHosts, Error> {
    if let Some(written) = &place.known_hosts {
        let known = KnownHosts::parse(content(KNOWN_HOSTS, written)?.expose());
        return known.map_err(|what| settings(format!("{KNOWN_HOSTS}: {what}")));
    }
    let own = place.home.as_ref().map(|home| home.join(".ssh/known_hosts"));
    let files = own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]);
    let texts: Vec<_> = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
    if texts.is_empty() {
        let what = "is missing; write the lines that `ssh-keyscan HOST` prints to it, after comparing them";
        return Err(settings(format!("{KNOWN_HOSTS} {what}")));
    }
    Ok(KnownHosts::parse_leniently(&texts.join("\n")))
}

/// A private key of a kind that is used.
pub(crate) fn private_key(text: &Hidden, passphrase: Option<&Hidden>) -> Result<PrivateKey, String> {
    use russh::keys::Error as Wrong;
    let passphrase = passphrase.map(Hidden::expose);
    let key = match russh::keys::decode_secret_key(text.expose(), passphrase) {
        Ok(key) if key.is_encrypted() => Err(Wrong::KeyIsEncrypted),
        key => key,
    };
    match key.map(|key| (key.algorithm(), key)) {
        Ok((Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }, key)) => Ok(key),
        Ok((other, _)) => Err(format!("is a key of the kind {other}; make one with `ssh-keygen -t ed25519`")),
        Err(Wrong::KeyIsEncrypted) => Err(format!("is encrypted; write what it is encrypted with to {PASSPHRASE}")),
        Err(_) if passphrase.is_some() => {
            Err(format!("cannot be read; copy the whole file of a private key, and see whether {PASSPHRASE} is right"))
        }
        Err(_) => Err("cannot be read; copy the whole file of a private key, from BEGIN to END".to_owned()),
    }
}

fn content(key: &str, written: &Written) -> Result<Hidden, Error> {
    match written {
        Written::Content(text) => Ok(text.clone()),
        Written::Path(path) => match fs::read_to_string(path) {
            Ok(text) => Ok(text.into()),
            Err(error) => Err(settings(format!("{key}: reading the file that it names: {error}"))),
        },
    }
}

/// The keys in the user's folder. One that needs a passphrase is left out, as `ssh` leaves it out where nobody can be asked.
fn of_the_user(home: Option<&Path>, passphrase: Option<&Hidden>) -> Vec<Arc<PrivateKey>> {
    let mut keys = Vec::new();
    for file in home.into_iter().flat_map(|home| OF_A_USER.map(|name| home.join(".ssh").join(name))) {
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text.map_err(|error| error.to_string()),
        };
        match text.and_then(|text| private_key(&text.into(), passphrase)) {
            Ok(key) => keys.push(Arc::new(key)),
            Err(what) => tracing::warn!("{} is not used: {what}", file.display()),
        }
    }
    keys
}

fn settings(why: String) -> Error {
    Error::new(Kind::Settings, "preparing a connection by SSH", why)
}
