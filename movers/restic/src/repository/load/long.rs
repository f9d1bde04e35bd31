//! A tree that is too long to be in memory: its text is decompressed twice, at first to compare all of it with its hash.

use std::io::{self, BufRead, Cursor, Read};

use bytes::Bytes;
use zstd::stream::read::Decoder;

use crate::error::Error;
use crate::format::Malformed;
use crate::format::blob::Blob;
use crate::format::id::{Hasher, Id};
use crate::format::tree::Node;
use crate::repository::load::pieces::Pieces;
use crate::repository::load::stream::NodeReader;

/// The entries of a tree, one after the other.
pub(crate) struct LongTree {
    id: Id,
    nodes: NodeReader<Box<dyn Read + Send>>,
}

impl LongTree {
    /// Whether all of the tree can be read so, and has its hash.
    pub(super) fn is_sound(blob: &Blob, content: &Bytes) -> Result<bool, Malformed> {
        let text = text(blob, Cursor::new(content.clone()))?;
        let mut nodes = NodeReader::new(Hashing { text, hasher: Hasher::default() })?;
        while nodes.next()?.is_some() {}
        Ok(nodes.into_text().hasher.id() == blob.id)
    }

    /// Begins to read it.
    pub(super) fn new(blob: &Blob, content: Bytes) -> Result<Self, Malformed> {
        Ok(Self { id: blob.id, nodes: NodeReader::new(text(blob, Pieces::new(content.into()))?)? })
    }

    pub(super) fn next(&mut self) -> Option<Result<Node, Error>> {
        let next = self.nodes.next().transpose()?;
        Some(next.map_err(|why| Error::damaged(format!("tree {}", self.id), why.to_string())))
    }
}

fn text(blob: &Blob, content: impl BufRead + Send + 'static) -> Result<Box<dyn Read + Send>, Malformed> {
    Ok(if blob.uncompressed == 0 { Box::new(content) } else { Box::new(expanding(content)?) })
}

/// What a zstd frame holds, as it is read. One whose window is larger than any program's for repositories takes no memory.
pub(crate) fn expanding<R: BufRead + Send>(frame: R) -> Result<impl Read + Send, Malformed> {
    /// 16 MiB, as the logarithm; restic's windows have 512 KiB.
    const LARGEST_WINDOW: u32 = 24;
    let not_zstd = |error: io::Error| Malformed::new(format!("not the expected zstd frame: {error}"));
    let mut decoder = Decoder::with_buffer(frame).map_err(not_zstd)?;
    decoder.window_log_max(LARGEST_WINDOW).map_err(not_zstd)?;
    Ok(decoder)
}

/// Hashes what is read.
pub(crate) struct Hashing<R> {
    pub(crate) text: R,
    pub(crate) hasher: Hasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(room)?;
        self.hasher.update(room.get(..count).unwrap_or_default());
        Ok(count)
    }
}
