//! The rsync protocol, both roles, towards rsync 3.2 and later, VolSync, and Doppel itself.
//!
//! - [`push::push`] sends a volume to a daemon; [`upload::upload`] sends it one small file, [`links::look`] looks at one
//!   symbolic link there.
//! - [`serve::serve`] is that daemon, for one connection.
//!
//! A connection is any pair of a reader and a writer: this crate opens none, reads no environment and never exits. It
//! blocks, on the caller's thread and on one more for the destination. Deadlines are the connection's: whoever makes it
//! lets its reads and writes fail when the peer is silent for too long.
//!
//! [`proto`] is the wire format alone: bytes to values and back.

pub mod error;
pub mod links;
mod list;
pub mod outcome;
pub mod proto;
pub mod push;
pub mod serve;
mod session;
mod stream;
pub mod upload;
mod verify;
