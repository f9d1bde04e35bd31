//! Two real clusters, end to end: what a user does, and what goes wrong on the way.

#[cfg(test)]
mod e2e {
    mod acceptance;
    mod block;
    mod clusters;
    mod conditions;
    mod fidelity;
    mod interruptions;
    mod pair;
    mod population;
    mod store;
}
