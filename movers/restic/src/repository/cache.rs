//! What was read from a repository and may be needed again, in a folder of this machine: snapshots, index files, and packs with
//! trees. The layout is restic's (its manual, "Local Cache", and its package `cache`), so that both can use one folder:
//! `REPOSITORY-ID/{snapshots,index,data}/ab/abcd...`, and each file is the repository's own, byte for byte.
//!
//! A cache is only ever a faster way to the same bytes. What it holds is compared with its name before it is believed; what
//! cannot be read or written is as if it were not there; and losing all of it costs time and nothing else.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use doppel_storage::Storage;
use doppel_storage::folder::Folder as LocalFolder;

use crate::format::id::Id;
use crate::repository::Folder;

/// The cache of one repository.
pub struct Cache {
    /// The folder with the caches of all repositories.
    base: PathBuf,
    own: PathBuf,
    files: LocalFolder,
    opened: SystemTime,
    /// Nothing more is written after a write failed: a full disk would be asked in vain for every file.
    failed: AtomicBool,
}

/// The cache's layout, and the file that says which it is.
const VERSION: u32 = 1;
const VERSION_FILE: &str = "version";
/// By which programs for backups know that they can pass it by (the Cache Directory Tagging Specification).
const TAG_FILE: &str = "CACHEDIR.TAG";
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";
/// What stays free: a tenth of the file system, which bounds the cache in a claim of its own; of a large one this many bytes, for
/// others.
const FREE_PART: u64 = 10;
const MOST_FREE: u64 = 1 << 30;
/// A cache that was not used for so long is nobody's any more; restic says the same.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

impl Cache {
    /// The cache of the repository with this ID, below a folder that may hold those of others; made if it is not there.
    ///
    /// # Errors
    /// When it cannot be used, or has a later layout.
    pub fn open(base: &Path, repository: &str) -> io::Result<Self> {
        let own = base.join(repository);
        fs::create_dir_all(&own)?;
        create(&base.join(TAG_FILE), TAG)?;
        create(&own.join(VERSION_FILE), &VERSION.to_string())?;
        match fs::read_to_string(own.join(VERSION_FILE))?.trim().parse::<u32>() {
            Ok(VERSION) => {}
            Ok(later) if later > VERSION => {
                return Err(io::Error::other(format!("its layout is {later}, and only {VERSION} is known")));
            }
            // Of a program that died while it wrote the file.
            _ => fs::write(own.join(VERSION_FILE), VERSION.to_string())?,
        }
        let opened = SystemTime::now();
        // By this restic tells which caches are in use.
        File::open(&own)?.set_times(FileTimes::new().set_accessed(opened).set_modified(opened))?;
        let files = LocalFolder::new(&own);
        Ok(Self { base: base.to_owned(), own, files, opened, failed: AtomicBool::new(false) })
    }

    /// A whole file, if it is there and the one that its name says. One that is not is removed.
    pub(crate) fn read(&self, folder: Folder, id: &Id) -> Option<Bytes> {
        let content = self.files.read(&name(folder, id)).ok()?;
        if Id::of(&content) == *id {
            return Some(content);
        }
        self.remove(folder, id);
        None
    }

    /// A part of a pack. Whoever reads it finds out whether it is damaged.
    pub(crate) fn read_part(&self, pack: &Id, offset: u32, length: usize) -> Option<Bytes> {
        self.files.read_range(&name(Folder::Data, pack), offset.into(), length).ok()
    }

    /// Whether files can be added, as far as is known.
    pub(crate) fn takes_files(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }

    /// Keeps a file, if there is room for it.
    pub(crate) fn write(&self, folder: Folder, id: &Id, content: Bytes) {
        if !self.takes_files() {
            return;
        }
        let len = content.len() as u64;
        let written = self.make_room(len).and_then(|()| {
            let written = self.files.write(&name(folder, id), content);
            written.map_err(io::Error::other)
        });
        if let Err(error) = written {
            self.failed.store(true, Ordering::Relaxed);
            let cache = self.own.display().to_string();
            tracing::warn!(cache, reason = %error, "The cache takes no more files in this run");
        }
    }

    pub(crate) fn remove(&self, folder: Folder, id: &Id) {
        // It may not be there, and if it cannot be removed, it is found damaged again.
        let _ = self.files.remove(&name(folder, id));
    }

    /// Removes what writers that died left unfinished.
    pub(crate) fn sweep(&self) {
        let _ = self.files.sweep("");
    }

    /// Removes the files of a folder that the repository has not any more.
    pub(crate) fn retain(&self, folder: Folder, is_there: impl Fn(&HashSet<Id>) -> HashSet<Id>) {
        let cached = self.list(folder);
        if !cached.is_empty() {
            cached.difference(&is_there(&cached)).for_each(|id| self.remove(folder, id));
        }
    }

    fn list(&self, folder: Folder) -> HashSet<Id> {
        let listed = self.files.list(folder.name()).unwrap_or_default();
        listed.iter().filter_map(|object| Id::from_hex(object.name.rsplit('/').next()?)).collect()
    }

    /// Makes room for so many bytes: caches that nobody uses any more go, then trees of this one. What was added in this run
    /// stays: a cache that is too small for one run's trees would else be filled in vain again and again.
    fn make_room(&self, len: u64) -> io::Result<()> {
        let is_older = |path: &Path, than: SystemTime| Ok::<_, io::Error>(fs::metadata(path)?.modified()? < than);
        if self.has_room(len)? {
            return Ok(());
        }
        for other in fs::read_dir(&self.base)? {
            let other = other?;
            let is_cache = other.file_name().to_str().is_some_and(|name| Id::from_hex(name).is_some());
            if is_cache && is_older(&other.path(), self.opened - UNUSED)? {
                fs::remove_dir_all(other.path())?;
                if self.has_room(len)? {
                    return Ok(());
                }
            }
        }
        for id in self.list(Folder::Data) {
            if is_older(&self.own.join(name(Folder::Data, &id)), self.opened)? {
                self.remove(Folder::Data, &id);
                if self.has_room(len)? {
                    return Ok(());
                }
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn has_room(&self, len: u64) -> io::Result<bool> {
        let room = rustix::fs::statvfs(&self.own)?;
        let bytes = |blocks: u64| blocks.saturating_mul(room.f_frsize);
        let stays_free = (bytes(room.f_blocks) / FREE_PART).min(MOST_FREE);
        Ok(bytes(room.f_bavail) >= len.saturating_add(stays_free))
    }
}

fn name(folder: Folder, id: &Id) -> String {
    let digits = id.to_string();
    format!("{}/{}/{digits}", folder.name(), digits.get(..2).unwrap_or_default())
}

/// Makes a file, unless it is there.
fn create(path: &Path, content: &str) -> io::Result<()> {
    match File::create_new(path) {
        Ok(mut file) => file.write_all(content.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
