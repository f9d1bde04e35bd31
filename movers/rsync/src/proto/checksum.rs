//! Checksums: the weak one that rolls, and the strong ones of which the peers agree on one.
//!
//! A block's strong checksum takes the session's seed; a whole file's does not. (rsync-win, codec specification, 8 and
//! 10; seeds of xxh3 as of the others, from a capture of rsync 3.5.0.)

use md4::Md4;
use md5::digest::consts::U16;
use md5::{Digest, Md5};
use xxhash_rust::xxh3::{self, Xxh3};
use xxhash_rust::xxh64::{self, Xxh64};

/// A strong checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// XXH3, 128 bits.
    Xxh128,
    /// XXH3, 64 bits.
    Xxh3,
    /// XXH64.
    Xxh64,
    /// MD5; what peers have in common that do not negotiate.
    Md5,
    /// MD4, for peers that insist on it.
    Md4,
}

impl Algorithm {
    /// All of them, fastest first: this is our preference.
    pub const ALL: [Self; 5] = [Self::Xxh128, Self::Xxh3, Self::Xxh64, Self::Md5, Self::Md4];

    /// The checksum of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == name)
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Xxh128 => "xxh128",
            Self::Xxh3 => "xxh3",
            Self::Xxh64 => "xxh64",
            Self::Md5 => "md5",
            Self::Md4 => "md4",
        }
    }

    /// Its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length that is never zero")]
    pub fn len(self) -> u32 {
        match self {
            Self::Xxh128 | Self::Md5 | Self::Md4 => 16,
            Self::Xxh3 | Self::Xxh64 => 8,
        }
    }
}

/// A strong checksum, shorter ones with zeros after them.
pub type Strong = [u8; 16];

/// Computes strong checksums of blocks.
#[derive(Debug, Clone)]
pub struct BlockSum {
    algorithm: Algorithm,
    seed: i32,
    seed_bytes: [u8; 4],
    /// The key that XXH3 derives from the seed for inputs over 240 bytes, so that it is derived once and not per block.
    secret: [u8; 192],
}

impl BlockSum {
    /// For a session with this seed.
    #[must_use]
    pub fn new(algorithm: Algorithm, seed: i32) -> Self {
        Self {
            algorithm,
            seed,
            seed_bytes: seed.to_le_bytes(),
            secret: xxhash_rust::const_xxh3::const_custom_default_secret(wide(seed)),
        }
    }

    /// Nothing, for a seed of 0.
    fn seed_bytes(&self) -> &[u8] {
        if self.seed == 0 { &[] } else { &self.seed_bytes }
    }

    /// The checksum of a block.
    #[must_use]
    pub fn of(&self, block: &[u8]) -> Strong {
        let seed = wide(self.seed);
        match self.algorithm {
            Algorithm::Xxh128 if block.len() > 240 => xxh3::xxh3_128_with_secret(block, &self.secret).to_le_bytes(),
            Algorithm::Xxh128 => xxh3::xxh3_128_with_seed(block, seed).to_le_bytes(),
            Algorithm::Xxh3 if block.len() > 240 => short(xxh3::xxh3_64_with_secret(block, &self.secret)),
            Algorithm::Xxh3 => short(xxh3::xxh3_64_with_seed(block, seed)),
            Algorithm::Xxh64 => short(xxh64::xxh64(block, seed)),
            // We only talk to peers that put the seed first in MD5 (CF_CHKSUM_SEED_FIX).
            Algorithm::Md5 => digest::<Md5>(&[self.seed_bytes(), block]),
            // In MD4 it comes last all the same, but in builds of rsync whose OpenSSL still has MD4: no block is found
            // then, and content travels whole.
            Algorithm::Md4 => digest::<Md4>(&[block, self.seed_bytes()]),
        }
    }
}

