//! A volume as a mover sees it: a tree beneath one open directory, and safe ways to read and to change it.
//!
//! What a volume holds is chosen by strangers: the workload that wrote it, and the peer that replicates into it. So no
//! call here ever resolves a path through the process's working directory or through a symbolic link: directories are
//! opened with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)` from the root's descriptor ([`dirs::Dirs`]), and every
//! other call names a single component ([`names::Name`]) relative to such a descriptor and does not follow links.
//!
//! This crate opens no sockets and reads no environment. The one thread that it starts looks at entries ahead ([`ahead`]).

pub mod acl;
pub mod ahead;
pub mod attributes;
pub mod dirs;
pub mod error;
pub mod listing;
pub mod metadata;
pub mod monitor;
pub mod names;
pub mod remove;
pub mod replace;
pub mod sparse;
pub mod tree;
pub mod walk;
pub mod xattr;
