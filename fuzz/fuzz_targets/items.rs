//! Indices and items, one after the other, and the headers of frames.
#![no_main]

use doppel_rsync::proto::frame::Header;
use doppel_rsync::proto::index::{Index, IndexCoder};
use doppel_rsync::proto::request::Item;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for header in bytes.chunks_exact(4) {
        if let Ok(header) = Header::decode([header[0], header[1], header[2], header[3]]) {
            assert_eq!(Header::decode(header.encode()), Ok(header));
        }
    }
    let (mut reader, mut input) = (IndexCoder::default(), bytes);
    let (mut writer, mut out) = (IndexCoder::default(), Vec::new());
    let (mut item, mut indices) = (Item::default(), Vec::new());
    while let Ok(index) = reader.read(&mut input) {
        writer.write(&mut out, index);
        indices.push(index);
        if let Index::Entry(_) = index {
            if item.read(&mut input).is_err() {
                break;
            }
            let mut again = Vec::new();
            item.write(&mut again);
            let mut back = Item { flags: item.flags, basis: item.basis, name: Vec::new() };
            back.read(&mut &again[..]).expect("our own item");
            assert_eq!(back, item);
        }
    }
    let (mut again, mut input) = (IndexCoder::default(), &out[..]);
    for index in indices {
        assert_eq!(again.read(&mut input), Ok(index));
    }
});
