//! The text of a pre-shared key file (`psk.txt`): lines `IDENTITY:KEY`, as VolSync and stunnel write them.
//!
//! Both planes read it: the operator to say at once what is wrong with a user's Secret, a mover to use it. So the rules
//! are here, pure, and their messages name the line and the rule and never a byte of the key. Only the standard library
//! is used; the operator does not link a TLS library for this.

use std::{fmt, hint};

/// The key of a Secret, and the name of a file, that holds pre-shared keys.
pub const PSK_FILE: &str = "psk.txt";

/// A longer file is refused before it is read: a key is 128 digits, and nobody has 400 of them.
pub const PSK_FILE_LIMIT: usize = 64 * 1024;

/// The shortest key, in bytes. RFC 9257 section 6: at least 128 bits.
pub const SHORTEST_KEY: usize = 16;

/// One line: who one is, and what proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Psk {
    identity: String,
    key: Key,
}

impl Psk {
    /// The public name of the key.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The key itself.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Psk").field("identity", &self.identity).field("key", &self.key).finish()
    }
}

/// Secret bytes. They have no Display, their Debug shows nothing of them, and they are overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// These bytes, which nobody else should keep.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one who computes with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without a reader of the zeros the compiler may leave them out.
        hint::black_box(&self.0);
    }
}

/// What is wrong with the text. Says the line and the rule, and what to write instead; never what the line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PskError {
    /// There is no key in it at all.
    Empty,
    /// It is longer than [`PSK_FILE_LIMIT`].
    TooLong,
    /// A line is not UTF-8.
    NotText {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line has no colon between identity and key.
    NoColon {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line begins with its colon.
    NoIdentity {
        /// The line, counted from 1.
        line: usize,
    },
    /// A key has a character that is no hexadecimal digit.
    NotHexadecimal {
        /// The line, counted from 1.
        line: usize,
        /// The character's place in the line, counted from 1.
        column: usize,
    },
    /// A key has an odd number of digits.
    OddDigits {
        /// The line, counted from 1.
        line: usize,
        /// How many digits it has.
        digits: usize,
    },
    /// A key has fewer than twice [`SHORTEST_KEY`] digits.
    TooShort {
        /// The line, counted from 1.
        line: usize,
        /// How many digits it has.
        digits: usize,
    },
    /// A key consists of zeros: nobody made it at random, and TLS libraries refuse it.
    AllZero {
        /// The line, counted from 1.
        line: usize,
    },
}

impl fmt::Display for PskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORM: &str = "write IDENTITY:KEY, the key in hexadecimal";
        match self {
            Self::Empty => write!(f, "it holds no key; {FORM}"),
            Self::TooLong => write!(f, "it is longer than {PSK_FILE_LIMIT} bytes; {FORM}"),
            Self::NotText { line } => write!(f, "line {line}: is not UTF-8 text; {FORM}"),
            Self::NoColon { line } => write!(f, "line {line}: has no colon; {FORM}"),
            Self::NoIdentity { line } => write!(f, "line {line}: has no identity before the colon; {FORM}"),
            Self::NotHexadecimal { line, column } => {
                write!(f, "line {line}: character {column} is not a hexadecimal digit; {FORM}")
            }
            Self::OddDigits { line, digits } => {
                write!(f, "line {line}: the key has {digits} digits, an odd number; two make a byte")
            }
            Self::TooShort { line, digits } => write!(
                f,
                "line {line}: the key has {digits} digits, but at least {} ({SHORTEST_KEY} bytes) are needed",
                2 * SHORTEST_KEY
            ),
            Self::AllZero { line } => write!(f, "line {line}: the key is all zeros; make one at random"),
        }
    }
}

impl std::error::Error for PskError {}

/// Reads the text of a `psk.txt`: at least one key, in the order of the lines.
///
/// Like stunnel's `PSKsecrets`: a client uses the first line, a server accepts each of them. Lines end in LF or CRLF, the
/// last one may lack it, empty lines are skipped. Everything after the first colon is the key.
///
/// # Errors
/// The first line that breaks a rule.
pub fn parse(text: &[u8]) -> Result<Vec<Psk>, PskError> {
    if text.len() > PSK_FILE_LIMIT {
        return Err(PskError::TooLong);
    }
    let mut keys = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            keys.push(parse_line(index + 1, line)?);
        }
    }
    if keys.is_empty() { Err(PskError::Empty) } else { Ok(keys) }
}

