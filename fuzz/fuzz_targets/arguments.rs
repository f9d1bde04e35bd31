//! What a client sends before the list: arguments, names to agree on, rules of what is not deleted.
#![no_main]

use doppel_rsync::proto::arguments::{self, Arguments};
use doppel_rsync::proto::filter::Filter;
use doppel_rsync::proto::negotiate::{
    COMPRESSION_NAMES, Compatibility, agree_on_checksum, agree_on_compression, checksum_names, read_string,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    let Ok(words) = arguments::read(&mut input) else { return };
    let parsed = Arguments::parse(&words);
    let _ = Compatibility::for_letters(&parsed.arguments.letters).check();
    // What is heeded is heeded: written down again it means the same.
    if parsed.refused.is_none() {
        let again = parsed.arguments.encode();
        let again = Arguments::parse(&arguments::read(&mut &again[..]).expect("our own arguments"));
        assert!(again.refused.is_none());
        assert_eq!(again.arguments.delete, parsed.arguments.delete);
        assert_eq!(again.arguments.keep, parsed.arguments.keep);
        assert_eq!(again.arguments.path, parsed.arguments.path);
    }
    if let Ok(names) = read_string(&mut input) {
        let _ = agree_on_checksum(names, checksum_names().as_bytes());
        let _ = agree_on_compression(names, COMPRESSION_NAMES.as_bytes());
    }
    if let Ok(filter) = Filter::read(&mut input) {
        let mut out = Vec::new();
        filter.write(&mut out);
        assert_eq!(Filter::read(&mut &out[..]).as_ref(), Ok(&filter));
        let _ = filter.protects(b"", b"lost+found", true);
    }
});
