//! The walk over a snapshot's trees: everything but the content of files is made here.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use doppel_volume::attributes::Object;
use doppel_volume::dirs::Dirs;
use doppel_volume::listing::Listing;
use doppel_volume::metadata::Kind;
use doppel_volume::names::{MAX_PATH, Name, join, split};
use doppel_volume::remove::{Removed, open_up, remove};
use doppel_volume::replace::{NewEntry, commit_over, is_partial, is_temporary};
use doppel_volume::tree::metadata_at;
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::error::Error;
use crate::format::id::Id;
use crate::format::tree::Node;
use crate::repository::load::{Nodes, TreeReader};
use crate::restore::fetch::WINDOW;
use crate::restore::files::WantedFile;
use crate::restore::{Job, lock};

/// The walk.
pub(super) struct Plan<'j> {
    job: &'j Job<'j>,
    trees: TreeReader<'j>,
    dirs: Dirs<'j>,
    to_write: SyncSender<Vec<WantedFile>>,
    batch: Vec<WantedFile>,
    batch_bytes: u64,
    /// The first name of each inode that has several.
    leaders: HashMap<(u64, u64), Vec<u8>>,
    rest: Rest,
}

/// What is done when all files are written.
#[derive(Default)]
pub(super) struct Rest {
    /// Hard links: path, and the path of what it is a link of.
    links: Vec<(Vec<u8>, Vec<u8>)>,
    /// Directories in the order of the walk.
    directories: Vec<(Vec<u8>, Node)>,
}

/// A directory, and its entries that are still to be made.
struct Level {
    path: Arc<[u8]>,
    nodes: Nodes,
}

/// Files that are written by one thread, one after the other. Their content is fetched at once.
const BATCH: usize = 512;

impl<'j> Plan<'j> {
    pub(super) fn new(job: &'j Job<'j>, to_write: SyncSender<Vec<WantedFile>>) -> Result<Self, Error> {
        let trees = TreeReader::new(job.repository, job.index)?;
        let dirs = Dirs::new(job.tree);
        let (batch, leaders, rest) = (Vec::new(), HashMap::new(), Rest::default());
        Ok(Self { job, trees, dirs, to_write, batch, batch_bytes: 0, leaders, rest })
    }

    /// Makes everything that is beneath this tree.
    pub(super) fn run(&mut self, root: &Id) -> Result<(), Error> {
        let nodes = self.trees.nodes(root)?;
        if let Err(errno) = self.clear(b"") {
            self.job.failed(b"", "list it", errno)?;
        }
        let mut levels = vec![Level { path: Arc::from([]), nodes }];
        while let Some(Level { path, nodes }) = levels.last_mut() {
            let Some(node) = nodes.next().transpose()? else {
                levels.pop();
                continue;
            };
            self.job.go_on()?;
            let parent = Arc::clone(path);
            levels.extend(self.make(&parent, node)?);
        }
        self.send()?;
        self.job.monitor.all_found();
        Ok(())
    }

    /// Ends the walk, and with it the queue.
    pub(super) fn end(self) -> Rest {
        self.rest
    }

    /// Makes one entry; what is beneath it, if it is a directory.
    fn make(&mut self, parent: &Arc<[u8]>, node: Node) -> Result<Option<Level>, Error> {
        let mut path = Vec::new();
        join(&mut path, parent, &node.name);
        let job = self.job;
        job.entries.fetch_add(1, Ordering::Relaxed);
        job.monitor.found(1, node.size);
        if path.len() > MAX_PATH {
            job.leave_out(&path, format!("its path has {} bytes; the kernel takes {MAX_PATH}", path.len()));
            return Ok(None);
        }
        if node.links > 1 && node.kind != Some(Kind::Directory) {
            match self.leaders.get(&(node.device_id, node.inode)) {
                Some(leader) => {
                    self.rest.links.push((path, leader.clone()));
                    return Ok(None);
                }
                None => self.leaders.insert((node.device_id, node.inode), path.clone()),
            };
        }
        let made = match node.kind {
            Some(Kind::File) => return self.make_file(parent, node).map(|()| None),
            Some(Kind::Directory) => return self.make_directory(path, node),
            Some(Kind::CharacterDevice | Kind::BlockDevice) if !job.privileged => {
                job.remark(&path, "a device node cannot be made without privilege");
                return Ok(None);
            }
            Some(kind) => self.make_special(parent, &node, kind, &path),
            None => {
                job.leave_out(&path, "it is of a kind that Linux does not have");
                return Ok(None);
            }
        };
        match made {
            Ok(()) => job.monitor.done(1, 0),
            Err(errno) => job.failed(&path, "make it", errno)?,
        }
        Ok(None)
    }

    fn make_file(&mut self, parent: &Arc<[u8]>, node: Node) -> Result<(), Error> {
        self.job.files.fetch_add(1, Ordering::Relaxed);
        self.job.bytes.fetch_add(node.size, Ordering::Relaxed);
        if self.batch.len() == BATCH || self.batch_bytes.saturating_add(node.size) > WINDOW {
            self.send()?;
        }
        self.batch_bytes = self.batch_bytes.saturating_add(node.size);
        self.batch.push(WantedFile { parent: Arc::clone(parent), node });
        Ok(())
    }

