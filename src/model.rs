//! What Doppel believes: valid by construction, plain data.
//!
//! Nothing in here knows a client, a clock or a Kubernetes type. Start with [`step`]: it lists everything that this
//! operator can ever do to a cluster.

pub mod copy_trigger;
pub mod event;
pub mod measure;
pub mod mover;
pub mod name;
pub mod observed;
pub mod pod;
pub mod policy;
pub mod population;
pub mod progress;
pub mod quantity;
pub mod queue;
pub mod readiness;
pub mod reason;
pub mod replication;
pub mod schedule;
pub mod status;
pub mod step;
