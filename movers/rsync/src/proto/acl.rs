//! POSIX access control lists, which follow the entries of a list when `-A` is on: each new one in full, a known one by
//! its number. (Captures of rsync 3.5.0.)

use crate::proto::input::{Input, Malformed};
use crate::proto::integer::{read_bits, read_count};

/// An access control list as far as the wire has it: what follows from the mode of the entry is left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Acl {
    /// What the owner may.
    pub user: Option<u8>,
    /// What the owning group may.
    pub group: Option<u8>,
    /// What anybody named may at most.
    pub mask: Option<u8>,
    /// What all others may.
    pub other: Option<u8>,
    /// What named users and groups may.
    pub named: Vec<Named>,
}

/// A named user or group of an access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Named {
    /// Whose id it is.
    pub who: Who,
    /// The id.
    pub id: u32,
    /// What they may: read 4, write 2, execute 1.
    pub may: u8,
}

/// Users and groups have separate ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Acl {
    /// Whether it says nothing beyond the mode.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The lists of one kind (access or default) that were sent until now.
#[derive(Debug, Default)]
pub struct AclTable {
    known: Vec<Acl>,
}

/// The kernel keeps a list in an extended attribute of at most 64 KiB, eight bytes to an entry.
const MAX_NAMED: u32 = 8191;
/// More different lists than this have not been seen in any volume; the memory for them is bounded by it.
const MAX_KNOWN: usize = 1 << 16;

const HAS_USER: u8 = 1;
const HAS_GROUP: u8 = 1 << 1;
const HAS_MASK: u8 = 1 << 2;
const HAS_OTHER: u8 = 1 << 3;
const HAS_NAMED: u8 = 1 << 4;
const NAME_FOLLOWS: u32 = 1;
const IS_USER: u32 = 2;

impl AclTable {
    /// Reads a list, or the number of one that was read before; returns its number.
    ///
    /// # Errors
    /// When it is neither.
    pub fn read<I: Input>(&mut self, input: &mut I) -> Result<u32, I::Error> {
        let known = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        match read_count(input, "the number of an access control list", known)? {
            0 => {
                if self.known.len() >= MAX_KNOWN {
                    return Err(Malformed::unexpected("too many different access control lists").into());
                }
                let acl = read_acl(input)?;
                self.known.push(acl);
                Ok(known)
            }
            number => Ok(number - 1),
        }
    }

    /// The list of a number that [`AclTable::read`] returned.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Acl> {
        self.known.get(number as usize)
    }
}

fn read_acl<I: Input>(input: &mut I) -> Result<Acl, I::Error> {
    let flags = input.byte()?;
    if flags >= 1 << 5 {
        return Err(Malformed::OutOfRange { what: "the flags of an access control list", value: flags.into() }.into());
    }
    let mut part = |has: u8| -> Result<Option<u8>, I::Error> {
        if flags & has == 0 { Ok(None) } else { may(read_bits(input)?).map(Some).map_err(Into::into) }
    };
    let (user, group, mask, other) = (part(HAS_USER)?, part(HAS_GROUP)?, part(HAS_MASK)?, part(HAS_OTHER)?);
    let mut named = Vec::new();
    if flags & HAS_NAMED != 0 {
        for _ in 0..read_count(input, "the length of an access control list", MAX_NAMED)? {
            let id = read_bits(input)?;
            let access = read_bits(input)?;
            if access & NAME_FOLLOWS != 0 {
                let len = usize::from(input.byte()?);
                input.take(len)?;
            }
            let who = if access & IS_USER != 0 { Who::User } else { Who::Group };
            named.push(Named { who, id, may: may(access >> 2)? });
        }
    }
    Ok(Acl { user, group, mask, other, named })
}

fn may(bits: u32) -> Result<u8, Malformed> {
    match u8::try_from(bits) {
        Ok(may @ 0..=7) => Ok(may),
        _ => Err(Malformed::OutOfRange { what: "the permissions of an access control list", value: bits.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn captured_lists_are_understood() {
        let mut table = AclTable::default();
        // An entry without a list, twice; then `u:1234:r-x,g:77:--x` on a file of mode 0670.
        let mut input = &[0, 0, 1, 0, 0x12, 4, 2, 0x84, 0xd2, 0x16, 0x4d, 4][..];
        assert_eq!(table.read(&mut input), Ok(0));
        assert_eq!(table.read(&mut input), Ok(0));
        assert_eq!(table.read(&mut input), Ok(1));
        assert!(input.is_empty());
        assert!(table.get(0).unwrap().is_empty());
        let expected = Acl {
            group: Some(4),
            named: vec![Named { who: Who::User, id: 1234, may: 5 }, Named { who: Who::Group, id: 77, may: 1 }],
            ..Acl::default()
        };
        assert_eq!(table.get(1), Some(&expected));
    }

    #[test]
    fn unknown_numbers_and_huge_lists_are_refused() {
        for bad in [&[1][..], &[0, 0x20], &[0, 0x10, 0xf0, 0xff, 0xff, 0xff, 0x7f], &[0, 1, 8]] {
            assert!(AclTable::default().read(&mut &bad[..]).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut table = AclTable::default();
            let mut input = &bytes[..];
            while table.read(&mut input).is_ok() {}
        }
    }
}
