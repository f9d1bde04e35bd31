//! Controllers on a real kube-apiserver and etcd, without a kubelet: crashes after every write, conflicts, children that
//! vanish, Secrets that are wrong and then right.
//!
//! What storage, kubelet and garbage collector would write is written by [`world`] and [`storage`], onto the real API server. Faults are
//! injected in the client's own middleware ([`faults`]).

#[cfg(test)]
mod controller {
    mod adoption;
    mod crash;
    mod faults;
    mod identity;
    mod metrics;
    mod openshift;
    mod patience;
    mod population;
    #[path = "../../movers/transport/tests/support/port.rs"]
    mod port;
    mod progress;
    mod prometheus;
    mod queue;
    mod random;
    mod readiness;
    mod refusals;
    mod requests;
    mod rest;
    mod restic;
    mod scrape;
    mod server;
    mod storage;
    mod volsync;
    mod volumes;
    mod world;
}
