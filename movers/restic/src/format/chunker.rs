//! Where files are cut (design.rst, "Backups and Deduplication"; the sizes are those of restic/chunker): after a byte at
//! which the Rabin fingerprint of the last 64 bytes ends in 20 zero bits, but not before 512 KiB, and at 8 MiB at the latest.
//!
//! A fingerprint depends on nothing but its window. So the bytes before the least size are never looked at, and the search
//! runs in several places of a stretch at once: one fingerprint waits for its table, another is computed meanwhile.

use crate::format::polynomial::Polynomial;

/// No chunk but a file's last is shorter.
pub(crate) const LEAST: usize = 512 * 1024;
/// No chunk is longer.
pub(crate) const MOST: usize = 8 * 1024 * 1024;

const WINDOW: usize = 64;
const CUT: u64 = (1 << 20) - 1;
/// Fingerprints that are computed at once, and how far each goes before the next stretch begins.
const LANES: usize = 4;
const SPAN: usize = 8 * 1024;

/// The tables for a repository's polynomial.
pub(crate) struct Chunker {
    /// What the byte that leaves the window contributed.
    leaves: [u64; 256],
    /// What the eight bits above the degree come to, together with themselves.
    reduced: [u64; 256],
    shift: u32,
}

impl Chunker {
    pub(crate) fn new(polynomial: Polynomial) -> Self {
        let degree = polynomial.degree();
        let (mut leaves, mut reduced) = ([0; 256], [0; 256]);
        for ((leaves, reduced), byte) in leaves.iter_mut().zip(&mut reduced).zip(0_u8..=255) {
            *leaves = (0..WINDOW).fold(polynomial.append(0, byte), |hash, _| polynomial.append(hash, 0));
            let above = u64::from(byte) << degree;
            *reduced = polynomial.reduce(above) | above;
        }
        Self { leaves, reduced, shift: degree - 8 }
    }

    /// The length of the chunk with which `data` begins, if its end is in `data`. Lengths up to `searched` are known not to
    /// be it.
    pub(crate) fn cut(&self, data: &[u8], searched: usize) -> Option<usize> {
        let data = data.get(..MOST).unwrap_or(data);
        let mut next = (searched + 1).max(LEAST);
        while next - 1 + LANES * SPAN <= data.len() {
            if let Some(found) = self.stretch(data, next) {
                return Some(found);
            }
            next += LANES * SPAN;
        }
        self.one_by_one(data, next).or((data.len() == MOST).then_some(MOST))
    }

    /// The first cut at one of the next `LANES * SPAN` lengths from `first` on.
    fn stretch(&self, data: &[u8], first: usize) -> Option<usize> {
        let begin = |lane: usize| first - 1 + lane * SPAN;
        let lane = |lane: usize, back: usize| -> Option<&[u8; SPAN]> { data.get(begin(lane) - back..)?.first_chunk() };
        let mut hashes = [0; LANES];
        for (index, hash) in hashes.iter_mut().enumerate() {
            *hash = self.hash(data.get(begin(index) - WINDOW..begin(index))?);
        }
        let enters = [lane(0, 0)?, lane(1, 0)?, lane(2, 0)?, lane(3, 0)?];
        let leaves = [lane(0, WINDOW)?, lane(1, WINDOW)?, lane(2, WINDOW)?, lane(3, WINDOW)?];
        let mut found = [usize::MAX; LANES];
        for at in 0..SPAN {
            for (((hash, found), enters), leaves) in hashes.iter_mut().zip(&mut found).zip(&enters).zip(&leaves) {
                let (Some(enters), Some(leaves)) = (enters.get(at), leaves.get(at)) else { return None };
                *hash = self.slide(*hash, *enters, *leaves);
                if *hash & CUT == 0 {
                    *found = (*found).min(at);
                }
            }
        }
        let (index, at) = found.into_iter().enumerate().find(|(_, at)| *at < SPAN)?;
        Some(first + index * SPAN + at)
    }

    /// The first cut at one of the lengths from `first` to all of `data`.
    fn one_by_one(&self, data: &[u8], first: usize) -> Option<usize> {
        let mut hash = self.hash(data.get(first - 1 - WINDOW..first - 1)?);
        let enters = data.get(first - 1..)?;
        let leaves = data.get(first - 1 - WINDOW..)?;
        let at = enters.iter().zip(leaves).position(|(enters, leaves)| {
            hash = self.slide(hash, *enters, *leaves);
            hash & CUT == 0
        })?;
        Some(first + at)
    }

    /// The fingerprint of a whole window.
    fn hash(&self, window: &[u8]) -> u64 {
        window.iter().fold(0, |hash, byte| self.slide(hash, *byte, 0))
    }

    fn slide(&self, hash: u64, enters: u8, leaves: u8) -> u64 {
        let [above, ..] = (hash >> self.shift).to_le_bytes();
        let reduced = self.reduced.get(usize::from(above)).copied().unwrap_or_default();
        let leaves = self.leaves.get(usize::from(leaves)).copied().unwrap_or_default();
        ((hash << 8) | u64::from(enters)) ^ reduced ^ leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polynomial() -> Polynomial {
        Polynomial::parse("3da3358b4dc173").unwrap()
    }

    /// Bytes that any reader can make again: a linear congruential generator, the upper byte of each state.
    pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_le_bytes()[7]
        };
        (0..len).map(step).collect()
    }

    /// The definition, without tables or lanes.
    fn slowly(data: &[u8]) -> Option<usize> {
        let polynomial = polynomial();
        (LEAST..=data.len().min(MOST)).find(|len| {
            let window = &data[len - WINDOW..*len];
            *len == MOST || window.iter().fold(0, |hash, byte| polynomial.append(hash, *byte)) & CUT == 0
        })
    }

    #[test]
    fn cuts_are_where_the_definition_says() {
        let chunker = Chunker::new(polynomial());
        for seed in 0..4 {
            let data = noise(3 << 20, seed);
            let mut rest = &data[..];
            while rest.len() > LEAST {
                let found = chunker.cut(rest, 0);
                assert_eq!(found, slowly(rest), "seed {seed}");
                let Some(found) = found else { break };
                rest = &rest[found..];
            }
        }
    }

    #[test]
    fn a_search_goes_on_where_it_ended() {
        let chunker = Chunker::new(polynomial());
        let data = noise(MOST, 9);
        let whole = chunker.cut(&data, 0).unwrap();
        for step in [1000, 70_000, 500_000] {
            let (mut have, mut searched) = (step, 0);
            let found = loop {
                match chunker.cut(&data[..have], searched) {
                    Some(found) => break found,
                    None => (searched, have) = (have, have + step),
                }
            };
            assert_eq!(found, whole, "step {step}");
        }
    }

    #[test]
    fn zeros_are_cut_as_early_and_a_content_without_cuts_as_late_as_may_be() {
        let chunker = Chunker::new(polynomial());
        assert_eq!(chunker.cut(&[0; LEAST - 1], 0), None);
        assert_eq!(chunker.cut(&[0; LEAST + 1], 0), Some(LEAST));
        let period: Vec<u8> = (0..=250).cycle().take(MOST + 10).collect();
        assert_eq!(chunker.cut(&period, 0), Some(MOST));
        assert_eq!(chunker.cut(&period[..MOST - 1], 0), None);
    }
}
