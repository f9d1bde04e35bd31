//! The order in which both ends go through diskrsync's tree: depth first, from the root, children in order; beneath a node
//! only where its hashes differ.

use std::ops::Range;

use super::Malformed;
use super::geometry::Geometry;

/// One node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The root's level is 0.
    pub level: u32,
    /// Its place among all nodes of the level.
    pub index: u64,
}

/// A place on the way through the tree.
#[derive(Debug, Clone)]
pub struct Walk {
    geometry: Geometry,
    here: Option<Node>,
}

impl Walk {
    /// At the root.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, here: Some(Node { level: 0, index: 0 }) }
    }

    /// The node whose turn it is, until all is done.
    #[must_use]
    pub fn here(&self) -> Option<Node> {
        self.here
    }

    /// Whether a node has no children.
    #[must_use]
    pub fn is_leaf(&self, node: Node) -> bool {
        node.level + 1 == self.geometry.levels()
    }

    /// The bytes that a node covers.
    #[must_use]
    pub fn range(&self, node: Node) -> Range<u64> {
        self.geometry.range(node.level, node.index)
    }

    /// On to the next node that is not beneath this one.
    pub fn pass(&mut self) {
        let order = self.geometry.order();
        while let Some(Node { level, index }) = self.here {
            self.here = level.checked_sub(1).map(|above| Node { level: above, index: index / order });
            if level > 0 && index % order + 1 < order {
                self.here = Some(Node { level, index: index + 1 });
                return;
            }
        }
    }

    /// Down to the first child.
    pub fn descend(&mut self) {
        if let Some(Node { level, index }) = self.here {
            self.here = Some(Node { level: level + 1, index: index * self.geometry.order() });
        }
    }
}

/// What a source answers to the hash of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Its hash is the same.
    Equal,
    /// It is another one. The data of a leaf follows; of another node, its children are next.
    Differs,
    /// It is another one, and the leaf is nothing but zeros.
    Zeros,
}

impl Answer {
    /// Its byte.
    #[must_use]
    pub fn encode(self) -> u8 {
        match self {
            Self::Zeros => 0,
            Self::Equal => 2,
            Self::Differs => 3,
        }
    }

    /// What a byte means where the hash of a leaf, or of another node, was sent.
    ///
    /// # Errors
    /// When it means nothing there.
    pub fn decode(byte: u8, leaf: bool) -> Result<Self, Malformed> {
        match byte {
            0 if leaf => Ok(Self::Zeros),
            2 => Ok(Self::Equal),
            3 => Ok(Self::Differs),
            other => Err(Malformed::Unexpected { what: "answer", value: other.into() }),
        }
    }
}

/// The nodes whose hashes a destination may send before it has the answers.
///
/// diskrsync's own waits for each answer. But only the answer to a node with children decides which hash is next: so all
/// leaves up to and including the next such node can be sent at once, and a round trip is paid for a node with children
/// instead of for each leaf.
#[derive(Debug, Clone)]
pub struct Ahead {
    walk: Walk,
    /// Sent, and its answer decides.
    waits: bool,
}

impl Ahead {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Self { walk: Walk::new(geometry), waits: false }
    }

    /// The answer that decides has led to here.
    pub fn resume(&mut self, walk: &Walk) {
        *self = Self { walk: walk.clone(), waits: false };
    }
}

impl Iterator for Ahead {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        let node = self.walk.here().filter(|_| !self.waits)?;
        if self.walk.is_leaf(node) {
            self.walk.pass();
        } else {
            self.waits = true;
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(level: u32, index: u64) -> Option<Node> {
        Some(Node { level, index })
    }

    #[test]
    fn the_walk_goes_down_only_where_it_is_told_and_ends() {
        // Four levels, two children each.
        let mut walk = Walk::new(Geometry::of(MIB));
        walk.descend();
        assert_eq!(walk.here(), at(1, 0));
        walk.pass();
        walk.descend();
        walk.descend();
        assert_eq!(walk.here(), at(3, 4));
        assert_eq!(walk.range(walk.here().unwrap()), MIB / 2..MIB / 8 * 5);
        walk.pass();
        assert_eq!(walk.here(), at(3, 5));
        walk.pass();
        assert_eq!(walk.here(), at(2, 3));
        walk.pass();
        assert_eq!(walk.here(), None);
    }

    #[test]
    fn a_tree_of_one_node_is_a_leaf() {
        let mut walk = Walk::new(Geometry::of(1));
        assert!(walk.is_leaf(walk.here().unwrap()));
        walk.pass();
        assert_eq!(walk.here(), None);
    }

    #[test]
    fn hashes_are_sent_ahead_up_to_the_next_node_whose_answer_decides() {
        let geometry = Geometry::of(MIB);
        let (mut walk, mut ahead) = (Walk::new(geometry), Ahead::new(geometry));
        assert_eq!((ahead.next(), ahead.next()), (at(0, 0), None));
        for _ in 0..3 {
            walk.descend();
            ahead.resume(&walk);
        }
        // Both leaves, and the uncle.
        let sent: Vec<_> = ahead.by_ref().collect();
        assert_eq!(sent, [at(3, 0), at(3, 1), at(2, 1)].map(Option::unwrap));
        walk.pass();
        walk.pass();
        assert_eq!(walk.here(), at(2, 1));
        walk.pass();
        ahead.resume(&walk);
        assert_eq!(ahead.collect::<Vec<_>>(), [at(1, 1).unwrap()]);
    }

    #[test]
    fn a_byte_that_means_nothing_is_refused() {
        for (byte, leaf) in [(0, false), (1, true), (1, false), (4, true), (255, false)] {
            assert!(Answer::decode(byte, leaf).is_err(), "{byte} {leaf}");
        }
        for answer in [Answer::Equal, Answer::Differs, Answer::Zeros] {
            assert_eq!(Answer::decode(answer.encode(), true), Ok(answer));
        }
    }
}
