//! Polynomials over the field of two elements, as bits of an integer: what the chunker's fingerprints are taken modulo.

use crate::format::Malformed;

/// An irreducible polynomial of a degree that the chunker can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Polynomial(u64);

/// restic makes polynomials of this degree.
const DEGREE: u32 = 53;
/// A fingerprint has fewer bits than the degree, and a cut looks at 20 of them.
const LEAST_DEGREE: u32 = 21;

impl Polynomial {
    /// Reads it as `config` has it, in hexadecimal.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let bits = u64::from_str_radix(text, 16).unwrap_or_default();
        let fits = bits != 0 && (LEAST_DEGREE..=DEGREE).contains(&bits.ilog2());
        if fits && is_irreducible(bits) {
            Ok(Self(bits))
        } else {
            Err(Malformed::new(format!("the chunker's polynomial {text} is not irreducible, or of another degree")))
        }
    }

    /// The polynomial in these random bits, if it is one: about one in 27 is.
    pub(crate) fn from_random(bits: u64) -> Option<Self> {
        let bits = (bits & ((1 << DEGREE) - 1)) | (1 << DEGREE) | 1;
        is_irreducible(bits).then_some(Self(bits))
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn degree(self) -> u32 {
        self.0.ilog2()
    }

    /// `value * x^8 + byte`, modulo this.
    pub(crate) fn append(self, value: u64, byte: u8) -> u64 {
        // The degree is at most 53, so there is room for eight bits more.
        modulo((value << 8) | u64::from(byte), self.0)
    }

    /// `value` modulo this.
    pub(crate) fn reduce(self, value: u64) -> u64 {
        modulo(value, self.0)
    }
}

/// Ben-Or's test: a polynomial of degree n is irreducible if it has no factor in common with any `x^(2^i) + x`, i up to n/2.
fn is_irreducible(bits: u64) -> bool {
    let mut power = 2;
    (1..=bits.ilog2() / 2).all(|_| {
        power = multiply(power, power, bits);
        greatest_common_divisor(power ^ 2, bits) == 1
    })
}

fn modulo(mut value: u64, by: u64) -> u64 {
    while let Some(excess) = value.checked_ilog2().and_then(|degree| degree.checked_sub(by.ilog2())) {
        value ^= by << excess;
    }
    value
}

fn multiply(mut a: u64, mut b: u64, by: u64) -> u64 {
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a = modulo(a << 1, by);
        b >>= 1;
    }
    product
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, modulo(a, b));
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_irreducible_polynomials_of_a_usable_degree_are_taken() {
        // From restic's design document, and the one of the chunker's own documentation.
        for good in ["25b468838dcb75", "3da3358b4dc173"] {
            assert_eq!(Polynomial::parse(good).unwrap().degree(), 53, "{good}");
        }
        for bad in ["", "0", "1", "b", "25b468838dcb74", "25b468838dcb77", "45b468838dcb75", "+5b468838dcb75", "xyz"] {
            assert!(Polynomial::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn random_bits_give_a_polynomial_after_a_few_tries() {
        let found = (0..1000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).filter_map(Polynomial::from_random);
        let found: Vec<_> = found.collect();
        assert!((20..80).contains(&found.len()), "{}", found.len());
        for polynomial in found {
            assert_eq!(Polynomial::parse(&format!("{:x}", polynomial.bits())).unwrap(), polynomial);
        }
    }
}
