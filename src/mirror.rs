//! What watches have told, as whole objects: a pass reads them here instead of asking the API server (docs/adr/0017).
//!
//! A mirror lags behind, by milliseconds most of the time. That a plan made from it does no harm rests on five things:
//!
//! - What this operator writes is in it at once.
//! - Nothing is begun but by who has just written the object's status under the version that the plan was made from
//!   (`replication::held`), and what is begun is created: the API server refuses a second one.
//! - What is deleted is deleted by its UID, a snapshot by its version too.
//! - What a volume's data hangs on, and no precondition of a write can hold, is asked for once more (`observe::confirm`).
//! - After a pass that was not finished, and after ten minutes, the API server is asked for everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::resources::snapshot::VolumeSnapshot;

/// Namespace, none of what is in no namespace, and name.
type Namespaced = (String, String);

/// A mirror of each kind that passes over one kind of objects read.
#[derive(Default)]
pub struct Mirrors {
    jobs: Mirror<Job>,
    pods: Mirror<Pod>,
    snapshots: Mirror<VolumeSnapshot>,
    claims: Mirror<PersistentVolumeClaim>,
    services: Mirror<Service>,
    accounts: Mirror<ServiceAccount>,
    namespaces: Mirror<PartialObjectMeta<Namespace>>,
}

/// A kind of which there is a mirror.
pub trait Mirrored: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {
    /// Its mirror.
    fn of(mirrors: &Mirrors) -> &Mirror<Self>;
}

macro_rules! mirrored {
    ($kind:ty, $mirror:ident) => {
        impl Mirrored for $kind {
            fn of(mirrors: &Mirrors) -> &Mirror<Self> {
                &mirrors.$mirror
            }
        }
    };
}

mirrored!(Job, jobs);
mirrored!(Pod, pods);
mirrored!(VolumeSnapshot, snapshots);
mirrored!(PersistentVolumeClaim, claims);
mirrored!(Service, services);
mirrored!(ServiceAccount, accounts);
mirrored!(PartialObjectMeta<Namespace>, namespaces);

impl Mirrors {
    /// The mirror of one kind.
    pub(crate) fn of<K: Mirrored>(&self) -> &Mirror<K> {
        K::of(self)
    }

    /// An object as the API server returned it from a write.
    pub(crate) fn put<K: Mirrored>(&self, written: &K) {
        self.of::<K>().put(written);
    }
}

/// All objects of one kind that a watch has told of.
#[derive(Debug)]
pub struct Mirror<K>(Mutex<Objects<K>>);

#[derive(Debug)]
struct Objects<K> {
    all: BTreeMap<Namespaced, Arc<K>>,
    told: Told,
    /// Those that a watch which begins anew has told of so far.
    listed: BTreeSet<Namespaced>,
    /// UIDs of those that were the last to go. What is told of them may come later: an answer to a write, a watch's word of what was
    /// before, a list that was made before.
    gone: VecDeque<String>,
}

/// How much a watch has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Not all that there is.
    Nothing,
    /// All that there was when it failed. It has not told anything since.
    Before,
    /// All.
    All,
}

impl<K> Default for Mirror<K> {
    fn default() -> Self {
        let (all, listed, gone) = (BTreeMap::new(), BTreeSet::new(), VecDeque::new());
        Self(Mutex::new(Objects { all, told: Told::Nothing, listed, gone }))
    }
}

impl<K: Resource<DynamicType = ()> + Clone> Mirror<K> {
    /// Notes what a watch tells.
    pub fn note(&self, event: &watcher::Result<Event<K>>) {
        self.lock().note(event);
    }

    /// What is under a name; none while that is not known.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Option<Arc<K>>> {
        let objects = self.lock();
        (objects.told == Told::All).then(|| objects.all.get(&(namespace.to_owned(), name.to_owned())).cloned())
    }

    /// All of a namespace; none while they are not known.
    #[must_use]
    pub fn all_in(&self, namespace: &str) -> Option<Vec<Arc<K>>> {
        let objects = self.lock();
        let first = (namespace.to_owned(), String::new());
        let all = objects.all.range(first..).take_while(|((other, _), _)| other == namespace);
        (objects.told == Told::All).then(|| all.map(|(_, object)| object.clone()).collect())
    }

    fn put(&self, written: &K) {
        let mut objects = self.lock();
        if objects.told != Told::Nothing {
            objects.put(written.clone());
        }
    }

    /// This object is not there any more.
    pub(crate) fn remove(&self, namespace: &str, name: &str, uid: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()), uid);
    }

    fn lock(&self) -> MutexGuard<'_, Objects<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource<DynamicType = ()> + Clone> Objects<K> {
    /// As many objects may go before the last is told of one.
    const MOST_GONE: usize = 1024;

    fn note(&mut self, event: &watcher::Result<Event<K>>) {
        match event {
            Ok(Event::Init) => self.listed.clear(),
            Ok(Event::InitApply(object)) => {
                self.listed.insert(namespaced(object));
                self.put(object.clone());
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut self.listed);
                self.all.retain(|key, _| listed.contains(key));
                self.told = Told::All;
            }
            Ok(Event::Apply(object)) => {
                self.put(object.clone());
                self.goes_on();
            }
            Ok(Event::Delete(object)) => {
                self.remove(&namespaced(object), &object.uid().unwrap_or_default());
                self.goes_on();
            }
            Err(_) if self.told == Told::All => self.told = Told::Before,
            Err(_) => {}
        }
    }

    fn goes_on(&mut self) {
        if self.told == Told::Before {
            self.told = Told::All;
        }
    }

    fn put(&mut self, mut object: K) {
        // Who wrote which field is most of an object, and nobody asks.
        object.meta_mut().managed_fields = None;
        let key = namespaced(&object);
        let is_gone = object.uid().is_some_and(|uid| self.gone.contains(&uid));
        if !is_gone && !self.all.get(&key).is_some_and(|known| is_older(&object, &**known)) {
            self.all.insert(key, Arc::new(object));
        }
    }

    fn remove(&mut self, key: &Namespaced, uid: &str) {
        if self.all.get(key).is_some_and(|known| known.meta().uid.as_deref() == Some(uid)) {
            self.all.remove(key);
        }
        self.gone.push_back(uid.to_owned());
        if self.gone.len() > Self::MOST_GONE {
            self.gone.pop_front();
        }
    }
}

/// Namespace and name.
pub(crate) fn namespaced(object: &impl ResourceExt) -> Namespaced {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Versions of one kind of objects can be compared (Kubernetes' API concepts, "resource versions", since 1.35; etcd's always could).
/// Those of an API server that has others are taken as they come.
pub(crate) fn is_older(object: &impl ResourceExt, than: &impl ResourceExt) -> bool {
    let number = |version: Option<String>| version?.parse::<u64>().ok();
    number(object.resource_version()).zip(number(than.resource_version())).is_some_and(|(one, other)| one < other)
}

#[cfg(test)]
mod tests;
