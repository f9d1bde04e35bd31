//! A whole session with our daemon. The first byte says how much of a valid one goes before the bytes.
#![no_main]

use std::path::Path;

use doppel_contract::EmptySource;
use doppel_fuzz::{Volume, client_preamble, framed};
use doppel_rsync::push::Connection;
use doppel_rsync::serve::{Modules, serve};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((start, bytes)) = bytes.split_first() else { return };
    let volume = Volume::get();
    volume.fill(|root: &Path| {
        std::fs::write(root.join("f"), vec![7; 5000]).expect("write");
        std::fs::create_dir_all(root.join("d")).expect("make a directory");
    });
    let said = match start % 4 {
        0 => bytes.to_vec(),
        1 => [&client_preamble(false)[..], bytes].concat(),
        2 => [client_preamble(start & 4 != 0), framed(bytes)].concat(),
        // Content for what the list asks for. (A request is never waited for: what comes too early is refused.)
        _ => {
            let (list, rest) = bytes.split_at(bytes.len() / 2);
            [client_preamble(start & 4 != 0), framed(list), framed(rest)].concat()
        }
    };
    let tree = Tree::open(volume.root()).expect("the volume");
    let connection = Connection { reader: &said[..], writer: std::io::sink() };
    let _ = serve(connection, &Modules::new(&tree, EmptySource::Accept), &Silent);
    volume.assert_untouched();
});
