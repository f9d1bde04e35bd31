//! Entries of a large directory, compressed, until its tree is written.

use crate::error::Error;
use crate::format::Malformed;
use crate::format::compress::Codec;
use crate::format::tree::{self, Node};
use crate::repository::writer::Pass;
use crate::room::{PART, apart};

/// Groups of entries, of which each is the tree of its entries, one behind the other.
#[derive(Default)]
pub(super) struct PackedEntries {
    segments: Vec<Segment>,
}

#[derive(Default)]
struct Segment {
    bytes: Vec<u8>,
    /// How many groups are still needed.
    groups: usize,
}

/// Where a group is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    segment: usize,
    start: usize,
    end: usize,
    /// Bytes of its text; None if it did not become shorter.
    len: Option<usize>,
}

impl PackedEntries {
    /// Adds a group.
    pub(super) fn add(&mut self, nodes: &[Option<Node>], codec: &mut Codec) -> Group {
        let text = tree::encode(nodes.iter().flatten());
        let compressed = codec.compress(text.as_bytes());
        let bytes = compressed.as_deref().unwrap_or(text.as_bytes());
        let has_room = |segment: &Segment| segment.bytes.len() + bytes.len() <= PART;
        if !self.segments.last().is_some_and(has_room) {
            self.segments.push(Segment { bytes: apart(bytes.len()), groups: 0 });
        }
        let number = self.segments.len() - 1;
        let (mut start, mut end) = (0, 0);
        if let Some(segment) = self.segments.last_mut() {
            start = segment.bytes.len();
            segment.bytes.extend_from_slice(bytes);
            segment.groups += 1;
            end = segment.bytes.len();
        }
        Group { segment: number, start, end, len: compressed.is_some().then_some(text.len()) }
    }

    /// The entries of a group, which is not needed any more after the last pass.
    pub(super) fn nodes(&mut self, group: Group, pass: Pass, codec: &mut Codec) -> Result<Vec<Node>, Error> {
        let gone = || Malformed::new("entries of a large directory are not in memory any more");
        let segment = self.segments.get_mut(group.segment).ok_or_else(gone)?;
        let bytes = segment.bytes.get(group.start..group.end).ok_or_else(gone)?;
        let nodes = match group.len {
            Some(len) => codec.expand(bytes, len).and_then(tree::decode),
            None => tree::decode(bytes),
        };
        if pass == Pass::Last {
            segment.groups -= 1;
            if segment.groups == 0 {
                segment.bytes = Vec::new();
            }
        }
        nodes.map_err(Error::from)
    }

    /// Bytes that all groups take.
    pub(super) fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes.len()).sum()
    }
}
