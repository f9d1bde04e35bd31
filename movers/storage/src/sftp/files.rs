//! Files on a server, over one connection.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use russh_sftp::extensions::HardlinkExtension;
use russh_sftp::protocol::{FileAttributes, FileType, OpenFlags, Packet, StatusCode};

use super::failure::failed;
use super::session::Session;
use crate::folder::UNFINISHED;
use crate::remote::Failed;
use crate::{Kind, LARGEST_OBJECT, MOST_OBJECTS, Object};

/// What is asked for and sent at a time, in bytes: all servers take as much.
const PART: usize = 32 << 10;

/// Parts on their way, for each operation. Together they are 1 MiB: with a round trip of 20 ms that is 50 MiB a second.
const PARTS_AT_A_TIME: usize = 32;

/// Folders of a listing that are read at a time.
const FOLDERS_AT_A_TIME: usize = 16;

/// Folders within each other; a repository has two.
const DEEPEST: usize = 8;

/// Within the names of unfinished files of restic's at a server of SFTP.
const UNFINISHED_OF_RESTIC: &str = "-restic-temp-";

/// Permissions of folders and files.
pub(super) struct Modes {
    folder: u32,
    file: u32,
}

impl Modes {
    /// Those that restic chooses: a repository whose `config` the group may read is the group's.
    pub(super) async fn of(session: &Session, config: &str) -> Result<Self, Failed> {
        let shared = match session.sftp.stat(config).await.map_err(failed) {
            Ok(found) => found.attrs.permissions.is_some_and(|mode| mode & 0o040 != 0),
            Err(failed) if failed.passing => return Err(failed),
            Err(_) => false,
        };
        Ok(if shared { Self { folder: 0o770, file: 0o440 } } else { Self { folder: 0o700, file: 0o400 } })
    }
}

pub(super) struct Files {
    pub(super) session: Session,
    pub(super) modes: Modes,
}

impl Files {
    pub(super) async fn read(self: &Arc<Self>, path: &str) -> Result<Bytes, Failed> {
        self.read_open(path, async |handle, size| match usize::try_from(size) {
            Ok(length) if size <= LARGEST_OBJECT => self.parts(handle, 0, length).await,
            _ => Err(Failed::lasting(Kind::Other, crate::error::too_large())),
        })
        .await
    }

