//! rsync's wire format, protocols 30 to 32: bytes to values and back.
//!
//! Nothing here does I/O, spawns or reads a clock. Values are read from an [`input::Input`], which hands out exactly as
//! many bytes as are asked for; every length that a peer sends is checked against its limit on the line that reads it,
//! before anything is allocated. Facts are from captures of rsync 3.5.0 and from the protocol documents of rsync-win
//! (codec, flist, transfer and daemon specifications).

pub mod acl;
pub mod arguments;
pub mod checksum;
pub mod compressed;
pub mod entry;
pub mod extras;
pub mod filter;
pub mod frame;
pub mod greeting;
pub mod index;
pub mod input;
pub mod integer;
pub mod keep;
pub mod negotiate;
pub mod request;
pub mod sums;
pub mod token;
pub mod xattr;
