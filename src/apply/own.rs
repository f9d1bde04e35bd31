//! What this operator has written itself. A watch that tells of it tells nothing that the pass which wrote it did not know: that pass
//! says when the object is to be looked at again, or waits for what others write.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;

/// Versions of objects that own writes made. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct OwnWrites(Arc<Mutex<Versions>>);

#[derive(Debug, Default)]
struct Versions {
    /// A version is one write to the whole cluster (etcd's revision), whatever object it is of.
    known: HashSet<String>,
    in_order: VecDeque<String>,
}

impl OwnWrites {
    /// Those of some seconds of a storm: a watch is not that far behind. Of what is forgotten a watch tells something new once more.
    const MOST: usize = 4096;

    /// An object as the API server returned it from a write.
    pub fn note(&self, written: &impl ResourceExt) {
        let Some(version) = written.resource_version() else { return };
        let mut versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !versions.known.insert(version.clone()) {
            return;
        }
        versions.in_order.push_back(version);
        if versions.in_order.len() > Self::MOST
            && let Some(oldest) = versions.in_order.pop_front()
        {
            versions.known.remove(&oldest);
        }
    }

    /// Whether an object is as an own write left it. One that is deleted is not.
    #[must_use]
    pub fn left(&self, seen: &impl ResourceExt) -> bool {
        let versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.meta().resource_version.as_ref().is_some_and(|version| versions.known.contains(version))
            && seen.meta().deletion_timestamp.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn object(version: usize) -> ConfigMap {
        let metadata = serde_json::json!({"name": "x", "resourceVersion": version.to_string()});
        serde_json::from_value(serde_json::json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn what_was_written_last_is_known_and_nothing_else() {
        let own = OwnWrites::default();
        for version in 0..=OwnWrites::MOST {
            own.note(&object(version));
        }
        assert!(own.left(&object(OwnWrites::MOST)) && own.left(&object(1)));
        assert!(!own.left(&object(0)) && !own.left(&object(OwnWrites::MOST + 1)));
        assert_eq!(own.0.lock().unwrap().known.len(), OwnWrites::MOST);
    }
}
