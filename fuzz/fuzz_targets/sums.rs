//! What a receiver says of old content. The first byte is the length of the digest.
#![no_main]

use doppel_rsync::proto::sums::{MAX_BLOCK, SumHead};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((digest, mut input)) = bytes.split_first() else { return };
    let digest = u32::from(*digest) % 17;
    let Ok(head) = SumHead::read(&mut input, digest) else { return };
    assert!(head.block <= MAX_BLOCK && head.strong <= digest && head.remainder <= head.block);
    assert!(head.count == 0 || head.block > 0);
    let last = head.count.saturating_sub(1);
    for block in [0, 1, last, head.count, u32::MAX] {
        assert!(head.length_of(block) <= MAX_BLOCK);
        let _ = head.start_of(block);
    }
    let mut out = Vec::new();
    head.write(&mut out);
    assert_eq!(SumHead::read(&mut &out[..], digest), Ok(head));
});
