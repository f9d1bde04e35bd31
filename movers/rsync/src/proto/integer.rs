//! rsync's integers: fixed ones are little-endian; variable ones carry their length in the leading one-bits of the first
//! byte, the most significant bits of the value in the rest of it, and the other bytes little-endian after it. (Not
//! LEB128. rsync-win, codec specification, 1 to 3.)

use crate::proto::input::{Input, Malformed};

/// How many bytes follow a first byte: its leading ones, of which the format knows six.
fn extra(first: u8) -> usize {
    first.leading_ones().min(6) as usize
}

/// Reads a variable integer of up to 32 bits.
///
/// # Errors
/// When more than four bytes follow the first.
pub fn read_varint<I: Input>(input: &mut I) -> Result<i32, I::Error> {
    let first = input.byte()?;
    let extra = extra(first);
    if extra > 4 {
        return Err(Malformed::OutOfRange { what: "the first byte of an integer", value: first.into() }.into());
    }
    let mut bytes = [0_u8; 5];
    let low = input.take(extra)?;
    for (place, byte) in bytes.iter_mut().zip(low) {
        *place = *byte;
    }
    if let Some(place) = bytes.get_mut(extra) {
        // With four bytes following, what is left of the first has no place in 32 bits and is dropped, as rsync does.
        *place = first & (0xff_u8 >> extra);
    }
    let [a, b, c, d, _] = bytes;
    Ok(i32::from_le_bytes([a, b, c, d]))
}

/// Reads a variable integer that counts or measures something, up to `limit`.
///
/// # Errors
/// When it is negative or above the limit.
pub fn read_count<I: Input>(input: &mut I, what: &'static str, limit: u32) -> Result<u32, I::Error> {
    let value = read_varint(input)?;
    match u32::try_from(value) {
        Ok(count) if count <= limit => Ok(count),
        _ => Err(Malformed::OutOfRange { what, value: value.into() }.into()),
    }
}

/// Reads a variable 32-bit number that uses all its bits, a user id for example.
///
/// # Errors
/// As [`read_varint`].
pub fn read_bits<I: Input>(input: &mut I) -> Result<u32, I::Error> {
    read_varint(input).map(i32::cast_unsigned)
}

/// Writes a variable integer in its shortest form.
pub fn write_varint(out: &mut Vec<u8>, value: i32) {
    let unsigned = value.cast_unsigned();
    let bytes = unsigned.to_le_bytes();
    // `extra` bytes leave 7 - extra bits of the first one to the value; with four, none.
    let extra = match unsigned {
        0..0x80 => 0,
        0x80..0x4000 => 1,
        0x4000..0x20_0000 => 2,
        0x20_0000..0x1000_0000 => 3,
        _ => 4,
    };
    let top = bytes.get(extra).copied().unwrap_or_default();
    out.push(!(0xff_u8 >> extra) | top);
    out.extend(bytes.iter().take(extra));
}

/// Writes the bits of an unsigned number as [`write_varint`] does.
pub fn write_bits(out: &mut Vec<u8>, value: u32) {
    write_varint(out, value.cast_signed());
}

/// Reads a variable integer of up to 64 bits of which at least `min` bytes are sent.
///
/// # Errors
/// When more bytes follow than fit.
pub fn read_varlong<I: Input>(input: &mut I, min: usize) -> Result<i64, I::Error> {
    let mut bytes = [0_u8; 9];
    let first = input.byte()?;
    let extra = extra(first);
    let follow = min.saturating_sub(1) + extra;
    if follow > 8 {
        return Err(Malformed::OutOfRange { what: "the first byte of a long integer", value: first.into() }.into());
    }
    for (place, byte) in bytes.iter_mut().zip(input.take(follow)?) {
        *place = *byte;
    }
    if let Some(place) = bytes.get_mut(follow) {
        *place = first & (0xff_u8 >> extra);
    }
    let [low @ .., _] = bytes;
    Ok(i64::from_le_bytes(low))
}

