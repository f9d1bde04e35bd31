//! Extended attributes. When `-X` is on, a set of them follows each entry of the list: in full when it is new, by its
//! number when it was sent before. Of a long value a set has only the checksum; what of those a receiver lacks it asks for
//! beside the entry's content, by the number of the attribute in its set. (Captures of rsync 3.5.0 and 3.2.7, protocols
//! 30 to 32.)

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use md5::{Digest as _, Md5};

use crate::proto::input::{Input, Malformed};
use crate::proto::integer::{read_count, write_bits};
use crate::proto::request::Flags;

/// Values up to this long are sent with their set.
const SHORT: usize = 32;
/// The checksum of a long value is always MD5 without a seed, whatever was negotiated.
const DIGEST: usize = 16;
/// Names have at most this many bytes, with their NUL (`XATTR_NAME_MAX`).
const MAX_NAME: u32 = 256;
/// No value is longer (`XATTR_SIZE_MAX`).
const MAX_VALUE: u32 = 64 * 1024;
/// All names of a set together are not longer (`XATTR_LIST_MAX`), and so there are not more of them.
const MAX_NAMES: usize = 64 * 1024;
const MAX_ATTRIBUTES: u32 = 64 * 1024 / 2;
/// All values of a set together are not longer: 64 of the longest. A receiver keeps them until the entry's content has
/// come.
const MAX_VALUES: usize = 4 << 20;
/// All different sets of a list together. Some programs give every file a set of its own (Samba: some 60 bytes, so that
/// this is enough for more than four million files).
const MAX_TABLE: usize = 256 << 20;

/// The sets of a list that were sent until now, numbered from 0.
#[derive(Debug, Default)]
pub struct XattrTable {
    bytes: Vec<u8>,
    attributes: Vec<Stored>,
    /// Where each set's attributes end in `attributes`.
    ends: Vec<u32>,
    /// Sets by the hash of what they are, for the side that sends them.
    known: HashMap<u64, u32>,
    hasher: RandomState,
}

/// An attribute: its name and then its value, or the checksum of it, begin at `start` in the bytes of all.
#[derive(Debug, Clone, Copy)]
struct Stored {
    start: u32,
    len: u32,
    name: u8,
}

impl Stored {
    /// Bytes of the value, or of its checksum.
    fn kept(len: u32) -> usize {
        if len as usize > SHORT { DIGEST } else { len as usize }
    }
}

/// An attribute of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'t> {
    /// Its number in the set, from 1.
    pub number: u32,
    /// Its name, namespace included, without NUL.
    pub name: &'t [u8],
    /// What is known of its value.
    pub value: Value<'t>,
}

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'t> {
    /// All of it.
    Whole(&'t [u8]),
    /// Its length and checksum.
    Long {
        /// The length.
        len: u32,
        /// The checksum.
        digest: &'t [u8],
    },
}

impl Value<'_> {
    /// Whether this is the value, as far as one can know.
    #[must_use]
    pub fn is(&self, value: &[u8]) -> bool {
        match self {
            Self::Whole(whole) => *whole == value,
            Self::Long { len, digest } => *len as usize == value.len() && Md5::digest(value)[..] == **digest,
        }
    }

    /// Whether it must be asked for.
    #[must_use]
    pub fn is_long(&self) -> bool {
        matches!(self, Self::Long { .. })
    }
}

/// A set that is to be sent.
#[derive(Debug, Default)]
pub struct NewSet {
    bytes: Vec<u8>,
    attributes: Vec<Stored>,
    names: usize,
    values: usize,
}

impl NewSet {
    /// Forgets all attributes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.attributes.clear();
        (self.names, self.values) = (0, 0);
    }

    /// Adds an attribute; whether there is room for it.
    #[must_use]
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.names += name.len() + 1;
        self.values += value.len();
        let (Ok(name_len), Ok(len)) = (u8::try_from(name.len()), u32::try_from(value.len())) else { return false };
        if len > MAX_VALUE || self.names > MAX_NAMES || self.values > MAX_VALUES {
            return false;
        }
        // Names and values of a set are limited to less than 2^32.
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(name);
        if value.len() > SHORT {
            self.bytes.extend_from_slice(&Md5::digest(value)[..]);
        } else {
            self.bytes.extend_from_slice(value);
        }
        self.attributes.push(Stored { start, len, name: name_len });
        true
    }
}

