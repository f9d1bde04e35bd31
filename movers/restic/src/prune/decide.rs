//! What becomes of each pack.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::prune::PruneOptions;
use crate::repository::Folder;
use crate::repository::index::{Entry, Index, Marks};

/// What becomes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Kept,
    /// Its needed blobs are copied; its bytes go.
    Repacked(u64),
    /// Nothing in it is needed; its bytes go.
    Removed(u64),
    /// Nothing in it is needed, and it is not there.
    Gone,
}

/// What becomes of all of them.
pub(super) struct Decisions {
    /// By the numbers of the index.
    pub(super) fates: Vec<Fate>,
    /// One place of each needed blob.
    chosen: Marks,
    /// Unneeded bytes that stay.
    pub(super) unused_left: u64,
}

impl Decisions {
    /// Whether nothing changes.
    pub(super) fn keep_all(&self) -> bool {
        self.fates.iter().all(|fate| *fate == Fate::Kept)
    }

    /// Whether this place of a blob is to be copied.
    pub(super) fn moves(&self, kind: BlobKind, number: usize, entry: &Entry) -> bool {
        let goes = matches!(self.fates.get(entry.pack as usize), Some(Fate::Repacked(_)));
        goes && self.chosen.has(kind, number)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Content {
    used: u64,
    unused: u64,
    holds_trees: bool,
}

/// Packs smaller than this are put together, once there are as many as [`FEW`]: restic's rule for its smallest packs.
const SMALL: u64 = (4 << 20) * 4 / 5;
const FEW: usize = 10;

pub(super) fn decide(
    index: &Index,
    sizes: &[u64],
    stored: &[(Id, u64)],
    used: Marks,
    options: &PruneOptions,
) -> Result<Decisions, Error> {
    let stored: HashMap<Id, u64> = stored.iter().copied().collect();
    let chosen = choose_places(index, &used);
    drop(used);
    let contents = measure(index, &chosen);
    let mut fates = Vec::with_capacity(contents.len());
    let mut candidates = Vec::new();
    let mut small = Vec::new();
    let (mut used_bytes, mut unused_left) = (0, 0);
    for (number, ((pack, content), size)) in index.packs().iter().zip(&contents).zip(sizes).enumerate() {
        let real = stored.get(&pack.id).copied();
        let damaged = |why: String| Err(Error::damaged(Folder::Data.file(&pack.id), why));
        let fate = match real {
            None if content.used == 0 => Fate::Gone,
            None => return damaged("a snapshot needs it and it is not there; nothing was pruned".to_owned()),
            Some(real) if content.used == 0 => Fate::Removed(real),
            Some(real) if real != *size => {
                return damaged(format!("it has {real} bytes, and the index speaks of {size}; nothing was pruned"));
            }
            Some(real) => {
                match content.unused {
                    0 if real < SMALL => small.push(number),
                    0 => {}
                    _ => candidates.push(number),
                }
                Fate::Kept
            }
        };
        if fate == Fate::Kept {
            used_bytes += content.used;
            unused_left += content.unused;
        }
        fates.push(fate);
    }
    if small.len() >= FEW {
        candidates.extend(small);
    }
    let content = |number: usize| contents.get(number).copied().unwrap_or_default();
    // Trees first, for they are read again and again; then where most is gained for what has to be written.
    candidates.sort_by_key(|number| {
        let Content { used, unused, holds_trees } = content(*number);
        (Reverse(holds_trees), Reverse(unused.saturating_mul(1000) / used.max(1)), *number)
    });
    let most_unused = used_bytes / 100 * options.max_unused_percent;
    let mut repacked = 0_u64;
    for number in candidates {
        let Content { unused, holds_trees, .. } = content(number);
        let size = sizes.get(number).copied().unwrap_or_default();
        let is_enough = unused > 0 && unused_left <= most_unused && !holds_trees && size >= SMALL;
        if is_enough || repacked.saturating_add(size) > options.max_repack {
            continue;
        }
        repacked += size;
        unused_left -= unused;
        if let Some(fate) = fates.get_mut(number) {
            *fate = Fate::Repacked(size);
        }
    }
    Ok(Decisions { fates, chosen, unused_left })
}

/// One place of each needed blob: in the pack that has most else that is needed.
fn choose_places(index: &Index, used: &Marks) -> Marks {
    let mut needed = vec![0_u64; index.packs().len()];
    for kind in [BlobKind::Data, BlobKind::Tree] {
        for (number, places) in by_blob(index.entries(kind)) {
            if let ([place], true) = (places, used.has(kind, number))
                && let Some(needed) = needed.get_mut(place.pack as usize)
            {
                *needed += u64::from(place.length);
            }
        }
    }
    let mut chosen = Marks::none(index);
    for kind in [BlobKind::Data, BlobKind::Tree] {
        for (number, places) in by_blob(index.entries(kind)) {
            let need = |place: &Entry| needed.get(place.pack as usize).copied().unwrap_or_default();
            let best = (0..).zip(places).max_by_key(|(at, place)| (need(place), Reverse(place.pack), Reverse(*at)));
            if let (Some((at, _)), true) = (best, used.has(kind, number)) {
                chosen.mark(kind, number + at);
            }
        }
    }
    chosen
}

/// Places of the same blob, with the number of the first.
fn by_blob(entries: &[Entry]) -> impl Iterator<Item = (usize, &[Entry])> {
    let mut number = 0;
    entries.chunk_by(|a, b| a.id == b.id).map(move |places| {
        let first = number;
        number += places.len();
        (first, places)
    })
}

fn measure(index: &Index, chosen: &Marks) -> Vec<Content> {
    let mut contents = vec![Content::default(); index.packs().len()];
    for kind in [BlobKind::Data, BlobKind::Tree] {
        for (number, entry) in index.entries(kind).iter().enumerate() {
            let Some(content) = contents.get_mut(entry.pack as usize) else { continue };
            let bytes = if chosen.has(kind, number) { &mut content.used } else { &mut content.unused };
            *bytes += u64::from(entry.length);
            content.holds_trees |= kind == BlobKind::Tree;
        }
    }
    contents
}
