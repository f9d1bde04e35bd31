//! What is said of an entry after its index, by the receiver's side as a request and by the sender's as its echo.
//! (rsync-win, codec specification, 5.)

use crate::proto::input::{Input, Malformed};
use crate::proto::negotiate::{read_string_len, write_string};

/// Flags of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// Its checksum follows, after all that is said here: only between Doppels, to verify.
    pub const CHECKSUM: Self = Self(1 << 1);
    /// Its size differs.
    pub const SIZE: Self = Self(1 << 2);
    /// Its time differs.
    pub const TIME: Self = Self(1 << 3);
    /// Its permissions differ.
    pub const PERMISSIONS: Self = Self(1 << 4);
    /// Its extended attributes differ.
    pub const XATTRS: Self = Self(1 << 8);
    /// A byte says where the old content is from.
    pub const BASIS_FOLLOWS: Self = Self(1 << 11);
    /// A name follows.
    pub const NAME_FOLLOWS: Self = Self(1 << 12);
    /// It was not there before.
    pub const NEW: Self = Self(1 << 13);
    /// The receiver changed it by itself; nothing is to be sent.
    pub const LOCAL: Self = Self(1 << 14);
    /// Its content is to be sent.
    pub const TRANSFER: Self = Self(1 << 15);

    /// Whether `other` is set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is said of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// Its flags.
    pub flags: Flags,
    /// Where the old content is from.
    pub basis: u8,
    /// The name that follows: another name of the same inode.
    pub name: Vec<u8>,
}

/// A name is a path and no longer.
const MAX_NAME: usize = 4096;

impl Item {
    /// An item of flags alone.
    #[must_use]
    pub fn new(flags: Flags) -> Self {
        Self { flags, basis: 0, name: Vec::new() }
    }

    /// Reads an item over this one.
    ///
    /// # Errors
    /// When its name is too long.
    pub fn read<I: Input>(&mut self, input: &mut I) -> Result<(), I::Error> {
        self.flags = Flags(u16::from_le_bytes(input.array()?));
        if self.flags.has(Flags::BASIS_FOLLOWS) {
            self.basis = input.byte()?;
        }
        self.name.clear();
        if self.flags.has(Flags::NAME_FOLLOWS) {
            let len = read_string_len(input)?;
            if len > MAX_NAME {
                return Err(Malformed::TooLong { what: "name", len: len as u64, limit: MAX_NAME as u64 }.into());
            }
            self.name.extend_from_slice(input.take(len)?);
        }
        Ok(())
    }

    /// Writes the item.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.flags.0.to_le_bytes());
        if self.flags.has(Flags::BASIS_FOLLOWS) {
            out.push(self.basis);
        }
        if self.flags.has(Flags::NAME_FOLLOWS) {
            write_string(out, &self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_captured_hard_link_is_understood() {
        let mut item = Item::default();
        item.read(&mut &b"\x00\x70\x09sub/hard3"[..]).unwrap();
        assert_eq!(item.flags, Flags::NAME_FOLLOWS.and(Flags::NEW).and(Flags::LOCAL));
        assert_eq!(item.name, b"sub/hard3");
    }

    proptest! {
        #[test]
        fn items_come_back(flags: u16, basis: u8, name in proptest::collection::vec(any::<u8>(), 0..MAX_NAME)) {
            let flags = Flags(flags);
            let basis = if flags.has(Flags::BASIS_FOLLOWS) { basis } else { 0 };
            let name = if flags.has(Flags::NAME_FOLLOWS) { name } else { Vec::new() };
            let item = Item { flags, basis, name };
            let mut out = Vec::new();
            item.write(&mut out);
            let mut back = Item::default();
            back.read(&mut &out[..]).unwrap();
            prop_assert_eq!(back, item);
        }
    }
}
