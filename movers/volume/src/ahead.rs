//! Looking at many entries of one directory with two threads.
//!
//! What an entry is costs two system calls, most of them a look-up by name, and a tree has hundreds of thousands of entries: that
//! is nearly all that a run without changes does. A window of entries is looked at from both ends: by its caller from the first
//! on, in order, and by a thread of this module from the last on, until they meet. So neither waits for the other, and what the
//! caller gets is what it would have seen itself, a moment earlier.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rustix::io::Errno;

use crate::attributes::Object;
use crate::metadata::Metadata;
use crate::names::Name;
use crate::tree::metadata_at;
use crate::xattr::AttributeNames;

/// Entries of a window: enough that waking a thread pays, few enough that what was seen is not old when it is used.
pub const WINDOW: usize = 256;
/// Below this a thread would wake for less than its waking costs.
const WORTH_HELP: usize = 16;
/// Windows that wait for the thread. When it is behind, the caller looks at all of one itself.
const WAITING: usize = 1;

/// What was seen of an entry.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its metadata.
    pub metadata: Result<Metadata, Errno>,
    /// The names of its extended attributes, if they were asked for and it is there.
    pub attributes: Option<Result<AttributeNames, Errno>>,
}

/// A thread that helps to look.
#[derive(Debug)]
pub struct Helper {
    windows: Option<SyncSender<Arc<Shared>>>,
    thread: Option<JoinHandle<()>>,
    /// Whether the names of extended attributes are wanted, too.
    attributes: bool,
}

impl Helper {
    /// Starts it. Where no thread can be had, its callers do without.
    #[must_use]
    pub fn new(attributes: bool) -> Self {
        let (windows, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("look ahead".to_owned()).spawn(move || help(&waiting)).ok();
        Self { windows: Some(windows), thread, attributes }
    }

    /// A window of these entries of a directory, at most [`WINDOW`].
    pub fn look<'n>(&self, dir: BorrowedFd<'_>, names: impl Iterator<Item = Name<'n>>) -> Result<Window, Errno> {
        let mut shared = Shared {
            dir: dir.try_clone_to_owned().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::MFILE))?,
            names: Vec::new(),
            ends: Vec::new(),
            attributes: self.attributes,
            seen: Vec::new(),
            claims: AtomicU64::new(0),
        };
        for name in names.take(WINDOW) {
            shared.names.extend_from_slice(name.bytes());
            shared.ends.push(shared.names.len());
        }
        shared.seen.resize_with(shared.ends.len(), OnceLock::new);
        *shared.claims.get_mut() = Claims { front: 0, back: shared.ends.len() }.packed();
        let shared = Arc::new(shared);
        if shared.ends.len() >= WORTH_HELP
            && let Some(windows) = &self.windows
        {
            let _ = windows.try_send(shared.clone());
        }
        Ok(Window { shared, next: 0 })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.windows = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread.
fn help(waiting: &Receiver<Arc<Shared>>) {
    while let Ok(window) = waiting.recv() {
        while let Some(index) = window.claim(Claims::take_back) {
            if let Some(place) = window.seen.get(index) {
                let _ = place.set(window.look(index));
            }
        }
    }
}

/// Entries of a directory, one after the other.
#[derive(Debug)]
pub struct Window {
    shared: Arc<Shared>,
    next: usize,
}

impl Iterator for Window {
    type Item = Seen;

    fn next(&mut self) -> Option<Seen> {
        let index = self.next;
        let place = self.shared.seen.get(index)?;
        self.next += 1;
        // Only the caller takes from the front, so what it gets is its next one, or all others are the thread's.
        Some(match self.shared.claim(Claims::take_front) {
            Some(index) => self.shared.look(index),
            None => place.wait().clone(),
        })
    }
}

/// What caller and thread share.
#[derive(Debug)]
struct Shared {
    dir: OwnedFd,
    /// End to end.
    names: Vec<u8>,
    ends: Vec<usize>,
    attributes: bool,
    /// What the thread saw.
    seen: Vec<OnceLock<Seen>>,
    /// [`Claims`].
    claims: AtomicU64,
}

