//! How diskrsync begins, in both directions at once: 8 bytes of magic, 8 bytes of the size of the sender's own volume.
//! (diskrsync 1.3.0, `writeHeader`)

use doppel_contract::Line;

use super::Malformed;
use super::geometry::Geometry;

/// Bytes of a header.
pub const LENGTH: usize = 16;

const MAGIC: [u8; 8] = *b"BSNC0002";

/// How an rsync daemon begins, and a client that has heard one.
const RSYNC: &[u8] = b"@RSYNCD:";

/// The header of a volume with this many bytes.
#[must_use]
pub fn encode(size: u64) -> [u8; LENGTH] {
    let mut header = [0; LENGTH];
    let (magic, number) = header.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    number.copy_from_slice(&size.to_le_bytes());
    header
}

/// The size in a header.
///
/// # Errors
/// When it is none, or its size is more than [`Geometry::LARGEST`].
pub fn decode(header: [u8; LENGTH]) -> Result<u64, Malformed> {
    let [m0, m1, m2, m3, m4, m5, m6, m7, size @ ..] = header;
    if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
        let rsync = header.starts_with(RSYNC);
        return Err(if rsync { Malformed::Rsync } else { Malformed::Foreign(Line::from_bytes(&header)) });
    }
    let size = u64::from_le_bytes(size);
    if size > Geometry::LARGEST { Err(Malformed::Size(size)) } else { Ok(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_diskrsync_writes() {
        assert_eq!(encode(0x0102), *b"BSNC0002\x02\x01\0\0\0\0\0\0");
        assert_eq!(decode(encode(5 << 30)), Ok(5 << 30));
    }

    #[test]
    fn other_protocols_and_impossible_sizes_are_told_apart() {
        assert_eq!(decode(*b"@RSYNCD: 31.0\nxx"), Err(Malformed::Rsync));
        assert!(matches!(decode(*b"GET / HTTP/1.1\r\n"), Err(Malformed::Foreign(_))));
        // What Go writes for -1.
        assert_eq!(decode(encode(u64::MAX)), Err(Malformed::Size(u64::MAX)));
        assert_eq!(decode(encode(Geometry::LARGEST)), Ok(Geometry::LARGEST));
    }
}
