//! A set of IDs that grows.

use crate::format::id::Id;

/// IDs in sorted arrays, one for each value of their first bits: 33 bytes an ID. A hash set takes twice as much, and thrice
/// while it grows; and IDs are as even as any hash.
pub(crate) struct Ids {
    parts: Vec<Vec<Id>>,
}

/// A million IDs are 244 in each: inserting one moves 4 KiB.
const BITS: u32 = 12;

impl Default for Ids {
    fn default() -> Self {
        Self { parts: vec![Vec::new(); 1 << BITS] }
    }
}

impl Ids {
    /// Adds an ID; whether it was not there yet.
    pub(crate) fn insert(&mut self, id: Id) -> bool {
        let [first, second, ..] = *id.bytes();
        let part = usize::from(u16::from_be_bytes([first, second]) >> (u16::BITS - BITS));
        let Some(part) = self.parts.get_mut(part) else { return false };
        let Err(place) = part.binary_search(&id) else { return false };
        if part.len() == part.capacity() {
            part.reserve_exact((part.len() / 8).max(4));
        }
        part.insert(place, id);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_a_set(ids in proptest::collection::vec((any::<[u8; 2]>(), 0..4_u8), 0..300)) {
            let (mut ours, mut set) = (Ids::default(), HashSet::new());
            for (begin, end) in ids {
                let mut bytes = [0; Id::LEN];
                bytes[..2].copy_from_slice(&begin);
                bytes[Id::LEN - 1] = end;
                let id = Id::from_bytes(bytes);
                prop_assert_eq!(ours.insert(id), set.insert(id));
                prop_assert!(!ours.insert(id));
            }
        }
    }
}
