//! Claims that are filled from images: what they wait for, in any order of deletions, after a crash behind every write, and when
//! others write at the same moment. Scheduler, provisioner, volume controller and garbage collector are played by
//! [`super::storage::Storage`].

mod ends;
mod images;
mod stage;
mod waits;
