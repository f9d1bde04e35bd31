//! Repositories of restic: what `doppel-mover restic` does, on an engine of its own.
//!
//! - [`repository::Repository`] opens or makes a repository in a [`doppel_storage::Storage`];
//! - [`backup::backup`], [`restore::restore`], [`snapshots`], [`forget::forget`], [`check::check`], [`prune::prune`],
//!   [`copy::copy`], [`look::Look`], [`stats::stats`] and [`repository::lock::unlock`] are its commands: each takes plain options
//!   and returns what it came to;
//! - `format` is restic's format, bytes to values and back.
//!
//! Other programs work in the same repository at the same time, restic among them. So every command holds one of restic's
//! locks, files are written in an order that leaves a whole repository behind whenever this process dies, and nothing is
//! believed that was read from the store until its hash or its MAC was compared.

pub mod backup;
pub mod check;
pub mod copy;
pub mod error;
pub mod forget;
pub mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod look;
pub mod prune;
pub mod repository;
pub mod restore;
mod room;
pub mod snapshots;
pub mod stats;
mod walk;
