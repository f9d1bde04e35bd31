//! The order of the file list, by which its entries are numbered. (rsync-win, flist specification, 7; the walk of
//! `doppel-volume` has the same.)

use std::cmp::Ordering;

use doppel_volume::metadata::Kind;

use crate::list::packed::Entries;
use crate::list::{DUPLICATE, Entry, FileList};

impl FileList {
    /// Brings a list that a peer sent into order, and marks all but the first of entries with the same path.
    pub(crate) fn sort(&mut self) {
        // A Doppel sends its entries in order, and each path once.
        if self.entries.iter().is_sorted_by(|a, b| self.compare(a, b) == Ordering::Less) {
            return;
        }
        let mut entries: Vec<Entry> = std::mem::take(&mut self.entries).iter().collect();
        // Of duplicates the one that was sent first comes first, at both ends. Names have their places in the order of arrival.
        entries.sort_unstable_by(|a, b| self.compare(a, b).then(a.name.start.cmp(&b.name.start)));
        let mut sorted = Entries::default();
        let mut before: Option<Entry> = None;
        for mut entry in entries {
            if before.is_some_and(|before| self.compare(&before, &entry) == Ordering::Equal) {
                entry.marks |= DUPLICATE;
            }
            sorted.push(entry);
            before = Some(entry);
        }
        self.entries = sorted;
    }

    /// The root is first; then paths are compared where they part: there an entry that is no directory comes before
    /// one that is, or is on the way to one; otherwise bytes decide, with a slash after directories.
    fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        if a.is_root() || b.is_root() {
            return b.is_root().cmp(&a.is_root());
        }
        let (a_directory, b_directory) = (a.kind() == Kind::Directory, b.kind() == Kind::Directory);
        if a.parent == b.parent {
            let (a, b) = (self.name(a), self.name(b));
            return match (a_directory, b_directory) {
                (false, false) => a.cmp(&b),
                (true, true) => doppel_volume::walk::directory_order(a, b),
                _ => a_directory.cmp(&b_directory),
            };
        }
        let mut a = self.key(a);
        let mut b = self.key(b);
        loop {
            let (a_next, b_next) = (a.next(), b.next());
            if a_next != b_next || a_next.is_none() {
                let bands = is_directory(a_next, a).cmp(&is_directory(b_next, b));
                return bands.then(a_next.cmp(&b_next));
            }
        }
    }

    /// The path, with a slash at the end if it is a directory.
    fn key<'l>(&'l self, entry: &'l Entry) -> impl Iterator<Item = u8> + 'l {
        let parent = self.directory(entry.parent);
        let slash = if parent.is_empty() { &b""[..] } else { b"/" };
        let end = if entry.kind() == Kind::Directory { &b"/"[..] } else { b"" };
        [parent, slash, self.name(entry).bytes(), end].into_iter().flatten().copied()
    }
}

/// Whether there is a slash from where two paths part, in what is left of one of them.
fn is_directory(next: Option<u8>, mut rest: impl Iterator<Item = u8>) -> bool {
    next == Some(b'/') || (next.is_some() && rest.any(|byte| byte == b'/'))
}