impl XattrTable {
    /// Reads a set, or the number of one that was read before; returns its number.
    ///
    /// # Errors
    /// When it is neither, or too large.
    pub fn read<I: Input>(&mut self, input: &mut I) -> Result<u32, I::Error> {
        let known = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        match read_count(input, "the number of a set of extended attributes", known)? {
            0 => {
                self.read_set(input)?;
                Ok(known)
            }
            number => Ok(number - 1),
        }
    }

    fn read_set<I: Input>(&mut self, input: &mut I) -> Result<(), I::Error> {
        let (mut names, mut values) = (0, 0);
        for _ in 0..read_count(input, "a number of extended attributes", MAX_ATTRIBUTES)? {
            let name = read_count(input, "the length of an extended attribute's name", MAX_NAME)? as usize;
            let len = read_count(input, "the length of an extended attribute", MAX_VALUE)?;
            names += name;
            values += len as usize;
            if names > MAX_NAMES || values > MAX_VALUES || self.is_full() {
                return Err(Malformed::unexpected("too many extended attributes").into());
            }
            let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
            let name = input.take(name)?;
            let name = match name.split_last() {
                Some((0, name)) if !name.is_empty() && !name.contains(&0) => name,
                _ => return Err(Malformed::unexpected("an extended attribute without a name").into()),
            };
            self.bytes.extend_from_slice(name);
            let name = u8::try_from(name.len()).unwrap_or(u8::MAX);
            self.bytes.extend_from_slice(input.take(Stored::kept(len))?);
            self.attributes.push(Stored { start, len, name });
        }
        self.end_set();
        Ok(())
    }

    /// Writes a set, by its number if it was written before, and returns that. `None`, and nothing is written, when there
    /// are too many different sets; an empty one always fits.
    pub fn write(&mut self, out: &mut Vec<u8>, set: &NewSet) -> Option<u32> {
        let lens = set.attributes.iter().map(|attribute| (attribute.name, attribute.len));
        let hash = self.hasher.hash_one((&set.bytes, lens.collect::<Vec<_>>()));
        if let Some(number) = self.known.get(&hash)
            && self.is_same(*number, set)
        {
            write_bits(out, number + 1);
            return Some(*number);
        }
        if self.is_full() && !set.attributes.is_empty() {
            return None;
        }
        let number = u32::try_from(self.ends.len()).ok()?;
        let before = u32::try_from(self.bytes.len()).ok()?;
        write_bits(out, 0);
        write_bits(out, u32::try_from(set.attributes.len()).ok()?);
        for stored in &set.attributes {
            write_bits(out, u32::from(stored.name) + 1);
            write_bits(out, stored.len);
            let (name, value) = split(&set.bytes, *stored);
            out.extend_from_slice(name);
            out.push(0);
            out.extend_from_slice(value);
            self.attributes.push(Stored { start: before + stored.start, ..*stored });
        }
        self.bytes.extend_from_slice(&set.bytes);
        self.end_set();
        self.known.insert(hash, number);
        Some(number)
    }

    /// The attributes of a set of which the number is known.
    pub fn get(&self, set: u32) -> impl Iterator<Item = Attribute<'_>> {
        (1..).zip(self.stored(set)).map(|(number, stored)| {
            let (name, value) = split(&self.bytes, *stored);
            let value = match stored.len as usize {
                ..=SHORT => Value::Whole(value),
                _ => Value::Long { len: stored.len, digest: value },
            };
            Attribute { number, name, value }
        })
    }

    /// The numbers of the attributes of a set that must be asked for.
    pub fn long(&self, set: u32) -> impl Iterator<Item = u32> {
        (1..).zip(self.stored(set)).filter(|(_, stored)| stored.len as usize > SHORT).map(|(number, _)| number)
    }

    fn stored(&self, set: u32) -> &[Stored] {
        let end = |number: Option<u32>| number.and_then(|set| self.ends.get(set as usize)).copied().unwrap_or(0);
        self.attributes.get(end(set.checked_sub(1)) as usize..end(Some(set)) as usize).unwrap_or_default()
    }

    fn is_same(&self, number: u32, set: &NewSet) -> bool {
        let stored = self.stored(number);
        let start = stored.first().map_or(0, |first| first.start as usize);
        stored.len() == set.attributes.len()
            && stored.iter().zip(&set.attributes).all(|(a, b)| (a.name, a.len) == (b.name, b.len))
            && (set.bytes.is_empty() || self.bytes.get(start..start + set.bytes.len()) == Some(&set.bytes))
    }

    fn is_full(&self) -> bool {
        self.memory() > MAX_TABLE
    }

    /// Bytes of memory that the table takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.attributes.len() * size_of::<Stored>() + self.ends.len() * size_of::<u32>()
    }

    fn end_set(&mut self) {
        // The table's bound is far below 2^32.
        self.ends.push(u32::try_from(self.attributes.len()).unwrap_or(u32::MAX));
    }
}

