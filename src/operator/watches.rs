//! What wakes an object: each of its children, and what it refers to. Nothing is polled but Secrets, which may be read
//! and not watched.

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Config};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};

use crate::mirror::Mirrored;
use crate::model::name;
use crate::model::population::Named;
use crate::model::replication::Role;
use crate::population::interpret::destination;
use crate::replication::Context;
use crate::replication::interpret::Kind;
use crate::resources::snapshot::VolumeSnapshot;

/// Adds all watches to a controller.
pub(super) fn attach<K: Kind>(controller: Controller<K>, client: &Client, context: &Arc<Context>) -> Controller<K> {
    let (key, value) = name::CREATED_BY;
    let ours = Config::default().labels(&format!("{key}={value}"));
    let all = Config::default();
    let namespaces = controller.store();
    let named_by = context.clone();
    controller
        .owns_stream(told::<K, Job>(client, context, ours.clone()))
        .owns_stream(told::<K, VolumeSnapshot>(client, context, ours.clone()))
        .owns_stream(told::<K, Service>(client, context, ours.clone()))
        .owns_stream(told::<K, ServiceAccount>(client, context, ours.clone()))
        .watches_stream(told::<K, Pod>(client, context, ours), |pod| owner_by_annotation(&pod))
        .watches_stream(told::<K, PersistentVolumeClaim>(client, context, all.clone()), move |claim| {
            concerned(&named_by, &claim)
        })
        .watches_stream(told::<K, PartialObjectMeta<Namespace>>(client, context, all), move |namespace| {
            all_in(&namespaces, &namespace.name_any())
        })
}

/// The objects that a watch tells of, after what it tells was noted: those that this operator has not just made itself. What it
/// waits for then is what others make of them.
fn told<K: Kind, C: Mirrored>(
    client: &Client,
    context: &Arc<Context>,
    config: Config,
) -> impl Stream<Item = watcher::Result<C>> + Send + 'static {
    let (context, own) = (context.clone(), context.clone());
    let events = watch(Api::<C>::all(client.clone()), config).default_backoff();
    let events = events.inspect(move |event| context.known(K::ROLE).learn(event));
    events.touched_objects().try_filter(move |child| std::future::ready(!own.own().left(child)))
}

/// A mover's pod belongs to a Job; whom the Job works for is written on both.
fn owner_by_annotation<K: Kind>(pod: &Pod) -> Option<ObjectRef<K>> {
    let (kind, owner) = pod.annotations().get(name::OWNER_ANNOTATION)?.split_once('/')?;
    (kind == K::ROLE.kind()).then(|| ObjectRef::new(owner).within(&pod.namespace().unwrap_or_default()))
}

/// Those that made the claim, those that name it, and, when it goes away, the one whose image it was promised.
fn concerned<K: Kind>(context: &Context, claim: &PersistentVolumeClaim) -> Vec<ObjectRef<K>> {
    let namespace = claim.namespace().unwrap_or_default();
    let owners = claim.owner_references().iter().filter(|owner| owner.kind == K::ROLE.kind());
    let owners = owners.map(|owner| owner.name.clone());
    let users = context.known(K::ROLE).users(&namespace, &claim.name_any());
    let promised_by = match destination(claim) {
        Some(Named::Here(name)) if K::ROLE == Role::Destination && claim.metadata.deletion_timestamp.is_some() => {
            Some(name)
        }
        _ => None,
    };
    owners.chain(users).chain(promised_by).map(|name| ObjectRef::new(&name).within(&namespace)).collect()
}

/// A namespace's annotation decides what its movers may do.
fn all_in<K: Kind>(objects: &Store<K>, namespace: &str) -> Vec<ObjectRef<K>> {
    let found = objects.state_filter(|object| object.namespace().as_deref() == Some(namespace));
    found.iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect()
}
