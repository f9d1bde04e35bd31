//! Every entry of a tree, in one fixed order.
//!
//! The order is that of rsync's file lists from protocol 29 on, so that a list made from a walk needs no sorting: within
//! a directory first everything that is no directory, by the bytes of its name, then each directory followed at once by
//! all that is beneath it, ordered as if its name ended in a slash.
//!
//! The walk stays on one file system, passes by the root's `lost+found`, and never shows this crate's own temporary
//! files. It holds one descriptor and the names of the directories on the way down.

use std::cmp::Ordering;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::ahead::{Helper, Seen, Window};
use crate::attributes::Object;
use crate::dirs::open_beneath;
use crate::error::Error;
use crate::listing::{Listed, Listing};
use crate::metadata::{Kind, Metadata};
use crate::names::Name;
use crate::replace::is_temporary;
use crate::tree::{LOST_AND_FOUND, Tree, metadata_at};
use crate::xattr::AttributeNames;

/// A walk in progress.
#[derive(Debug)]
pub struct Walk<'t> {
    tree: &'t Tree,
    levels: Vec<Level>,
    /// The path of the directory on top of `levels`.
    path: Vec<u8>,
    target: Vec<u8>,
    directories: u32,
    /// Why the content of the directory that was shown last could not be read.
    unread: Option<Error>,
    /// Looks at entries before they are visited.
    helper: Option<Helper>,
}

#[derive(Debug)]
struct Level {
    number: DirectoryNumber,
    /// Open until all entries that are no directories were visited.
    fd: Option<OwnedFd>,
    listing: Listing,
    files: std::vec::IntoIter<Listed>,
    /// The next of `files`, if somebody helps to look at them.
    window: Option<Window>,
    directories: std::vec::IntoIter<Listed>,
}

/// Directories are numbered in the order of the walk; the root is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryNumber(pub u32);

/// What a walk came across.
#[derive(Debug)]
pub enum Visit<'w> {
    /// An entry.
    Entry(Found<'w>),
    /// Something that could not be read; the walk goes on after it.
    Problem(Problem),
}

/// An entry of the tree.
#[derive(Debug)]
pub struct Found<'w> {
    /// The directory that it is in.
    pub parent: DirectoryNumber,
    /// Its name there.
    pub name: Name<'w>,
    /// Its metadata.
    pub metadata: Metadata,
    /// What else there is to know of its kind.
    pub detail: Detail<'w>,
    /// The entry itself, for its access control lists and extended attributes; not of a directory that is passed by.
    pub object: Option<Object<'w>>,
    /// The names of its extended attributes, if the walk has looked at them: see [`Walk::ahead`].
    pub attributes: Option<Result<AttributeNames, Errno>>,
}

/// What only some kinds have.
#[derive(Debug, PartialEq, Eq)]
pub enum Detail<'w> {
    /// Neither a directory nor a link.
    Plain,
    /// A directory, with the number that its entries will have as `parent`.
    Directory(DirectoryNumber, Content),
    /// A symbolic link, with its target.
    Symlink(&'w [u8]),
}

/// Whether the walk shows what is in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It follows.
    Follows,
    /// Another file system is mounted there, or it could not be read.
    PassedBy,
}

/// Something that could not be read.
#[derive(Debug)]
pub enum Problem {
    /// It was there a moment ago. A tree in use changes; nothing is wrong with that.
    Vanished(Error),
    /// It is there and cannot be read.
    Unreadable(Error),
}

impl Level {
    /// What was seen of the next of `files`, if somebody helps to look.
    fn seen(&mut self, helper: Option<&Helper>) -> Option<Seen> {
        if let Some(seen) = self.window.as_mut().and_then(Iterator::next) {
            return Some(seen);
        }
        let names = self.files.as_slice().iter().map(|listed| self.listing.name(*listed));
        self.window = helper?.look(self.fd.as_ref()?.as_fd(), names).ok();
        self.window.as_mut()?.next()
    }
}

impl<'t> Walk<'t> {
    /// Begins a walk over the tree. The root itself is not visited: see [`Tree::metadata`].
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn new(tree: &'t Tree) -> Result<Self, Error> {
        let mut walk = Self {
            tree,
            levels: Vec::new(),
            path: Vec::new(),
            target: Vec::new(),
            directories: 0,
            unread: None,
            helper: None,
        };
        let root = open_beneath(tree.root(), b".", OFlags::RDONLY | OFlags::DIRECTORY);
        root.and_then(|fd| walk.descend(fd)).map_err(|errno| Error::new("list", b"", errno))?;
        Ok(walk)
    }