fn digest<D: Digest<OutputSize = U16>>(parts: &[&[u8]]) -> Strong {
    let mut hasher = D::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// rsync passes its signed seed where xxhash takes an unsigned one of 64 bits.
fn wide(seed: i32) -> u64 {
    i64::from(seed).cast_unsigned()
}

fn short(value: u64) -> Strong {
    let mut strong = [0; 16];
    for (place, byte) in strong.iter_mut().zip(value.to_le_bytes()) {
        *place = byte;
    }
    strong
}

/// Computes the checksum of a whole file, piece by piece.
pub enum FileSum {
    /// Nothing yet. Most files are one piece, for which the states below are not worth setting up.
    Empty(Algorithm),
    /// XXH3, 128 bits.
    Xxh128(Box<Xxh3>),
    /// XXH3, 64 bits.
    Xxh3(Box<Xxh3>),
    /// XXH64.
    Xxh64(Xxh64),
    /// MD5.
    Md5(Md5),
    /// MD4.
    Md4(Md4),
    /// Exactly one piece, already done.
    Whole(Strong),
}

impl std::fmt::Debug for FileSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileSum")
    }
}

impl FileSum {
    /// The checksum of all of a file at once.
    #[must_use]
    pub fn whole(algorithm: Algorithm, content: &[u8]) -> Self {
        Self::Whole(match algorithm {
            Algorithm::Xxh128 => xxh3::xxh3_128(content).to_le_bytes(),
            Algorithm::Xxh3 => short(xxh3::xxh3_64(content)),
            Algorithm::Xxh64 => short(xxh64::xxh64(content, 0)),
            Algorithm::Md5 => Md5::digest(content).into(),
            Algorithm::Md4 => Md4::digest(content).into(),
        })
    }

    /// Adds a piece. A sum made by [`FileSum::whole`] has all its pieces already.
    pub fn update(&mut self, piece: &[u8]) {
        if let Self::Empty(algorithm) = self {
            *self = match algorithm {
                Algorithm::Xxh128 => Self::Xxh128(Box::default()),
                Algorithm::Xxh3 => Self::Xxh3(Box::default()),
                Algorithm::Xxh64 => Self::Xxh64(Xxh64::new(0)),
                Algorithm::Md5 => Self::Md5(Md5::new()),
                Algorithm::Md4 => Self::Md4(Md4::new()),
            };
        }
        match self {
            Self::Xxh128(state) | Self::Xxh3(state) => state.update(piece),
            Self::Xxh64(state) => state.update(piece),
            Self::Md5(state) => state.update(piece),
            Self::Md4(state) => state.update(piece),
            Self::Empty(_) | Self::Whole(_) => {}
        }
    }

    /// The checksum.
    #[must_use]
    pub fn finish(self) -> Strong {
        match self {
            Self::Empty(algorithm) => Self::whole(algorithm, &[]).finish(),
            Self::Xxh128(state) => state.digest128().to_le_bytes(),
            Self::Xxh3(state) => short(state.digest()),
            Self::Xxh64(state) => short(state.digest()),
            Self::Md5(state) => state.finalize().into(),
            Self::Md4(state) => state.finalize().into(),
            Self::Whole(strong) => strong,
        }
    }
}

/// The weak checksum of a block: two sums modulo 2^16 over its bytes taken as signed, which can be moved on by a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weak {
    plain: u32,
    weighted: u32,
}

impl Weak {
    /// The checksum of a block.
    #[must_use]
    pub fn of(block: &[u8]) -> Self {
        // Sums over a group of bytes need no carry from one byte to the next, so that the compiler can do many at once:
        // with n bytes, plain' = plain + sum(x), weighted' = weighted + n * plain + sum((n - i) * x[i]).
        let (mut plain, mut weighted) = (0_u32, 0_u32);
        let mut add = |len: u32, (sum, ramp): (i32, i32)| {
            weighted = weighted.wrapping_add(len.wrapping_mul(plain)).wrapping_add(ramp.cast_unsigned());
            plain = plain.wrapping_add(sum.cast_unsigned());
        };
        let (groups, rest) = block.as_chunks::<{ GROUP as usize }>();
        for group in groups {
            add(GROUP, sums(group));
        }
        for byte in rest {
            let value = i32::from(byte.cast_signed());
            add(1, (value, value));
        }
        Self { plain, weighted }
    }

    /// Moves a block of `len` bytes on by one: `old` leaves in front, `new` comes behind.
    #[inline]
    pub fn roll(&mut self, len: u32, old: u8, new: u8) {
        let old = i32::from(old.cast_signed()).cast_unsigned();
        let new = i32::from(new.cast_signed()).cast_unsigned();
        self.plain = self.plain.wrapping_sub(old).wrapping_add(new);
        self.weighted = self.weighted.wrapping_sub(len.wrapping_mul(old)).wrapping_add(self.plain);
    }

