//! The objects themselves as passes left them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kube::Resource;

use super::RESYNC;
use super::queue::line::Key;
use crate::api::destination::ReplicationDestination;
use crate::api::source::ReplicationSource;
use crate::mirror::{is_older, namespaced};

/// The objects themselves as this operator left them, for as long as no watch has told of that.
#[derive(Default)]
pub struct Left {
    /// ReplicationSources.
    pub sources: LeftOf<ReplicationSource>,
    /// ReplicationDestinations.
    pub destinations: LeftOf<ReplicationDestination>,
}

/// Those of one kind.
pub struct LeftOf<K>(Mutex<HashMap<(String, String), Arc<K>>>);

impl<K> Default for LeftOf<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource<DynamicType = ()> + Clone> LeftOf<K> {
    pub(super) fn put(&self, written: &K) {
        self.lock().insert(namespaced(written), Arc::new(written.clone()));
    }

    /// The newer one of what a watch has told and what was left.
    pub(super) fn or_newer(&self, told: Arc<K>) -> Arc<K> {
        let left = self.lock().get(&namespaced(&*told)).cloned();
        left.filter(|left| is_older(&*told, &**left)).unwrap_or(told)
    }

    /// A watch has told of this.
    pub(crate) fn told(&self, object: &K) {
        let mut left = self.lock();
        if left.get(&namespaced(object)).is_some_and(|left| !is_older(object, &**left)) {
            left.remove(&namespaced(object));
        }
    }

    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<K>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the API server was asked last for all that concerns an object which is not at rest.
#[derive(Debug, Default)]
pub(super) struct Afresh(Mutex<HashMap<Key, Instant>>);

impl Afresh {
    /// Whether it is time to do so again. The time begins with the first look.
    pub(super) fn is_due(&self, key: &Key) -> bool {
        let mut asked = self.lock();
        let last = asked.entry(key.clone()).or_insert_with(Instant::now);
        let is_due = last.elapsed() >= RESYNC;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }

    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    fn object(version: u64) -> ConfigMap {
        let metadata = json!({"name": "a", "namespace": "shop", "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn an_object_is_as_it_was_left_until_a_watch_has_told_of_that() {
        let left = LeftOf::<ConfigMap>::default();
        let version = |told: u64| left.or_newer(Arc::new(object(told))).resource_version().unwrap();
        left.put(&object(5));
        left.told(&object(4));
        assert_eq!((version(4), version(6)), ("5".to_owned(), "6".to_owned()));
        left.told(&object(5));
        assert_eq!(version(4), "4");
        left.put(&object(7));
        left.forget("shop", "a");
        assert_eq!(version(4), "4");
    }
}
