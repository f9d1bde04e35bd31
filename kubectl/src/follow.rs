//! READ: one object each time that it changes.

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::cluster::Cluster;
use crate::error::{Error, What};
use crate::object::{Kind, Object};

/// The object each time it changes; none when it, or the one of this UID, is gone.
pub(crate) fn object<'a>(cluster: &Cluster, object: &Object) -> BoxStream<'a, Result<Option<Object>, Error>> {
    let uid = object.uid.clone();
    let seen = match object.kind {
        Kind::Source => states::<ReplicationSource>(cluster, object),
        Kind::Destination => states::<ReplicationDestination>(cluster, object),
    };
    seen.map_ok(move |seen| seen.filter(|seen| seen.uid == uid)).boxed()
}

fn states<'a, K>(cluster: &Cluster, object: &Object) -> BoxStream<'a, Result<Option<Object>, Error>>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
    Object: From<K>,
{
    let api = cluster.api::<K>(&object.namespace);
    let (cluster, kind, namespace) = (cluster.clone(), object.kind, object.namespace.clone());
    watcher::watch_object(api, &object.name)
        .default_backoff()
        .filter_map(move |seen| {
            let seen = match seen {
                Ok(seen) => Some(Ok(seen.map(Object::from))),
                // Only a missing right does not pass; anything else is tried again by the watch, with pauses.
                Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error))
                    if matches!(&error, kube::Error::Api(status) if status.code == 403) =>
                {
                    Some(Err(cluster.error("watch", What::Replications(kind), &namespace, error)))
                }
                Err(_) => None,
            };
            futures::future::ready(seen)
        })
        .boxed()
}
