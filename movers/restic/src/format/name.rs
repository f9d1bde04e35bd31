//! Names of entries in trees: quoted as Go's `strconv.Quote` does it, without the quotes, so that any byte can be in them.

use std::fmt::Write;

use crate::format::Malformed;

/// Appends a name, quoted.
pub(crate) fn quote(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            write_character(&mut out, character);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Writing to a string does not fail.
fn write_character(out: &mut String, character: char) {
    match character {
        '"' | '\\' => out.extend(['\\', character]),
        ' '..='~' => out.push(character),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        '\0'..='\u{1f}' | '\u{7f}' => {
            let _ = write!(out, "\\x{:02x}", u32::from(character));
        }
        _ if is_printable(character) => out.push(character),
        '\0'..='\u{ffff}' => {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
        _ => {
            let _ = write!(out, "\\U{:08x}", u32::from(character));
        }
    }
}

/// Letters, marks, numbers, punctuation and symbols, as Rust's own quoting knows them; after another character, for at the
/// beginning it escapes marks, too.
fn is_printable(character: char) -> bool {
    let mut utf8 = [0; 5];
    let len = 1 + character.encode_utf8(utf8.get_mut(1..).unwrap_or_default()).len();
    if let Some(first) = utf8.first_mut() {
        *first = b'a';
    }
    let text = utf8.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    !text.escape_debug().any(|escaped| escaped == '\\')
}

/// Reads a quoted name.
pub(crate) fn unquote(quoted: &str) -> Result<Vec<u8>, Malformed> {
    if !quoted.contains(['\\', '"', '\n']) {
        return Ok(quoted.as_bytes().to_vec());
    }
    let bad = || Malformed::new(format!("a name that is not quoted as Go does it: {quoted}"));
    let mut name = Vec::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(character) = rest.next() {
        match character {
            '"' | '\n' => return Err(bad()),
            '\\' => unescape(&mut rest, &mut name).ok_or_else(bad)?,
            other => push(&mut name, other),
        }
    }
    Ok(name)
}

/// What follows a backslash.
fn unescape(rest: &mut std::str::Chars<'_>, name: &mut Vec<u8>) -> Option<()> {
    let kind = rest.next()?;
    match kind {
        '"' | '\\' => push(name, kind),
        'a' => name.push(0x07),
        'b' => name.push(0x08),
        'f' => name.push(0x0c),
        'n' => name.push(b'\n'),
        'r' => name.push(b'\r'),
        't' => name.push(b'\t'),
        'v' => name.push(0x0b),
        'x' => name.push(u8::try_from(number(rest, 2, 16, 0)?).ok()?),
        'u' => push(name, char::from_u32(number(rest, 4, 16, 0)?)?),
        'U' => push(name, char::from_u32(number(rest, 8, 16, 0)?)?),
        '0'..='7' => name.push(u8::try_from(number(rest, 2, 8, kind.to_digit(8)?)?).ok()?),
        _ => return None,
    }
    Some(())
}

fn number(rest: &mut std::str::Chars<'_>, digits: usize, radix: u32, first: u32) -> Option<u32> {
    (0..digits).try_fold(first, |number, _| number.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?))
}

fn push(name: &mut Vec<u8>, character: char) {
    name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_quoted_as_go_does() {
        for (name, expected) in [
            ("plain-name.txt".as_bytes(), "plain-name.txt"),
            (b"a \"b\" \\c", "a \\\"b\\\" \\\\c"),
            (b"\x07\n\x01\x7f", "\\a\\n\\x01\\x7f"),
            (b"\xff\xe2\x82", "\\xff\\xe2\\x82"),
            ("üß日本e\u{301}😀".as_bytes(), "üß日本e\u{301}😀"),
            (
                "\u{301}\u{85}\u{a0}\u{200b}\u{e000}\u{f0000}".as_bytes(),
                "\u{301}\\u0085\\u00a0\\u200b\\ue000\\U000f0000",
            ),
        ] {
            assert_eq!(quote(name), expected);
            assert_eq!(unquote(expected).unwrap(), name);
        }
        assert_eq!(unquote("\\101\\x42\\u0043").unwrap(), b"ABC");
    }

    #[test]
    fn what_go_does_not_read_is_refused() {
        for bad in ["a\"b", "\\", "\\q", "\\'", "\\x4", "\\u12g4", "\\ud800", "\\U00110000", "\\400", "\\+12", "\n"] {
            assert!(unquote(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_read_as_it_was_quoted(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unquote(&quote(&name)).unwrap(), name);
        }

        #[test]
        fn nothing_quoted_makes_trouble(text in any::<String>()) {
            let _ = unquote(&text);
        }
    }
}
