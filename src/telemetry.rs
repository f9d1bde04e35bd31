//! What the operator tells about itself: logs, metrics, events, probes; and its Lease.

pub mod access;
pub mod certificate;
pub mod events;
pub mod lease;
pub mod log;
pub mod metrics;
pub mod scrape;
pub mod server;
pub mod volsync;
