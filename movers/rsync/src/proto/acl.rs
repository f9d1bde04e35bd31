//! POSIX access control lists, which follow the entries of a list when `-A` is on: each new one in full, a known one by
//! its number. (Captures of rsync 3.5.0.)

use std::collections::HashMap;

use crate::proto::input::{Input, Malformed};
use crate::proto::integer::{read_bits, read_count, write_bits};

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
    /// Their numbers, for the side that sends them.
    numbers: HashMap<Acl, u32>,
    /// How many users and groups all of them name.
    named: usize,
}

/// The kernel keeps a list in an extended attribute of at most 64 KiB, eight bytes to an entry.
const MAX_NAMED: u32 = 8191;
/// More different lists than this have not been seen in any volume; the memory for them is bounded by it.
const MAX_KNOWN: usize = 1 << 16;
/// All of them together name at most this many users and groups: 24 MiB.
const MAX_NAMED_IN_ALL: usize = 1 << 21;

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
                if self.known.len() >= MAX_KNOWN || self.named > MAX_NAMED_IN_ALL {
                    return Err(Malformed::unexpected("too many different access control lists").into());
                }
                let acl = read_acl(input)?;
                self.named += acl.named.len();
                self.known.push(acl);
                Ok(known)
            }
            number => Ok(number - 1),
        }
    }

    /// Writes a list, by its number if it was written before, and returns that. `None`, and nothing is written, when there
    /// are too many different ones or when it is too long; an empty one always fits.
    pub fn write(&mut self, out: &mut Vec<u8>, acl: &Acl) -> Option<u32> {
        if let Some(number) = self.numbers.get(acl) {
            write_bits(out, number + 1);
            return Some(*number);
        }
        let named = u32::try_from(acl.named.len()).ok().filter(|named| *named <= MAX_NAMED)?;
        // One place is left for the empty one.
        let is_full = self.known.len() >= MAX_KNOWN - 1 || self.named + acl.named.len() > MAX_NAMED_IN_ALL;
        if is_full && !acl.is_empty() {
            return None;
        }
        let number = u32::try_from(self.known.len()).ok()?;
        write_bits(out, 0);
        write_acl(out, acl, named);
        self.named += acl.named.len();
        self.known.push(acl.clone());
        self.numbers.insert(acl.clone(), number);
        Some(number)
    }

    /// The list of a number that [`AclTable::read`] or [`AclTable::write`] returned.
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

fn write_acl(out: &mut Vec<u8>, acl: &Acl, named: u32) {
    let Acl { user, group, mask, other, named: names } = acl;
    let parts = [(user, HAS_USER), (group, HAS_GROUP), (mask, HAS_MASK), (other, HAS_OTHER)];
    let flags = parts.iter().filter(|(part, _)| part.is_some()).fold(0, |flags, (_, has)| flags | has);
    out.push(if named > 0 { flags | HAS_NAMED } else { flags });
    for may in parts.iter().filter_map(|(part, _)| **part) {
        write_bits(out, may.into());
    }
    if named > 0 {
        write_bits(out, named);
    }
    for Named { who, id, may } in names {
        write_bits(out, *id);
        write_bits(out, u32::from(*may) << 2 | if *who == Who::User { IS_USER } else { 0 });
    }
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

    /// An entry without a list, twice; then `u:1234:r-x,g:77:--x` on a file of mode 0670.
    const CAPTURED: [u8; 12] = [0, 0, 1, 0, 0x12, 4, 2, 0x84, 0xd2, 0x16, 0x4d, 4];

    #[test]
    fn captured_lists_are_understood() {
        let mut table = AclTable::default();
        let mut input = &CAPTURED[..];
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
        let (mut table, mut out) = (AclTable::default(), Vec::new());
        for (acl, number) in [(&Acl::default(), 0), (&Acl::default(), 0), (&expected, 1)] {
            assert_eq!(table.write(&mut out, acl), Some(number));
        }
        assert_eq!(out, CAPTURED);
    }

    #[test]
    fn more_different_lists_than_a_peer_takes_are_not_sent() {
        let (mut table, mut out) = (AclTable::default(), Vec::new());
        let acl = |id| Acl { named: vec![Named { who: Who::User, id, may: 4 }], ..Acl::default() };
        let sent = (0..1 << 20).take_while(|id| table.write(&mut out, &acl(*id)).is_some()).count();
        assert_eq!(sent, MAX_KNOWN - 1);
        assert!(table.write(&mut out, &acl(0)).is_some(), "a known one needs no room");
        assert!(table.write(&mut out, &Acl::default()).is_some());
        let named = vec![Named { who: Who::Group, id: 1, may: 4 }; MAX_NAMED as usize + 1];
        assert_eq!(AclTable::default().write(&mut out, &Acl { named, ..Acl::default() }), None);
    }

    #[test]
    fn unknown_numbers_and_huge_lists_are_refused() {
        for bad in [&[1][..], &[0, 0x20], &[0, 0x10, 0xf0, 0xff, 0xff, 0xff, 0x7f], &[0, 1, 8]] {
            assert!(AclTable::default().read(&mut &bad[..]).is_err());
        }
    }

    fn acls() -> impl Strategy<Value = Acl> {
        let may = || proptest::option::of(0_u8..8);
        let who = prop_oneof![Just(Who::User), Just(Who::Group)];
        let named = (who, any::<u32>(), 0_u8..8).prop_map(|(who, id, may)| Named { who, id, may });
        (may(), may(), may(), may(), proptest::collection::vec(named, 0..5))
            .prop_map(|(user, group, mask, other, named)| Acl { user, group, mask, other, named })
    }

    proptest! {
        #[test]
        fn lists_come_back(acls in proptest::collection::vec(acls(), 0..10)) {
            let (mut ours, mut theirs, mut out) = (AclTable::default(), AclTable::default(), Vec::new());
            let numbers: Vec<_> = acls.iter().map(|acl| ours.write(&mut out, acl).unwrap()).collect();
            let mut input = &out[..];
            for (number, acl) in numbers.iter().zip(&acls) {
                prop_assert_eq!(theirs.read(&mut input), Ok(*number));
                prop_assert_eq!(theirs.get(*number), Some(acl));
            }
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut table = AclTable::default();
            let mut input = &bytes[..];
            while table.read(&mut input).is_ok() {}
        }
    }
}
