//! The wire formats and the shape of the tree: bytes to values and back. No I/O, no clock, no thread.

pub mod direct;
pub mod geometry;
pub mod header;
pub mod walk;

/// Bytes that are not what a protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It speaks rsync: its end replicates files.
    #[error("it speaks rsync, so it replicates files and no block device; both ends need the same volumeMode")]
    Rsync,
    /// It speaks something else.
    #[error("it does not speak the block protocol; it began with {0}")]
    Foreign(doppel_contract::Line),
    /// No device has this size.
    #[error("it says that its device has {0} bytes, more than the protocol can handle")]
    Size(u64),
    /// A command or a record that is not allowed at this place.
    #[error("unexpected {what} {value}")]
    Unexpected {
        /// What was read.
        what: &'static str,
        /// Its number.
        value: u64,
    },
    /// More than there is to tell.
    #[error("it speaks of more blocks than the device has, or than it was asked about")]
    TooFar,
    /// Less than there is to tell.
    #[error("it was done before the end of the device")]
    TooShort,
}
