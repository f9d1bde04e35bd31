//! An open repository: its key, its configuration, and its files by kind.

pub(crate) mod blobs;
pub mod cache;
pub(crate) mod ids;
pub(crate) mod index;
pub(crate) mod load;
pub mod lock;
pub(crate) mod packs;
pub(crate) mod used;
pub(crate) mod writer;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use doppel_storage::{Kind, Part, Storage};
use jiff::Timestamp;

use crate::error::Error;
use crate::format::Malformed;
use crate::format::blob::BlobKind;
use crate::format::compress::{Codec, Compression};
use crate::format::config::{Config, Unknown, Version};
use crate::format::crypto::{Key, NONCE};
use crate::format::id::Id;
use crate::format::key::{Closed, KeyFile, Randomness};
use crate::format::polynomial::Polynomial;
use crate::format::time::Time;
use crate::repository::cache::Cache;
use crate::repository::index::{Index, Pack};

/// A repository that is open: whoever has this knows its key.
#[derive(Clone)]
pub struct Repository {
    storage: Arc<dyn Storage>,
    key: Key,
    config: Config,
    cache: Option<Arc<Cache>>,
    stop: Arc<AtomicBool>,
}

/// Files that are named by their IDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    Keys,
    Snapshots,
    Index,
    Locks,
    Data,
}

impl Folder {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Snapshots => "snapshots",
            Self::Index => "index",
            Self::Locks => "locks",
            Self::Data => "data",
        }
    }

    /// The name of one of its files.
    pub(crate) fn file(self, id: &Id) -> String {
        let digits = id.to_string();
        match self {
            Self::Data => format!("data/{}/{digits}", digits.get(..2).unwrap_or_default()),
            other => format!("{}/{digits}", other.name()),
        }
    }
}

const CONFIG: &str = "config";
/// No compressed file's JSON is longer. Index files are the longest, of 8 MiB most of the time; but restic puts some 400,000 very
/// small blobs into a pack (what fits into its longest header), and a pack into one index file: 63 MB.
const LONGEST_FILE: usize = 64 << 20;
/// restic's key files have half a kilobyte. They are read before anybody knows whether they are of this repository.
const LONGEST_KEY: u64 = 64 << 10;
/// Packs that are larger are read in parts, cache or not: all of one is in memory while it is fetched.
const LARGEST_FETCHED: u32 = 32 << 20;
/// How many keys are tried, as restic does: each takes a tenth of a second and 32 MiB or more.
const MOST_KEYS: usize = 20;

impl Repository {
    /// Opens the repository with one of its passwords.
    ///
    /// # Errors
    /// Apart from each other: the store cannot be used, there is no repository, its version is unknown, the password is
    /// wrong, it is damaged.
    pub fn open(storage: Arc<dyn Storage>, password: &[u8]) -> Result<Self, Error> {
        let config = match storage.read(CONFIG) {
            Err(error) if error.kind == Kind::NotFound => return Err(Error::NoRepository),
            config => config?,
        };
        let mut last = Error::WrongPassword;
        let keys = list(&*storage, Folder::Keys)?;
        if keys.is_empty() {
            return Err(Error::damaged(Folder::Keys.name(), "there is no key"));
        }
        for (id, size) in keys.iter().take(MOST_KEYS) {
            let name = Folder::Keys.file(id);
            if *size > LONGEST_KEY {
                last = Error::damaged(name, "it is longer than a key file can be");
                continue;
            }
            let opened = match storage.read(&name) {
                // It was removed since the listing.
                Err(error) if error.kind == Kind::NotFound => continue,
                json => KeyFile::parse(&json?).map_err(Closed::from).and_then(|file| file.open(password)),
            };
            match opened {
                Ok(key) => match parse_config(&key, &config) {
                    Ok(config) => return Ok(Self { storage, key, config, cache: None, stop: Arc::default() }),
                    Err(error @ Error::UnknownVersion(_)) => return Err(error),
                    // Of an initialization that died before it wrote its configuration, perhaps.
                    Err(error) => last = error,
                },
                Err(Closed::Password) => {}
                Err(Closed::Malformed(why)) => last = Error::in_file(&name)(why),
            }
        }
        Err(last)
    }