    fn send(&mut self) -> Result<(), Error> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.to_write.send(batch).map_err(|_| Error::Stopped) }
    }

    fn make_directory(&mut self, path: Vec<u8>, node: Node) -> Result<Option<Level>, Error> {
        let made = self.open_or_make(&path);
        if let Err(errno) = made {
            self.job.failed(&path, "make the directory", errno)?;
            return Ok(None);
        }
        let nodes = match node.subtree.ok_or_else(|| "it has no tree".to_owned()) {
            Ok(subtree) => match self.trees.nodes(&subtree) {
                Err(error @ Error::Damaged { .. }) => Err(error.to_string()),
                nodes => Ok(nodes?),
            },
            Err(why) => Err(why),
        };
        self.rest.directories.push((path.clone(), node));
        match nodes {
            Ok(nodes) => Ok(Some(Level { path: path.into(), nodes })),
            Err(why) => {
                self.job.leave_out(&path, format!("what is in the directory: {why}"));
                Ok(None)
            }
        }
    }

    fn open_or_make(&mut self, path: &[u8]) -> Result<(), Errno> {
        let (parent, name) = split(path).map_err(|_| Errno::INVAL)?;
        let there = metadata_at(self.dirs.open(parent)?, name);
        match there {
            Ok(there) if there.kind == Kind::Directory => {
                if !self.job.privileged && there.permissions & 0o700 != 0o700 {
                    open_up(self.dirs.open(parent)?, name)?;
                }
                return self.clear(path);
            }
            Ok(_) => {
                self.dirs.forget(path);
                remove(self.dirs.open(parent)?, name, &mut Removed::default())?;
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        rustix::fs::mkdirat(self.dirs.open(parent)?, name.bytes(), Mode::RWXU)
    }

    /// Removes temporary files of a restore that died. Files that another engine began, and may go on with, stay.
    fn clear(&mut self, path: &[u8]) -> Result<(), Errno> {
        let mut listing = Listing::default();
        listing.read(self.dirs.open(path)?, b".")?;
        let is_left = |name: &[u8]| is_temporary(name) && !is_partial(name);
        for (name, _) in listing.iter().filter(|(name, _)| is_left(name.bytes())) {
            remove(self.dirs.open(path)?, name, &mut Removed::default())?;
        }
        Ok(())
    }

    fn make_special(&mut self, parent: &[u8], node: &Node, kind: Kind, path: &[u8]) -> Result<(), Errno> {
        let name = Name::new(&node.name).map_err(|_| Errno::INVAL)?;
        let dir = self.dirs.open(parent)?;
        let names = &self.job.names;
        let mut new = match kind {
            Kind::Symlink => NewEntry::symlink(dir, names, &node.target)?,
            kind => NewEntry::special(dir, names, kind, node.device)?,
        };
        let (_, temporary) = new.place();
        let have = metadata_at(dir, temporary)?;
        self.job.give(Object::Named(dir, temporary), &have, node, path)?;
        commit_over(dir, name, |name| new.commit(name))
    }
}

impl Rest {
    /// Makes hard links.
    pub(super) fn link(&self, job: &Job<'_>) -> Result<(), Error> {
        let (mut dirs, mut leaders) = (Dirs::new(job.tree), Dirs::new(job.tree));
        for (path, leader) in &self.links {
            let linked = if lock(&job.broken).contains(leader) {
                Err(Errno::NOENT)
            } else {
                link(job, &mut dirs, &mut leaders, path, leader)
            };
            match linked {
                Ok(()) => job.monitor.done(1, 0),
                Err(errno) => job.failed(path, "make the hard link", errno)?,
            }
        }
        Ok(())
    }

    /// Gives directories their attributes, inner ones first.
    pub(super) fn finish_directories(&self, job: &Job<'_>) -> Result<(), Error> {
        let mut dirs = Dirs::new(job.tree);
        for (path, node) in self.directories.iter().rev() {
            match finish_directory(job, &mut dirs, path, node) {
                Ok(()) => job.monitor.done(1, 0),
                Err(errno) => job.failed(path, "set the attributes", errno)?,
            }
        }
        Ok(())
    }
}

fn link<'t>(
    job: &Job<'t>,
    dirs: &mut Dirs<'t>,
    leaders: &mut Dirs<'t>,
    path: &[u8],
    leader: &[u8],
) -> Result<(), Errno> {
    let ((parent, name), (of_parent, of)) =
        (split(path).map_err(|_| Errno::INVAL)?, split(leader).map_err(|_| Errno::INVAL)?);
    let (dir, of_dir): (BorrowedFd<'_>, BorrowedFd<'_>) = (dirs.open(parent)?, leaders.open(of_parent)?);
    let identity = metadata_at(of_dir, of)?.identity;
    match metadata_at(dir, name) {
        Ok(there) if there.identity == identity => return Ok(()),
        Ok(_) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let mut new = NewEntry::hard_link(dir, &job.names, (of_dir, of))?;
    commit_over(dir, name, |name| new.commit(name))
}

fn finish_directory<'t>(job: &Job<'t>, dirs: &mut Dirs<'t>, path: &[u8], node: &Node) -> Result<(), Errno> {
    let (parent, name) = split(path).map_err(|_| Errno::INVAL)?;
    let dir = dirs.open(parent)?;
    let have = metadata_at(dir, name)?;
    if have.kind != Kind::Directory {
        return Err(Errno::NOTDIR);
    }
    job.give(Object::Named(dir, name), &have, node, path)
}