    /// The same with a second thread, which looks at entries before they are visited; `attributes` says whether at the names of
    /// their extended attributes, too.
    #[must_use]
    pub fn ahead(self, attributes: bool) -> Self {
        Self { helper: Some(Helper::new(attributes)), ..self }
    }

    /// The next entry, or `None` when there are no more.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the walk")]
    pub fn next(&mut self) -> Option<Visit<'_>> {
        if let Some(error) = self.unread.take() {
            return Some(Visit::Problem(Problem::Unreadable(error)));
        }
        loop {
            let level = self.levels.last_mut()?;
            let seen = level.seen(self.helper.as_ref());
            if let Some(listed) = level.files.next() {
                return Some(self.visit_file(listed, seen));
            }
            level.fd = None;
            if let Some(listed) = level.directories.next() {
                return Some(self.visit_directory(listed));
            }
            self.levels.pop();
            let parent = self.path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            self.path.truncate(parent);
        }
    }

    fn visit_file(&mut self, listed: Listed, seen: Option<Seen>) -> Visit<'_> {
        let Some(level) = self.levels.last() else { return gone(&self.path, b"") };
        let name = level.listing.name(listed);
        let Some(fd) = &level.fd else { return gone(&self.path, name.bytes()) };
        let seen = seen.unwrap_or_else(|| Seen { metadata: metadata_at(fd.as_fd(), name), attributes: None });
        let metadata = match seen.metadata {
            Ok(metadata) => metadata,
            Err(errno) => return problem("read the metadata of", &self.path, name.bytes(), errno),
        };
        let detail = match metadata.kind {
            // It was none when the directory was read; it is too late to visit it in order.
            Kind::Directory => return problem("read, in its place,", &self.path, name.bytes(), Errno::ISDIR),
            Kind::Symlink => match rustix::fs::readlinkat(fd, name.bytes(), std::mem::take(&mut self.target)) {
                Ok(target) => {
                    self.target = target.into_bytes();
                    Detail::Symlink(&self.target)
                }
                Err(errno) => return problem("read the link", &self.path, name.bytes(), errno),
            },
            _ => Detail::Plain,
        };
        let object = Some(Object::Named(fd.as_fd(), name));
        Visit::Entry(Found { parent: level.number, name, metadata, detail, object, attributes: seen.attributes })
    }

    fn visit_directory(&mut self, listed: Listed) -> Visit<'_> {
        let parent_level = self.levels.len().saturating_sub(1);
        let Some(level) = self.levels.get(parent_level) else { return gone(&self.path, b"") };
        let parent = level.number;
        let before = self.path.len();
        if before > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(level.listing.name(listed).bytes());
        let entered = self.enter();
        if !matches!(entered, Ok((_, _, Content::Follows))) {
            let path = self.path.clone();
            self.path.truncate(before);
            if let Err(errno) = entered {
                let error = Error::new("open", &path, errno);
                let vanished = error.is_missing() || errno == Errno::LOOP;
                return Visit::Problem(if vanished { Problem::Vanished(error) } else { Problem::Unreadable(error) });
            }
        }
        let (Ok((metadata, number, content)), Some(level)) = (entered, self.levels.get(parent_level)) else {
            return gone(&self.path, b"");
        };
        let name = level.listing.name(listed);
        let opened = self.levels.get(parent_level + 1).and_then(|level| level.fd.as_ref());
        let object = opened.map(|fd| Object::Open(fd.as_fd()));
        Visit::Entry(Found {
            parent,
            name,
            metadata,
            detail: Detail::Directory(number, content),
            object,
            attributes: None,
        })
    }

    /// Opens the directory at `self.path` and makes it the top level, if it is ours to read.
    fn enter(&mut self) -> Result<(Metadata, DirectoryNumber, Content), Errno> {
        let root = self.tree.root();
        let opened = open_beneath(root, &self.path, OFlags::RDONLY | OFlags::DIRECTORY);
        let readable = match opened {
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => Err(errno),
            other => Ok(other?),
        };
        let metadata = match &readable {
            Ok(fd) => Metadata::from_stat(&rustix::fs::fstat(fd)?),
            Err(_) => {
                let fd = open_beneath(root, &self.path, OFlags::PATH | OFlags::DIRECTORY)?;
                Metadata::from_stat(&rustix::fs::fstat(fd)?)
            }
        };
        if metadata.identity.device != self.tree.device() {
            return Ok((metadata, self.number()?, Content::PassedBy));
        }
        match readable.and_then(|fd| self.descend(fd)) {
            Ok(number) => Ok((metadata, number, Content::Follows)),
            Err(errno) => {
                self.unread = Some(Error::new("list", &self.path, errno));
                Ok((metadata, self.number()?, Content::PassedBy))
            }
        }
    }

    fn number(&mut self) -> Result<DirectoryNumber, Errno> {
        let number = DirectoryNumber(self.directories);
        self.directories = self.directories.checked_add(1).ok_or(Errno::OVERFLOW)?;
        Ok(number)
    }

    fn descend(&mut self, fd: OwnedFd) -> Result<DirectoryNumber, Errno> {
        let mut listing = Listing::default();
        listing.read_open(fd.as_fd())?;
        // Sorted where they are: a directory may have millions.
        let mut files = listing.take_entries();
        files.retain(|listed| {
            let name = listing.name(*listed).bytes();
            let is_foreign = self.levels.is_empty() && name == LOST_AND_FOUND;
            !is_temporary(name) && !is_foreign
        });
        for listed in files.iter_mut().filter(|listed| listed.file_type == FileType::Unknown) {
            let name = listing.name(*listed).bytes();
            listed.file_type = match rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                // The visit will find out why.
                Err(_) => FileType::RegularFile,
            };
        }
        let is_directory = |listed: &Listed| listed.file_type == FileType::Directory;
        files.sort_unstable_by(|a, b| {
            let (a_name, b_name) = (listing.name(*a), listing.name(*b));
            match (is_directory(a), is_directory(b)) {
                (false, false) => a_name.cmp(&b_name),
                (true, true) => directory_order(a_name, b_name),
                (a, b) => a.cmp(&b),
            }
        });
        let directories = files.split_off(files.partition_point(|listed| !is_directory(listed)));
        let number = self.number()?;
        let (files, directories) = (files.into_iter(), directories.into_iter());
        self.levels.push(Level { number, fd: Some(fd), listing, files, window: None, directories });
        Ok(number)
    }
}

