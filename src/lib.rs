//! Doppel's control plane: decides what is to happen to which volume, and never touches a byte of it.
//!
//! From an event to a status, each a module of its own:
//!
//! 1. `interpret` PURE: what an object says becomes a [`model::replication::Replication`], or a reason why it cannot.
//! 2. `observe` READ: the world around it becomes a [`model::observed::Observed`].
//! 3. [`replication::plan`] PURE: what to do now becomes a list of [`model::step::Step`]s. Read that list first: it is
//!    all that this operator can ever do to a cluster.
//! 4. [`apply`] WRITE: performs the steps, rendered by [`resources`].
//! 5. `report` PURE: what came of it becomes status, conditions and events.
//!
//! [`replication`] does so for ReplicationSources and ReplicationDestinations, [`population`] for claims that are to begin
//! with an image.

pub mod api;
pub mod apply;
pub mod args;
pub mod crd;
mod failures;
pub mod mirror;
pub mod model;
pub mod operator;
pub mod population;
pub mod replication;
pub mod resources;
pub mod telemetry;
