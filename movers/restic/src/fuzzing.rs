//! What `fuzz/` reaches of the format: each kind of bytes that a repository holds, read, and what was read written and read
//! again. A test reads the corpus through the same functions: what real repositories hold is understood.

use std::fmt::Debug;

use doppel_volume::names::Name;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::format::blob::BlobKind;
use crate::format::compress::{Codec, Compression};
use crate::format::config::Config;
use crate::format::id::Id;
use crate::format::key::{KeyFile, parse_master};
use crate::format::lock::Lock;
use crate::format::snapshot::Snapshot;
use crate::format::{index, pack, tree};
use crate::repository::index::Index;
use crate::repository::writer::{self, Packing, SMALLEST_PACK};
use crate::repository::{Folder, Repository};

/// How bytes of each format are read; whether they were of it.
type Reader = fn(&[u8]) -> bool;

/// Each format with its name. Its place here is the first byte of an input, so that one program fuzzes all of them.
pub const FORMATS: [(&str, Reader); 9] = [
    ("header", read_header),
    ("index", read_index),
    ("tree", read_tree),
    ("snapshot", read_snapshot),
    ("key", read_key),
    ("master", read_master),
    ("config", read_config),
    ("lock", read_lock),
    ("frame", read_frame),
];

/// Reads bytes as what their first one says; whether they are that.
#[must_use]
pub fn read(bytes: &[u8]) -> bool {
    let Some((format, bytes)) = bytes.split_first() else { return false };
    FORMATS.get(usize::from(*format)).is_some_and(|(_, read)| read(bytes))
}

/// The first four bytes say how many bytes of blobs go before the header.
fn read_header(bytes: &[u8]) -> bool {
    let Some((room, header)) = bytes.split_first_chunk() else { return false };
    let _ = pack::header_len(*room, header.len() as u64);
    let room = u32::from_le_bytes(*room).into();
    let Ok(blobs) = pack::decode(header, room) else { return false };
    let end = blobs.iter().fold(0, |end, blob| {
        assert_eq!(blob.offset, end, "blobs follow each other");
        end + blob.length
    });
    assert_eq!(u64::from(end), room);
    assert_eq!(pack::decode(&pack::encode(&blobs), room), Ok(blobs));
    true
}

fn read_index(json: &[u8]) -> bool {
    let Ok(packs) = index::decode(json) else { return false };
    for blob in packs.iter().flat_map(|pack| &pack.blobs) {
        assert!(blob.offset.checked_add(blob.length).is_some() && blob.uncompressed as usize <= blob.kind.limit());
    }
    assert_eq!(index::encode(&packs).and_then(|json| index::decode(&json)), Ok(packs));
    true
}

fn read_tree(json: &[u8]) -> bool {
    let Ok(nodes) = tree::decode(json) else { return false };
    assert!(nodes.iter().all(|node| Name::new(&node.name).is_ok()) && nodes.is_sorted_by(|a, b| a.name < b.name));
    // What is written has no fields that nobody knows, and no years that cannot be written: from then on nothing changes.
    let written = tree::encode(&nodes);
    let again = tree::decode(written.as_bytes());
    assert_eq!(again.map(|nodes| tree::encode(&nodes)), Ok(written));
    true
}

fn read_snapshot(json: &[u8]) -> bool {
    let Some(snapshot) = comes_back::<Snapshot>(json) else { return false };
    let _ = (snapshot.is_complete(), snapshot.time.civil());
    true
}

fn read_key(json: &[u8]) -> bool {
    /// More takes too long to be done again and again.
    const LITTLE: u64 = 64 << 10;
    let Ok(file) = KeyFile::parse(json) else { return false };
    if file.work() <= LITTLE {
        let _ = file.open(b"password");
    }
    true
}

fn read_master(json: &[u8]) -> bool {
    parse_master(json).is_ok()
}

fn read_config(json: &[u8]) -> bool {
    let Ok(config) = Config::parse(json) else { return false };
    let written = config.to_json();
    let again = written.as_ref().ok().and_then(|json| Config::parse(json).ok());
    assert_eq!(again.map(|config| config.to_json()), Some(written));
    true
}

