//! The two directions of a connection: framed after the handshake, plain before it.

pub(crate) mod messages;
pub(crate) mod reader;
pub(crate) mod writer;