/// Writes a variable integer of at least `min` bytes.
pub fn write_varlong(out: &mut Vec<u8>, value: i64, min: usize) {
    let bytes = value.to_le_bytes();
    let mut count = 8;
    while count > min && bytes.get(count - 1) == Some(&0) {
        count -= 1;
    }
    let extra = count - min;
    let top = bytes.get(count - 1).copied().unwrap_or_default();
    if top > 0x7f_u8 >> extra {
        // The top byte does not fit beside the leading ones.
        out.push(!(0xff_u8 >> (extra + 1)));
        out.extend(bytes.iter().take(count));
    } else {
        out.push(!(0xff_u8 >> extra) | top);
        out.extend(bytes.iter().take(count - 1));
    }
}

/// Reads a fixed 32-bit integer.
///
/// # Errors
/// When the input ends.
pub fn read_int<I: Input>(input: &mut I) -> Result<i32, I::Error> {
    input.array().map(i32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_varint(value: i32, expected: &[u8]) {
        let mut out = Vec::new();
        write_varint(&mut out, value);
        assert_eq!(out, expected, "{value}");
        assert_eq!(read_varint(&mut &out[..]), Ok(value));
    }

    fn check_varlong(value: i64, min: usize, expected: &[u8]) {
        let mut out = Vec::new();
        write_varlong(&mut out, value, min);
        assert_eq!(out, expected, "{value} min {min}");
        assert_eq!(read_varlong(&mut &out[..], min), Ok(value));
    }

    #[test]
    fn integers_are_written_as_rsync_writes_them() {
        for (value, expected) in [
            (0, &[0x00][..]),
            (0x7f, &[0x7f]),
            (0x80, &[0x80, 0x80]),
            (0x100, &[0x81, 0x00]),
            (0x3fff, &[0xbf, 0xff]),
            (0x4000, &[0xc0, 0x00, 0x40]),
            (0x1f_ffff, &[0xdf, 0xff, 0xff]),
            (0x20_0000, &[0xe0, 0x00, 0x00, 0x20]),
            (0x0fff_ffff, &[0xef, 0xff, 0xff, 0xff]),
            (0x1000_0000, &[0xf0, 0x00, 0x00, 0x00, 0x10]),
            (-1, &[0xf0, 0xff, 0xff, 0xff, 0xff]),
        ] {
            check_varint(value, expected);
        }
        for (value, min, expected) in [
            (0, 3, &[0, 0, 0][..]),
            (128, 3, &[0, 0x80, 0]),
            (65536, 3, &[1, 0, 0]),
            (8_388_607, 3, &[0x7f, 0xff, 0xff]),
            (8_388_608, 3, &[0x80, 0, 0, 0x80]),
            (5_000_000_000, 3, &[0xc1, 0x00, 0xf2, 0x05, 0x2a]),
            (0xdead_beef, 3, &[0xc0, 0xef, 0xbe, 0xad, 0xde]),
            (1 << 58, 3, &[0xfc, 0, 0, 0, 0, 0, 0, 0, 4]),
            (1_577_934_245, 4, &[0x5e, 0xa5, 0x5d, 0x0d]),
            (1 << 31, 4, &[0x80, 0, 0, 0, 0x80]),
            (-1, 4, &[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (1 << 59, 4, &[0xf8, 0, 0, 0, 0, 0, 0, 0, 8]),
        ] {
            check_varlong(value, min, expected);
        }
    }

    #[test]
    fn longer_forms_than_needed_are_understood_and_overlong_ones_refused() {
        assert_eq!(read_varint(&mut &[0x80, 0x05][..]), Ok(5));
        for first in 0xf8..=0xff {
            assert!(read_varint(&mut &[first, 0, 0, 0, 0, 0, 0, 0, 0][..]).is_err());
        }
        for first in 0xfc..=0xff {
            assert!(read_varlong(&mut &[first, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], 4).is_err());
        }
    }

    proptest! {
        #[test]
        fn integers_come_back(value: i32, long: i64, shift in 0_u32..63, min in 3_usize..=4) {
            let mut out = Vec::new();
            write_varint(&mut out, value >> (shift % 31));
            write_varlong(&mut out, long >> shift, min);
            let mut input = &out[..];
            prop_assert_eq!(read_varint(&mut input), Ok(value >> (shift % 31)));
            prop_assert_eq!(read_varlong(&mut input, min), Ok(long >> shift));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = read_varint(&mut &bytes[..]);
            let _ = read_varlong(&mut &bytes[..], 3);
            let _ = read_varlong(&mut &bytes[..], 4);
        }
    }
}
