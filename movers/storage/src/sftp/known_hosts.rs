//! Servers that are known, in the format of `sshd(8)`, SSH_KNOWN_HOSTS FILE FORMAT.

use aws_lc_rs::hmac;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, PublicKey};

/// Hosts and their keys.
#[derive(Debug)]
pub(crate) struct KnownHosts(Vec<Entry>);

/// What is known of a key that a server has shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Known,
    /// The host is known by another key of the same kind.
    Changed,
    /// It is marked as one that nobody may be known by any more.
    Revoked,
    Unknown,
}

impl KnownHosts {
    /// Reads all lines. The error says which of them cannot be read.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |number| {
            format!(
                "line {number} is not HOST TYPE KEY; write the lines that `ssh-keyscan HOST` prints, after comparing them"
            )
        };
        let entries = lines(text).map(|(number, line)| line.parse().map_err(|_| wrong(number)));
        let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
        if entries.is_empty() { Err(wrong(1)) } else { Ok(Self(entries)) }
    }

    /// Reads the lines that it can: a user's file may be old.
    pub(super) fn parse_leniently(text: &str) -> Self {
        Self(lines(text).filter_map(|(_, line)| line.parse().ok()).collect())
    }

    pub(super) fn judge(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let mut verdict = Verdict::Unknown;
        for entry in self.of(host, port) {
            let same = entry.public_key().key_data() == key.key_data();
            verdict = match entry.marker() {
                Some(Marker::Revoked) if same => return Verdict::Revoked,
                // Certificates are not asked for.
                Some(_) => verdict,
                None if same => Verdict::Known,
                None if verdict == Verdict::Unknown && entry.public_key().algorithm() == key.algorithm() => {
                    Verdict::Changed
                }
                None => verdict,
            };
        }
        verdict
    }

    /// Kinds of keys to ask a host for, those first that it is known by. Signatures with SHA-1 are not among them.
    pub(super) fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let known = |algorithm: &Algorithm| {
            let is_same = |entry: &Entry| match (algorithm, entry.public_key().algorithm()) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (algorithm, known) => *algorithm == known,
            };
            self.of(host, port).any(|entry| entry.marker().is_none() && is_same(entry))
        };
        let all = russh::Preferred::DEFAULT.key;
        let safe = all.iter().filter(|algorithm| **algorithm != Algorithm::Rsa { hash: None });
        let (first, last): (Vec<_>, Vec<_>) = safe.cloned().partition(known);
        first.into_iter().chain(last).collect()
    }

    /// Lines for a host. One at another port than SSH's is known as `[HOST]:PORT`, and also as `HOST`.
    fn of(&self, host: &str, port: u16) -> impl Iterator<Item = &Entry> {
        let host = host.to_lowercase();
        let names = if port == 22 { vec![host] } else { vec![format!("[{host}]:{port}"), host] };
        self.0.iter().filter(move |entry| names.iter().any(|name| is_for(entry.host_patterns(), name)))
    }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn is_for(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, name.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let is_met = |pattern: &str| matches(pattern.to_lowercase().as_bytes(), name.as_bytes());
            let excluded = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(is_met);
            !excluded && patterns.iter().any(|pattern| !pattern.starts_with('!') && is_met(pattern))
        }
    }
}

/// Whether a pattern with `*` and `?` is met. Goes back only to the last `*`, so it takes no more than both lengths multiplied.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name, mut star) = (0, 0, None);
    while let Some(byte) = name.get(in_name) {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, in_name));
                at += 1;
            }
            (Some(wanted), _) if *wanted == b'?' || wanted == byte => {
                at += 1;
                in_name += 1;
            }
            (_, Some((after, begin))) => {
                star = Some((after, begin + 1));
                at = after + 1;
                in_name = begin + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests;
