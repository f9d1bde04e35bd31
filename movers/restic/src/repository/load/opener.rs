//! Opening many blobs, of which two at a time are compared with their hashes (docs/adr/0019).

use crate::error::Error;
use crate::format::blob::Blob;
use crate::format::compress::{Codec, Compression};
use crate::format::id::two::{Unfinished, advance};
use crate::repository::Repository;
use crate::repository::load::{compare, damaged};

/// What is needed to open blobs: room for the contents of two of them.
#[derive(Default)]
pub(crate) struct Opener {
    codecs: Vec<Codec>,
}

/// A blob that is not yet compared with its hash.
struct Unproven<'b, T> {
    of: T,
    blob: Blob,
    content: Content<'b>,
    hash: Unfinished,
}

enum Content<'b> {
    Plain(&'b [u8]),
    /// It is in the codec's room.
    Expanded(Codec),
}

impl Content<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(content) => content,
            Self::Expanded(codec) => codec.expanded(),
        }
    }
}

impl Opener {
    /// Hands the content of each of these blobs to `each`, with what it was told it is of, or why it has none. They come as the bytes
    /// that they take in their packs, and end in about the same order.
    ///
    /// # Errors
    /// What `each` returns.
    pub(crate) fn open_each<'b, T, E>(
        &mut self,
        repository: &Repository,
        sealed: impl IntoIterator<Item = (T, Blob, &'b mut [u8])>,
        mut each: impl FnMut(T, Result<&[u8], Error>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut waiting: Option<Unproven<'b, T>> = None;
        for (of, blob, sealed) in sealed {
            let content = match self.content(repository, &blob, sealed) {
                Ok(content) => content,
                Err(error) => {
                    each(of, Err(error))?;
                    continue;
                }
            };
            let mut next = Unproven { of, blob, content, hash: Unfinished::new() };
            let Some(mut former) = waiting.take() else {
                waiting = Some(next);
                continue;
            };
            advance((&mut former.hash, former.content.bytes()), (&mut next.hash, next.content.bytes()));
            let is_former = former.hash.is_near_its_end(former.content.bytes());
            let (ended, other) = if is_former { (former, next) } else { (next, former) };
            waiting = Some(other);
            self.prove(ended, &mut each)?;
        }
        waiting.map_or(Ok(()), |last| self.prove(last, &mut each))
    }

    fn content<'b>(
        &mut self,
        repository: &Repository,
        blob: &Blob,
        sealed: &'b mut [u8],
    ) -> Result<Content<'b>, Error> {
        let content = repository.key().open(sealed).map_err(|_| damaged(blob, "its MAC does not match"))?;
        if blob.uncompressed == 0 {
            return Ok(Content::Plain(content));
        }
        let mut codec = self.codecs.pop().map_or_else(|| Codec::new(Compression::Auto), Ok)?;
        let expanded = codec.expand(content, blob.uncompressed as usize).map(|_| ());
        match expanded {
            Ok(()) => Ok(Content::Expanded(codec)),
            Err(why) => {
                self.codecs.push(codec);
                Err(damaged(blob, &why.to_string()))
            }
        }
    }

    fn prove<T, E>(
        &mut self,
        Unproven { of, blob, content, hash }: Unproven<'_, T>,
        each: &mut impl FnMut(T, Result<&[u8], Error>) -> Result<(), E>,
    ) -> Result<(), E> {
        let handed = each(of, compare(&blob, hash.finish(content.bytes())).map(|()| content.bytes()));
        if let Content::Expanded(codec) = content {
            self.codecs.push(codec);
        }
        handed
    }
}
