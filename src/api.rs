//! What users write and read: the kinds of the API group `volsync.backube`, version `v1alpha1`.
//!
//! These types are the schema of the CRDs (`crate::crd` prints it) and its Rust shape, nothing else: no logic, no
//! defaults, no validation. What a spec means is decided where it is interpreted.
//!
//! The interface is VolSync's, name for name, so that every manifest that VolSync accepts is accepted here. Whatever
//! the schema lets through deserialises: a single object that did not would stop a watch on all of them. What Doppel
//! adds is optional, and says so in its description.

/// The group of the kinds.
pub const GROUP: &str = "volsync.backube";

pub mod common;
pub mod destination;
pub mod source;
pub mod syncthing;
