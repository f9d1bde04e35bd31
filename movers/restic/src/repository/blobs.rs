//! Reading blobs one by one, or many in the order in which they are in packs: those that lie close together at once, and several such
//! parts at a time. What is damaged in one pack is taken from another, if the repository has it twice.

#[cfg(test)]
mod tests;

use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use doppel_storage::Part;

use crate::error::Error;
use crate::format::blob::{Blob, BlobKind};
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::repository::index::{Entry, Index};
use crate::repository::load::open_blob;
use crate::repository::load::opener::Opener;
use crate::repository::{Folder, Repository};

/// Reads blobs.
pub(crate) struct BlobReader<'r> {
    alone: OneByOne<'r>,
    opener: Opener,
}

struct OneByOne<'r> {
    repository: &'r Repository,
    index: &'r Index,
    codec: Codec,
}

/// A blob, and where it is.
pub(crate) type Place = (BlobKind, Entry);

/// What is read with one request, at most; a larger blob is read alone.
const RUN: u32 = 4 << 20;
/// Bytes between two blobs that are read rather than to ask twice.
const GAP: u32 = 128 << 10;
/// What is read at a time, and twice that is in memory; a run more goes beyond it.
const AT_A_TIME: usize = 8 << 20;

impl<'r> BlobReader<'r> {
    pub(crate) fn new(repository: &'r Repository, index: &'r Index) -> Result<Self, Error> {
        let alone = OneByOne { repository, index, codec: Codec::new(Compression::Auto)? };
        Ok(Self { alone, opener: Opener::default() })
    }

    /// The content of a blob.
    pub(crate) fn read(&mut self, kind: BlobKind, id: &Id) -> Result<Vec<u8>, Error> {
        self.alone.read(kind, id)
    }

    /// Hands the content of each of these blobs to `each`, or why it cannot be had from anywhere. They are in the order of their
    /// places. While some are opened and handed over, the next ones are read.
    ///
    /// # Errors
    /// What `each` returns, and what the next blob would meet with, too.
    pub(crate) fn read_all<E: From<Error>>(
        &mut self,
        places: &[Place],
        mut each: impl FnMut(&Place, Result<&[u8], Error>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (repository, index) = (self.alone.repository, self.alone.index);
        let (read, batches) = sync_channel(0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for runs in batches_of(places) {
                    let parts: Vec<Part> = runs.iter().filter_map(|run| part(index, run)).collect();
                    // Whoever was to have it may have ended.
                    let Ok(()) = read.send((runs, repository.read_parts(&parts))) else { return };
                }
            });
            batches.into_iter().try_for_each(|(runs, answers)| self.open_runs(&runs, answers?, &mut each))
        })
    }

    fn open_runs<E: From<Error>>(
        &mut self,
        runs: &[&[Place]],
        answers: Vec<Result<Bytes, doppel_storage::Error>>,
        each: &mut impl FnMut(&Place, Result<&[u8], Error>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut answers = answers.into_iter();
        let came = |_| match answers.next().map(|answer| answer.map_err(Error::from)) {
            Some(Ok(bytes)) => Ok(Vec::from(bytes)),
            Some(Err(error)) if is_fatal(&error) => Err(error),
            // Each of them is looked for alone, and elsewhere.
            Some(Err(_)) | None => Ok(Vec::new()),
        };
        let mut answered = runs.iter().map(came).collect::<Result<Vec<_>, _>>()?;
        let (repository, alone) = (self.alone.repository, &mut self.alone);
        let sealed = runs.iter().zip(&mut answered).flat_map(|(run, bytes)| sealed(run, bytes));
        self.opener.open_each(repository, sealed, |place @ (kind, entry), opened| match opened {
            Ok(content) => each(place, Ok(content)),
            Err(_) => match alone.read(*kind, &entry.id) {
                Err(error) if is_fatal(&error) => Err(error.into()),
                Err(error) => each(place, Err(error)),
                Ok(content) => each(place, Ok(&content)),
            },
        })
    }
}

impl OneByOne<'_> {
    fn read(&mut self, kind: BlobKind, id: &Id) -> Result<Vec<u8>, Error> {
        let first = self.index.position(kind, id);
        let places = first.and_then(|first| self.index.entries(kind).get(first..)).unwrap_or_default();
        let mut last = Error::damaged(format!("blob {id}"), "it is in no index");
        for entry in places.iter().take_while(|entry| entry.id == *id) {
            match self.read_at(kind, entry) {
                Ok(content) => return Ok(content),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn read_at(&mut self, kind: BlobKind, entry: &Entry) -> Result<Vec<u8>, Error> {
        let pack = self.index.pack(entry.pack).id;
        let mut sealed = Vec::from(self.repository.read_part(&pack, entry.offset, entry.length as usize)?);
        open_blob(self.repository, &mut self.codec, &entry.blob(kind), &mut sealed).map(<[u8]>::to_vec)
    }
}

/// The blobs of a run, each with its bytes; with none, if they did not come, or if another blob has them.
fn sealed<'b, 'p>(run: &'p [Place], mut bytes: &'b mut [u8]) -> impl Iterator<Item = (&'p Place, Blob, &'b mut [u8])> {
    let mut at = run.first().map_or(0, |(_, first)| first.offset);
    run.iter().map(move |place @ (kind, entry)| {
        let of_this = entry.offset.checked_sub(at).and_then(|gap| {
            let (_, rest) = std::mem::take(&mut bytes).split_at_mut_checked(gap as usize)?;
            let (of_this, rest) = rest.split_at_mut_checked(entry.length as usize)?;
            (at, bytes) = (end(entry), rest);
            Some(of_this)
        });
        (place, entry.blob(*kind), of_this.unwrap_or_default())
    })
}

fn part(index: &Index, run: &[Place]) -> Option<Part> {
    let (_, first) = run.first()?;
    let name = Folder::Data.file(&index.pack(first.pack).id);
    Some(Part { name, offset: first.offset.into(), length: length(run) })
}

/// Whether the next blob will fare no better.
fn is_fatal(error: &Error) -> bool {
    error.is_unreachable() || matches!(error, Error::Stopped)
}

fn end(entry: &Entry) -> u32 {
    entry.offset.saturating_add(entry.length)
}

fn length(run: &[Place]) -> usize {
    let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { return 0 };
    end(last).saturating_sub(first.offset) as usize
}

/// Runs that are read at a time, of blobs in the order of their places.
fn batches_of(places: &[Place]) -> impl Iterator<Item = Vec<&[Place]>> {
    let mut runs = runs(places).peekable();
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let batch: Vec<_> = std::iter::from_fn(|| {
            let run = runs.next_if(|_| bytes < AT_A_TIME)?;
            bytes += length(run);
            Some(run)
        })
        .collect();
        (!batch.is_empty()).then_some(batch)
    })
}

/// Blobs that are read with one request, of blobs in the order of their places.
fn runs(mut rest: &[Place]) -> impl Iterator<Item = &[Place]> {
    std::iter::from_fn(move || {
        let (_, first) = rest.first()?;
        let is_next = |pair: &&[Place]| match pair {
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
