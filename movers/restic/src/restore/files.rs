//! The threads that write files.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use doppel_volume::attributes::Object;
use doppel_volume::dirs::Dirs;
use doppel_volume::metadata::{Kind, Metadata};
use doppel_volume::monitor::OneFile;
use doppel_volume::names::{Name, join};
use doppel_volume::replace::{NewFile, commit_over};
use doppel_volume::sparse::Reading;
use doppel_volume::tree::{metadata_at, metadata_of, open_file};
use rustix::io::Errno;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::id::Id;
use crate::format::tree::Node;
use crate::restore::fetch::{Contents, Fetcher};
use crate::restore::{Job, lock};

/// A file that is to be in the volume.
pub(super) struct WantedFile {
    /// The path of its directory.
    pub(super) parent: Arc<[u8]>,
    pub(super) node: Node,
}

/// A thread that writes files.
pub(super) struct Files<'j> {
    job: &'j Job<'j>,
    dirs: Dirs<'j>,
    fetcher: Fetcher<'j>,
    buffer: Vec<u8>,
}

/// Why a file is not there as it should be.
enum Trouble {
    /// For the report.
    Problem(String),
    /// The volume's.
    Volume(Errno),
    /// The whole restore fails.
    Fatal(Error),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Volume(errno)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl<'j> Files<'j> {
    pub(super) fn new(job: &'j Job<'j>) -> Result<Self, Error> {
        let fetcher = Fetcher::new(job.repository, job.index)?;
        Ok(Self { job, dirs: Dirs::new(job.tree), fetcher, buffer: Vec::new() })
    }

    pub(super) fn run(&mut self, batches: &Mutex<Receiver<Vec<WantedFile>>>) -> Result<(), Error> {
        loop {
            let next = lock(batches).recv();
            let Ok(batch) = next else { return Ok(()) };
            // After a failure the queue is emptied, so that nobody waits for it.
            if self.job.go_on().is_ok() {
                self.job.keep(self.write(batch));
            }
        }
    }

    /// Small files, or a large one.
    fn write(&mut self, mut batch: Vec<WantedFile>) -> Result<(), Error> {
        batch.retain(|file| !self.is_there(file));
        let contents = match batch.as_slice() {
            [_] => Contents::new(),
            several => self.fetcher.window(several.iter().flat_map(|file| &file.node.content))?,
        };
        for file in &batch {
            self.job.go_on()?;
            let mut path = Vec::new();
            join(&mut path, &file.parent, &file.node.name);
            let mut progress = OneFile::new(self.job.monitor, file.node.size);
            let written = self.write_one(file, &path, &contents, &mut progress);
            progress.end();
            match written {
                Ok(()) => continue,
                Err(Trouble::Fatal(error)) => return Err(error),
                Err(Trouble::Volume(errno)) => self.job.failed(&path, "write the file", errno)?,
                Err(Trouble::Problem(why)) => self.job.leave_out(&path, why),
            }
            if file.node.links > 1 {
                lock(&self.job.broken).insert(path);
            }
        }
        Ok(())
    }

    fn write_one(
        &mut self,
        file: &WantedFile,
        path: &[u8],
        contents: &Contents,
        progress: &mut OneFile<'_>,
    ) -> Result<(), Trouble> {
        let WantedFile { parent, node } = file;
        let dir = self.dirs.open(parent)?;
        let name = Name::new(&node.name).map_err(|_| Errno::INVAL)?;
        let mut new = NewFile::create(dir, &self.job.names)?;
        let job = self.job;
        let size = self.fetcher.deliver(&node.content, contents, |position, content| -> Result<(), Trouble> {
            let content = content.map_err(Trouble::Problem)?;
            job.go_on()?;
            new.put(position, content)?;
            progress.moved(content.len() as u64);
            Ok(())
        })?;
        if size != node.size {
            return Err(Trouble::Problem(format!("its content has {size} bytes, not {} as it should", node.size)));
        }
        new.finish()?;
        let have = metadata_of(new.fd())?;
        job.give(Object::Open(new.fd()), &have, node, path)?;
        commit_over(dir, name, |name| new.commit(name))?;
        job.files_written.fetch_add(1, Ordering::Relaxed);
        job.bytes_written.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the volume has the file with this content already, found by reading it; then it is given its attributes.
    fn is_there(&mut self, file: &WantedFile) -> bool {
        let there = self.find(file);
        let is_there = matches!(there, Ok(true));
        if is_there {
            self.job.monitor.done(1, file.node.size);
        }
        is_there
    }

    fn find(&mut self, file: &WantedFile) -> Result<bool, Errno> {
        let WantedFile { parent, node } = file;
        let dir = self.dirs.open(parent)?;
        let name = Name::new(&node.name).map_err(|_| Errno::INVAL)?;
        let have = metadata_at(dir, name)?;
        // One that has other names would change under all of them.
        let may_be = have.kind == Kind::File && have.size == node.size && have.links == 1 && node.links <= 1;
        if !may_be || !has_content(self.job, &mut self.buffer, dir, name, &have, &node.content)? {
            return Ok(false);
        }
        let mut path = Vec::new();
        join(&mut path, parent, &node.name);
        self.job.give(Object::Named(dir, name), &have, node, &path)?;
        Ok(true)
    }
}

/// Whether the file's content is that of these blobs.
fn has_content(
    job: &Job<'_>,
    buffer: &mut Vec<u8>,
    dir: BorrowedFd<'_>,
    name: Name<'_>,
    have: &Metadata,
    content: &[Id],
) -> Result<bool, Errno> {
    let mut reading = Reading::new(open_file(dir, name)?, have.size);
    for id in content {
        let Some(entry) = job.index.get(BlobKind::Data, id) else { return Ok(false) };
        buffer.resize(entry.content_len() as usize, 0);
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match reading.read(room)? {
                0 => return Ok(false),
                count => filled += count,
            }
        }
        if Id::of(buffer) != *id {
            return Ok(false);
        }
    }
    let now = metadata_of(reading.file())?;
    Ok((now.size, now.modified, now.changed) == (have.size, have.modified, have.changed))
}
