//! Everything that a repository of restic holds beneath its encryption. The first byte says which format the rest is of: one
//! program for all of them, because each is as large as what it links.
#![no_main]

use doppel_restic::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = fuzzing::read(bytes);
});
