//! What two Doppels can do with each other beyond rsync's protocol.
//!
//! A daemon names its extras in the line by which it makes itself known ([`DOPPEL`]); a client asks for those that it will
//! use in the option `--doppel`. Words that one does not know are passed over, so that versions can differ.

/// The line by which a Doppel daemon makes itself known, before it accepts a module. rsync prints it, as it prints any
/// message of the day, and goes on.
pub const DOPPEL: &str = "doppel 1 pack verify complete";

/// A set of extras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras(u8);

impl Extras {
    /// Literal data may be packed, piece by piece as the sender likes: [`crate::proto::token::Token::Packed`].
    pub const PACK: Self = Self(1);

    /// Before the last phase the daemon tells the checksum of every file that it stored or found unchanged, and the client
    /// compares.
    pub const VERIFY: Self = Self(2);

    /// A session that ends in order and leaves nothing out completes the run: no word of that follows in another session.
    pub const COMPLETE: Self = Self(4);

    const NAMES: [(&str, Self); 3] = [("pack", Self::PACK), ("verify", Self::VERIFY), ("complete", Self::COMPLETE)];

    /// The extras of these names.
    pub fn named<'n>(names: impl Iterator<Item = &'n [u8]>) -> Self {
        names
            .filter_map(|name| Self::NAMES.iter().find(|(known, _)| known.as_bytes() == name))
            .fold(Self::default(), |all, (_, extra)| Self(all.0 | extra.0))
    }

    /// What a daemon says of itself in this line, if it is a Doppel.
    #[must_use]
    pub fn of_daemon(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|&byte| byte == b' ');
        (words.next() == Some(b"doppel") && words.next() == Some(b"1")).then(|| Self::named(words))
    }

    /// Their names, as the option `--doppel` has them; never empty.
    #[must_use]
    pub fn names(self) -> String {
        let names = Self::NAMES.iter().filter(|(_, extra)| self.has(*extra)).map(|(name, _)| *name);
        std::iter::once("1").chain(names).collect::<Vec<_>>().join(",")
    }

    /// Whether all of `other` are in this set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_names_all_that_we_know() {
        let all = Extras::NAMES.iter().fold(0, |all, (_, extra)| all | extra.0);
        assert_eq!(Extras::of_daemon(DOPPEL.as_bytes()), Some(Extras(all)));
    }

    #[test]
    fn words_of_other_versions_are_passed_over() {
        assert_eq!(Extras::of_daemon(b"doppel 1"), Some(Extras::default()));
        assert_eq!(Extras::of_daemon(b"doppel 1 fly pack"), Some(Extras::PACK));
        for other in [&b"doppel 2 pack"[..], b"doppel", b"welcome to doppel 1", b""] {
            assert_eq!(Extras::of_daemon(other), None);
        }
    }

    #[test]
    fn names_come_back() {
        for extras in [Extras::default(), Extras::PACK, Extras::PACK.and(Extras::VERIFY)] {
            assert_eq!(Extras::named(extras.names().as_bytes().split(|&byte| byte == b',')), extras);
        }
    }
}