/// The name and the value, or its checksum.
fn split(bytes: &[u8], Stored { start, len, name }: Stored) -> (&[u8], &[u8]) {
    let rest = bytes.get(start as usize..).unwrap_or_default();
    let (name, rest) = rest.split_at_checked(name.into()).unwrap_or_default();
    (name, rest.get(..Stored::kept(len)).unwrap_or_default())
}

/// Whether, in a session with `-X`, an item with these flags is followed by a request, or by values. Peers of protocol 31
/// that do not say otherwise (`avoids`) leave both out of hard links.
#[must_use]
pub fn values_follow(flags: Flags, since_31: bool, avoids: bool) -> bool {
    let of_a_link = flags.has(Flags::NAME_FOLLOWS) && flags.has(Flags::LOCAL);
    flags.has(Flags::XATTRS) && !(since_31 && !avoids && of_a_link)
}

/// Writes which values of a set are asked for.
pub fn write_request(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    let mut before = 0;
    for number in numbers {
        write_bits(out, number - before);
        before = number;
    }
    write_bits(out, 0);
}

/// Reads which values of a set are asked for over `numbers`.
///
/// # Errors
/// When the set has no such long values.
pub fn read_request<I: Input>(
    input: &mut I,
    table: &XattrTable,
    set: u32,
    numbers: &mut Vec<u32>,
) -> Result<(), I::Error> {
    numbers.clear();
    while let Some(number) = read_number(input, table, set, numbers.last().copied())? {
        numbers.push(number);
    }
    Ok(())
}

/// Writes a value, the one after that of the number `before`, or the first. [`write_end`] comes after the last.
pub fn write_value(out: &mut Vec<u8>, before: Option<u32>, number: u32, value: &[u8]) {
    write_bits(out, number - before.unwrap_or(0));
    write_bits(out, u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(value);
}

/// Writes that there are no more values.
pub fn write_end(out: &mut Vec<u8>) {
    write_bits(out, 0);
}

/// Values that came, by the number of their attribute, in order.
#[derive(Debug, Default)]
pub struct Values(Vec<(u32, Vec<u8>)>);

impl Values {
    /// Reads values of attributes of a set.
    ///
    /// # Errors
    /// When the set has no such long attributes, or when all of them together are too long.
    pub fn read<I: Input>(input: &mut I, table: &XattrTable, set: u32) -> Result<Self, I::Error> {
        let mut values = Self::default();
        let mut total = 0;
        while let Some(number) = read_number(input, table, set, values.0.last().map(|(number, _)| *number))? {
            let len = read_count(input, "the length of an extended attribute", MAX_VALUE)? as usize;
            total += len;
            if total > MAX_VALUES {
                return Err(Malformed::unexpected("too long extended attributes").into());
            }
            values.0.push((number, input.take(len)?.to_vec()));
        }
        Ok(values)
    }

    /// The value of the attribute of this number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&[u8]> {
        let place = self.0.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.0.get(place).map(|(_, value)| value.as_slice())
    }
}

/// The number of a long attribute of the set, after `before`; `None` at the end.
fn read_number<I: Input>(
    input: &mut I,
    table: &XattrTable,
    set: u32,
    before: Option<u32>,
) -> Result<Option<u32>, I::Error> {
    let step = read_count(input, "the number of an extended attribute", MAX_ATTRIBUTES)?;
    if step == 0 {
        return Ok(None);
    }
    let number = before.unwrap_or(0) + step;
    let stored = table.stored(set).get(number as usize - 1);
    match stored {
        Some(stored) if stored.len as usize > SHORT => Ok(Some(number)),
        _ => Err(Malformed::OutOfRange { what: "the number of an extended attribute", value: number.into() }.into()),
    }
}

#[cfg(test)]
mod tests;
