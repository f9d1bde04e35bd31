//! The entries of a directory in work. A directory may have a million of them: those that are complete are kept as the text that
//! they will be, compressed, with some 70 bytes each instead of 500.

use std::collections::VecDeque;

use crate::backup::packed::{Group, PackedEntries};
use crate::error::Error;
use crate::format::compress::Codec;
use crate::format::tree::{Node, TreeText};
use crate::repository::writer::Pass;

/// The entries of a directory. Those that are no directories come in the order of their names, as the walk has them;
/// directories may come in any order, and each stays in memory.
#[derive(Default)]
pub(super) struct Entries {
    blocks: VecDeque<Block>,
    packed: PackedEntries,
    directories: Vec<Node>,
}

/// So many entries, one after the other.
enum Block {
    Open { nodes: Vec<Option<Node>>, missing: usize },
    Packed(Group),
}

/// Entries of a block: 2 MiB while it is open. Only a directory with more takes the time to compress and to read again.
const BLOCK: usize = 4096;

impl Entries {
    /// Adds an entry that is no directory; its number, by which it is completed if it is not complete.
    pub(super) fn push(&mut self, node: Option<Node>, codec: &mut Codec) -> usize {
        if self.blocks.back().is_none_or(|last| !last.has_room()) {
            self.blocks.push_back(Block::Open { nodes: Vec::new(), missing: 0 });
        }
        let before = (self.blocks.len() - 1) * BLOCK;
        self.blocks.back_mut().map_or(before, |block| before + block.push(node, &mut self.packed, codec))
    }

    /// Completes an entry; without a node it is left out.
    pub(super) fn complete(&mut self, number: usize, node: Option<Node>, codec: &mut Codec) {
        if let Some(block) = self.blocks.get_mut(number / BLOCK) {
            block.complete(number % BLOCK, node, &mut self.packed, codec);
        }
    }

    /// Adds a directory, which is complete.
    pub(super) fn push_directory(&mut self, node: Node) {
        self.directories.push(node);
    }

    /// Bytes that those take that are compressed.
    pub(super) fn packed_len(&self) -> usize {
        self.packed.len()
    }

    /// All of them in the order of their names, if they are few.
    pub(super) fn few(&mut self) -> Option<Vec<Node>> {
        let are_few = self.blocks.len() <= 1;
        let nodes = match self.blocks.front_mut() {
            None => Vec::new(),
            Some(Block::Open { nodes, missing: _ }) if are_few => std::mem::take(nodes),
            Some(_) => return None,
        };
        let mut nodes: Vec<Node> = nodes.into_iter().flatten().chain(std::mem::take(&mut self.directories)).collect();
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Some(nodes)
    }

    /// Makes all of the tree's text, piece by piece.
    pub(super) fn write(&mut self, pass: Pass, codec: &mut Codec, out: &mut Out<'_>) -> Result<(), Error> {
        self.directories.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut text = TreeText::default();
        let mut directories = self.directories.as_slice();
        for block in &mut self.blocks {
            let nodes = block.nodes(pass, &mut self.packed, codec)?;
            let last = nodes.last().map(|node| node.name.as_slice()).unwrap_or_default();
            let (between, rest) = directories.split_at(directories.partition_point(|node| node.name.as_slice() < last));
            let mut all: Vec<&Node> = nodes.iter().chain(between).collect();
            all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            all.into_iter().for_each(|node| text.add(node));
            out(text.take_piece().as_bytes())?;
            directories = rest;
        }
        directories.iter().for_each(|node| text.add(node));
        out(text.end().as_bytes())
    }
}

/// Where a text goes.
pub(super) type Out<'o> = dyn FnMut(&[u8]) -> Result<(), Error> + 'o;

impl Block {
    fn has_room(&self) -> bool {
        matches!(self, Self::Open { nodes, missing: _ } if nodes.len() < BLOCK)
    }

    /// Its number within the block.
    fn push(&mut self, node: Option<Node>, packed: &mut PackedEntries, codec: &mut Codec) -> usize {
        let Self::Open { nodes, missing } = self else { return BLOCK };
        *missing += usize::from(node.is_none());
        nodes.push(node);
        let number = nodes.len() - 1;
        self.pack_if_whole(packed, codec);
        number
    }

    fn complete(&mut self, number: usize, node: Option<Node>, packed: &mut PackedEntries, codec: &mut Codec) {
        let Self::Open { nodes, missing } = self else { return };
        if let Some(place) = nodes.get_mut(number) {
            *place = node;
            *missing -= 1;
        }
        self.pack_if_whole(packed, codec);
    }

    fn pack_if_whole(&mut self, packed: &mut PackedEntries, codec: &mut Codec) {
        if let Self::Open { nodes, missing: 0 } = self
            && nodes.len() == BLOCK
        {
            *self = Self::Packed(packed.add(&std::mem::take(nodes), codec));
        }
    }

    fn nodes(&mut self, pass: Pass, packed: &mut PackedEntries, codec: &mut Codec) -> Result<Vec<Node>, Error> {
        if let Self::Open { nodes, missing: _ } = self {
            *self = Self::Packed(packed.add(&std::mem::take(nodes), codec));
        }
        let Self::Packed(group) = self else { return Ok(Vec::new()) };
        packed.nodes(*group, pass, codec)
    }
}
