//! One line of text that is safe to print, to log and to put into a status.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One short line of printable text.
///
/// File names and peers' messages may hold any byte. In a `Line`, control characters (C0, DEL, C1) and bytes that are
/// not UTF-8 appear as `\xNN`, and the text is cut, with an ellipsis, at [`Line::MAX_BYTES`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Line(String);

impl Line {
    /// The longest line, in bytes, the ellipsis included. A path of this length still tells which file is meant, and a
    /// report can hold several within its 4 KiB.
    pub const MAX_BYTES: usize = 240;

    /// A line of this text.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::from_bytes(text.as_ref().as_bytes())
    }

    /// A line of these bytes, a file name for example.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        const ELLIPSIS: &str = "...";
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    let mut utf8 = [0; 4];
                    for byte in character.encode_utf8(&mut utf8).bytes() {
                        text.push_str(&format!("\\x{byte:02x}"));
                    }
                } else {
                    text.push(character);
                }
            }
            for byte in chunk.invalid() {
                text.push_str(&format!("\\x{byte:02x}"));
            }
            // Enough is known to cut the line; a name may be as long as a peer pleases.
            if text.len() > Self::MAX_BYTES {
                break;
            }
        }
        if text.len() > Self::MAX_BYTES {
            text.truncate(text.floor_char_boundary(Self::MAX_BYTES - ELLIPSIS.len()));
            text.push_str(ELLIPSIS);
        }
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        line.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_bytes_of_a_file_name_are_escaped() {
        let line = Line::from_bytes(b"esc\x1b[31m\nred\x7f \xc2\x9bcsi \xff");
        assert_eq!(line.as_str(), r"esc\x1b[31m\x0ared\x7f \xc2\x9bcsi \xff");
    }

    proptest! {
        #[test]
        fn a_line_is_short_and_printable_whatever_the_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let line = Line::from_bytes(&bytes);
            prop_assert!(line.as_str().len() <= Line::MAX_BYTES);
            prop_assert!(!line.as_str().chars().any(char::is_control));
        }

        #[test]
        fn reading_a_line_back_changes_nothing(text in ".{0,400}") {
            let line = Line::new(text);
            let json = serde_json::to_string(&line).unwrap();
            prop_assert_eq!(serde_json::from_str::<Line>(&json).unwrap(), line);
        }
    }
}
