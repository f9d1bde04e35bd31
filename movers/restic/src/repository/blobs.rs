//! Reading blobs one by one or in runs: what is damaged in one pack is taken from another, if the repository has it twice.

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::repository::Repository;
use crate::repository::index::{Entry, Index};
use crate::repository::load::open_blob;

/// Reads blobs.
pub(crate) struct BlobReader<'r> {
    repository: &'r Repository,
    index: &'r Index,
    codec: Codec,
}

/// What is read at once, at most; a larger blob is read alone.
const RUN: u32 = 16 << 20;
/// Bytes between two blobs that are read rather than to ask twice.
const GAP: u32 = 128 << 10;

impl<'r> BlobReader<'r> {
    pub(crate) fn new(repository: &'r Repository, index: &'r Index) -> Result<Self, Error> {
        Ok(Self { repository, index, codec: Codec::new(Compression::Auto)? })
    }

    /// The content of a blob.
    pub(crate) fn read(&mut self, kind: BlobKind, id: &Id) -> Result<Vec<u8>, Error> {
        let first = self.index.position(kind, id);
        let places = first.and_then(|first| self.index.entries(kind).get(first..)).unwrap_or_default();
        let mut last = Error::damaged(format!("blob {id}"), "it is in no index");
        for entry in places.iter().take_while(|entry| entry.id == *id) {
            match self.read_at(kind, entry) {
                Ok(content) => return Ok(content),
                Err(error) if error.is_unreachable() || matches!(error, Error::Stopped) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn read_at(&mut self, kind: BlobKind, entry: &Entry) -> Result<Vec<u8>, Error> {
        let pack = self.index.pack(entry.pack).id;
        let mut sealed = Vec::from(self.repository.read_part(&pack, entry.offset, entry.length as usize)?);
        open_blob(self.repository, &mut self.codec, &entry.blob(kind), &mut sealed)
    }

    /// Hands the contents of blobs that lie close together to `each`.
    pub(crate) fn read_run(
        &mut self,
        run: &[(BlobKind, Entry)],
        mut each: impl FnMut(BlobKind, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { return Ok(()) };
        let pack = self.index.pack(first.pack).id;
        let len = end(last).saturating_sub(first.offset) as usize;
        let read = self.repository.read_part(&pack, first.offset, len).map(Vec::from);
        let mut bytes = match read {
            Err(error) if error.is_unreachable() || matches!(error, Error::Stopped) => return Err(error),
            // Each of them is looked for alone, and elsewhere.
            Err(_) => Vec::new(),
            Ok(bytes) => bytes,
        };
        for (kind, entry) in run {
            let start = (entry.offset - first.offset) as usize;
            let sealed = bytes.get_mut(start..start + entry.length as usize);
            let opened = sealed.map(|sealed| open_blob(self.repository, &mut self.codec, &entry.blob(*kind), sealed));
            let content = match opened {
                Some(Ok(content)) => content,
                Some(Err(_)) | None => self.read(*kind, &entry.id)?,
            };
            each(*kind, &content)?;
        }
        Ok(())
    }
}

fn end(entry: &Entry) -> u32 {
    entry.offset.saturating_add(entry.length)
}

/// Blobs that are read at once, of blobs in the order of their places.
pub(crate) fn runs(mut rest: &[(BlobKind, Entry)]) -> impl Iterator<Item = &[(BlobKind, Entry)]> {
    std::iter::from_fn(move || {
        let (_, first) = rest.first()?;
        let is_next = |pair: &&[(BlobKind, Entry)]| match pair {
            [(_, a), (_, b)] => {
                let is_near = b.offset.saturating_sub(end(a)) <= GAP;
                a.pack == b.pack && is_near && end(b).saturating_sub(first.offset) <= RUN
            }
            _ => false,
        };
        let len = 1 + rest.windows(2).take_while(is_next).count();
        let (run, others) = rest.split_at_checked(len)?;
        rest = others;
        Some(run)
    })
}