    /// Makes a repository. The configuration is written last: without it there is none.
    ///
    /// # Errors
    /// [`Error::AlreadyThere`], or the store's.
    pub fn init(storage: Arc<dyn Storage>, password: &[u8], version: Version) -> Result<Self, Error> {
        match storage.read(CONFIG) {
            Err(error) if error.kind == Kind::NotFound => {}
            config => return Err(config.map_or_else(Error::from, |_| Error::AlreadyThere)),
        }
        let random = Randomness { master: random()?, salt: random()?, nonce: random()? };
        let (file, key) = KeyFile::create(password, &random, Time::utc(Timestamp::now()))?;
        let polynomial = loop {
            if let Some(polynomial) = Polynomial::from_random(u64::from_le_bytes(self::random()?)) {
                break polynomial;
            }
        };
        let config = Config::new(version, self::random()?, polynomial);
        let file = serde_json::to_vec(&file).map_err(Malformed::from)?;
        storage.write(&Folder::Keys.file(&Id::of(&file)), file.into())?;
        let repository = Self { storage, key, config, cache: None, stop: Arc::default() };
        // Neither this file nor a key is compressed: restic reads them before it knows the version.
        let sealed = repository.seal(&repository.config.to_json()?)?;
        repository.storage.write(CONFIG, sealed.into())?;
        Ok(repository)
    }

    /// Makes every command end early, with [`Error::Stopped`], once the flag is set. Locks are released.
    #[must_use]
    pub fn stopped_by(mut self, flag: Arc<AtomicBool>) -> Self {
        self.stop = flag;
        self
    }

    /// Keeps what may be needed again in this cache, and looks for it there first.
    #[must_use]
    pub fn cached_in(self, cache: Cache) -> Self {
        Self { cache: Some(Arc::new(cache)), ..self }
    }

    /// The repository as its store has it.
    pub(crate) fn uncached(&self) -> Self {
        Self { cache: None, ..self.clone() }
    }

    /// The repository's own ID, which no other has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// The version of its format.
    #[must_use]
    pub fn version(&self) -> Version {
        self.config.version
    }

    pub(crate) fn polynomial(&self) -> Polynomial {
        self.config.polynomial
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The cache, if it keeps files of this kind.
    fn cache_of(&self, folder: Folder) -> Option<&Cache> {
        self.cache.as_deref().filter(|_| matches!(folder, Folder::Snapshots | Folder::Index))
    }

    /// IDs and sizes of all files of a kind.
    pub(crate) fn list(&self, folder: Folder) -> Result<Vec<(Id, u64)>, Error> {
        self.go_on()?;
        let listed = list(&*self.storage, folder)?;
        if let Some(cache) = self.cache_of(folder) {
            cache.retain(folder, |_| listed.iter().map(|(id, _)| *id).collect());
        }
        Ok(listed)
    }

    /// The JSON of a file, which is the one that its name says.
    pub(crate) fn load(&self, folder: Folder, id: &Id, codec: &mut Codec) -> Result<Vec<u8>, Error> {
        self.go_on()?;
        let name = folder.file(id);
        let cache = self.cache_of(folder);
        let sealed = match cache.and_then(|cache| cache.read(folder, id)) {
            Some(cached) => cached,
            None => {
                let sealed = self.storage.read(&name)?;
                if Id::of(&sealed) != *id {
                    return Err(Error::damaged(name, "its content is not the one that its name says"));
                }
                if let Some(cache) = cache {
                    cache.write(folder, id, sealed.clone());
                }
                sealed
            }
        };
        let mut sealed = Vec::from(sealed);
        let content =
            self.key.open(&mut sealed).map_err(|_| Error::damaged(&name, "it is not of this repository's key"))?;
        match content.split_first() {
            Some((b'{' | b'[', _)) | None => Ok(content.to_vec()),
            Some((2, compressed)) => codec.expand_file(compressed, LONGEST_FILE).map_err(Error::in_file(&name)),
            Some((other, _)) => Err(Error::damaged(name, format!("an unknown encoding, {other}"))),
        }
    }

    /// Writes a file; its ID.
    pub(crate) fn store(&self, folder: Folder, json: &[u8]) -> Result<Id, Error> {
        self.go_on()?;
        let compressed = match self.config.version {
            Version::V1 => None,
            Version::V2 => Codec::new(Compression::Auto)?.compress(json).map(|frame| [&[2][..], &frame].concat()),
        };
        let sealed = Bytes::from(self.seal(compressed.as_deref().unwrap_or(json))?);
        let id = Id::of(&sealed);
        self.storage.write(&folder.file(&id), sealed.clone())?;
        if let Some(cache) = self.cache_of(folder) {
            cache.write(folder, &id, sealed);
        }
        Ok(id)
    }

    /// Writes a pack with blobs of this kind.
    pub(crate) fn store_pack(&self, kind: BlobKind, id: &Id, pack: Vec<u8>) -> Result<(), Error> {
        self.go_on()?;
        let pack = Bytes::from(pack);
        self.storage.write(&Folder::Data.file(id), pack.clone())?;
        if let Some(cache) = self.cache.as_ref().filter(|_| kind == BlobKind::Tree) {
            cache.write(Folder::Data, id, pack);
        }
        Ok(())
    }

    /// All of a pack.
    pub(crate) fn read_pack(&self, id: &Id) -> Result<Bytes, Error> {
        self.go_on()?;
        Ok(self.storage.read(&Folder::Data.file(id))?)
    }

    /// A part of a pack.
    pub(crate) fn read_part(&self, pack: &Id, offset: u32, length: usize) -> Result<Bytes, Error> {
        self.go_on()?;
        Ok(self.storage.read_range(&Folder::Data.file(pack), offset.into(), length)?)
    }

    /// Parts of packs, several at a time, each with what became of it.
    pub(crate) fn read_parts(&self, parts: &[Part]) -> Result<Vec<Result<Bytes, doppel_storage::Error>>, Error> {
        self.go_on()?;
        Ok(self.storage.read_ranges(parts))
    }

    /// A part of a pack with trees, which nobody has compared with anything yet. With a cache all of the pack is fetched, as
    /// restic does it: it holds a directory's neighbours, and the next run needs them again.
    pub(crate) fn read_tree_part(&self, pack: &Pack, offset: u32, length: usize) -> Result<Bytes, Error> {
        let cache = self.cache.as_ref().filter(|cache| cache.takes_files() && pack.end <= LARGEST_FETCHED);
        if let Some(part) = self.cache.as_ref().and_then(|cache| cache.read_part(&pack.id, offset, length)) {
            return Ok(part);
        }
        let Some(cache) = cache else { return self.read_part(&pack.id, offset, length) };
        let whole = self.read_pack(&pack.id)?;
        if Id::of(&whole) == pack.id {
            cache.write(Folder::Data, &pack.id, whole.clone());
        }
        let (start, name) = (offset as usize, || Folder::Data.file(&pack.id));
        let end = start.checked_add(length).filter(|end| *end <= whole.len());
        Ok(whole.slice(start..end.ok_or_else(|| Error::damaged(name(), "it ends too early"))?))
    }

    /// Takes a pack out of the cache; whether it was there.
    pub(crate) fn forget_cached(&self, pack: &Id) -> bool {
        let is_cached = |cache: &&Arc<Cache>| cache.read_part(pack, 0, 0).is_some();
        self.cache.as_ref().filter(is_cached).map(|cache| cache.remove(Folder::Data, pack)).is_some()
    }

    /// Takes packs out of the cache that are in the index no more.
    pub(crate) fn tidy_cache(&self, index: &Index) {
        let Some(cache) = &self.cache else { return };
        cache.retain(Folder::Data, |cached| {
            let ids = index.packs().iter().map(|pack| pack.id);
            ids.filter(|id| cached.contains(id)).collect::<HashSet<_>>()
        });
    }

    /// Removes what writers that died left unfinished in the store, and in the cache.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        self.storage.sweep("")?;
        if let Some(cache) = &self.cache {
            cache.sweep();
        }
        Ok(())
    }

