//! Storage IDs: the SHA-256 of a file or of a blob's plain content, which is also its name.

pub(crate) mod two;

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The SHA-256 of something in a repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; Id::LEN]);

impl Id {
    /// Bytes of an ID.
    pub const LEN: usize = 32;
    /// No content has it.
    pub(crate) const NONE: Self = Self([0; Self::LEN]);

    /// The ID of this content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Reads 64 hexadecimal digits in lower case.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        if pairs.len() != Self::LEN {
            return None;
        }
        let mut bytes = [0; Self::LEN];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = (digit(*high)? << 4) | digit(*low)?;
        }
        Some(Self(bytes))
    }

    /// Appends the 64 hexadecimal digits.
    pub(crate) fn write_hex(&self, out: &mut String) {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        out.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    }

    /// The first eight digits, by which people call it.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

/// Takes a content piece by piece.
#[derive(Default)]
pub(crate) struct Hasher {
    digest: Sha256,
    /// Bytes so far.
    pub(crate) len: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.digest.update(piece);
        self.len += piece.len() as u64;
    }

    /// The ID of all pieces together.
    pub(crate) fn id(self) -> Id {
        Id(self.digest.finalize().into())
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Id;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an ID of 64 hexadecimal digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                Id::from_hex(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_64_digits_in_lower_case_and_nothing_else() {
        let id = Id::of(b"");
        assert_eq!(id.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Id::from_hex(&id.to_string()), Some(id));
        let mut written = String::new();
        id.write_hex(&mut written);
        assert_eq!(written, id.to_string());
        let digits = id.to_string();
        for bad in ["", "e3", &digits[1..], &format!("{digits}00"), &digits.to_uppercase(), &digits.replace('e', "é")]
        {
            assert_eq!(Id::from_hex(bad), None, "{bad}");
        }
    }
}