fn parse_line(line: usize, text: &[u8]) -> Result<Psk, PskError> {
    let text = std::str::from_utf8(text).map_err(|_| PskError::NotText { line })?;
    let (identity, digits) = text.split_once(':').ok_or(PskError::NoColon { line })?;
    if identity.is_empty() {
        return Err(PskError::NoIdentity { line });
    }
    // Room for all of it at once: growing would leave copies of the key behind in freed memory.
    let mut key = Key(Vec::with_capacity(digits.len() / 2));
    let mut high = None;
    for (index, character) in digits.chars().enumerate() {
        let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let column = identity.chars().count() + 1 + index + 1;
        let digit = digit.ok_or(PskError::NotHexadecimal { line, column })?;
        match high.take() {
            None => high = Some(digit << 4),
            Some(high) => key.0.push(high | digit),
        }
    }
    if high.is_some() {
        return Err(PskError::OddDigits { line, digits: digits.len() });
    }
    if key.0.len() < SHORTEST_KEY {
        return Err(PskError::TooShort { line, digits: digits.len() });
    }
    if key.0.iter().all(|byte| *byte == 0) {
        return Err(PskError::AllZero { line });
    }
    Ok(Psk { identity: identity.to_owned(), key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_of_zeros_is_refused() {
        check(&format!("volsync:{}", "0".repeat(128)), Err(PskError::AllZero { line: 1 }));
    }

    const GOOD: &str = "volsync:000102030405060708090a0b0c0d0e0F";

    fn check(text: &str, expected: Result<&[&str], PskError>) {
        let identities = parse(text.as_bytes()).map(|keys| keys.iter().map(|key| key.identity().to_owned()).collect());
        let expected = expected.map(|identities| identities.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(identities, expected, "{text:?}");
    }

    #[test]
    fn a_key_is_read_whatever_ends_its_line() {
        for end in ["", "\n", "\r\n", "\n\n", "\r\n\r\n"] {
            let keys = parse(format!("{GOOD}{end}").as_bytes()).unwrap();
            assert_eq!(keys.len(), 1);
            assert_eq!(keys[0].identity(), "volsync");
            assert_eq!(keys[0].key().expose(), (0..16).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn several_lines_are_several_keys_in_their_order() {
        let second = GOOD.replace("volsync", "second");
        check(&format!("{GOOD}\n\n{second}"), Ok(&["volsync", "second"]));
    }

    #[test]
    fn a_malformed_file_is_refused_with_its_line_and_its_rule() {
        let short = "0".repeat(30);
        let odd = "0".repeat(33);
        check("", Err(PskError::Empty));
        check("\r\n\n", Err(PskError::Empty));
        check("volsync", Err(PskError::NoColon { line: 1 }));
        check(&format!("{GOOD}\nvolsync"), Err(PskError::NoColon { line: 2 }));
        check(&format!(":{}", "0".repeat(32)), Err(PskError::NoIdentity { line: 1 }));
        check("volsync:", Err(PskError::TooShort { line: 1, digits: 0 }));
        check(&format!("volsync:{short}"), Err(PskError::TooShort { line: 1, digits: 30 }));
        check(&format!("volsync:{odd}"), Err(PskError::OddDigits { line: 1, digits: 33 }));
        check(&format!("{GOOD} "), Err(PskError::NotHexadecimal { line: 1, column: 41 }));
        check(&format!("\u{e9}:{}x", "0".repeat(32)), Err(PskError::NotHexadecimal { line: 1, column: 35 }));
        assert_eq!(parse(b"volsync:00\xff").unwrap_err(), PskError::NotText { line: 1 });
        assert_eq!(parse(&vec![b'\n'; PSK_FILE_LIMIT + 1]).unwrap_err(), PskError::TooLong);
    }

    #[test]
    fn debug_output_and_messages_do_not_show_the_key() {
        let keys = parse(GOOD.as_bytes()).unwrap();
        let shown = format!("{keys:?}");
        assert!(shown.contains("volsync") && !shown.contains("0e") && !shown.contains("14"), "{shown}");
        let error = parse(b"volsync:deadbeefdeadbeefdeadbeefdeadbeefg").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("beef"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(keys) = parse(&text) {
                prop_assert!(!keys.is_empty());
                prop_assert!(keys.iter().all(|key| key.key().expose().len() >= SHORTEST_KEY));
            }
        }
    }
}
