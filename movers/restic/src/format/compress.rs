//! zstd, as blobs and files of version 2 have it: one frame, with its size in its header.

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

use crate::format::Malformed;
use crate::format::chunker::MOST;

/// How hard new blobs are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all; trees are, all the same.
    Off,
    /// As hard as pays off: zstd's level 3, and what looks random not at all.
    #[default]
    Auto,
    /// As hard as restic does at most: zstd's level 11.
    Max,
}

impl Compression {
    /// As zstd counts it.
    pub(crate) fn level(self) -> i32 {
        if self == Self::Max { 11 } else { 3 }
    }
}

/// A context for each direction. Making one takes longer than to compress a small file: each thread keeps its own.
pub(crate) struct Codec {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
    /// Where contents are expanded to: room that is new each time costs as much as to fill it.
    room: Vec<u8>,
}

/// Bytes of room that are kept for the next content. None that was cut out of a file is longer.
const KEPT: usize = MOST;

impl Codec {
    pub(crate) fn new(compression: Compression) -> Result<Self, Malformed> {
        let level = compression.level();
        let no_memory = |error| Malformed::new(format!("set up zstd: {error}"));
        Ok(Self {
            compressor: Compressor::new(level).map_err(no_memory)?,
            decompressor: Decompressor::new().map_err(no_memory)?,
            room: Vec::new(),
        })
    }

    /// The compressed content, if it is shorter, and was found to be the content again.
    pub(crate) fn compress(&mut self, content: &[u8]) -> Option<Vec<u8>> {
        let compressed =
            self.compressor.compress(content).ok().filter(|compressed| compressed.len() < content.len())?;
        let again = self.expand(&compressed, content.len()).ok()?;
        (again == content).then_some(compressed)
    }

    /// The content of so many bytes, for as long as nothing else is expanded.
    pub(crate) fn expand(&mut self, compressed: &[u8], len: usize) -> Result<&[u8], Malformed> {
        let wrong = |has| not_zstd(&format_args!("{has} bytes of content instead of {len}"));
        // Before there is room for it.
        match get_frame_content_size(compressed) {
            Ok(Some(told)) if told != len as u64 => return Err(wrong(told)),
            Ok(_) => {}
            Err(_) => return Err(not_zstd(&"it has no header")),
        }
        self.room.clear();
        self.room.shrink_to(KEPT);
        self.room.try_reserve_exact(len).map_err(|_| Malformed::new(format!("there is no memory for {len} bytes")))?;
        self.decompressor.decompress_to_buffer(compressed, &mut self.room).map_err(|error| not_zstd(&error))?;
        if self.room.len() == len { Ok(&self.room) } else { Err(wrong(self.room.len() as u64)) }
    }

    /// What was expanded last.
    pub(crate) fn expanded(&self) -> &[u8] {
        &self.room
    }

    /// A content of at most `limit` bytes. Go's encoder leaves the length out of the frames of very short ones.
    pub(crate) fn expand_file(&mut self, compressed: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
        let too_large = || Malformed::new(format!("a zstd frame of more than {limit} bytes"));
        match get_frame_content_size(compressed) {
            Ok(Some(told)) => {
                let len = usize::try_from(told).ok().filter(|len| *len <= limit).ok_or_else(too_large)?;
                self.decompressor.decompress(compressed, len).map_err(|error| not_zstd(&error))
            }
            Ok(None) => {
                let mut room = 64 << 10;
                loop {
                    match self.decompressor.decompress(compressed, room.min(limit)) {
                        Ok(content) => return Ok(content),
                        Err(_) if room < limit => room *= 4,
                        Err(error) => return Err(not_zstd(&error)),
                    }
                }
            }
            Err(_) => Err(not_zstd(&"it has no header")),
        }
    }
}

fn not_zstd(error: &dyn std::fmt::Display) -> Malformed {
    Malformed::new(format!("not the expected zstd frame: {error}"))
}

/// Whether compressing is worth a try. What is compressed or encrypted already has all bytes equally often: in samples of it
/// the squares of their counts add up to little more than they must.
pub(crate) fn is_compressible(content: &[u8]) -> bool {
    const SAMPLES: usize = 64;
    const SAMPLE: usize = 64;
    if content.len() < 16 * SAMPLES * SAMPLE {
        return true;
    }
    let mut counts = [0_u64; 256];
    // Their distances are odd, so that nothing which repeats is met in the same place each time.
    let distance = (content.len() / SAMPLES - SAMPLE) | 1;
    for sample in content.chunks(distance).filter_map(|part| part.get(..SAMPLE)) {
        for byte in sample {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
    }
    let total: u64 = counts.iter().sum();
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    // For random bytes the expectation is total^2 / 256 + total; the deviation is a hundredth of that.
    squares > (total * total / 256 + total) * 11 / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_compressed_only_if_it_becomes_shorter() {
        let mut codec = Codec::new(Compression::Auto).unwrap();
        assert_eq!(codec.compress(b""), None);
        assert_eq!(codec.compress(b"abc"), None);
        let content = b"abc".repeat(100);
        let compressed = codec.compress(&content).unwrap();
        assert_eq!(codec.expand(&compressed, 300).unwrap(), content);
        assert_eq!(codec.expand_file(&compressed, 300).unwrap(), content);
        for wrong in [0, 299, 301] {
            assert!(codec.expand(&compressed, wrong).is_err(), "{wrong}");
        }
        assert!(codec.expand_file(&compressed, 299).is_err());
        assert!(codec.expand_file(b"{", 299).is_err());
    }

    #[test]
    fn a_frame_that_does_not_tell_its_length_is_read_up_to_the_limit() {
        // Magic number, no flags, a window of 1 KiB, a last block of five raw bytes (RFC 8878, section 3.1.1).
        let frame = b"\x28\xb5\x2f\xfd\x00\x00\x29\x00\x00hello";
        let mut codec = Codec::new(Compression::Auto).unwrap();
        assert_eq!(codec.expand_file(frame, 5).unwrap(), b"hello");
        assert!(codec.expand_file(frame, 4).is_err());
        assert!(codec.expand_file(&frame[..12], 1 << 20).is_err());
    }

    #[test]
    fn a_frame_that_grows_beyond_its_limit_takes_no_memory() {
        let mut codec = Codec::new(Compression::Auto).unwrap();
        let bomb = codec.compress(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 16 << 10);
        assert!(codec.expand(&bomb, 1000).is_err());
        assert!(codec.expand_file(&bomb, 1 << 20).is_err());
    }

    #[test]
    fn random_bytes_are_told_from_all_others() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        };
        let noise: Vec<u8> = (0..1 << 20).map(|_| random()).collect();
        assert!(!is_compressible(&noise));
        let digits: Vec<u8> = noise.iter().map(|byte| byte % 64).collect();
        assert!(is_compressible(&digits));
        let half: Vec<u8> = noise.chunks(4096).flat_map(|part| [&part[..2048], &[0; 2048]].concat()).collect();
        assert!(is_compressible(&half));
        assert!(is_compressible(&noise[..1000]));
    }
}