/// The order of two directories in the same directory: as if each name ended in a slash, so that `a-b` and all beneath
/// it comes before `a`.
#[must_use]
pub fn directory_order(a: Name<'_>, b: Name<'_>) -> Ordering {
    let slash = std::iter::once(&b'/');
    a.bytes().iter().chain(slash.clone()).cmp(b.bytes().iter().chain(slash))
}

fn problem<'w>(action: &'static str, parent: &[u8], name: &[u8], errno: Errno) -> Visit<'w> {
    let mut path = Vec::new();
    crate::names::join(&mut path, parent, name);
    let error = Error::new(action, &path, errno);
    Visit::Problem(if error.is_missing() { Problem::Vanished(error) } else { Problem::Unreadable(error) })
}

fn gone<'w>(parent: &[u8], name: &[u8]) -> Visit<'w> {
    problem("visit", parent, name, Errno::NOENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn paths(root: &Path) -> Vec<String> {
        let tree = Tree::open(root).unwrap();
        let mut walk = Walk::new(&tree).unwrap();
        let mut directories = vec![String::new()];
        let mut paths = Vec::new();
        while let Some(visit) = walk.next() {
            match visit {
                Visit::Entry(found) => {
                    let name = found.name.bytes().escape_ascii().to_string();
                    let path = format!("{}{name}", directories[found.parent.0 as usize]);
                    if let Detail::Directory(number, _) = found.detail {
                        assert_eq!(number.0 as usize, directories.len(), "numbers follow the order");
                        directories.push(format!("{path}/"));
                        paths.push(format!("{path}/"));
                    } else {
                        paths.push(path);
                    }
                }
                Visit::Problem(problem) => panic!("{problem:?}"),
            }
        }
        paths
    }

    #[test]
    fn the_order_is_that_of_rsyncs_file_lists() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["foo", "foo-bar", "foo/sub", "a"] {
            std::fs::create_dir(root.path().join(directory)).unwrap();
        }
        for file in ["zzz", "foo/x", "foo-bar/y", "foo/sub/z", "foo.txt"] {
            std::fs::write(root.path().join(file), "").unwrap();
        }
        symlink("foo", root.path().join("link")).unwrap();
        let expected =
            ["foo.txt", "link", "zzz", "a/", "foo-bar/", "foo-bar/y", "foo/", "foo/x", "foo/sub/", "foo/sub/z"];
        assert_eq!(paths(root.path()), expected);
    }

    #[test]
    fn lost_and_found_is_passed_by_in_the_root_only_and_temporary_files_everywhere() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("lost+found/x")).unwrap();
        std::fs::create_dir_all(root.path().join("d/lost+found")).unwrap();
        std::fs::write(root.path().join("d/.doppel-tmp.0123456789abcdef"), "").unwrap();
        assert_eq!(paths(root.path()), ["d/", "d/lost+found/"]);
    }

    #[test]
    fn an_empty_tree_has_no_entries() {
        assert!(paths(tempfile::tempdir().unwrap().path()).is_empty());
    }
}
