//! What is there under the names of the files of a directory, looked at ahead.

use std::ops::Range;
use std::os::fd::BorrowedFd;

use doppel_volume::ahead::{Helper, Seen, WINDOW, Window};
use doppel_volume::metadata::Kind;
use doppel_volume::tree::metadata_at;
use doppel_volume::xattr::AttributeNames;
use rustix::io::Errno;

use crate::list::{Entry, FileList};
use crate::proto::keep::Keep;

/// The names of a file's extended attributes, where they were looked at.
pub(super) type SeenNames = Result<AttributeNames, Errno>;

/// Looks at the files of the list, a window of those of one directory after the other.
pub(super) struct Ahead<'l> {
    list: &'l FileList,
    helper: Helper,
    /// The entries that `window` has yet to tell of.
    entries: Range<u32>,
    window: Option<Window>,
}

impl<'l> Ahead<'l> {
    pub(super) fn new(list: &'l FileList, keep: Keep) -> Self {
        Self { list, helper: Helper::new(keep.acls || keep.xattrs), entries: 0..0, window: None }
    }

    /// What is there under the name of this file of the list, which is in `dir`.
    pub(super) fn look(&mut self, index: u32, entry: &Entry, dir: BorrowedFd<'_>) -> Seen {
        if self.entries.contains(&index) {
            while let Some(seen) = self.window.as_mut().and_then(Iterator::next) {
                let of = self.entries.start;
                self.entries.start += 1;
                // Entries between are others of a group of hard links, which nobody looked for.
                if of == index {
                    return seen;
                }
            }
        }
        self.begin(index, entry, dir)
            .unwrap_or_else(|| Seen { metadata: metadata_at(dir, self.list.name(entry)), attributes: None })
    }

    /// Begins a window at this file, and tells of it.
    fn begin(&mut self, index: u32, entry: &Entry, dir: BorrowedFd<'_>) -> Option<Seen> {
        let is_beside = |next: &Entry| next.is_active() && next.kind() == Kind::File && next.parent == entry.parent;
        let most = u32::try_from(WINDOW).unwrap_or(u32::MAX);
        let end =
            (index..index.saturating_add(most)).find(|next| !self.list.get(*next).is_some_and(|next| is_beside(&next)));
        let end = end.unwrap_or(index.saturating_add(most));
        let names = (index..end).filter_map(|next| Some(self.list.name(&self.list.get(next)?)));
        self.window = self.helper.look(dir, names).ok();
        self.entries = index.saturating_add(1)..end;
        self.window.as_mut()?.next()
    }
}
