//! Packs that are being filled. Which of several open packs takes a blob is left to chance, so that the sizes of packs do not
//! tell where a file was cut (restic issue 5291).

use crate::error::Error;
use crate::format::blob::{Blob, BlobKind};
use crate::format::crypto::Key;
use crate::format::id::Id;
use crate::format::index::{self, IndexedPack};
use crate::format::pack;
use crate::repository::{nonce, random};
use crate::room::apart;

/// The open packs for blobs of one kind.
pub(crate) struct OpenPacks {
    kind: BlobKind,
    size: usize,
    open: [Option<OpenPack>; OPEN],
}

/// As many as restic has.
const OPEN: usize = 2;

/// A pack that takes blobs.
pub(crate) struct OpenPack {
    bytes: Vec<u8>,
    blobs: Vec<Blob>,
}

/// A blob, compressed and encrypted.
pub(crate) struct Sealed<'s> {
    pub(crate) id: Id,
    pub(crate) uncompressed: u32,
    pub(crate) bytes: &'s [u8],
}

impl OpenPacks {
    pub(crate) fn new(kind: BlobKind, size: usize) -> Self {
        Self { kind, size, open: [None, None] }
    }

    /// Adds a blob; the pack that is full with it, if one is.
    pub(crate) fn add(&mut self, sealed: &Sealed<'_>) -> Result<Option<OpenPack>, Error> {
        let [chance] = random()?;
        let place = match self.open.get_mut(usize::from(chance) % OPEN) {
            // A large one gets a pack of its own, as restic does it.
            Some(place) if sealed.bytes.len() < self.size => place,
            _ => return OpenPack::new(0).add(self.kind, sealed).map(Some),
        };
        let pack = place.take().unwrap_or_else(|| OpenPack::new(self.size)).add(self.kind, sealed)?;
        // A pack of very small ones would hold 300,000 of them, and its index 50 MB of text.
        if pack.bytes.len() >= self.size || pack.blobs.len() == index::BLOBS {
            return Ok(Some(pack));
        }
        *place = Some(pack);
        Ok(None)
    }

    /// What is left, in as few packs as it fits into.
    pub(crate) fn take_rest(&mut self) -> Vec<OpenPack> {
        let mut rest: Vec<OpenPack> = Vec::new();
        for pack in self.open.iter_mut().filter_map(Option::take) {
            match rest.last_mut() {
                Some(last) if last.bytes.len() + pack.bytes.len() <= self.size => last.append(&pack),
                _ => rest.push(pack),
            }
        }
        rest
    }
}

impl OpenPack {
    fn new(size: usize) -> Self {
        // All that it will need: growing would copy it.
        Self { bytes: apart(size + size / 2), blobs: Vec::new() }
    }

    /// A pack of a single blob, whose bytes become the pack's.
    pub(crate) fn of_one(kind: BlobKind, id: Id, uncompressed: u32, bytes: Vec<u8>) -> Result<Self, Error> {
        let too_large = |_| Error::damaged(format!("blob {id}"), "it does not fit into a pack");
        let length = u32::try_from(bytes.len()).map_err(too_large)?;
        Ok(Self { bytes, blobs: vec![Blob { id, kind, offset: 0, length, uncompressed }] })
    }

    fn add(mut self, kind: BlobKind, sealed: &Sealed<'_>) -> Result<Self, Error> {
        let too_large = |_| Error::damaged(format!("blob {}", sealed.id), "it does not fit into a pack");
        let blob = Blob {
            id: sealed.id,
            kind,
            offset: u32::try_from(self.bytes.len()).map_err(too_large)?,
            length: u32::try_from(sealed.bytes.len()).map_err(too_large)?,
            uncompressed: sealed.uncompressed,
        };
        self.bytes.extend_from_slice(sealed.bytes);
        self.blobs.push(blob);
        Ok(self)
    }

    fn append(&mut self, other: &Self) {
        let before = u32::try_from(self.bytes.len()).unwrap_or_default();
        self.bytes.extend_from_slice(&other.bytes);
        self.blobs.extend(other.blobs.iter().map(|blob| Blob { offset: before + blob.offset, ..*blob }));
    }

    /// Its file, with its name and what an index says of it.
    pub(crate) fn finish(mut self, key: &Key) -> Result<(IndexedPack, Vec<u8>), Error> {
        let start = self.bytes.len();
        key.seal(nonce()?, &pack::encode(&self.blobs), &mut self.bytes);
        let len = u32::try_from(self.bytes.len() - start);
        let len = len.map_err(|_| Error::damaged("a new pack", "its header is too long"))?;
        self.bytes.extend(len.to_le_bytes());
        Ok((IndexedPack { id: Id::of(&self.bytes), blobs: self.blobs }, self.bytes))
    }
}
