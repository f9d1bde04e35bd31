//! Strings in JSON as Go's `encoding/json` writes them. A tree is found again by the hash of its text, so that what is equal
//! must be written equally.

use std::fmt::Write;

/// Appends a string that may not be UTF-8: bytes that are not become U+FFFD, each of them.
pub(crate) fn write_string(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            write_character(out, character);
        }
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}

fn write_character(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
        _ => out.push(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_are_written_as_go_does() {
        for (bytes, expected) in [
            (&b"plain"[..], "\"plain\""),
            (b"a\"b\\c/", "\"a\\\"b\\\\c/\""),
            (b"<&>", "\"\\u003c\\u0026\\u003e\""),
            (b"\x00\n\x1f\x7f", "\"\\u0000\\n\\u001f\x7f\""),
            ("ä\u{2028}".as_bytes(), "\"ä\\u2028\""),
            (b"\xe2\x82x\xff", "\"\\ufffd\\ufffdx\\ufffd\""),
        ] {
            let mut out = String::new();
            write_string(&mut out, bytes);
            assert_eq!(out, expected);
        }
    }

    proptest! {
        #[test]
        fn every_string_is_read_as_it_was_written(text in any::<String>()) {
            let mut out = String::new();
            write_string(&mut out, text.as_bytes());
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
