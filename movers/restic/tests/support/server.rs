//! The servers of the tests of stores.
#![allow(clippy::expect_used, reason = "helpers of tests fail their test")]

#[path = "../../../storage/tests/support/peers.rs"]
pub mod peers;
#[path = "../../../transport/tests/support/port.rs"]
mod port;
#[path = "../../../storage/tests/support/sshd.rs"]
pub mod sshd;

use std::time::{Duration, Instant};

pub use port::free_port;

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
