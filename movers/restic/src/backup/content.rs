//! The content of files: cut into chunks by the threads that read, saved by those that take chunks. Small files are one
//! chunk, and saved by whoever read them.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex};

use doppel_contract::Line;
use doppel_volume::dirs::Dirs;
use doppel_volume::metadata::{Kind, Metadata};
use doppel_volume::monitor::OneFile;
use doppel_volume::names::{Name, join};
use doppel_volume::sparse::Reading;
use doppel_volume::tree::{Tree, metadata_of, open_file};
use rustix::io::Errno;

use crate::backup::directory::Place;
use crate::backup::{Reader, lock};
use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::chunker::{LEAST, MOST};
use crate::format::compress::Codec;
use crate::format::id::Id;
use crate::format::tree::Node;

/// A file whose content is to be read.
pub(super) struct File {
    pub(super) place: Place,
    pub(super) node: Node,
}

/// A piece of a file, to be saved.
pub(super) struct Chunk {
    content: Arc<Content>,
    number: usize,
    bytes: Vec<u8>,
}

/// The content of a file that is more than one chunk.
struct Content {
    ids: Mutex<Vec<Id>>,
    /// Chunks that are not saved, and one for whoever reads.
    waiting: AtomicUsize,
    /// The file, once it is read to its end.
    file: Mutex<Option<File>>,
}

/// A thread that reads files.
pub(super) struct Files<'b> {
    reader: &'b Reader<'b>,
    dirs: Dirs<'b>,
    chunks: SyncSender<Chunk>,
    codec: Codec,
    buffer: Vec<u8>,
    /// The ID of a chunk of zeros, of which a file with holes has many.
    zeros: Option<Id>,
}

/// A thread that saves chunks.
pub(super) struct Chunks<'b> {
    reader: &'b Reader<'b>,
    codec: Codec,
}

/// Why a file is not in the snapshot as it should be.
enum Trouble {
    /// It is not there any more.
    Vanished,
    /// It cannot be read.
    Unreadable(Errno),
    /// The whole backup fails.
    Fatal(Error),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::LOOP => Self::Vanished,
            other => Self::Unreadable(other),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// What is read at once.
const PIECE: usize = 1 << 20;

impl<'b> Files<'b> {
    pub(super) fn new(tree: &'b Tree, reader: &'b Reader<'b>, chunks: SyncSender<Chunk>) -> Result<Self, Error> {
        Ok(Self {
            reader,
            dirs: Dirs::new(tree),
            chunks,
            codec: reader.codec()?,
            buffer: vec![0; MOST + PIECE],
            zeros: None,
        })
    }

    pub(super) fn run(&mut self, batches: &Mutex<Receiver<Vec<File>>>) -> Result<(), Error> {
        loop {
            let next = lock(batches).recv();
            let Ok(batch) = next else { return Ok(()) };
            for file in batch {
                // After a failure the queue is emptied, so that nobody waits for it.
                if self.reader.go_on().is_ok() {
                    self.reader.keep(self.save(file));
                }
            }
        }
    }

    fn save(&mut self, file: File) -> Result<(), Error> {
        let mut path = Vec::new();
        join(&mut path, &file.place.directory.path, &file.node.name);
        let path = Line::from_bytes(&path);
        let mut progress = OneFile::new(self.reader.monitor, file.node.size);
        let place = file.place.clone();
        let read = self.read(file, &path, &mut progress);
        progress.end();
        match read {
            Ok(()) => return Ok(()),
            Err(Trouble::Fatal(error)) => return Err(error),
            Err(Trouble::Vanished) => self.reader.remark(path, Line::new("it vanished before it was read")),
            Err(Trouble::Unreadable(errno)) => {
                let why = format!("read the content: {}", std::io::Error::from(errno));
                self.reader.leave_out(path, Line::new(why));
            }
        }
        place.complete(None, self.reader, &mut self.codec)
    }

    /// Reads a file, once more if it changed meanwhile.
    fn read(&mut self, file: File, path: &Line, progress: &mut OneFile<'_>) -> Result<(), Trouble> {
        let File { place, mut node } = file;
        let mut tries = 0;
        loop {
            tries += 1;
            let (opened, before) = self.open(&place, &node.name)?;
            let mut reading = Reading::new(opened, before.size);
            let (content, size) = self.cut(&mut reading, before.size, progress)?;
            let after = metadata_of(reading.file())?;
            let is_same = (after.size, after.modified, after.changed) == (before.size, before.modified, before.changed);
            if !is_same && tries == 1 {
                continue;
            }
            if !is_same || size != before.size {
                self.reader.remark(path.clone(), Line::new("it changed while it was read, twice"));
            }
            // These times are of the content that was read: if the file changed later, the next backup sees it.
            (node.modified, node.accessed, node.changed) = (before.modified, before.modified, before.changed);
            (node.size, node.inode) = (size, before.identity.inode);
            let codec = &mut self.codec;
            return Ok(content.finish_reading(File { place, node }, self.reader, codec)?);
        }
    }

