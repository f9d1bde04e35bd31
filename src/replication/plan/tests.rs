//! Table and property tests of plans.
