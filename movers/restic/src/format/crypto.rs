//! Encryption and authentication (design.rst, "Keys, Encryption and MAC"): AES-256 in counter mode, then Poly1305-AES over
//! the ciphertext, stored as `IV || CIPHERTEXT || MAC`.

use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::{Ctr128BE, CtrCore};
use poly1305::universal_hash::UniversalHash;
use poly1305::{Block, Poly1305};

/// What encryption adds to a content: the IV before it and the MAC after it.
pub(crate) const OVERHEAD: usize = NONCE + MAC;
/// Bytes of an IV, which must be new and random each time.
pub(crate) const NONCE: usize = 16;
const MAC: usize = 16;

/// The bytes of a key, in the order in which scrypt yields them: AES-256, AES-128 for the MAC, `r` of Poly1305.
pub(crate) type KeyBytes = [u8; 64];

/// A key of a repository, or one that a password yields.
#[derive(Clone)]
pub(crate) struct Key {
    encryption: Aes256,
    mac: Aes128,
    r: [u8; 16],
}

/// The MAC does not match: another key, or somebody changed the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forged;

impl Key {
    pub(crate) fn new(bytes: &KeyBytes) -> Self {
        let mut encryption = [0; 32];
        let mut mac = [0; 16];
        let mut r = [0; 16];
        let parts = encryption.iter_mut().chain(&mut mac).chain(&mut r);
        parts.zip(bytes).for_each(|(place, byte)| *place = *byte);
        Self { encryption: Aes256::new(&encryption.into()), mac: Aes128::new(&mac.into()), r }
    }

    /// Appends `content`, encrypted, to `out`.
    pub(crate) fn seal(&self, nonce: [u8; NONCE], content: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(content.len() + OVERHEAD);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(content);
        self.seal_from(start, nonce, out);
    }

    /// Encrypts a content that is in `out` behind room for its IV.
    pub(crate) fn seal_in_place(&self, nonce: [u8; NONCE], out: &mut Vec<u8>) {
        if let Some(place) = out.first_chunk_mut() {
            *place = nonce;
            self.seal_from(0, nonce, out);
        }
    }

    fn seal_from(&self, start: usize, nonce: [u8; NONCE], out: &mut Vec<u8>) {
        let body = out.get_mut(start + NONCE..).unwrap_or_default();
        self.apply_keystream(nonce, body);
        let tag = self.tag(nonce, body);
        out.extend_from_slice(&tag);
    }

    /// The content of what was encrypted, in the same memory.
    pub(crate) fn open_whole(&self, mut sealed: Vec<u8>) -> Result<Vec<u8>, Forged> {
        let len = self.open(&mut sealed)?.len();
        sealed.drain(..NONCE);
        sealed.truncate(len);
        Ok(sealed)
    }

    /// Decrypts in place; the content is a part of `sealed`.
    pub(crate) fn open<'s>(&self, sealed: &'s mut [u8]) -> Result<&'s mut [u8], Forged> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE>().ok_or(Forged)?;
        let (body, tag) = rest.split_last_chunk_mut::<MAC>().ok_or(Forged)?;
        // In constant time, though nobody can ask often: there is no oracle in a store.
        let expected = self.tag(*nonce, body);
        let different = expected.iter().zip(tag.iter()).fold(0, |sum, (a, b)| sum | (a ^ b));
        if different != 0 {
            return Err(Forged);
        }
        self.apply_keystream(*nonce, body);
        Ok(body)
    }

    fn apply_keystream(&self, nonce: [u8; NONCE], body: &mut [u8]) {
        // The key's schedule is copied, which is cheaper than to make it again for each small blob.
        let core = CtrCore::inner_iv_init(self.encryption.clone(), &nonce.into());
        Ctr128BE::from_core(core).apply_keystream(body);
    }

    /// Poly1305-AES: the second half of Poly1305's one-time key is the encrypted nonce.
    fn tag(&self, nonce: [u8; NONCE], body: &[u8]) -> [u8; MAC] {
        let mut encrypted = nonce.into();
        self.mac.encrypt_block(&mut encrypted);
        let mut one_time = [0; 32];
        one_time.iter_mut().zip(self.r.iter().chain(&encrypted)).for_each(|(place, byte)| *place = *byte);
        // All whole blocks at once are several times as fast as what `compute_unpadded` does.
        let (blocks, rest) = Block::slice_as_chunks(body);
        let mut mac = Poly1305::new(&one_time.into());
        mac.update(blocks);
        mac.compute_unpadded(rest).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Appendix B of "The Poly1305-AES message-authentication code" (Bernstein, 2005): its second example.
    #[test]
    fn the_mac_is_that_of_the_paper() {
        let mut bytes = [0; 64];
        bytes[32..48].copy_from_slice(&[
            0xec, 0x07, 0x4c, 0x83, 0x55, 0x80, 0x74, 0x17, 0x01, 0x42, 0x5b, 0x62, 0x32, 0x35, 0xad, 0xd6,
        ]);
        bytes[48..].copy_from_slice(&[
            0x85, 0x1f, 0xc4, 0x0c, 0x34, 0x67, 0xac, 0x0b, 0xe0, 0x5c, 0xc2, 0x04, 0x04, 0xf3, 0xf7, 0x00,
        ]);
        let nonce = [0xfb, 0x44, 0x73, 0x50, 0xc4, 0xe8, 0x68, 0xc5, 0x2a, 0xc3, 0x27, 0x5c, 0xf9, 0xd4, 0x32, 0x7e];
        let tag = [0xf4, 0xc6, 0x33, 0xc3, 0x04, 0x4f, 0xc1, 0x45, 0xf8, 0x4f, 0x33, 0x5c, 0xb8, 0x19, 0x53, 0xde];
        assert_eq!(Key::new(&bytes).tag(nonce, &[0xf3, 0xf6]), tag);
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_no_bit_of_it_may_change(
            bytes in proptest::array::uniform32(any::<u8>()),
            nonce in any::<[u8; NONCE]>(),
            content in proptest::collection::vec(any::<u8>(), 0..200),
            flip in any::<proptest::sample::Index>(),
        ) {
            let mut both = [0; 64];
            both[..32].copy_from_slice(&bytes);
            both[32..].copy_from_slice(&bytes);
            let key = Key::new(&both);
            let mut sealed = vec![9];
            key.seal(nonce, &content, &mut sealed);
            prop_assert_eq!(sealed.len(), 1 + content.len() + OVERHEAD);
            let mut damaged = sealed.clone();
            let bit = flip.index((sealed.len() - 1) * 8);
            damaged[1 + bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key.open(&mut damaged[1..]), Err(Forged));
            prop_assert_eq!(&*key.open(&mut sealed[1..]).unwrap(), &content[..]);
        }

        #[test]
        fn what_is_too_short_is_forged(mut bytes in proptest::collection::vec(any::<u8>(), 0..OVERHEAD)) {
            prop_assert_eq!(Key::new(&[7; 64]).open(&mut bytes), Err(Forged));
        }
    }
}
