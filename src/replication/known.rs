//! What watches have told of objects' children and claims. It shows, without a request, which objects have nothing that a plan could
//! clean up, and whom a claim concerns. What a plan can be made from is in [`crate::mirror`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;

use super::plan::cleanup;
use crate::mirror::{Mirrored, Mirrors};
use crate::model::name;
use crate::model::observed::Child;
use crate::model::replication::{Direction, Replication, Target};

/// Kinds of children that cleanup is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// Jobs of movers.
    Jobs,
    /// Snapshots.
    Snapshots,
    /// All claims: one of VolSync's destinations may be a user's.
    Claims,
}

impl Watched {
    fn of<C: Mirrored>() -> Option<Self> {
        match &*C::kind(&()) {
            "Job" => Some(Self::Jobs),
            "VolumeSnapshot" => Some(Self::Snapshots),
            "PersistentVolumeClaim" => Some(Self::Claims),
            _ => None,
        }
    }
}

/// A child: its kind, namespace and name.
type Id = (Watched, String, String);
/// Namespace and name.
type Namespaced = (String, String);

/// What is known of the children of one kind of objects.
pub struct Known {
    children: Mutex<Children>,
    users: Mutex<Users>,
    told: watch::Sender<BTreeMap<Watched, Told>>,
    mirrors: Mirrors,
}

/// Whether a watch has told of all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    All,
    /// It could not begin: what is not known of may be there.
    Nothing,
}

#[derive(Default)]
struct Children {
    /// By the UID of the controller.
    of: HashMap<String, BTreeMap<Id, Child>>,
    controllers: HashMap<Id, String>,
    /// Claims on which VolSync has noted a snapshot.
    noted: HashSet<Namespaced>,
    /// Those that a watch which begins anew has told of so far.
    listed: HashMap<Watched, HashSet<Id>>,
}

/// Which objects name a claim.
#[derive(Default)]
struct Users {
    of_claim: HashMap<Namespaced, BTreeSet<String>>,
    claims: HashMap<Namespaced, Vec<String>>,
}

impl Default for Known {
    fn default() -> Self {
        let told = watch::channel(BTreeMap::new()).0;
        Self { children: Mutex::default(), users: Mutex::default(), told, mirrors: Mirrors::default() }
    }
}

impl Known {
    /// Resolves when each watch has told of all that there is, or could not begin.
    pub async fn begun(&self) {
        // An error means that nobody can tell any more.
        let _ = self.told.subscribe().wait_for(|told| told.len() == 3).await;
    }

    /// Notes what a watch tells.
    pub fn learn<C: Mirrored>(&self, event: &watcher::Result<Event<C>>) {
        self.mirrors.of::<C>().note(event);
        if let Some(watched) = Watched::of::<C>() {
            self.note(watched, event);
        }
    }

    /// What passes read, filled by whoever [`Self::learn`]s.
    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    fn note<C: ResourceExt>(&self, watched: Watched, event: &watcher::Result<Event<C>>) {
        let mut children = lock(&self.children);
        match event {
            Ok(Event::Init) => drop(children.listed.insert(watched, HashSet::new())),
            Ok(Event::InitApply(object)) => {
                if let Some(listed) = children.listed.get_mut(&watched) {
                    listed.insert(id(watched, object));
                }
                children.put(watched, object);
            }
            Ok(Event::Apply(object)) => children.put(watched, object),
            Ok(Event::Delete(object)) => children.remove(&id(watched, object)),
            Ok(Event::InitDone) => {
                children.retain_listed(watched);
                self.tell(watched, Told::All);
            }
            Err(_) if !self.told.borrow().contains_key(&watched) => self.tell(watched, Told::Nothing),
            // What was told before still counts: the watch goes on from there, or begins anew.
            Err(_) => {}
        }
    }

    fn tell(&self, watched: Watched, told: Told) {
        self.told.send_modify(|all| {
            all.insert(watched, told);
        });
    }

