//! What wakes an object: each of its children, and what it refers to. Nothing is polled but Secrets, which may be read
//! and not watched.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Config;
use kube::{Api, Client, ResourceExt};

use crate::model::name;
use crate::model::population::Named;
use crate::model::replication::Role;
use crate::population::interpret::destination;
use crate::replication::interpret::Kind;
use crate::resources::snapshot::VolumeSnapshot;

/// Adds all watches to a controller.
pub(super) fn attach<K: Kind>(controller: Controller<K>, client: &Client) -> Controller<K> {
    let (key, value) = name::CREATED_BY;
    let ours = Config::default().labels(&format!("{key}={value}"));
    let (claims, namespaces) = (controller.store(), controller.store());
    controller
        .owns(Api::<Job>::all(client.clone()), ours.clone())
        .owns(Api::<VolumeSnapshot>::all(client.clone()), ours.clone())
        .owns(Api::<Service>::all(client.clone()), ours.clone())
        .owns(Api::<ServiceAccount>::all(client.clone()), ours.clone())
        .watches(Api::<Pod>::all(client.clone()), ours, |pod| owner_by_annotation(&pod))
        .watches(Api::<PersistentVolumeClaim>::all(client.clone()), Config::default(), move |claim| {
            users_of_claim(&claims, &claim)
        })
        .watches(Api::<Namespace>::all(client.clone()), Config::default(), move |namespace| {
            all_in(&namespaces, &namespace.name_any())
        })
}

/// A mover's pod belongs to a Job; whom the Job works for is written on both.
fn owner_by_annotation<K: Kind>(pod: &Pod) -> Option<ObjectRef<K>> {
    let (kind, owner) = pod.annotations().get(name::OWNER_ANNOTATION)?.split_once('/')?;
    (kind == K::ROLE.kind()).then(|| ObjectRef::new(owner).within(&pod.namespace().unwrap_or_default()))
}

/// Those that made the claim, those that name it, and, when it goes away, the one whose image it was promised.
fn users_of_claim<K: Kind>(objects: &Store<K>, claim: &PersistentVolumeClaim) -> Vec<ObjectRef<K>> {
    let namespace = claim.namespace().unwrap_or_default();
    let name = claim.name_any();
    let owners = claim
        .owner_references()
        .iter()
        .filter(|owner| owner.kind == K::ROLE.kind())
        .map(|owner| ObjectRef::new(&owner.name).within(&namespace));
    let users = objects
        .state()
        .into_iter()
        .filter(|object| object.namespace().as_deref() == Some(&namespace) && object.claims().contains(&name.as_str()))
        .map(|object| ObjectRef::from_obj(object.as_ref()));
    let promised_by = match destination(claim) {
        Some(Named::Here(name)) if K::ROLE == Role::Destination && claim.metadata.deletion_timestamp.is_some() => {
            Some(ObjectRef::new(&name).within(&namespace))
        }
        _ => None,
    };
    owners.chain(users).chain(promised_by).collect()
}

/// A namespace's annotation decides what its movers may do.
fn all_in<K: Kind>(objects: &Store<K>, namespace: &str) -> Vec<ObjectRef<K>> {
    let in_namespace = |object: &std::sync::Arc<K>| object.namespace().as_deref() == Some(namespace);
    objects
        .state()
        .iter()
        .filter(|object| in_namespace(object))
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}
