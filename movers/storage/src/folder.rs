//! A folder of this machine, laid out as restic lays out a local repository: an object's name is its path.
//!
//! An object is written under another name, made durable, and then renamed. Nothing beneath the folder is reached through a
//! symbolic link: whoever can write into a repository must not choose where else a mover reads and writes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{Error, Kind, LARGEST_OBJECT, MOST_OBJECTS, Object, Storage};

/// Within the names of files that are not finished; restic's own have it too. Such a file is no object.
pub(crate) const UNFINISHED: &str = "-tmp-";

/// After so long nobody finishes one any more: a pack is written in seconds, and a clock of a file server may differ by hours.
const ABANDONED: i64 = 24 * 3600;

const LINKS: &str = "symbolic links within a repository are not followed; put in their place what they lead to";

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// A folder that objects are kept in. It may not be there yet: writing makes it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Held from its first use on, so that all of a run happens in one folder whatever is mounted over it meanwhile.
    root: OnceLock<OwnedFd>,
}

impl Folder {
    /// The folder at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), root: OnceLock::new() }
    }

    fn root(&self) -> io::Result<BorrowedFd<'_>> {
        match self.root.get() {
            Some(root) => Ok(root.as_fd()),
            None => Ok(self.hold(open_folder(CWD, &self.path, ResolveFlags::empty())?)),
        }
    }

    fn hold(&self, root: OwnedFd) -> BorrowedFd<'_> {
        self.root.get_or_init(|| root).as_fd()
    }

    /// The root, made if it is not there, with the folders above it.
    fn make_root(&self, mode: Mode) -> io::Result<BorrowedFd<'_>> {
        match self.root() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            root => return root,
        }
        let mut above = self.path.as_path();
        let mut missing = Vec::new();
        let mut folder = loop {
            match open_folder(CWD, above, ResolveFlags::empty()) {
                Ok(folder) => break folder,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            // A relative path ends at the working directory.
            missing.extend(above.file_name());
            above = match above.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
        };
        for name in missing.into_iter().rev() {
            folder = make_folder(&folder, Path::new(name), mode)?;
        }
        Ok(self.hold(folder))
    }

    /// The folder that an object of this name is in, made if it is not there.
    fn make_parent(&self, parents: &str, mode: Mode) -> io::Result<OwnedFd> {
        let root = self.make_root(mode)?;
        match open_folder(root, Path::new(parents), BENEATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            folder => return folder,
        }
        let mut folder = open_folder(root, Path::new("."), BENEATH)?;
        for name in parents.split('/') {
            folder = make_folder(&folder, Path::new(name), mode)?;
        }
        Ok(folder)
    }

    fn open(&self, name: &str) -> io::Result<(File, u64)> {
        // Without O_NONBLOCK a named pipe would be waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat2(self.root()?, name, flags, Mode::empty(), BENEATH)?);
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(io::Error::other("is not a file")) }
    }

    fn write_file(&self, parents: &str, name: &str, content: &[u8]) -> io::Result<()> {
        let (folder_mode, file_mode) = self.modes();
        let folder = self.make_parent(parents, folder_mode)?;
        let unfinished = format!("{name}{UNFINISHED}{:016x}", random()?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&folder, &unfinished, flags, file_mode)?);
        let finished = fill(file, content, file_mode)
            .and_then(|()| Ok(rustix::fs::renameat(&folder, &unfinished, &folder, name)?))
            .and_then(|()| make_durable(&folder));
        if finished.is_err() {
            let _ = rustix::fs::unlinkat(&folder, &unfinished, AtFlags::empty());
        }
        finished
    }

    /// Modes of folders and files, as restic chooses them: a repository whose `config` the group may read is the group's.
    fn modes(&self) -> (Mode, Mode) {
        let shared = self.open("config").ok().and_then(|(config, _)| rustix::fs::fstat(config).ok());
        if shared.is_some_and(|config| Mode::from_raw_mode(config.st_mode).contains(Mode::RGRP)) {
            (Mode::RWXU | Mode::RWXG, Mode::RUSR | Mode::RGRP)
        } else {
            (Mode::RWXU, Mode::RUSR)
        }
    }

    /// Removes what was abandoned in a folder, and adds the folders in it to `folders`; how many files there were.
    fn sweep_folder(&self, name: &str, folders: &mut Vec<String>) -> io::Result<usize> {
        let folder = open_folder(self.root()?, Path::new(name), BENEATH)?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let mut swept = 0;
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let Ok(own) = entry.file_name().to_str() else { continue };
            let status = match rustix::fs::statat(&folder, own, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                status => status?,
            };
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory if own != "." && own != ".." => folders.push(within(name, own)),
                FileType::RegularFile if is_unfinished(own) && now - status.st_mtime > ABANDONED => {
                    rustix::fs::unlinkat(&folder, own, AtFlags::empty())?;
                    swept += 1;
                }
                _ => {}
            }
        }
        Ok(swept)
    }

    fn list_folder(&self, name: &str, folders: &mut Vec<String>, objects: &mut Vec<Object>) -> io::Result<()> {
        let folder = open_folder(self.root()?, Path::new(name), BENEATH)?;
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            // What is not text was not written as an object, by nobody.
            let Ok(own) = entry.file_name().to_str() else { continue };
            if own == "." || own == ".." || own.contains(UNFINISHED) {
                continue;
            }
            let status = match rustix::fs::statat(&folder, own, AtFlags::SYMLINK_NOFOLLOW) {
                // It was removed since the folder was opened.
                Err(Errno::NOENT) => continue,
                status => status?,
            };
            let name = within(name, own);
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory => folders.push(name),
                FileType::RegularFile if objects.len() >= MOST_OBJECTS => {
                    return Err(io::Error::other(crate::error::too_many()));
                }
                FileType::RegularFile => {
                    objects.push(Object { name, size: u64::try_from(status.st_size).unwrap_or(0) });
                }
                // To leave out what it leads to would be an incomplete listing.
                FileType::Symlink => return Err(io::Error::other(format!("{name} is a link; {LINKS}"))),
                _ => {}
            }
        }
        Ok(())
    }

    fn error(&self, operation: &str, name: &str, error: io::Error) -> Error {
        let operation = format!("{operation} {name} in {}", self.path.display());
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => {
                let free = self.root().ok().and_then(|root| rustix::fs::fstatvfs(root).ok());
                let free = free.map_or(0, |free| free.f_bavail.saturating_mul(free.f_frsize) >> 20);
                Error::new(Kind::Full, operation, format!("{error}; {free} MiB are free"))
            }
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Error::new(Kind::Denied, operation, error),
            Some(Errno::NOENT) => Error::new(Kind::NotFound, operation, error),
            Some(Errno::STALE | Errno::TIMEDOUT | Errno::NOTCONN | Errno::HOSTDOWN) => {
                Error::new(Kind::Unreachable, operation, error)
            }
            Some(Errno::LOOP | Errno::XDEV) => Error::new(Kind::Other, operation, format!("{error}; {LINKS}")),
            _ => Error::new(Kind::Other, operation, error),
        }
    }
}