    /// The checksum as it is sent.
    #[must_use]
    #[inline]
    pub fn value(self) -> u32 {
        (self.plain & 0xffff) | (self.weighted << 16)
    }
}

/// So many bytes are summed at once.
const GROUP: u32 = 64;

/// What the bytes of a group count in its weighted sum. In 16 bits, like the bytes: every x86-64 multiplies eight such
/// numbers at a time (`pmaddwd`), and has nothing like it for 32 bits. The compiler sees it in a table, not in a range.
const WEIGHTS: [i16; GROUP as usize] = [
    64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36,
    35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6,
    5, 4, 3, 2, 1,
];

/// The plain and the weighted sum of a group. Not inlined: in a loop over groups the compiler takes slower ways.
#[inline(never)]
fn sums(group: &[u8; GROUP as usize]) -> (i32, i32) {
    let (mut plain, mut weighted) = (0, 0);
    for (byte, weight) in group.iter().zip(WEIGHTS) {
        let value = i16::from(byte.cast_signed());
        plain += i32::from(value);
        weighted += i32::from(value) * i32::from(weight);
    }
    (plain, weighted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_weak_checksum_is_rsyncs() {
        for (block, expected) in [
            (&[1, 2, 3][..], [0x06, 0x00, 0x0a, 0x00]),
            (b"abcde", [0xef, 0x01, 0xc3, 0x05]),
            (&[0x80, 0xff, 0x00, 0x7f], [0xfe, 0xff, 0x7c, 0xfe]),
        ] {
            assert_eq!(Weak::of(block).value().to_le_bytes(), expected);
        }
    }

    #[test]
    fn strong_checksums_are_those_of_the_algorithms() {
        let seed = 0x1234_5678;
        let hex = |sum: Strong| sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(BlockSum::new(Algorithm::Md5, seed).of(b"abc")), "5a035b41f39449760a0c6a01e4060c62");
        assert_eq!(hex(FileSum::whole(Algorithm::Md5, b"abc").finish()), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(FileSum::whole(Algorithm::Md4, b"abc").finish()), "a448017aaf21d8525fc10ae87aa6729d");
        assert_eq!(BlockSum::new(Algorithm::Xxh64, seed).of(b"abc")[..8], 0x0f7f_d165_5f1a_f42b_u64.to_le_bytes());
        assert_eq!(BlockSum::new(Algorithm::Xxh64, -1).of(b"abc")[..8], 0x2830_6e58_9cc0_2176_u64.to_le_bytes());
        assert_eq!(hex(FileSum::whole(Algorithm::Xxh128, b"").finish()), "7f498d4624c30160d8984701d306aa99");
    }

    proptest! {
        #[test]
        fn rolling_is_computing_anew(data in proptest::collection::vec(any::<u8>(), 2..300), at in any::<prop::sample::Index>()) {
            let len = 1 + at.index(data.len() - 1);
            let mut weak = Weak::of(&data[..len]);
            for start in 1..=data.len() - len {
                weak.roll(u32::try_from(len).unwrap(), data[start - 1], data[start + len - 1]);
                prop_assert_eq!(weak.value(), Weak::of(&data[start..start + len]).value());
            }
        }

        #[test]
        fn pieces_make_the_whole(data in proptest::collection::vec(any::<u8>(), 0..2000), at in any::<prop::sample::Index>(), which in 0_usize..5) {
            let algorithm = Algorithm::ALL[which];
            let (a, b) = data.split_at(at.index(data.len() + 1));
            let mut sum = FileSum::Empty(algorithm);
            sum.update(a);
            sum.update(b);
            prop_assert_eq!(sum.finish(), FileSum::whole(algorithm, &data).finish());
        }

        #[test]
        fn the_derived_key_changes_no_checksum(data in proptest::collection::vec(any::<u8>(), 0..2000), seed: i32) {
            let seed64 = i64::from(seed).cast_unsigned();
            prop_assert_eq!(BlockSum::new(Algorithm::Xxh128, seed).of(&data), xxh3::xxh3_128_with_seed(&data, seed64).to_le_bytes());
            prop_assert_eq!(BlockSum::new(Algorithm::Xxh3, seed).of(&data), short(xxh3::xxh3_64_with_seed(&data, seed64)));
        }
    }
}
