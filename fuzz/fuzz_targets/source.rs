//! A whole session of our source with a daemon. The first byte says whether a valid handshake goes before the bytes.
#![no_main]

use std::path::Path;

use doppel_contract::{EmptySource, Verification};
use doppel_fuzz::{Volume, daemon_preamble, framed};
use doppel_rsync::push::{Connection, PushOptions, push};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((start, bytes)) = bytes.split_first() else { return };
    let volume = Volume::get();
    volume.fill_once(|root: &Path| {
        std::fs::write(root.join("f"), vec![7; 5000]).expect("write");
        std::fs::create_dir_all(root.join("d")).expect("make a directory");
        std::fs::write(root.join("d/g"), b"hello").expect("write");
    });
    let said = match start % 3 {
        0 => bytes.to_vec(),
        1 => [&daemon_preamble()[..], bytes].concat(),
        _ => [daemon_preamble(), framed(bytes)].concat(),
    };
    let tree = Tree::open(volume.root()).expect("the volume");
    let connection = Connection { reader: &said[..], writer: std::io::sink() };
    // The daemon of this preamble is rsync; one that says it is a Doppel is made up.
    let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };
    let _ = push(connection, &tree, &options, &Silent);
    volume.assert_untouched();
});
