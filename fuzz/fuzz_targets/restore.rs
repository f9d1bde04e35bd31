//! A restore of a snapshot whose trees somebody made up. What a form feed parts are trees, each of which can name the one
//! before it.
#![no_main]

use std::path::Path;
use std::sync::{Arc, OnceLock};

use doppel_fuzz::Volume;
use doppel_restic::format::config::Version;
use doppel_restic::fuzzing;
use doppel_restic::repository::Repository;
use doppel_restic::repository::lock::Holder;
use doppel_restic::restore::{Others, RestoreOptions, restore};
use doppel_restic::snapshots::{Filter, Which};
use doppel_storage::Storage;
use doppel_storage::double::Memory;
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((options, trees)) = bytes.split_first() else { return };
    let volume = Volume::get();
    volume.fill(|root: &Path| {
        std::fs::write(root.join("f"), b"content").expect("write");
        std::fs::create_dir_all(root.join("d")).expect("make a directory");
        std::os::unix::fs::symlink("../../canary", root.join("l")).expect("link");
    });
    let (storage, repository) = repository();
    let trees: Vec<&[u8]> = trees.split(|byte| *byte == 0x0c).collect();
    let id = fuzzing::plant(repository, &trees).expect("a store in memory");
    let options = RestoreOptions {
        holder: Holder { host: "fuzz".into(), user: "fuzz".into(), process: std::process::id(), gone: Vec::new() },
        which: Which::Id(id.to_string()),
        filter: Filter::default(),
        others: if options & 1 == 0 { Others::Keep } else { Others::Delete },
    };
    let tree = Tree::open(volume.root()).expect("the volume");
    let _ = restore(repository, &tree, &options, &Silent);
    volume.assert_untouched();
    for folder in ["data", "index", "snapshots"] {
        for object in storage.list(folder).expect("a store in memory") {
            storage.remove(&object.name).expect("a store in memory");
        }
    }
});

/// One for the process: to make a key takes a tenth of a second.
fn repository() -> &'static (Arc<Memory>, Repository) {
    static REPOSITORY: OnceLock<(Arc<Memory>, Repository)> = OnceLock::new();
    REPOSITORY.get_or_init(|| {
        let storage = Arc::new(Memory::default());
        let repository = Repository::init(Arc::clone(&storage) as _, b"password", Version::V2).expect("a repository");
        (storage, repository)
    })
}
