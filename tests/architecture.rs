//! What no part may do (ARCHITECTURE.md), held by reading the sources and the graph of crates.

#![cfg(test)]

mod architecture {
    mod chart;
    mod crates;
    mod documents;
    mod files;
    mod scan;
}
