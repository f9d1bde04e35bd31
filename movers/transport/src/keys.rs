//! The pre-shared keys of a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use doppel_contract::Line;
use doppel_contract::psk::{self, PSK_FILE_LIMIT, Psk, PskError};

/// The keys of a file, in the order of its lines. A client proves itself with the first, a server accepts each.
#[derive(Debug, Clone)]
pub struct Keys(Vec<Psk>);

/// A key file that cannot be used. The user wrote it, or forgot to.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is no such file, or it may not be read.
    #[error("read the key file {path}: {source}")]
    Unreadable {
        /// The file.
        path: Line,
        /// Why.
        source: io::Error,
    },
    /// It is not a key file.
    #[error("the key file {path} is malformed: {source}")]
    Malformed {
        /// The file.
        path: Line,
        /// The line and the rule.
        source: PskError,
    },
}

impl Keys {
    /// Reads a key file.
    ///
    /// # Errors
    /// When it is not there or is not one.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let shown = || Line::new(path.to_string_lossy());
        let text = read_limited(path).map_err(|source| KeyFileError::Unreadable { path: shown(), source })?;
        Self::parse(&text.0).map_err(|source| KeyFileError::Malformed { path: shown(), source })
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &[u8]) -> Result<Self, PskError> {
        psk::parse(text).map(Self)
    }

    pub(crate) fn first(&self) -> impl Iterator<Item = &Psk> {
        self.0.iter().take(1)
    }

    /// One key for each identity: where a file names one twice, its first line counts, as in stunnel.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Psk> {
        let earlier = |index: usize| self.0.iter().take(index);
        self.0
            .iter()
            .enumerate()
            .filter(move |(index, psk)| earlier(*index).all(|other| other.identity() != psk.identity()))
            .map(|(_, psk)| psk)
    }
}

/// The text of a key file, overwritten when it is dropped.
struct Text(Vec<u8>);

impl Drop for Text {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

/// At most one byte more than a key file may have, in a buffer that never grows and so leaves no copies behind.
fn read_limited(path: &Path) -> io::Result<Text> {
    let limit = PSK_FILE_LIMIT + 1;
    let mut text = Text(Vec::with_capacity(limit));
    File::open(path)?.take(limit as u64).read_to_end(&mut text.0)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_lines_of_one_identity_counts() {
        let (a, b) = ("a".repeat(32), "b".repeat(32));
        let keys = Keys::parse(format!("x:{a}\ny:{b}\nx:{b}\n").as_bytes()).unwrap();
        let all: Vec<_> = keys.all().map(|psk| (psk.identity(), psk.key().expose()[0])).collect();
        assert_eq!(all, [("x", 0xaa), ("y", 0xbb)]);
        assert_eq!(keys.first().count(), 1);
    }

    #[test]
    fn a_missing_or_malformed_key_file_is_named() {
        let missing = Keys::read(Path::new("/nowhere/psk.txt")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/psk.txt") && missing.contains("No such file"), "{missing}");
        let malformed = Keys::read(Path::new("/proc/version")).unwrap_err().to_string();
        assert!(malformed.contains("/proc/version is malformed: line 1"), "{malformed}");
    }

    #[test]
    fn an_endless_key_file_is_refused() {
        let endless = Keys::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.contains("longer than"), "{endless}");
    }
}
