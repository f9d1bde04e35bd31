//! The header at the end of a pack (design.rst, "Pack Format"): which blobs are in it, one after the other.

use crate::format::Malformed;
use crate::format::blob::{Blob, BlobKind};
use crate::format::crypto::OVERHEAD;
use crate::format::id::Id;

/// The last bytes of a pack say how long its encrypted header is.
pub(crate) const LENGTH: usize = 4;
/// restic reads no longer header.
const LONGEST_HEADER: usize = 16 << 20;
/// Kind, length, ID; for a compressed blob also the length of its content.
const PLAIN: usize = 1 + 4 + Id::LEN;
const COMPRESSED: usize = PLAIN + 4;

/// Bytes that a blob takes in the header.
pub(crate) fn entry_len(blob: &Blob) -> usize {
    if blob.uncompressed == 0 { PLAIN } else { COMPRESSED }
}

/// The header's content.
pub(crate) fn encode(blobs: &[Blob]) -> Vec<u8> {
    let mut header = Vec::with_capacity(blobs.len() * COMPRESSED);
    for blob in blobs {
        let compressed = if blob.uncompressed == 0 { 0 } else { 2 };
        header.push(compressed | u8::from(blob.kind == BlobKind::Tree));
        header.extend(blob.length.to_le_bytes());
        if compressed != 0 {
            header.extend(blob.uncompressed.to_le_bytes());
        }
        header.extend(blob.id.bytes());
    }
    header
}

/// Bytes of the encrypted header, as the last bytes of a pack of `size` bytes say it.
pub(crate) fn header_len(last: [u8; LENGTH], size: u64) -> Result<usize, Malformed> {
    let len = u32::from_le_bytes(last) as usize;
    if !(OVERHEAD + PLAIN..=LONGEST_HEADER).contains(&len) || (len + LENGTH) as u64 > size {
        return Err(Malformed::new(format!("a header of {len} bytes in a pack of {size}")));
    }
    Ok(len)
}

/// The blobs that a header's content names. Together they must take `room` bytes.
pub(crate) fn decode(mut header: &[u8], room: u64) -> Result<Vec<Blob>, Malformed> {
    let mut blobs = Vec::with_capacity(header.len() / PLAIN);
    let mut end = 0_u32;
    while !header.is_empty() {
        let (blob, rest) = entry(header, end).ok_or_else(|| Malformed::new("a header with a part of an entry"))?;
        end = end.checked_add(blob.length).ok_or_else(|| Malformed::new("a pack of more than 4 GiB"))?;
        blobs.push(check(blob)?);
        header = rest;
    }
    if u64::from(end) == room {
        Ok(blobs)
    } else {
        Err(Malformed::new(format!("a header for {end} bytes of blobs, where there are {room}")))
    }
}

fn entry(header: &[u8], offset: u32) -> Option<(Blob, &[u8])> {
    let (kind, rest) = header.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (kind, is_compressed) = match kind {
        0 | 2 => (BlobKind::Data, *kind == 2),
        1 | 3 => (BlobKind::Tree, *kind == 3),
        _ => return None,
    };
    let (uncompressed, rest) = if is_compressed {
        let (uncompressed, rest) = rest.split_first_chunk()?;
        (u32::from_le_bytes(*uncompressed), rest)
    } else {
        (0, rest)
    };
    let (id, rest) = rest.split_first_chunk()?;
    let (id, length) = (Id::from_bytes(*id), u32::from_le_bytes(*length));
    Some((Blob { id, kind, offset, length, uncompressed }, rest))
}

/// A blob that an index or a header speaks of, if it can be one.
pub(crate) fn check(blob: Blob) -> Result<Blob, Malformed> {
    // restic compresses also what does not become shorter: what a blob takes is bounded as its content is.
    let plain = (blob.length as usize).checked_sub(OVERHEAD);
    let limit = blob.kind.limit();
    let fits = plain.is_some_and(|plain| plain <= limit && (plain > 0 || blob.uncompressed == 0))
        && blob.uncompressed as usize <= limit;
    if fits && blob.offset.checked_add(blob.length).is_some() {
        Ok(blob)
    } else {
        Err(Malformed::new(format!("blob {} of {} bytes at {}", blob.id, blob.length, blob.offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blobs() -> impl Strategy<Value = Vec<Blob>> {
        let blob = (any::<[u8; 32]>(), any::<bool>(), 33..1_000_000_u32, 0..1_000_000_u32);
        proptest::collection::vec(blob, 0..20).prop_map(|blobs| {
            let mut offset = 0;
            let place = |(id, tree, length, uncompressed)| {
                let kind = if tree { BlobKind::Tree } else { BlobKind::Data };
                let blob = Blob { id: Id::from_bytes(id), kind, offset, length, uncompressed };
                offset += length;
                blob
            };
            blobs.into_iter().map(place).collect()
        })
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(blobs in blobs()) {
            let room = blobs.iter().map(|blob| u64::from(blob.length)).sum();
            let header = encode(&blobs);
            prop_assert_eq!(decode(&header, room).unwrap(), &blobs[..]);
            prop_assert_eq!(header.len(), blobs.iter().map(entry_len).sum::<usize>());
            prop_assert!(decode(&header, room + 1).is_err());
            if !header.is_empty() {
                prop_assert!(decode(&header[1..], room).is_err());
                prop_assert!(decode(&header[..header.len() - 1], room).is_err());
            }
        }

        #[test]
        fn no_header_makes_trouble(header in any::<Vec<u8>>(), room in any::<u64>()) {
            let _ = decode(&header, room);
        }

        #[test]
        fn no_length_makes_trouble(last in any::<[u8; 4]>(), size in any::<u64>()) {
            let _ = header_len(last, size);
        }
    }

    #[test]
    fn a_header_longer_than_its_pack_is_refused() {
        assert!(header_len(100_u32.to_le_bytes(), 103).is_err());
        assert_eq!(header_len(100_u32.to_le_bytes(), 104), Ok(100));
        for bad in [0, 32, 68, (16 << 20) + 1, u32::MAX] {
            assert!(header_len(bad.to_le_bytes(), u64::MAX).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_blob_that_claims_too_much_is_refused() {
        let blob = Blob { id: Id::NONE, kind: BlobKind::Data, offset: 0, length: 40, uncompressed: 0 };
        assert!(check(blob).is_ok());
        assert!(check(Blob { length: 31, ..blob }).is_err());
        assert!(check(Blob { length: 32, uncompressed: 5, ..blob }).is_err());
        assert!(check(Blob { uncompressed: u32::MAX, ..blob }).is_err());
        assert!(check(Blob { length: u32::MAX, uncompressed: 5, ..blob }).is_err());
        assert!(check(Blob { offset: u32::MAX, ..blob }).is_err());
    }
}