    pub(super) async fn read_range(
        self: &Arc<Self>,
        name: &str,
        path: &str,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, Failed> {
        self.read_open(path, async |handle, size| {
            // Before anything is allocated: a length may come from a repository that lies, and a size from a server that does.
            crate::error::check_range(name, size, offset, length)
                .map_err(|truncated| Failed::lasting(Kind::Truncated, truncated.reason()))?;
            if length as u64 > LARGEST_OBJECT {
                return Err(Failed::lasting(Kind::Other, crate::error::too_large()));
            }
            self.parts(handle, offset, length).await
        })
        .await
    }

    /// Reads with a handle and the file's size.
    async fn read_open(
        self: &Arc<Self>,
        path: &str,
        read: impl AsyncFnOnce(&str, u64) -> Result<Bytes, Failed>,
    ) -> Result<Bytes, Failed> {
        let opened = self.session.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await;
        let handle = opened.map_err(failed)?.handle;
        let content = match self.session.sftp.fstat(handle.as_str()).await.map_err(failed) {
            Ok(found) if !matches!(found.attrs.file_type(), FileType::File) => {
                Err(Failed::lasting(Kind::Other, "is not a file"))
            }
            Ok(found) => read(&handle, found.attrs.len()).await,
            Err(failed) => Err(failed),
        };
        // Nobody waits for the answer: it says nothing about what was read.
        let files = Arc::clone(self);
        tokio::spawn(async move { files.session.sftp.close(handle).await });
        content
    }

    async fn parts(&self, handle: &str, offset: u64, length: usize) -> Result<Bytes, Failed> {
        let parts = stream::iter((0..length).step_by(PART))
            .map(|at| self.part(handle, offset + at as u64, PART.min(length - at)))
            .buffered(PARTS_AT_A_TIME);
        let content = parts.try_fold(Vec::with_capacity(length), async |mut content, part| {
            content.extend_from_slice(&part);
            Ok(content)
        });
        Ok(content.await?.into())
    }

    /// `length` bytes, never fewer: a server may send less than it was asked for.
    async fn part(&self, handle: &str, offset: u64, length: usize) -> Result<Vec<u8>, Failed> {
        let mut part = Vec::new();
        while part.len() < length {
            let left = length - part.len();
            let asked = u32::try_from(left).unwrap_or(u32::MAX);
            let more = self.session.sftp.read(handle, offset + part.len() as u64, asked).await.map_err(failed)?.data;
            if more.is_empty() || more.len() > left {
                return Err(Failed::passing(format_args!("{} bytes came instead of {left}", more.len())));
            }
            if part.is_empty() { part = more } else { part.extend(more) }
        }
        Ok(part)
    }

    /// Writes under the name `unfinished`, and gives the whole file its own.
    pub(super) async fn write(&self, unfinished: &str, path: &str, content: &Bytes) -> Result<(), Failed> {
        let handle = self.create(unfinished).await?;
        let filled = self.fill(&handle, content).await;
        // Some servers say only here that a disk is full.
        let closed = self.session.sftp.close(handle).await.map_err(failed);
        match filled.and(closed.map(drop)) {
            Ok(()) => self.rename(unfinished, path).await,
            Err(failed) => Err(self.explained(failed, path, content.len()).await),
        }
    }

    /// Opens a new file, in folders that are made if they are not there.
    async fn create(&self, path: &str) -> Result<String, Failed> {
        let open = async || {
            let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
            let opened = self.session.sftp.open(path, flags, mode(self.modes.file | 0o200)).await;
            Ok(opened.map_err(failed)?.handle)
        };
        match open().await {
            Err(Failed { kind: Kind::NotFound, .. }) => {}
            opened => return opened,
        }
        let ends = path.match_indices('/').map(|(end, _)| end).filter(|end| *end > 0);
        let mut refused = None;
        for parent in ends.filter_map(|end| path.get(..end)) {
            // Most are there, which not all servers say in so many words; opening the file tells what is missing.
            refused = self.session.sftp.mkdir(parent, mode(self.modes.folder)).await.map_err(failed).err().or(refused);
        }
        match open().await {
            Err(Failed { kind: Kind::NotFound, why, .. }) => {
                Err(refused.unwrap_or_else(|| Failed::lasting(Kind::NotFound, why)))
            }
            opened => opened,
        }
    }

    async fn fill(&self, handle: &str, content: &Bytes) -> Result<(), Failed> {
        let sftp = &self.session.sftp;
        let parts = stream::iter((0..content.len()).step_by(PART)).map(|at| {
            let part = content.slice(at..content.len().min(at + PART));
            sftp.write(handle, at as u64, part.into())
        });
        parts.buffer_unordered(PARTS_AT_A_TIME).try_for_each(async |_| Ok(())).await.map_err(failed)?;
        // Some file systems have no modes.
        if let Err(failed) = sftp.fsetstat(handle, mode(self.modes.file)).await.map_err(failed)
            && failed.passing
        {
            return Err(failed);
        }
        if self.session.offers("fsync@openssh.com", "1") {
            sftp.fsync(handle).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Puts a file in the place of another, at once if the server can.
    async fn rename(&self, from: &str, to: &str) -> Result<(), Failed> {
        let sftp = &self.session.sftp;
        if self.session.offers("posix-rename@openssh.com", "1") {
            // Two paths, as this extension has them too.
            let paths = HardlinkExtension { oldpath: from.to_owned(), newpath: to.to_owned() }.try_into();
            let paths = paths.map_err(|error| Failed::lasting(Kind::Other, error))?;
            return match sftp.extended("posix-rename@openssh.com", paths).await.map_err(failed)? {
                Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
                Packet::Status(status) => Err(failed(status.into())),
                _ => Err(Failed::passing("the server answers what it was not asked")),
            };
        }
        match sftp.rename(from, to).await.map_err(failed) {
            // The protocol's own does not replace.
            Err(failed) if failed.kind == Kind::Other && self.remove(to).await.is_ok() => {
                sftp.rename(from, to).await.map(drop).map_err(super::failure::failed)
            }
            renamed => renamed.map(drop),
        }
    }

    /// A failure to write, with what the server has no word for: that its disk is full.
    async fn explained(&self, failure: Failed, path: &str, length: usize) -> Failed {
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        if failure.kind != Kind::Other || !self.session.offers("statvfs@openssh.com", "2") {
            return failure;
        }
        match self.session.sftp.statvfs(folder).await {
            Ok(disk) if disk.blocks_avail.saturating_mul(disk.fragment_size) < length as u64 => {
                let free = disk.blocks_avail.saturating_mul(disk.fragment_size) >> 20;
                Failed::lasting(Kind::Full, format_args!("the server's disk is full; {free} MiB are free"))
            }
            _ => failure,
        }
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), Failed> {
        self.session.sftp.remove(path).await.map(drop).map_err(failed)
    }

    /// All objects below a folder; `path` tells where one of a name is.
    pub(super) async fn list(&self, folder: &str, path: impl Fn(&str) -> String) -> Result<Vec<Object>, Failed> {
        let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
        for _ in 0..DEEPEST {
            let listed = stream::iter(mem::take(&mut folders))
                .map(async |name| self.list_folder(&name, &path(&name)).await)
                .buffer_unordered(FOLDERS_AT_A_TIME);
            futures_util::pin_mut!(listed);
            while let Some((below, objects)) = listed.try_next().await? {
                folders.extend(below);
                found.extend(objects);
                if found.len() + folders.len() > MOST_OBJECTS {
                    return Err(Failed::lasting(Kind::Other, crate::error::too_many()));
                }
            }
            if folders.is_empty() {
                return Ok(found);
            }
        }
        Err(Failed::lasting(Kind::Other, "has folders too deep within each other, which no repository has"))
    }

    /// Folders in a folder, and objects.
    async fn list_folder(&self, name: &str, path: &str) -> Result<(Vec<String>, Vec<Object>), Failed> {
        let handle = match self.session.sftp.opendir(path).await.map_err(failed) {
            Ok(opened) => opened.handle,
            Err(failed) if failed.kind == Kind::NotFound => return Ok(Default::default()),
            Err(failed) => return Err(failed),
        };
        let listed = self.entries(name, &handle).await;
        let closed = self.session.sftp.close(handle).await.map_err(failed);
        listed.and_then(|listed| closed.map(|_| listed))
    }

    async fn entries(&self, folder: &str, handle: &str) -> Result<(Vec<String>, Vec<Object>), Failed> {
        let (mut folders, mut objects) = (Vec::new(), Vec::new());
        loop {
            let entries = match self.session.sftp.readdir(handle).await.map_err(failed) {
                Ok(entries) => entries.files,
                // The end of a folder is told as that of a file.
                Err(failed) if failed.kind == Kind::Truncated => return Ok((folders, objects)),
                Err(failed) => return Err(failed),
            };
            for entry in entries {
                let own = entry.filename;
                let is_unfinished = own.contains(UNFINISHED) || own.contains(UNFINISHED_OF_RESTIC);
                if own == "." || own == ".." || own.contains('/') || is_unfinished {
                    continue;
                }
                let name = if folder.is_empty() { own } else { format!("{folder}/{own}") };
                match (entry.attrs.file_type(), entry.attrs.size) {
                    (FileType::Dir, _) => folders.push(name),
                    (FileType::File, Some(size)) => objects.push(Object { name, size }),
                    // To leave out what it leads to would be an incomplete listing.
                    (FileType::Symlink, _) => {
                        let what = "is a link, which is not followed; put in its place what it leads to";
                        return Err(Failed::lasting(Kind::Other, format_args!("{name} {what}")));
                    }
                    (FileType::Other, _) if entry.attrs.permissions.is_some() => {}
                    _ => {
                        let what = "the server does not tell what it is, or its size";
                        return Err(Failed::lasting(Kind::Other, format_args!("{name}: {what}")));
                    }
                }
                if folders.len() + objects.len() > MOST_OBJECTS {
                    return Err(Failed::lasting(Kind::Other, crate::error::too_many()));
                }
            }
        }
    }
}

fn mode(permissions: u32) -> FileAttributes {
    FileAttributes { permissions: Some(permissions), ..FileAttributes::empty() }
}
