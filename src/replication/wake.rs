//! Passes over objects of which nothing has changed in the cluster: somebody in this process has found out something about them.

use tokio::sync::mpsc;

use super::queue::line::Key;
use crate::model::replication::Role;

/// Most that are woken and not looked at yet, for each kind. A pass is begun within milliseconds; who is woken beyond that is not,
/// and finds out when it is looked at for another reason.
const MOST_WOKEN: usize = 1024;

/// Wakes objects. Clones wake the same.
#[derive(Debug, Clone)]
pub(super) struct Waker {
    sources: mpsc::Sender<(String, String)>,
    destinations: mpsc::Sender<(String, String)>,
}

/// Those that are to be looked at.
pub struct Woken {
    /// ReplicationSources, by namespace and name.
    pub sources: mpsc::Receiver<(String, String)>,
    /// ReplicationDestinations.
    pub destinations: mpsc::Receiver<(String, String)>,
}

/// Both ends.
pub(super) fn channel() -> (Waker, Woken) {
    let (sources, woken_sources) = mpsc::channel(MOST_WOKEN);
    let (destinations, woken_destinations) = mpsc::channel(MOST_WOKEN);
    (Waker { sources, destinations }, Woken { sources: woken_sources, destinations: woken_destinations })
}

impl Waker {
    /// Lets it be looked at, unless too many are woken already.
    pub(super) fn wake(&self, key: Key) {
        let Key { role, namespace, name } = key;
        let kind = match role {
            Role::Source => &self.sources,
            Role::Destination => &self.destinations,
        };
        let _ = kind.try_send((namespace, name));
    }
}