impl Shared {
    fn claim(&self, take: impl Fn(Claims) -> Option<(usize, Claims)>) -> Option<usize> {
        let mut taken = None;
        let claimed = self.claims.fetch_update(Ordering::AcqRel, Ordering::Acquire, |claims| {
            let (index, rest) = take(Claims::unpacked(claims))?;
            taken = Some(index);
            Some(rest.packed())
        });
        claimed.ok().and(taken)
    }

    fn look(&self, index: usize) -> Seen {
        let begin = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let bytes = self.ends.get(index).and_then(|end| self.names.get(begin..*end)).unwrap_or_default();
        let (dir, name) = (self.dir.as_fd(), Name::from_kernel(bytes));
        let metadata = metadata_at(dir, name);
        let attributes = (self.attributes && metadata.is_ok()).then(|| {
            let mut names = AttributeNames::default();
            Object::Named(dir, name).attribute_names(&mut names).map(|()| names)
        });
        Seen { metadata, attributes }
    }
}

/// Which entries of a window nobody has claimed yet: from `front` to before `back`.
#[derive(Debug, Clone, Copy)]
struct Claims {
    front: usize,
    back: usize,
}

impl Claims {
    fn take_front(self) -> Option<(usize, Self)> {
        (self.front < self.back).then(|| (self.front, Self { front: self.front + 1, ..self }))
    }

    fn take_back(self) -> Option<(usize, Self)> {
        (self.front < self.back).then(|| (self.back - 1, Self { back: self.back - 1, ..self }))
    }

    /// Both are at most [`WINDOW`].
    fn packed(self) -> u64 {
        let [front, back] = [self.front, self.back].map(|place| u32::try_from(place).unwrap_or_default());
        u64::from(front) << 32 | u64::from(back)
    }

    fn unpacked(packed: u64) -> Self {
        let half = |bits: u64| usize::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        Self { front: half(packed >> 32), back: half(packed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_seen_once_in_order_whoever_looks() {
        let root = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..WINDOW).map(|number| format!("{number:03}")).collect();
        for (size, name) in names.iter().enumerate() {
            std::fs::write(root.path().join(name), vec![0; size]).unwrap();
        }
        let dir = std::fs::File::open(root.path()).unwrap();
        let helper = Helper::new(true);
        let name = |text: &'static str| Name::new(text.as_bytes()).unwrap();
        for round in 0..200 {
            let window =
                helper.look(dir.as_fd(), names.iter().map(|text| Name::new(text.as_bytes()).unwrap())).unwrap();
            let mut sizes = Vec::new();
            for seen in window {
                if round % 2 == 1 && sizes.len() == 3 {
                    // The thread sees all the others meanwhile.
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                assert!(seen.attributes.unwrap().unwrap().is_empty());
                sizes.push(usize::try_from(seen.metadata.unwrap().size).unwrap());
            }
            assert_eq!(sizes, (0..WINDOW).collect::<Vec<_>>());
        }
        let mut few = helper.look(dir.as_fd(), [name("001"), name("missing")].into_iter()).unwrap();
        assert_eq!(few.next().unwrap().metadata.unwrap().size, 1);
        let missing = few.next().unwrap();
        assert!(missing.metadata == Err(Errno::NOENT) && missing.attributes.is_none());
        assert!(few.next().is_none());
    }

    #[test]
    fn a_window_that_nobody_looks_through_keeps_nobody() {
        let root = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(root.path()).unwrap();
        let names: Vec<String> = (0..WINDOW).map(|number| number.to_string()).collect();
        let helper = Helper::new(false);
        for _ in 0..10 {
            let names = names.iter().map(|text| Name::new(text.as_bytes()).unwrap());
            drop(helper.look(dir.as_fd(), names).unwrap());
        }
    }
}
