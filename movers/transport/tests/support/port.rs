//! Ports for listeners of tests. Used by every crate whose tests start peers.
#![allow(unreachable_pub, reason = "each test program includes this where it likes")]

use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port of the loopback that nobody listens on, and that is given out once only. It lies below those from which the
/// kernel serves outgoing connections, for one of these would take it in the meantime.
pub fn free_port() -> u16 {
    const PORTS: Range<u32> = 10_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test programs that run side by side begin at different places.
        let turn = std::process::id().wrapping_mul(1009).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + turn % (PORTS.end - PORTS.start)).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
