//! What the peers agree on after the arguments: flags that the server sets, a strong checksum, a compression.
//! (rsync-win, codec and daemon specifications; captures of rsync 3.5.0.)

use crate::proto::checksum::Algorithm;
use crate::proto::input::{Input, Malformed};

/// Flags of the session, sent by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compatibility(pub u32);

impl Compatibility {
    /// The list comes in parts, one directory at a time. We decline it.
    pub const INCREMENTAL: Self = Self(1);
    /// Requests for extended attributes, and their values, are not left out of hard links.
    pub const XATTRS_OF_LINKS: Self = Self(1 << 4);
    /// The seed goes before the block in MD5.
    pub const SEED_FIRST: Self = Self(1 << 5);
    /// The flags of entries are variable integers, and strings are negotiated.
    pub const NEGOTIATES: Self = Self(1 << 7);
    /// The name of id 0 is sent as well.
    pub const ROOT_IS_NAMED: Self = Self(1 << 8);

    /// The letter by which a client says that it knows a flag.
    const LETTERS: [(u8, u32); 8] = [
        (b'L', 1 << 1),
        (b's', 1 << 2),
        (b'f', 1 << 3),
        (b'x', 1 << 4),
        (b'C', 1 << 5),
        (b'I', 1 << 6),
        (b'v', 1 << 7),
        (b'u', 1 << 8),
    ];

    /// All that a client with these letters knows, but for incremental lists.
    #[must_use]
    pub fn for_letters(letters: &[u8]) -> Self {
        let known = Self::LETTERS.iter().filter(|(letter, _)| letters.contains(letter));
        Self(known.fold(0, |flags, (_, flag)| flags | flag))
    }

    /// Whether `other` is set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Checks that the flags are those of a session that we can lead.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(self) -> Result<Self, Malformed> {
        if !self.has(Self::NEGOTIATES) || !self.has(Self::SEED_FIRST) {
            return Err(Malformed::unexpected("no sign of negotiation: it must be rsync 3.2 or later"));
        }
        if self.has(Self::INCREMENTAL) {
            return Err(Malformed::unexpected("flags for an incremental list, which was not offered"));
        }
        Ok(self)
    }
}

/// A string of names is not longer.
const MAX_STRING: usize = 1024;

/// Reads a string of names: its length in one byte, or in two with the high bit set.
///
/// # Errors
/// When it is too long.
pub fn read_string<I: Input>(input: &mut I) -> Result<&[u8], I::Error> {
    let len = read_string_len(input)?;
    input.sized("string of names", len, MAX_STRING)
}

/// Reads the length of a string.
///
/// # Errors
/// When the input ends.
pub fn read_string_len<I: Input>(input: &mut I) -> Result<usize, I::Error> {
    let first = usize::from(input.byte()?);
    Ok(if first < 0x80 { first } else { (first & 0x7f) << 8 | usize::from(input.byte()?) })
}

/// Writes a string as [`read_string`] reads it; of more than 32,767 bytes, the first of them.
pub fn write_string(out: &mut Vec<u8>, string: &[u8]) {
    let string = string.get(..0x7fff).unwrap_or(string);
    let [low, high, ..] = string.len().to_le_bytes();
    if string.len() >= 0x80 {
        out.push(high | 0x80);
    }
    out.push(low);
    out.extend_from_slice(string);
}

/// How the tokens of file content are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// One zstd stream for the session, flushed after each run of literal data.
    Zstd,
    /// A block of lz4 for each piece of literal data.
    Lz4,
    /// A stream of raw deflate for each file, of its literal data alone.
    Zlibx,
    /// The same, but blocks of the old content are part of what later data refers to.
    Zlib,
    /// Not at all.
    None,
}

impl Compression {
    /// All of them, the best first: this is our preference, and rsync's.
    pub const ALL: [Self; 5] = [Self::Zstd, Self::Lz4, Self::Zlibx, Self::Zlib, Self::None];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Zlibx => "zlibx",
            Self::Zlib => "zlib",
            Self::None => "none",
        }
    }

    /// The compression of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|compression| compression.name().as_bytes() == name)
    }
}

/// The checksums that we know, our favourite first.
#[must_use]
pub fn checksum_names() -> String {
    Algorithm::ALL.map(Algorithm::name).join(" ")
}

/// The compressions that we know, our favourite first.
pub const COMPRESSION_NAMES: &str = "zstd lz4 zlibx zlib none";

/// The first name of the client's that the server has too: both sides come to the same.
fn agreed<'a>(client: &'a [u8], server: &[u8]) -> Option<&'a [u8]> {
    let mut names = client.split(|&byte| byte == b' ').filter(|name| !name.is_empty());
    names.find(|name| server.split(|&byte| byte == b' ').any(|other| other == *name))
}

/// The strong checksum that peers with these strings use.
///
/// # Errors
/// When they have none in common.
pub fn agree_on_checksum(client: &[u8], server: &[u8]) -> Result<Algorithm, Malformed> {
    let algorithm = agreed(client, server).and_then(Algorithm::named);
    algorithm.ok_or_else(|| Malformed::unexpected(format!("no checksum that we have too ({})", checksum_names())))
}

/// The compression that peers with these strings use.
///
/// # Errors
/// When they have none in common.
pub fn agree_on_compression(client: &[u8], server: &[u8]) -> Result<Compression, Malformed> {
    let compression = agreed(client, server).and_then(Compression::named);
    compression.ok_or_else(|| Malformed::unexpected(format!("no compression that we have too ({COMPRESSION_NAMES})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_clients_order_decides() {
        let ours = checksum_names();
        assert_eq!(agree_on_checksum(b"md5 xxh128", ours.as_bytes()), Ok(Algorithm::Md5));
        assert_eq!(agree_on_checksum(ours.as_bytes(), b"md5 xxh64 none"), Ok(Algorithm::Xxh64));
        assert_eq!(agree_on_checksum(b"sha1 md4", ours.as_bytes()), Ok(Algorithm::Md4));
        assert!(agree_on_checksum(b"sha1 none", ours.as_bytes()).is_err());
        assert!(agree_on_checksum(b"", b"").is_err());
        let ours = COMPRESSION_NAMES;
        assert_eq!(ours, Compression::ALL.map(Compression::name).join(" "));
        for (stock, expected) in [
            ("zstd lz4 zlibx zlib none", Compression::Zstd),
            ("lzma lz4 zlib", Compression::Lz4),
            ("zlibx zlib none", Compression::Zlibx),
            ("zlib", Compression::Zlib),
            ("none zstd", Compression::None),
        ] {
            assert_eq!(agree_on_compression(stock.as_bytes(), ours.as_bytes()), Ok(expected));
        }
        assert!(agree_on_compression(b"lzma", ours.as_bytes()).is_err());
    }

    #[test]
    fn flags_follow_the_clients_letters_and_never_allow_an_incremental_list() {
        assert_eq!(Compatibility::for_letters(b"iLsfxCIvu"), Compatibility(0x1fe));
        assert!(Compatibility::for_letters(b"LsfxCI").check().is_err());
        assert!(Compatibility(0x1ff).check().is_err());
    }

    proptest! {
        #[test]
        fn strings_come_back(string in proptest::collection::vec(any::<u8>(), 0..MAX_STRING)) {
            let mut out = Vec::new();
            write_string(&mut out, &string);
            let mut input = &out[..];
            prop_assert_eq!(read_string(&mut input).unwrap(), &string[..]);
        }
    }
}
