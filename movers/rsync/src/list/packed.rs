//! Entries of a list in few bytes: what is as in the entry before is left out, and small numbers take one byte.
//!
//! An entry of 48 bytes takes about ten so, in trees as people have them. Going from one to the next costs a few
//! nanoseconds; to get at any other one, up to [`GROUP`] entries are read.

use doppel_volume::names::NameId;

use crate::list::{DirectoryId, Entry, NO_GROUP};

/// Packed entries.
#[derive(Debug, Default)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    /// Where every [`GROUP`]th entry begins. It does not depend on the one before.
    groups: Vec<u32>,
    len: u32,
    last: Option<Entry>,
}

/// Short enough to read through, long enough for `groups` to weigh little.
const GROUP: u32 = 16;

/// What the first entry of a group differs from: a file without anything special.
const PLAIN: Entry = Entry {
    size: 0,
    seconds: 0,
    nanoseconds: 0,
    owner: 0,
    parent: DirectoryId::ROOT,
    name: NameId { start: 0, len: 0 },
    detail: 0,
    group: NO_GROUP,
    mode: 0o100_644,
    marks: 0,
};

impl Entries {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.len.is_multiple_of(GROUP) {
            // An entry takes at most 85 bytes, and MAX_ENTRIES of them less than 4 GiB.
            self.groups.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
            self.last = None;
        }
        write(&mut self.bytes, &self.last.unwrap_or(PLAIN), &entry);
        self.last = Some(entry);
        self.len += 1;
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn get(&self, index: u32) -> Option<Entry> {
        if index >= self.len {
            return None;
        }
        let start = *self.groups.get((index / GROUP) as usize)?;
        let mut rest = self.bytes.get(start as usize..)?;
        (0..=index % GROUP).try_fold(PLAIN, |before, _| read(&mut rest, &before))
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.bytes, before: PLAIN, next: 0, len: self.len }
    }
}

/// Entries one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Iter<'e> {
    rest: &'e [u8],
    before: Entry,
    next: u32,
    len: u32,
}

impl Iterator for Iter<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.next == self.len {
            return None;
        }
        let before = if self.next.is_multiple_of(GROUP) { PLAIN } else { self.before };
        self.before = read(&mut self.rest, &before)?;
        self.next += 1;
        Some(self.before)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.len - self.next) as usize;
        (left, Some(left))
    }
}

/// What an entry has in common with the one before in most cases: one bit each says whether it differs.
type Fields = [u64; 8];

fn fields(entry: &Entry) -> Fields {
    let Entry { size: _, seconds, nanoseconds, owner, parent, name, detail, group, mode, marks } = *entry;
    [
        seconds.cast_unsigned(),
        nanoseconds.into(),
        owner.into(),
        parent.0.into(),
        name.start.into(),
        detail.into(),
        group.into(),
        u64::from(mode) | u64::from(marks) << 16,
    ]
}

/// What is expected after an entry: the same, and the name that follows its name.
fn expected(before: &Entry) -> Fields {
    let start = before.name.start.wrapping_add(before.name.len.into());
    fields(&Entry { name: NameId { start, ..before.name }, ..*before })
}

/// A byte of flags, the lengths of name and content, and the distances of the fields that differ.
fn write(out: &mut Vec<u8>, before: &Entry, entry: &Entry) {
    let mut flags = 0;
    let place = out.len();
    out.push(flags);
    write_number(out, entry.name.len.into());
    write_number(out, entry.size);
    for (bit, (value, before)) in fields(entry).into_iter().zip(expected(before)).enumerate() {
        if value != before {
            flags |= 1 << bit;
            let distance = value.wrapping_sub(before).cast_signed();
            // The sign goes to the end, so that small negative distances are short, too.
            write_number(out, (distance << 1 ^ distance >> 63).cast_unsigned());
        }
    }
    if let Some(place) = out.get_mut(place) {
        *place = flags;
    }
}

fn read(rest: &mut &[u8], before: &Entry) -> Option<Entry> {
    let (flags, tail) = rest.split_first()?;
    *rest = tail;
    let len = u16::try_from(read_number(rest)?).ok()?;
    let size = read_number(rest)?;
    let mut fields = expected(before);
    for (bit, field) in fields.iter_mut().enumerate() {
        if flags & 1 << bit != 0 {
            let distance = read_number(rest)?;
            *field = field.wrapping_add(distance >> 1 ^ (distance & 1).wrapping_neg());
        }
    }
    let [seconds, nanoseconds, owner, parent, start, detail, group, mode] = fields;
    let short = |value: u64| u32::try_from(value).ok();
    Some(Entry {
        size,
        seconds: seconds.cast_signed(),
        nanoseconds: short(nanoseconds)?,
        owner: short(owner)?,
        parent: DirectoryId(short(parent)?),
        name: NameId { start: short(start)?, len },
        detail: short(detail)?,
        group: short(group)?,
        mode: u16::try_from(mode & 0xffff).ok()?,
        marks: u16::try_from(mode >> 16).ok()?,
    })
}

/// Seven bits a byte, the lowest first; all bytes but the last have their highest bit set.
fn write_number(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let often = |usual: u32| prop_oneof![3 => Just(usual), 1 => any::<u32>()];
        let numbers = (any::<u32>(), often(0), often(7), often(3), often(0), often(0), often(NO_GROUP));
        (any::<u64>(), any::<i64>(), numbers, any::<u16>(), any::<u16>(), any::<u16>()).prop_map(
            |(size, seconds, (nanoseconds, owner, parent, start, detail, bits, group), len, mode, marks)| Entry {
                size: size >> (bits % 64),
                seconds: seconds >> (bits % 64),
                nanoseconds,
                owner,
                parent: DirectoryId(parent),
                name: NameId { start, len },
                detail,
                group,
                mode,
                marks,
            },
        )
    }

    fn packed(entries: &[Entry]) -> Entries {
        let mut packed = Entries::default();
        entries.iter().for_each(|entry| packed.push(*entry));
        packed
    }

    proptest! {
        #[test]
        fn entries_come_back_in_order_and_by_number(entries in proptest::collection::vec(entry(), 0..70)) {
            let packed = packed(&entries);
            prop_assert_eq!(packed.iter().map(|entry| fields(&entry)).collect::<Vec<_>>(), entries.iter().map(fields).collect::<Vec<_>>());
            for (index, entry) in (0..).zip(&entries) {
                let found = packed.get(index).unwrap();
                prop_assert_eq!((fields(&found), found.size, found.name), (fields(entry), entry.size, entry.name));
            }
            prop_assert!(packed.get(packed.len()).is_none());
        }
    }

    #[test]
    fn files_of_one_directory_take_ten_bytes_each() {
        let entries: Vec<Entry> = (0..1600_u32)
            .map(|number| Entry {
                size: u64::from(number) * 9,
                seconds: 1_700_000_000 + i64::from(number) * 60,
                nanoseconds: number.wrapping_mul(0x9e37_79b1) % 1_000_000_000,
                owner: 1,
                parent: DirectoryId(4),
                name: NameId { start: 100 + number * 12, len: 12 },
                ..PLAIN
            })
            .collect();
        let packed = packed(&entries);
        assert!(packed.bytes.len() <= 12 * 1600, "{} bytes", packed.bytes.len());
    }
}