fn read_lock(json: &[u8]) -> bool {
    let Some(lock) = comes_back::<Lock>(json) else { return false };
    let _ = (lock.is_stale(Timestamp::UNIX_EPOCH), lock.words(), lock.conflicts(&lock));
    true
}

/// The first four bytes say how long the content may be.
fn read_frame(bytes: &[u8]) -> bool {
    const MOST: usize = 1 << 20;
    let Some((limit, frame)) = bytes.split_first_chunk() else { return false };
    let limit = (u32::from_le_bytes(*limit) as usize).min(MOST);
    let Ok(mut codec) = Codec::new(Compression::Auto) else { return false };
    let Ok(content) = codec.expand_file(frame, limit) else { return false };
    assert!(content.len() <= limit);
    assert_eq!(codec.expand(frame, content.len()), Ok(content.as_slice()));
    true
}

/// The value, which is the same after it was written and read again.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(json).ok()?;
    let again = serde_json::to_vec(&value).ok().and_then(|json| serde_json::from_slice(&json).ok());
    assert_eq!(again.as_ref(), Some(&value));
    Some(value)
}

/// The content of the one file that planted trees can have.
const CONTENT: &[u8] = b"content";

/// Puts trees into a repository and a snapshot of the last of them; the snapshot's ID. In the JSON of a tree, `TREE` stands
/// for the ID of the one before it, and `DATA` for that of a content.
///
/// # Errors
/// The store's.
pub fn plant(repository: &Repository, trees: &[&[u8]]) -> Result<Id, Error> {
    let packing = Packing { compression: Compression::Auto, pack_size: SMALLEST_PACK };
    let (root, _) = writer::write(repository, &Index::default(), packing, |writer| {
        let mut codec = Codec::new(Compression::Auto)?;
        let data = writer.save(BlobKind::Data, CONTENT, &mut codec)?.id.to_string();
        trees.iter().try_fold(Id::of(b""), |before, json| {
            let json = replace(json, b"DATA", data.as_bytes());
            let json = replace(&json, b"TREE", before.to_string().as_bytes());
            Ok(writer.save(BlobKind::Tree, &json, &mut codec)?.id)
        })
    })?;
    let snapshot = format!(r#"{{"time":"2026-11-29T12:00:00Z","tree":"{root}","paths":["/data"]}}"#);
    repository.store(Folder::Snapshots, snapshot.as_bytes())
}

fn replace(json: &[u8], word: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(word) {
            Some(after) => {
                out.extend_from_slice(by);
                rest = after;
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use doppel_storage::double::Memory;

    use super::*;
    use crate::format::config::Version;
    use crate::snapshots::snapshots;

    #[test]
    fn what_real_repositories_hold_is_understood() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/repository");
        let mut met = [0; FORMATS.len()];
        for seed in fs::read_dir(corpus).unwrap() {
            let path = seed.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            assert!(read(&bytes), "{}", path.display());
            let (name, _) = FORMATS[usize::from(bytes[0])];
            assert!(path.file_name().unwrap().to_str().unwrap().starts_with(name), "{}", path.display());
            met[usize::from(bytes[0])] += 1;
        }
        assert!(met.iter().all(|seeds| *seeds > 0), "{met:?}");
    }

    #[test]
    fn a_planted_tree_is_in_a_snapshot() {
        let storage = Arc::new(Memory::default());
        let repository = Repository::init(storage, b"password", Version::V2).unwrap();
        let id = plant(&repository, &[b"{\"nodes\":[]}", b"{\"nodes\":[],\"of\":\"TREE DATA\"}"]).unwrap();
        let all = snapshots(&repository).unwrap();
        assert_eq!(all.iter().map(|stored| stored.id).collect::<Vec<_>>(), [id]);
        let json = format!("{{\"nodes\":[],\"of\":\"{} {}\"}}", Id::of(b"{\"nodes\":[]}"), Id::of(CONTENT));
        assert_eq!(all[0].snapshot.tree, Id::of(json.as_bytes()));
    }
}
