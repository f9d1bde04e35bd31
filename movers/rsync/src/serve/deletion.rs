//! Deleting what the source does not have, after everything it has is stored; and the temporary files of a run that
//! died.
//!
//! Nothing is deleted when the source could not read all of its tree: what it did not see is not in its list. Nothing
//! is deleted either when its list is empty, unless a user allowed that: a volume that was not mounted looks empty.
//! Partial files outlive a pass that sends no content, VolSync's second: the first may have left them just before.

use std::iter::Peekable;
use std::os::fd::BorrowedFd;

use doppel_contract::Line;
use doppel_volume::attributes::set_directory_time;
use doppel_volume::dirs::Dirs;
use doppel_volume::listing::Listing;
use doppel_volume::metadata::Kind;
use doppel_volume::names::{Name, join};
use doppel_volume::remove::{Removed, remove};
use doppel_volume::replace::{is_partial, is_temporary};
use doppel_volume::tree::{LOST_AND_FOUND, metadata_at, metadata_of};
use rustix::io::Errno;

use crate::list::{self, DirectoryId, Entry, FileList};
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
        subdirectories: Subdirectories::new(list),
        dirs: Dirs::new(job.tree),
        listing: Listing::default(),
        removed: Removed::default(),
        withheld: 0,
    };
    if let Some(entries) = job.empty {
        let why = crate::error::Error::EmptySource { destination: Some(entries) };
        job.shared.leave_out(list::root(), Line::new(why.to_string()));
    }
    let mut entries = list.entries();
    while let Some((_, entry)) = entries.next() {
        let old = entry.directory().filter(|id| entry.is_active() && directories.get(*id) == Presence::Old);
        if let Some(id) = old {
            let after = entries.clone().map(|(_, entry)| entry);
            sweep.directory(id, entry.has_content(), after);
        }
    }
    if sweep.withheld > 0 {
        let why = format!("{} entries that the source does not have were not deleted: it forbade that", sweep.withheld);
        job.shared.leave_out(list::root(), Line::new(why));
    }
    sweep.removed
}

struct Sweep<'s> {
    job: &'s Job<'s>,
    filter: &'s Filter,
    subdirectories: Subdirectories,
    dirs: Dirs<'s>,
    listing: Listing,
    removed: Removed,
    /// Entries that the client forbade to delete.
    withheld: u64,
}

impl Sweep<'_> {
    fn directory(&mut self, id: DirectoryId, has_content: bool, after: impl Iterator<Item = Entry>) {
        let list = &self.job.received.list;
        let path = list.directory(id);
        let arguments = self.job.arguments;
        let withheld = self.job.empty.is_some() || self.job.shared.errors().has(IoErrors::GENERAL);
        let deletes = arguments.delete && arguments.recursive && has_content && !withheld;
        let mut listing = std::mem::take(&mut self.listing);
        let listed = self.dirs.open(path).and_then(|dir| listing.read(dir, b"."));
        if let Err(errno) = listed {
            self.complain(path, &format!("list the directory: {}", std::io::Error::from(errno)));
        } else if deletes {
            listing.sort();
            let mut wanted = wanted(list, id, after, self.subdirectories.names(list, id));
            self.empty(path, &listing, |name| wanted.has(name));
        } else {
            self.empty(path, &listing, |_| true);
        }
        self.listing = listing;
    }

    /// Deletes everything but what is to stay, and the temporary files of a run that died.
    fn empty(&mut self, path: &[u8], listing: &Listing, mut stays: impl FnMut(&[u8]) -> bool) {
        let mut failed = Vec::new();
        let Ok(dir) = self.dirs.open(path) else { return };
        let mut before = None;
        for (name, _) in listing.iter() {
            let bytes = name.bytes();
            let is_temporary = is_temporary(bytes) && !(self.job.arguments.ignore_missing && is_partial(bytes));
            let goes =
                is_temporary || (!is_partial(bytes) && !stays(bytes) && !is_protected(self.filter, path, dir, name));
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
        Ok(metadata) => metadata.kind == Kind::Directory,
        Err(Errno::NOENT) => return false,
        Err(_) => true,
    };
    filter.protects(parent, name.bytes(), is_directory)
}

/// The directories of a list, by the directory that they are in.
struct Subdirectories(Vec<(DirectoryId, u32)>);

impl Subdirectories {
    fn new(list: &FileList) -> Self {
        let directories = list.entries().filter(|(_, entry)| entry.kind() == Kind::Directory && !entry.is_root());
        let mut all: Vec<_> = directories.map(|(index, entry)| (entry.parent, index)).collect();
        all.sort_unstable();
        Self(all)
    }

    /// The names of those in `parent`, by their bytes.
    fn names<'l>(&self, list: &'l FileList, parent: DirectoryId) -> Vec<&'l [u8]> {
        let start = self.0.partition_point(|(other, _)| *other < parent);
        let theirs = self.0.iter().skip(start).take_while(|(other, _)| *other == parent);
        let mut names: Vec<&[u8]> =
            theirs.filter_map(|(_, index)| list.get(*index)).map(|entry| list.name(&entry).bytes()).collect();
        names.sort_unstable();
        names
    }
}

/// The names that the list has in one directory, to be asked for by their bytes in rising order.
struct Wanted<'l, F: Iterator<Item = &'l [u8]>> {
    files: Peekable<F>,
    directories: Peekable<std::vec::IntoIter<&'l [u8]>>,
}

/// `after` are the entries that follow the directory in the list: those in it that are no directories come first.
fn wanted<'l>(
    list: &'l FileList,
    id: DirectoryId,
    after: impl Iterator<Item = Entry>,
    directories: Vec<&'l [u8]>,
) -> Wanted<'l, impl Iterator<Item = &'l [u8]>> {
    let files = after
        .filter(Entry::is_active)
        .take_while(move |entry| entry.parent == id && entry.kind() != Kind::Directory)
        .map(|entry| list.name(&entry).bytes());
    Wanted { files: files.peekable(), directories: directories.into_iter().peekable() }
}

impl<'l, F: Iterator<Item = &'l [u8]>> Wanted<'l, F> {
    fn has(&mut self, name: &[u8]) -> bool {
        while self.files.next_if(|file| *file < name).is_some() {}
        while self.directories.next_if(|directory| *directory < name).is_some() {}
        self.files.peek().is_some_and(|file| *file == name)
            || self.directories.peek().is_some_and(|directory| *directory == name)
    }
}

#[cfg(test)]
mod tests;