impl Storage for Folder {
    fn read(&self, name: &str) -> Result<Bytes, Error> {
        let read = || {
            let (file, size) = self.open(name)?;
            let mut content = Vec::with_capacity(usize::try_from(size.min(LARGEST_OBJECT)).unwrap_or(0));
            file.take(LARGEST_OBJECT + 1).read_to_end(&mut content)?;
            if content.len() as u64 > LARGEST_OBJECT {
                return Err(io::Error::other(crate::error::too_large()));
            }
            Ok(Bytes::from(content))
        };
        read().map_err(|error| self.error("reading", name, error))
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
        let (mut file, size) = self.open(name).map_err(|error| self.error("reading", name, error))?;
        // Before anything is allocated: a length may come from a repository that lies.
        crate::error::check_range(name, size, offset, length)?;
        // Not filled with zeros before it is read into.
        let mut content = Vec::with_capacity(length);
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.take(length as u64).read_to_end(&mut content))
            .map_err(|error| self.error("reading", name, error))?;
        // It was cut since its size was asked for.
        crate::error::check_range(name, offset + content.len() as u64, offset, length)?;
        Ok(content.into())
    }

    fn write(&self, name: &str, content: Bytes) -> Result<(), Error> {
        let (parents, own) = name.rsplit_once('/').unwrap_or((".", name));
        self.write_file(parents, own, &content).map_err(|error| self.error("writing", name, error))
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        let mut objects = Vec::new();
        let mut folders = vec![if folder.is_empty() { ".".to_owned() } else { folder.to_owned() }];
        while let Some(name) = folders.pop() {
            match self.list_folder(&name, &mut folders, &mut objects) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                listed => listed.map_err(|error| self.error("listing", &name, error))?,
            }
        }
        Ok(objects)
    }

    fn sweep(&self, folder: &str) -> Result<usize, Error> {
        let mut swept = 0;
        let mut folders = vec![if folder.is_empty() { ".".to_owned() } else { folder.to_owned() }];
        while let Some(name) = folders.pop() {
            match self.sweep_folder(&name, &mut folders) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => swept += result.map_err(|error| self.error("clearing", &name, error))?,
            }
        }
        Ok(swept)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let (parents, own) = name.rsplit_once('/').unwrap_or((".", name));
        let removed = self
            .root()
            .and_then(|root| open_folder(root, Path::new(parents), BENEATH))
            .and_then(|folder| Ok(rustix::fs::unlinkat(folder, own, AtFlags::empty())?));
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|error| self.error("removing", name, error)),
        }
    }
}

/// The name of what is in a folder.
fn within(folder: &str, own: &str) -> String {
    if folder == "." { own.to_owned() } else { format!("{folder}/{own}") }
}

/// Whether this is the name of an object of a repository that is not finished: nothing else that somebody keeps in the folder.
fn is_unfinished(name: &str) -> bool {
    let is_object =
        |name: &str| name == "config" || (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    name.split_once(UNFINISHED).is_some_and(|(object, _)| is_object(object))
}

fn open_folder(at: impl AsFd, path: &Path, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(at, path, flags, Mode::empty(), resolve)?)
}

/// The folder `name` in `parent`, which is made unless somebody else was faster.
fn make_folder(parent: &OwnedFd, name: &Path, mode: Mode) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, mode) {
        Ok(()) => make_durable(parent)?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    open_folder(parent, name, BENEATH)
}

fn fill(mut file: File, content: &[u8], mode: Mode) -> io::Result<()> {
    file.write_all(content)?;
    // Some file systems have no modes.
    match rustix::fs::fchmod(&file, mode) {
        Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    make_durable(&file)
}

/// Some file systems, those of networks for example, cannot be asked for it.
fn make_durable(file: &impl AsFd) -> io::Result<()> {
    match rustix::fs::fsync(file) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Movers in containers have process ids alike: only chance tells their files apart.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}
