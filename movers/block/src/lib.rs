//! Block devices to and from a peer, both roles: VolSync's block mode, which is diskrsync 1.3, and Doppel's own protocol.
//!
//! [`send::send`] and [`receive::receive`] work on any pair of a reader and a writer, of which the caller knows who is at
//! the other end ([`connection::Peer`]): diskrsync says nothing by which it could be told from a Doppel, so that is settled
//! before the first byte, by the transport (docs/adr/0005).
//!
//! - towards diskrsync: both ends hash their device into a tree, then compare it node by node ([`proto::geometry`],
//!   [`proto::walk`]);
//! - between Doppels: the destination streams digests of its blocks, the source streams back what differs. Each end reads
//!   its device once, nobody waits for a round trip, and memory does not grow with the device ([`proto::direct`]).
//!
//! Either way what is stored is a function of what both devices hold, and nothing else is kept: a run that was cut off
//! leaves a device that the next run goes on from.
//!
//! Not here: connections, attempts, deadlines, the environment. This crate blocks, on the caller's thread and a few more.

pub mod connection;
pub mod device;
mod direct;
mod diskrsync;
pub mod error;
pub mod proto;
pub mod receive;
pub mod send;
mod tree;
