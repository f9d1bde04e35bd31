//! Sets of extended attributes, requests for long values, and the values.
#![no_main]

use doppel_rsync::proto::xattr::{Values, XattrTable, read_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((sets, mut input)) = bytes.split_first() else { return };
    let (mut table, mut numbers) = (XattrTable::default(), Vec::new());
    for _ in 0..*sets {
        let Ok(set) = table.read(&mut input) else { return };
        for attribute in table.get(set) {
            let _ = (attribute.value.is_long(), attribute.value.is(b"value"));
        }
        for number in table.long(set) {
            let _ = number;
        }
    }
    assert!(table.memory() <= 64 * bytes.len());
    for set in 0..u32::from(*sets) {
        if read_request(&mut input, &table, set, &mut numbers).is_err() {
            return;
        }
        let Ok(values) = Values::read(&mut input, &table, set) else { return };
        for number in &numbers {
            let _ = values.get(*number);
        }
    }
});
