//! Deleting what the source does not have, after everything it has is stored; and the temporary files of a run that
//! died.
//!
//! Nothing is deleted when the source could not read all of its tree: what it did not see is not in its list. Nothing
//! is deleted either when its list is empty, unless a user allowed that: a volume that was not mounted looks empty.
//! Partial files outlive a pass that sends no content, VolSync's second: the first may have left them just before.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;

use doppel_contract::Line;
use doppel_volume::attributes::set_directory_time;
use doppel_volume::dirs::Dirs;
use doppel_volume::listing::Listing;
use doppel_volume::names::{Name, join};
use doppel_volume::remove::{Removed, remove};
use doppel_volume::replace::{is_partial, is_temporary};
use doppel_volume::tree::{LOST_AND_FOUND, metadata_at, metadata_of};
use rustix::io::Errno;

use crate::list::{Entry, FileList};
use crate::proto::filter::Filter;
use crate::proto::frame::IoErrors;
use crate::serve::directories::{Directories, Presence};
use crate::serve::session::Job;

/// Goes through all directories that were there before, and deletes what is not to be there.
pub(super) fn sweep(job: &Job<'_>, filter: &Filter, directories: &Directories) -> Removed {
    let list = &job.received.list;
    let mut sweep = Sweep {
        job,
        filter,
        wanted: Wanted::new(list),
        dirs: Dirs::new(job.tree),
        listing: Listing::default(),
        removed: Removed::default(),
        withheld: 0,
    };
    if let Some(entries) = job.empty {
        let why = crate::error::Error::EmptySource { destination: Some(entries) };
        job.shared.leave_out(Line::new("the volume's root"), Line::new(why.to_string()));
    }
    for (_, entry) in list.entries().filter(|(_, entry)| entry.is_active()) {
        let is_old = entry.directory().is_some_and(|id| directories.get(id) == Presence::Old);
        if is_old {
            sweep.directory(entry);
        }
    }
    if sweep.withheld > 0 {
        let why = format!("{} entries that the source does not have were not deleted: it forbade that", sweep.withheld);
        job.shared.leave_out(Line::new("the volume's root"), Line::new(why));
    }
    sweep.removed
}

struct Sweep<'s> {
    job: &'s Job<'s>,
    filter: &'s Filter,
    wanted: Wanted,
    dirs: Dirs<'s>,
    listing: Listing,
    removed: Removed,
    /// Entries that the client forbade to delete.
    withheld: u64,
}

impl Sweep<'_> {
    fn directory(&mut self, entry: &Entry) {
        let list = &self.job.received.list;
        let Some(id) = entry.directory() else { return };
        let path = list.directory(id);
        let arguments = self.job.arguments;
        let withheld = self.job.empty.is_some() || self.job.shared.errors().has(IoErrors::GENERAL);
        let deletes = arguments.delete && arguments.recursive && entry.has_content() && !withheld;
        let mut listing = std::mem::take(&mut self.listing);
        let listed = self.dirs.open(path).and_then(|dir| listing.read(dir, b"."));
        if let Err(errno) = listed {
            self.complain(path, &format!("list the directory: {}", std::io::Error::from(errno)));
        } else {
            self.empty_of_others(id.0, path, &listing, deletes);
        }
        self.listing = listing;
    }

    fn empty_of_others(&mut self, id: u32, path: &[u8], listing: &Listing, deletes: bool) {
        let list = &self.job.received.list;
        let wanted: HashSet<&[u8]> = if deletes { self.wanted.names(list, id).collect() } else { HashSet::new() };
        let mut failed = Vec::new();
        let Ok(dir) = self.dirs.open(path) else { return };
        let mut before = None;
        for (name, _) in listing.iter() {
            let bytes = name.bytes();
            let is_temporary = is_temporary(bytes) && !(self.job.arguments.ignore_missing && is_partial(bytes));
            let goes = is_temporary
                || (deletes
                    && !is_partial(bytes)
                    && !wanted.contains(bytes)
                    && !is_protected(self.filter, path, dir, name));
            if !goes {
                continue;
            }
            if self.job.arguments.delete_nothing && !is_temporary {
                self.withheld += 1;
                continue;
            }
            before = before.or_else(|| metadata_of(dir).ok());
            if let Err(errno) = remove(dir, name, &mut self.removed) {
                failed.push((bytes.to_vec(), errno));
            }
        }
        // Where times are kept the directory gets its own in the end. VolSync deletes in a pass that keeps none: then it
        // has the right one already, and keeps it.
        if let Some(before) = before.filter(|_| !self.job.arguments.keep.times) {
            let _ = set_directory_time(dir, before.modified);
        }
        for (name, errno) in failed {
            let mut full = Vec::new();
            join(&mut full, path, &name);
            self.complain(&full, &format!("delete: {}", std::io::Error::from(errno)));
        }
    }

    fn complain(&self, path: &[u8], why: &str) {
        self.job.shared.leave_out(Line::from_bytes(path), Line::new(why));
    }
}

fn is_protected(filter: &Filter, parent: &[u8], dir: BorrowedFd<'_>, name: Name<'_>) -> bool {
    // Whatever the client says, this belongs to the file system.
    if parent.is_empty() && name.bytes() == LOST_AND_FOUND {
        return true;
    }
    // What a rule says of a name that cannot be looked at is taken as said of both kinds.
    let is_directory = match metadata_at(dir, name) {
        Ok(metadata) => metadata.kind == doppel_volume::metadata::Kind::Directory,
        Err(Errno::NOENT) => return false,
        Err(_) => true,
    };
    filter.protects(parent, name.bytes(), is_directory)
}

/// The entries of each directory of a list.
struct Wanted {
    /// Entries, those of the same directory beside each other.
    entries: Vec<u32>,
    /// Where each directory's entries end in `entries`.
    ends: Vec<u32>,
}

impl Wanted {
    fn new(list: &FileList) -> Self {
        let mut ends = vec![0_u32; list.directories() + 1];
        let mut entries = vec![0_u32; list.len() as usize];
        // Counted first, then put in their places, from the back.
        for (_, entry) in list.entries().filter(|(_, entry)| !entry.is_root()) {
            if let Some(count) = ends.get_mut(entry.parent.0 as usize) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        let mut next = ends.clone();
        for (index, entry) in list.entries().filter(|(_, entry)| !entry.is_root()) {
            if let Some(place) = next.get_mut(entry.parent.0 as usize) {
                *place -= 1;
                if let Some(slot) = entries.get_mut(*place as usize) {
                    *slot = index;
                }
            }
        }
        Self { entries, ends }
    }

    fn names<'l>(&self, list: &'l FileList, directory: u32) -> impl Iterator<Item = &'l [u8]> {
        let end = |number: Option<u32>| number.and_then(|n| self.ends.get(n as usize)).copied().unwrap_or(0) as usize;
        let range = end(directory.checked_sub(1))..end(Some(directory));
        let entries = self.entries.get(range).unwrap_or_default();
        entries.iter().filter_map(|index| list.get(*index)).map(|entry| list.name(entry).bytes())
    }
}