    /// Removes a file. That is not held up by a stop: locks are removed then, too.
    pub(crate) fn remove(&self, folder: Folder, id: &Id) -> Result<(), Error> {
        self.storage.remove(&folder.file(id))?;
        if let Some(cache) = &self.cache {
            cache.remove(folder, id);
        }
        Ok(())
    }

    /// Fails if this shall end.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }

    fn seal(&self, content: &[u8]) -> Result<Vec<u8>, Error> {
        let mut sealed = Vec::new();
        self.key.seal(random()?, content, &mut sealed);
        Ok(sealed)
    }
}

fn parse_config(key: &Key, sealed: &[u8]) -> Result<Config, Error> {
    let mut sealed = sealed.to_vec();
    let json =
        key.open(&mut sealed).map_err(|_| Error::damaged(CONFIG, "it is not of the key that the password opens"))?;
    Config::parse(json).map_err(|unknown| match unknown {
        Unknown::Version(version) => Error::UnknownVersion(version),
        Unknown::Malformed(why) => Error::in_file(CONFIG)(why),
    })
}

/// What is not named by an ID is no file of restic: one that is being written, for example.
fn list(storage: &dyn Storage, folder: Folder) -> Result<Vec<(Id, u64)>, Error> {
    let objects = storage.list(folder.name())?;
    let named = |object: &doppel_storage::Object| {
        let id = Id::from_hex(object.name.rsplit('/').next()?)?;
        Some((id, object.size))
    };
    Ok(objects.iter().filter_map(named).collect())
}

/// Bytes that nobody can guess.
pub(crate) fn random<const LEN: usize>() -> Result<[u8; LEN], Error> {
    let mut bytes = [0; LEN];
    // The kernel fills as many at once: a signal cannot cut short less than 257 (getrandom(2)).
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(count) if count == LEN => Ok(bytes),
        Ok(_) => Err(Error::Resources(io::Error::other("too few random bytes"))),
        Err(errno) => Err(Error::Resources(errno.into())),
    }
}

/// A new IV.
pub(crate) fn nonce() -> Result<[u8; NONCE], Error> {
    random()
}