    fn open(&mut self, place: &Place, name: &[u8]) -> Result<(OwnedFd, Metadata), Trouble> {
        let dir = self.dirs.open(&place.directory.path)?;
        let name = Name::new(name).map_err(|_| Errno::INVAL)?;
        let file = open_file(dir, name)?;
        let metadata = metadata_of(&file)?;
        // Something else took its name. That is as good as if it had vanished.
        if metadata.kind == Kind::File { Ok((file, metadata)) } else { Err(Trouble::Vanished) }
    }

    /// Reads all of a file; what of it is to be saved, and its length.
    fn cut(
        &mut self,
        reading: &mut Reading,
        size: u64,
        progress: &mut OneFile<'_>,
    ) -> Result<(Arc<Content>, u64), Trouble> {
        let content = Arc::new(Content { ids: Mutex::default(), waiting: AtomicUsize::new(1), file: Mutex::default() });
        let is_small = size <= LEAST as u64;
        let (mut start, mut end, mut searched, mut total) = (0, 0, 0, 0_u64);
        loop {
            let unsaved = self.buffer.get(start..end).unwrap_or_default();
            let cut = self.reader.chunker.cut(unsaved, searched);
            if let Some(bytes) = cut.and_then(|len| unsaved.get(..len)) {
                (start, searched) = (start + bytes.len(), 0);
                if !is_zeros(bytes) {
                    self.chunks.send(content.chunk(bytes)).map_err(|_| Error::Stopped)?;
                    continue;
                }
                let known = self.zeros.map_or_else(
                    || self.reader.writer.save(BlobKind::Data, bytes, &mut self.codec).map(|saved| saved.id),
                    Ok,
                )?;
                self.zeros = Some(known);
                lock(&content.ids).push(known);
                continue;
            }
            searched = end - start;
            if self.buffer.len() - end < PIECE {
                self.buffer.copy_within(start..end, 0);
                (start, end) = (0, end - start);
            }
            let room = self.buffer.get_mut(end..end + PIECE).unwrap_or_default();
            let count = reading.read(room)?;
            progress.moved(count as u64);
            total += count as u64;
            end += count;
            if count == 0 {
                break;
            }
            self.reader.go_on()?;
        }
        let rest = self.buffer.get(start..end).unwrap_or_default();
        if is_small && total == rest.len() as u64 && !rest.is_empty() {
            let saved = self.reader.writer.save(BlobKind::Data, rest, &mut self.codec)?;
            lock(&content.ids).push(saved.id);
        } else if !rest.is_empty() {
            self.chunks.send(content.chunk(rest)).map_err(|_| Error::Stopped)?;
        }
        Ok((content, total))
    }
}

/// Whether this is what a hole is cut into: zeros are cut as soon as may be.
fn is_zeros(chunk: &[u8]) -> bool {
    chunk.len() == LEAST && chunk.chunks(1024).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

impl Content {
    fn chunk(self: &Arc<Self>, bytes: &[u8]) -> Chunk {
        let mut ids = lock(&self.ids);
        ids.push(Id::NONE);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Chunk { content: Arc::clone(self), number: ids.len() - 1, bytes: bytes.to_vec() }
    }

    fn finish_reading(&self, file: File, reader: &Reader<'_>, codec: &mut Codec) -> Result<(), Error> {
        *lock(&self.file) = Some(file);
        self.release(reader, codec)
    }

    /// One less to wait for. A content that nobody read to its end has no file, and goes nowhere.
    fn release(&self, reader: &Reader<'_>, codec: &mut Codec) -> Result<(), Error> {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let Some(File { place, mut node }) = lock(&self.file).take() else { return Ok(()) };
        node.content = std::mem::take(&mut lock(&self.ids));
        reader.count(|counts| counts.total_bytes_processed += node.size);
        place.complete(Some(node), reader, codec)
    }
}

impl<'b> Chunks<'b> {
    pub(super) fn new(reader: &'b Reader<'b>) -> Result<Self, Error> {
        Ok(Self { reader, codec: reader.codec()? })
    }

    pub(super) fn run(&mut self, chunks: &Mutex<Receiver<Chunk>>) -> Result<(), Error> {
        loop {
            let next = lock(chunks).recv();
            let Ok(chunk) = next else { return Ok(()) };
            if self.reader.go_on().is_ok() {
                self.reader.keep(self.save(&chunk));
            }
        }
    }

    fn save(&mut self, chunk: &Chunk) -> Result<(), Error> {
        let Chunk { content, number, bytes } = chunk;
        let saved = self.reader.writer.save(BlobKind::Data, bytes, &mut self.codec)?;
        if let Some(place) = lock(&content.ids).get_mut(*number) {
            *place = saved.id;
        }
        content.release(self.reader, &mut self.codec)
    }
}
