//! Index files: which packs there are, and which blobs are in them (design.rst, "Indexing").

use serde::{Deserialize, Serialize};

use crate::format::Malformed;
use crate::format::blob::{Blob, BlobKind};
use crate::format::id::Id;
use crate::format::pack;

/// A pack, as an index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexedPack {
    pub(crate) id: Id,
    pub(crate) blobs: Vec<Blob>,
}

/// How many blobs restic puts into one file: some 8 MiB of text.
pub(crate) const BLOBS: usize = 50_000;

#[derive(Serialize, Deserialize)]
struct File {
    packs: Vec<Pack>,
}

#[derive(Serialize, Deserialize)]
struct Pack {
    id: Id,
    blobs: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: Id,
    #[serde(rename = "type")]
    kind: BlobKind,
    offset: u32,
    length: u32,
    #[serde(default, rename = "uncompressed_length", skip_serializing_if = "is_zero")]
    uncompressed: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

pub(crate) fn decode(json: &[u8]) -> Result<Vec<IndexedPack>, Malformed> {
    let File { packs } = serde_json::from_slice(json)?;
    let checked =
        |Entry { id, kind, offset, length, uncompressed }| pack::check(Blob { id, kind, offset, length, uncompressed });
    let packs = packs.into_iter().map(|Pack { id, blobs }| {
        Ok(IndexedPack { id, blobs: blobs.into_iter().map(checked).collect::<Result<_, Malformed>>()? })
    });
    packs.collect()
}

pub(crate) fn encode(packs: &[IndexedPack]) -> Result<Vec<u8>, Malformed> {
    let entry = |Blob { id, kind, offset, length, uncompressed }: &Blob| Entry {
        id: *id,
        kind: *kind,
        offset: *offset,
        length: *length,
        uncompressed: *uncompressed,
    };
    let pack = |IndexedPack { id, blobs }: &IndexedPack| Pack { id: *id, blobs: blobs.iter().map(entry).collect() };
    Ok(serde_json::to_vec(&File { packs: packs.iter().map(pack).collect() })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_as_it_was_written_and_as_the_design_shows_it() {
        let json = r#"{"supersedes":["ed54ae36197f4745ebc4b54d10e0f623eaaaedd03013eb7ae90df881b7781452"],"packs":[{
            "id":"73d04e6125cf3c28a299cc2f3cca3b78ceac396e4fcf9575e34536b26782413c","blobs":[
            {"id":"3ec79977ef0cf5de7b08cd12b874cd0f62bbaf7f07f3497a5b1bbcc8cb39b1ce","type":"data","offset":0,"length":38},
            {"id":"9ccb846e60d90d4eb915848add7aa7ea1e4bbabfc60e573db9f7bfb2789afbae","type":"tree","offset":38,
             "length":112,"uncompressed_length":511}]}]}"#;
        let packs = decode(json.as_bytes()).unwrap();
        let blobs = &packs[0].blobs;
        assert_eq!((blobs[0].kind, blobs[0].length, blobs[0].uncompressed), (BlobKind::Data, 38, 0));
        assert_eq!((blobs[1].kind, blobs[1].offset, blobs[1].uncompressed), (BlobKind::Tree, 38, 511));
        assert_eq!(decode(&encode(&packs).unwrap()).unwrap(), packs);
        for (good, bad) in [("\"tree\"", "\"twig\""), (":112", ":12"), (":511", ":4294967295"), (":38,", ":-1,")] {
            assert!(decode(json.replace(good, bad).as_bytes()).is_err(), "{bad}");
        }
    }
}
