//! `sftp:` servers. What restic leaves to the user's `ssh`, its keys and its known hosts, has keys of our own here.

use std::path::PathBuf;

use url::Url;

use super::{Hidden, LocationError, Settings};
use crate::sftp::{KnownHosts, private_key};

/// A folder on a server of SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sftp {
    /// Who asks.
    pub user: String,
    /// A name or an address, without brackets.
    pub host: String,
    /// TCP.
    pub port: u16,
    /// Absolute, or beginning where a login begins. Without a slash at its end.
    pub path: String,
    /// A private key.
    pub key: Option<Written>,
    /// What the private key is encrypted with.
    pub passphrase: Option<Hidden>,
    /// For servers that take no keys.
    pub password: Option<Hidden>,
    /// Keys of hosts, as in a file `known_hosts`.
    pub known_hosts: Option<Written>,
    /// The folder of the user who runs this, whose `.ssh` says what nothing else says. In a cluster there is none.
    pub home: Option<PathBuf>,
}

/// A file: in a Secret its content, in an environment its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// What is in it.
    Content(Hidden),
    /// Where it is.
    Path(String),
}

/// The private key to log in with.
pub(crate) const PRIVATE_KEY: &str = "SFTP_PRIVATE_KEY";
/// What the private key is encrypted with.
pub(crate) const PASSPHRASE: &str = "SFTP_PRIVATE_KEY_PASSPHRASE";
/// A password to log in with.
pub(crate) const PASSWORD: &str = "SFTP_PASSWORD";
/// The keys that servers are known by.
pub(crate) const KNOWN_HOSTS: &str = "SFTP_KNOWN_HOSTS";

const FORM: &str = "sftp:USER@HOST:/PATH, or sftp://USER@HOST:PORT//PATH";

impl Sftp {
    /// `place` is what comes after `sftp:`.
    pub(super) fn parse(place: &str, settings: &Settings) -> Result<Self, LocationError> {
        let (user, host, port, path) = match place.starts_with("//") {
            true => address(place)?,
            false => words(place)?,
        };
        if host.is_empty() || host.starts_with('-') || host.contains(['/', ' ']) {
            return Err(LocationError::repository(format!("has no host; write {FORM}")));
        }
        let Some(user) = user.map_or_else(|| settings.text("USER"), |user| Ok(Some(user)))? else {
            return Err(LocationError::repository(format!("has no user; write {FORM}")));
        };
        let path = clean(&path);
        if path.starts_with('~') {
            let what = "has a path that begins with ~, which servers do not know; write it without ~/: it begins where a \
                        login begins";
            return Err(LocationError::repository(what));
        }
        let passphrase = settings.hidden(PASSPHRASE)?;
        let key = settings.hidden(PRIVATE_KEY)?.map(|text| written(text, "-----BEGIN"));
        if let Some(Written::Content(text)) = &key {
            private_key(text, passphrase.as_ref()).map_err(|what| LocationError::new(PRIVATE_KEY, what))?;
        }
        // Between a host and its key there is a blank.
        let known_hosts = settings.hidden(KNOWN_HOSTS)?.map(|text| written(text, " "));
        if let Some(Written::Content(text)) = &known_hosts {
            KnownHosts::parse(text.expose()).map_err(|what| LocationError::new(KNOWN_HOSTS, what))?;
        }
        let (password, home) = (settings.hidden(PASSWORD)?, settings.text("HOME")?.map(PathBuf::from));
        if home.is_none() && key.is_none() && password.is_none() {
            let what = format!("and {PASSWORD} are missing; write a private key that the server knows, or a password");
            return Err(LocationError::new(PRIVATE_KEY, what));
        }
        if home.is_none() && known_hosts.is_none() {
            let what = "is missing; write the lines that `ssh-keyscan HOST` prints, after comparing them";
            return Err(LocationError::new(KNOWN_HOSTS, what));
        }
        Ok(Self { user, host, port, path, key, passphrase, password, known_hosts, home })
    }
}

type Parts = (Option<String>, String, u16, String);

/// `//USER@HOST:PORT/PATH`. The path begins where a login begins; a second slash makes it absolute.
fn address(place: &str) -> Result<Parts, LocationError> {
    let wrong = |what: String| LocationError::repository(format!("{what}; write {FORM}"));
    let url = Url::parse(&format!("sftp:{place}")).map_err(|error| wrong(error.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a ? or # in it".to_owned()));
    }
    if url.password().is_some() {
        return Err(LocationError::repository(format!("has a password in it; write it to {PASSWORD}")));
    }
    let Some(path) = url.path().strip_prefix('/') else {
        return Err(wrong("has no path".to_owned()));
    };
    let decode = |text| percent_encoding::percent_decode_str(text).decode_utf8().map(String::from);
    let not_text = |_| wrong("is not UTF-8 text".to_owned());
    let user = decode(url.username()).map_err(not_text)?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let path = decode(path).map_err(not_text)?;
    Ok((Some(user).filter(|user| !user.is_empty()), host, url.port().unwrap_or(22), path))
}

/// `USER@HOST:PATH`. A user may have an @ in it.
fn words(place: &str) -> Result<Parts, LocationError> {
    let Some((who, path)) = place.split_once(':') else {
        return Err(LocationError::repository(format!("has no colon after its host; write {FORM}")));
    };
    let (user, host) = who.rsplit_once('@').map_or((None, who), |(user, host)| (Some(user), host));
    Ok((user.filter(|user| !user.is_empty()).map(str::to_owned), host.to_owned(), 22, path.to_owned()))
}

/// The shortest form of a path; `.` for the folder where a login begins.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    match (path.starts_with('/'), parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

fn written(text: Hidden, sign: &str) -> Written {
    if text.expose().contains(sign) { Written::Content(text) } else { Written::Path(text.expose().to_owned()) }
}
