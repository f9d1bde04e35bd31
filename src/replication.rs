//! From an event to a status.

pub mod plan;
