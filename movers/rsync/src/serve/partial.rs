//! What an interrupted run left of a large file, as old content for the next one.
//!
//! Content of large files goes to a file that stays when the connection breaks or the process is killed
//! ([`NewFile::create_partial`](doppel_volume::replace::NewFile::create_partial)). The next run describes it to its client
//! together with what has the file's name: first the whole blocks of the one, then the other, as if they were one file. A
//! client needs to know nothing of that, and nothing is taken on trust: the checksum of the whole decides, as always.
//!
//! A run leaves at most one, of the file that it was receiving. It goes when that file is stored, or with everything that
//! is temporary at the end of the first run that ends in order, but for VolSync's second pass, which sends no content; and
//! after [`AGE`] it is not used any more, but removed.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use doppel_volume::listing::Listing;
use doppel_volume::metadata::{Kind, Metadata};
use doppel_volume::names::Name;
use doppel_volume::replace::{is_partial, is_partial_of};
use doppel_volume::tree::{metadata_at, metadata_of, open_file};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::list::DirectoryId;
use crate::proto::sums::{MAX_BLOCK, MAX_SIGNED, SumHead};

/// Files of this size are worth it: sending so much takes a third of a second at 100 Mbit/s, more than what looking for a
/// partial file may cost.
pub(super) const LARGE: u64 = 4 << 20;
/// A partial file with less is not kept.
pub(super) const WORTH_KEEPING: u64 = 1 << 20;
/// Whoever tries this seldom has other troubles than sending something twice, and may want the room.
const AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The partial files that serve as old content in a session, by entry.
#[derive(Debug, Default)]
pub(super) struct Partials(Mutex<HashMap<u32, Kept>>);

/// A partial file of which blocks were described to the client.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    name: Vec<u8>,
    /// How many blocks: the first ones of the old content.
    blocks: u32,
}

impl Partials {
    pub(super) fn get(&self, index: u32) -> Option<Kept> {
        self.lock().get(&index).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Removes the file: what it had is stored.
    pub(super) fn remove(&self, dir: BorrowedFd<'_>) {
        // What stays is removed at the end of the run.
        let _ = rustix::fs::unlinkat(dir, &self.name[..], AtFlags::empty());
    }
}

/// Looks for partial files, directory by directory.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// The directory that was listed last, and the partial files in it.
    listed: Option<DirectoryId>,
    names: Vec<Vec<u8>>,
}

impl Finder {
    /// The longest partial file for `target`. Others for it, and those that are too old, are removed.
    pub(super) fn find(&mut self, id: DirectoryId, dir: BorrowedFd<'_>, target: Name<'_>) -> Option<Found> {
        if self.listed != Some(id) {
            self.list(id, dir);
        }
        let mut longest: Option<Found> = None;
        for bytes in &self.names {
            let Some(name) = Name::new(bytes).ok().filter(|name| is_partial_of(name.bytes(), target)) else { continue };
            let Some(found) = Found::open(dir, name) else { continue };
            let best = longest.as_ref().is_none_or(|longest| longest.size < found.size);
            let worse = if best { longest.replace(found) } else { Some(found) };
            if let Some(worse) = worse {
                worse.kept(0).remove(dir);
            }
        }
        longest
    }

    fn list(&mut self, id: DirectoryId, dir: BorrowedFd<'_>) {
        self.listed = Some(id);
        self.names.clear();
        let mut listing = Listing::default();
        // A directory that cannot be listed costs no more than sending something twice.
        if listing.read(dir, b".").is_ok() {
            let partial = listing.iter().map(|(name, _)| name.bytes()).filter(|name| is_partial(name));
            self.names.extend(partial.map(<[u8]>::to_vec));
        }
    }
}

/// A partial file.
pub(super) struct Found {
    name: Vec<u8>,
    file: OwnedFd,
    size: u64,
}

impl Found {
    fn open(dir: BorrowedFd<'_>, name: Name<'_>) -> Option<Self> {
        let is_file = |have: &Metadata| have.kind == Kind::File;
        metadata_at(dir, name).ok().filter(is_file)?;
        let file = open_file(dir, name).ok()?;
        let have = metadata_of(&file).ok().filter(is_file)?;
        let found = Self { name: name.bytes().to_vec(), file, size: have.size };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(have.modified.seconds);
        if age > i64::try_from(AGE.as_secs()).unwrap_or(i64::MAX) {
            found.kept(0).remove(dir);
            return None;
        }
        Some(found)
    }

    fn kept(&self, blocks: u32) -> Kept {
        Kept { name: self.name.clone(), blocks }
    }
}

/// Old content: the whole blocks of a partial file, if there is one, and then the file of the name, if there is one.
#[derive(Debug)]
pub(super) struct Basis {
    partial: Option<(OwnedFd, u32)>,
    old: Option<OwnedFd>,
}

impl Basis {
    /// What is described to the client as old content of entry `index`, and how; or `old` again, if the partial file adds
    /// nothing to it.
    pub(super) fn describe(
        partials: &Partials,
        index: u32,
        found: Found,
        old: Option<(OwnedFd, u64)>,
        describe: impl FnOnce(u64) -> SumHead,
    ) -> Result<(Self, SumHead), Option<(OwnedFd, u64)>> {
        let size = old.as_ref().map_or(0, |(_, size)| *size);
        let head = describe(found.size.saturating_add(size));
        let block = u64::from(head.block.max(1));
        let count = u32::try_from(found.size / block + size.div_ceil(block)).ok().filter(|count| *count <= MAX_SIGNED);
        let blocks = u32::try_from(found.size / block).ok().filter(|blocks| *blocks > 0);
        let (Some(count), Some(blocks)) = (count, blocks) else { return Err(old) };
        let remainder = u32::try_from(size % block).unwrap_or_default();
        partials.lock().insert(index, found.kept(blocks));
        let basis = Self { partial: Some((found.file, blocks)), old: old.map(|(file, _)| file) };
        Ok((basis, SumHead { count, remainder, ..head }))
    }

    /// The same again, for whoever puts the new content together. `old` is opened only if it is needed.
    pub(super) fn open(kept: Option<&Kept>, dir: BorrowedFd<'_>, target: Name<'_>) -> Self {
        let open = |name: Name<'_>| {
            // What a client says of blocks does not make a device be opened.
            metadata_at(dir, name).ok().filter(|have| have.kind == Kind::File)?;
            open_file(dir, name).ok()
        };
        let partial = kept.and_then(|kept| Some((open(Name::new(&kept.name).ok()?)?, kept.blocks)));
        Self { partial, old: open(target) }
    }

    /// There is none.
    pub(super) fn none() -> Self {
        Self { partial: None, old: None }
    }

    /// Reads a block over `block`. What is not there any more is zeros: the checksum of the whole will not match then, and
    /// the content will be asked for again.
    pub(super) fn read_block(&self, head: &SumHead, number: u32, block: &mut Vec<u8>) {
        block.clear();
        block.resize(head.length_of(number).min(MAX_BLOCK) as usize, 0);
        let (file, number) = match &self.partial {
            Some((file, blocks)) if number < *blocks => (Some(file), number),
            Some((_, blocks)) => (self.old.as_ref(), number - blocks),
            None => (self.old.as_ref(), number),
        };
        if let Some(file) = file {
            read_at(file, head.start_of(number), block);
        }
    }
}

fn read_at(file: &OwnedFd, mut position: u64, mut space: &mut [u8]) {
    while !space.is_empty() {
        match rustix::io::pread(file, &mut *space, position) {
            Ok(count @ 1..) => {
                position += count as u64;
                space = space.get_mut(count..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