    /// Whether there is nothing of this object that cleanup could remove or give up.
    #[must_use]
    pub fn is_clean(&self, wish: &Replication) -> bool {
        let children = lock(&self.children);
        let own = children.of.get(&wish.owner.uid);
        let is_noted = match &wish.direction {
            Direction::Source { .. } => false,
            Direction::Destination { target, .. } => {
                let claim = match target {
                    Target::Existing { claim, mode: _ } => claim.clone(),
                    Target::Dynamic { .. } => name::destination_claim(&wish.owner, &wish.mover),
                };
                children.noted.contains(&(wish.owner.namespace.clone(), claim))
            }
        };
        self.is_told() && !is_noted && !own.is_some_and(|own| own.values().any(|child| cleanup::concerns(wish, child)))
    }

    /// Whether each watch has told of all that there is.
    #[must_use]
    pub fn is_told(&self) -> bool {
        let told = self.told.borrow();
        told.len() == 3 && told.values().all(|told| *told == Told::All)
    }

    /// An object names these claims.
    pub fn names(&self, namespaced: Namespaced, claims: &[&str]) {
        lock(&self.users).put(namespaced, claims);
    }

    /// Names of the objects that name a claim.
    #[must_use]
    pub fn users(&self, namespace: &str, claim: &str) -> Vec<String> {
        let users = lock(&self.users);
        let found = users.of_claim.get(&(namespace.to_owned(), claim.to_owned()));
        found.into_iter().flatten().cloned().collect()
    }
}

impl Children {
    fn put<C: ResourceExt>(&mut self, watched: Watched, object: &C) {
        let id = id(watched, object);
        self.remove(&id);
        let (_, namespace, name) = id.clone();
        let is_noted = object.annotations().get(name::NOTED_IMAGE_ANNOTATION).is_some_and(|noted| !noted.is_empty());
        if watched == Watched::Claims && is_noted {
            self.noted.insert((namespace, name.clone()));
        }
        let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true));
        let Some(controller) = controller else { return };
        let child = match watched {
            Watched::Jobs => Child::Job,
            Watched::Claims => Child::Claim { name },
            Watched::Snapshots => {
                Child::Snapshot { name, taken: object.labels().contains_key(name::DO_NOT_DELETE_LABEL) }
            }
        };
        self.of.entry(controller.uid.clone()).or_default().insert(id.clone(), child);
        self.controllers.insert(id, controller.uid.clone());
    }

    fn remove(&mut self, id: &Id) {
        if id.0 == Watched::Claims {
            self.noted.remove(&(id.1.clone(), id.2.clone()));
        }
        let Some(controller) = self.controllers.remove(id) else { return };
        if let Some(own) = self.of.get_mut(&controller) {
            own.remove(id);
            if own.is_empty() {
                self.of.remove(&controller);
            }
        }
    }

    fn retain_listed(&mut self, watched: Watched) {
        let listed = self.listed.remove(&watched).unwrap_or_default();
        let noted = self.noted.iter().map(|(namespace, name)| (Watched::Claims, namespace.clone(), name.clone()));
        let known: Vec<_> = self.controllers.keys().cloned().chain(noted).collect();
        for gone in known.iter().filter(|id| id.0 == watched && !listed.contains(*id)) {
            self.remove(gone);
        }
    }
}

impl Users {
    fn put(&mut self, namespaced: Namespaced, claims: &[&str]) {
        for former in self.claims.remove(&namespaced).unwrap_or_default() {
            let claim = (namespaced.0.clone(), former);
            if let Some(users) = self.of_claim.get_mut(&claim) {
                users.remove(&namespaced.1);
                if users.is_empty() {
                    self.of_claim.remove(&claim);
                }
            }
        }
        if claims.is_empty() {
            return;
        }
        for claim in claims {
            let claim = (namespaced.0.clone(), (*claim).to_owned());
            self.of_claim.entry(claim).or_default().insert(namespaced.1.clone());
        }
        self.claims.insert(namespaced, claims.iter().map(|claim| (*claim).to_owned()).collect());
    }
}

fn id(watched: Watched, object: &impl ResourceExt) -> Id {
    (watched, object.namespace().unwrap_or_default(), object.name_any())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
