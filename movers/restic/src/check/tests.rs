//! What takes a repository for each byte, in memory. `tests/damage.rs` has the ways in which files are damaged.

use std::fs;
use std::sync::Arc;

use doppel_storage::Storage;
use doppel_storage::double::Memory;
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;

use super::*;
use crate::backup::{BackupOptions, backup};
use crate::format::config::Version;

/// The hash of a whole pack is not compared (docs/adr/0018): each of its bytes must be under a MAC.
#[test]
fn no_byte_of_a_pack_is_changed_and_no_pack_is_longer_or_shorter_without_being_found() {
    for version in [Version::V1, Version::V2] {
        let storage = Arc::new(Memory::default());
        let repository = Repository::init(storage.clone(), b"password", version).unwrap();
        back_up(&repository);
        let is_found = |pack: &str, content: &[u8]| {
            storage.write(pack, Bytes::copy_from_slice(content)).unwrap();
            !examine(&repository, ReadData::Everything).unwrap().damage.is_empty()
        };
        let packs = storage.list("data").unwrap();
        assert_eq!(packs.len(), 2, "one of files, one of trees");
        for pack in packs.iter().map(|pack| &pack.name) {
            let good = storage.read(pack).unwrap();
            for at in 0..good.len() {
                let mut content = good.to_vec();
                content[at] ^= 1 << (at % 8);
                assert!(is_found(pack, &content), "{version:?}: byte {at} of {pack}");
                assert!(is_found(pack, &good[..at]), "{version:?}: {at} bytes of {pack}");
            }
            assert!(is_found(pack, &[&good[..], &[0]].concat()), "{version:?}: {pack} with another byte");
            assert!(!is_found(pack, &good), "{version:?}: {pack} as it was");
        }
    }
}

/// Two files, of which one can be compressed, in two directories.
fn back_up(repository: &Repository) {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("dir")).unwrap();
    fs::write(tree.path().join("dir/numbers"), (0..=255).collect::<Vec<u8>>()).unwrap();
    fs::write(tree.path().join("text"), "text ".repeat(100)).unwrap();
    let options = BackupOptions {
        holder: Holder { host: "test".into(), user: "test".into(), process: 1, gone: Vec::new() },
        host: "volsync".into(),
        paths: vec!["/data".into()],
        program: "doppel test".into(),
        compression: Compression::Auto,
        pack_size: BackupOptions::PACK_SIZE,
    };
    backup(repository, &Tree::open(tree.path()).unwrap(), &options, &Silent).unwrap();
}
