//! The lines at the start of a connection to a daemon. (rsync-win, daemon specification.)

use doppel_contract::Line;

use crate::proto::extras::Extras;
use crate::proto::input::Malformed;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protocol(u8);

impl Protocol {
    /// What we speak: nanoseconds in times are in it since 31, and 32 is 31 by another name.
    pub const OURS: Self = Self(31);
    /// Below it rsync 3.5 itself refuses access control lists, and the encodings are others.
    const OLDEST: u8 = 30;

    /// The version to speak with a peer that offers `theirs`.
    ///
    /// # Errors
    /// When it is too old.
    fn with(theirs: u32) -> Result<Self, Malformed> {
        match u8::try_from(theirs) {
            Ok(theirs @ 0..Self::OLDEST) => Err(Malformed::Unexpected(Line::new(format!(
                "a greeting for protocol {theirs}; at least {} is needed (rsync 3.0 or later)",
                Self::OLDEST
            )))),
            Ok(theirs) if theirs < Self::OURS.0 => Ok(Self(theirs)),
            _ => Ok(Self::OURS),
        }
    }

    /// Whether times have nanoseconds, deletion statistics exist and the end is acknowledged twice.
    #[must_use]
    pub fn is_31(self) -> bool {
        self >= Self::OURS
    }
}

/// A line of the greeting is not longer.
pub const MAX_LINE: usize = 4096;

/// How every line of a daemon begins that means something.
pub const PREFIX: &str = "@RSYNCD: ";

/// The greeting that we send, either way. The digests are for passwords, of which there are none; rsync 3.2.7 and
/// later expect the list.
#[must_use]
pub fn greeting() -> String {
    format!("{PREFIX}{}.0 sha512 sha256 sha1 md5 md4\n", Protocol::OURS.0)
}

/// How diskrsync begins, which VolSync serves where a volume is a block device.
const BLOCK_DEVICE: &[u8] = b"BSNC0002";

/// Reads the greeting of a peer.
///
/// # Errors
/// When it is none, or too old.
pub fn read_greeting(line: &[u8]) -> Result<Protocol, Malformed> {
    let not_rsync = || Malformed::unexpected(format!("{}, which is not the greeting of rsync", Line::from_bytes(line)));
    if line.starts_with(BLOCK_DEVICE) {
        let what = "the begin of diskrsync: its end replicates a block device; both ends need the same volumeMode";
        return Err(Malformed::unexpected(what));
    }
    let rest = line.strip_prefix(PREFIX.as_bytes()).ok_or_else(not_rsync)?;
    let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).take(10).collect();
    let version = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(not_rsync)?;
    Protocol::with(version)
}

/// What a daemon says to the name of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Come in.
    Accepted,
    /// It wants a password.
    Password,
    /// It refuses, and says why.
    Refused(Line),
    /// It has said everything, without accepting.
    Exit,
    /// It is a Doppel, and this is what it can do.
    Doppel(Extras),
    /// Any other line, to be printed.
    Text(Line),
}

/// Reads what a daemon says to the name of a module.
#[must_use]
pub fn read_answer(line: &[u8]) -> Answer {
    let text = Line::from_bytes(line);
    match line.strip_prefix(PREFIX.as_bytes()) {
        Some(b"OK") => Answer::Accepted,
        Some(b"EXIT") => Answer::Exit,
        Some(rest) if rest.starts_with(b"AUTHREQD") => Answer::Password,
        _ => match (Extras::of_daemon(line), line.strip_prefix(b"@ERROR")) {
            (Some(extras), _) => Answer::Doppel(extras),
            (None, Some(why)) => Answer::Refused(Line::from_bytes(why.strip_prefix(b": ").unwrap_or(why))),
            (None, None) => Answer::Text(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_from_30_on_are_spoken_as_31_at_most() {
        for (line, expected) in
            [("@RSYNCD: 30.0", 30), ("@RSYNCD: 31.0 md5 md4", 31), ("@RSYNCD: 32.0 sha512", 31), ("@RSYNCD: 99.14", 31)]
        {
            assert_eq!(read_greeting(line.as_bytes()).unwrap(), Protocol(expected));
        }
        for bad in ["@RSYNCD: 29.0", "@RSYNCD: ", "@RSYNCD: x", "SSH-2.0-OpenSSH", "", "@RSYNCD: 99999999999999"] {
            assert!(read_greeting(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(read_answer(b"@RSYNCD: OK"), Answer::Accepted);
        assert_eq!(read_answer(b"doppel 1 pack"), Answer::Doppel(Extras::PACK));
        assert_eq!(read_answer(b"@ERROR: Unknown module 'x'"), Answer::Refused(Line::new("Unknown module 'x'")));
        assert_eq!(read_answer(b"welcome\x1b"), Answer::Text(Line::new(r"welcome\x1b")));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_greeting(&line);
            let _ = read_answer(&line);
        }
    }
}
