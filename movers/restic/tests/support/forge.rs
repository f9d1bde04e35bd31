//! Repositories made up byte by byte, by somebody who has the password and means harm. Written apart from the engine: what is
//! wrong on both sides alike would not be seen.

use std::path::Path;

use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher};
use aes::{Aes128, Aes256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ctr::{Ctr128BE, CtrCore};
use doppel_restic::format::id::Id;
use poly1305::Poly1305;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PASSWORD;

/// A repository in a folder. Its key is known.
pub struct Forge {
    pub folder: TempDir,
    pack: Vec<u8>,
    blobs: Vec<Blob>,
}

/// A blob, as the index will tell of it.
#[derive(Debug, Clone)]
pub struct Blob {
    pub id: String,
    pub kind: &'static str,
    pub offset: u64,
    pub length: u64,
    pub uncompressed: u64,
}

/// AES-256, AES-128 of the MAC, and `r` of Poly1305.
const MASTER: [u8; 64] = [7; 64];
const SALT: [u8; 64] = [9; 64];

pub const CONFIG: &str = r#"{"version":2,"id":"00","chunker_polynomial":"3da3358b4dc173"}"#;

impl Forge {
    /// With a key that is made in no time, and a good configuration.
    pub fn new() -> Self {
        let forge = Self { folder: tempfile::tempdir().unwrap(), pack: Vec::new(), blobs: Vec::new() };
        forge.named("keys", key_file(2, 1, 1).to_string().as_bytes());
        forge.config(CONFIG);
        forge
    }

    pub fn config(&self, json: &str) {
        self.write("config", &seal(&MASTER, json.as_bytes()));
    }

    /// A file as it is, under this name.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A file as it is, under the name that its content gives it.
    pub fn named(&self, folder: &str, bytes: &[u8]) -> String {
        let id = Id::of(bytes).to_string();
        let below = if folder == "data" { format!("data/{}/{id}", &id[..2]) } else { format!("{folder}/{id}") };
        self.write(&below, bytes);
        id
    }

    /// An encrypted file.
    pub fn file(&self, folder: &str, content: &[u8]) -> String {
        self.named(folder, &seal(&MASTER, content))
    }

    /// Adds a blob to the next pack.
    pub fn blob(&mut self, kind: &'static str, content: &[u8]) -> Blob {
        self.raw(kind, Id::of(content).to_string(), content, 0)
    }

    /// Adds a blob that is kept as `stored`, whatever it says it is.
    pub fn raw(&mut self, kind: &'static str, id: String, stored: &[u8], uncompressed: u64) -> Blob {
        let sealed = seal(&MASTER, stored);
        let (offset, length) = (self.pack.len() as u64, sealed.len() as u64);
        self.pack.extend(sealed);
        let blob = Blob { id, kind, offset, length, uncompressed };
        self.blobs.push(blob.clone());
        blob
    }

    /// A tree of these nodes; its ID.
    pub fn tree(&mut self, nodes: &[Value]) -> String {
        self.blob("tree", json!({ "nodes": nodes }).to_string().as_bytes()).id
    }

    /// Writes the pack, an index in which its blobs are as `change` leaves them, and a snapshot.
    pub fn finish(mut self, tree: &str, change: impl FnOnce(&mut Vec<Blob>)) -> TempDir {
        let mut header = Vec::new();
        for blob in &self.blobs {
            header.push(u8::from(blob.kind == "tree") | if blob.uncompressed == 0 { 0 } else { 2 });
            header.extend(u32::try_from(blob.length).unwrap().to_le_bytes());
            if blob.uncompressed != 0 {
                header.extend(u32::try_from(blob.uncompressed).unwrap().to_le_bytes());
            }
            header.extend((0..64).step_by(2).map(|at| u8::from_str_radix(&blob.id[at..at + 2], 16).unwrap()));
        }
        let header = seal(&MASTER, &header);
        self.pack.extend(&header);
        self.pack.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
        let pack = self.named("data", &self.pack);
        change(&mut self.blobs);
        let blobs = self.blobs.iter().map(|Blob { id, kind, offset, length, uncompressed }| {
            json!({ "id": id, "type": kind, "offset": offset, "length": length, "uncompressed_length": uncompressed })
        });
        let index = json!({ "packs": [{ "id": pack, "blobs": blobs.collect::<Vec<_>>() }] });
        self.file("index", index.to_string().as_bytes());
        self.file("snapshots", snapshot(tree).to_string().as_bytes());
        self.folder
    }
}

pub fn snapshot(tree: &str) -> Value {
    json!({ "time": "2026-11-29T12:00:00Z", "tree": tree, "paths": ["/data"], "hostname": "volsync" })
}

/// A node; `more` are its other fields, and take the place of the usual ones.
pub fn node(name: &str, kind: &str, more: Value) -> Value {
    let time = "2026-11-29T12:00:00Z";
    let mut node = json!({
        "name": name, "type": kind, "mode": 0o755, "mtime": time, "atime": time, "ctime": time, "uid": 0, "gid": 0,
    });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    node.as_object_mut().unwrap().extend(more);
    node
}

/// The key file of this repository, with these parameters of scrypt.
pub fn key_file(n: u64, r: u32, p: u32) -> Value {
    let mut user = [0; 64];
    // A file that asks for too much is never opened: what is in it need not fit.
    if n * u64::from(r) * u64::from(p) < 1 << 10 {
        let params = scrypt::Params::new(u8::try_from(n.trailing_zeros()).unwrap(), r, p).unwrap();
        scrypt::scrypt(PASSWORD.as_bytes(), &SALT, &params, &mut user).unwrap();
    }
    let part = |range: std::ops::Range<usize>| STANDARD.encode(&MASTER[range]);
    let master = json!({ "mac": { "k": part(32..48), "r": part(48..64) }, "encrypt": part(0..32) });
    json!({
        "created": "2026-11-29T12:00:00Z", "username": "u", "hostname": "h", "kdf": "scrypt", "N": n, "r": r, "p": p,
        "salt": STANDARD.encode(SALT), "data": STANDARD.encode(seal(&user, master.to_string().as_bytes())),
    })
}

/// A zstd frame of so many times this, made piece by piece.
pub fn bomb(piece: &[u8], times: usize, around: [&[u8]; 2]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let len = piece.len() * times + around[0].len() + around[1].len();
    encoder.set_pledged_src_size(Some(len as u64)).unwrap();
    encoder.include_contentsize(true).unwrap();
    encoder.write_all(around[0]).unwrap();
    for _ in 0..times {
        encoder.write_all(piece).unwrap();
    }
    encoder.write_all(around[1]).unwrap();
    encoder.finish().unwrap()
}

/// The same without its length in the header.
pub fn silent_bomb(piece: &[u8], times: usize) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    (0..times).for_each(|_| encoder.write_all(piece).unwrap());
    encoder.finish().unwrap()
}

/// design.rst, "Keys, Encryption and MAC".
fn seal(key: &[u8; 64], content: &[u8]) -> Vec<u8> {
    let nonce = [5; 16];
    let mut body = content.to_vec();
    let aes = Aes256::new(key[..32].try_into().unwrap());
    Ctr128BE::from_core(CtrCore::inner_iv_init(aes, &nonce.into())).apply_keystream(&mut body);
    let mut encrypted = nonce.into();
    Aes128::new(key[32..48].try_into().unwrap()).encrypt_block(&mut encrypted);
    let one_time = [&key[48..], &encrypted[..]].concat();
    let mac = Poly1305::new(one_time.as_slice().try_into().unwrap()).compute_unpadded(&body);
    [&nonce[..], &body, &mac[..]].concat()
}

/// A folder's files and what is in them, to be compared with what they were.
pub fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap_or_default())).collect();
    all.sort();
    all
}
