//! The lines before a session: greetings, and a daemon's answers.
#![no_main]

use doppel_rsync::proto::greeting::{read_answer, read_greeting};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let _ = read_greeting(line);
    let _ = read_answer(line);
});
