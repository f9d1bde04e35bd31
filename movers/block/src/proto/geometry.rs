//! The shape of diskrsync's tree over a device. Both ends compute it from the smaller of their sizes; nothing of it is sent.
//! (diskrsync 1.3.0, `tree.calc` and `tree.build`)

use std::ops::Range;

/// A tree of `levels` levels, the root's among them, in which each node that is no leaf has `order` children.
///
/// Child `i` of a node of `length` bytes covers the bytes from `length * i / order` to `length * (i + 1) / order` of it,
/// rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    size: u64,
    order: u64,
    levels: u32,
}

impl Geometry {
    /// The largest size, 1 EiB: from there on diskrsync's own arithmetic overflows.
    pub const LARGEST: u64 = 1 << 60;

    /// The size of a leaf that is aimed at, where the device is not too large for it.
    const TARGET_BLOCK: u64 = 128 << 10;

    /// So many blocks of the size aimed at, at most: the size is doubled until this holds.
    const MOST_BLOCKS: u64 = 1 << 20;

    /// The tree over this many bytes, at least one and at most [`Self::LARGEST`].
    #[must_use]
    pub fn of(size: u64) -> Self {
        let mut target = Self::TARGET_BLOCK;
        while size / target > Self::MOST_BLOCKS {
            target *= 2;
        }
        let blocks = size / target;
        if blocks == 0 {
            return Self { size, order: 1, levels: 1 };
        }
        let (mut order, mut nearest) = (1_u64, None);
        loop {
            let block = size / (order + 1).saturating_pow(7);
            let distance = target.abs_diff(block);
            if block < target / 2 || nearest.is_some_and(|nearest| distance > nearest) {
                break;
            }
            nearest = Some(distance);
            order += 1;
        }
        match order {
            1 => Self { size, order: 2, levels: blocks.ilog2() + 1 },
            _ => Self { size, order, levels: 8 },
        }
    }

    /// Bytes under the root.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Children of a node.
    #[must_use]
    pub fn order(&self) -> u64 {
        self.order
    }

    /// Levels, the root's and the leaves' included.
    #[must_use]
    pub fn levels(&self) -> u32 {
        self.levels
    }

    /// Nodes of a level; the root's is 0.
    #[must_use]
    pub fn nodes(&self, level: u32) -> u64 {
        self.order.saturating_pow(level)
    }

    /// Leaves. At most 823,543 (7 to the power of 7), whatever the size is.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.nodes(self.levels - 1)
    }

    /// No leaf is longer.
    #[must_use]
    pub fn longest_leaf(&self) -> u64 {
        self.size.div_ceil(self.leaves())
    }

    /// The bytes that a node covers.
    #[must_use]
    pub fn range(&self, level: u32, index: u64) -> Range<u64> {
        let (mut begin, mut length) = (0, self.size);
        for above in (0..level).rev() {
            let child = index / self.nodes(above) % self.order;
            let (from, to) = (length * child / self.order, length * (child + 1) / self.order);
            begin += from;
            length = to - from;
        }
        begin..begin + length
    }

    /// The bytes that a leaf covers.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Range<u64> {
        self.range(self.levels - 1, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_shape_is_diskrsyncs() {
        // Levels and order as diskrsync 1.3.0 logs them (`Levels: 8, order: 4, ...`).
        for (size, levels, order) in [
            (1, 1, 1),
            (128 * KIB - 1, 1, 1),
            (128 * KIB, 1, 2),
            (256 * KIB, 2, 2),
            (MIB + 1, 4, 2),
            (8 * MIB - 1, 6, 2),
            (8 * MIB, 8, 2),
            (16 * MIB, 8, 2),
            (GIB, 8, 4),
            (8 * GIB, 8, 5),
            (100 * GIB, 8, 7),
            (1024 * GIB, 8, 7),
        ] {
            let geometry = Geometry::of(size);
            assert_eq!((geometry.levels(), geometry.order()), (levels, order), "{size}");
        }
    }

    #[test]
    fn the_number_of_leaves_is_bounded_for_every_size() {
        for exponent in 0..=60 {
            for size in [(1 << exponent) - 1, 1 << exponent, (1 << exponent) + (1 << exponent) / 3] {
                if (1..=Geometry::LARGEST).contains(&size) {
                    let geometry = Geometry::of(size);
                    assert!(geometry.leaves() <= 823_543 && geometry.order() <= 7, "{size}: {geometry:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn leaves_lie_side_by_side_and_none_is_empty_or_too_long(size in 1..64 * MIB) {
            let geometry = Geometry::of(size);
            let mut end = 0;
            for index in 0..geometry.leaves() {
                let leaf = geometry.leaf(index);
                prop_assert_eq!(leaf.start, end);
                let length = leaf.end - leaf.start;
                prop_assert!((1..=geometry.longest_leaf()).contains(&length));
                end = leaf.end;
            }
            prop_assert_eq!(end, size);
        }
    }
}
