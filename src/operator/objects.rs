//! The objects themselves: they are looked at when they change and when it is their turn, and forgotten when they are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::runtime::controller::Controller;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc::Receiver;

use crate::replication::Context;
use crate::replication::interpret::Kind;

/// An object's namespace and name.
type Namespaced = (String, String);

/// All objects of one kind.
pub(super) struct Objects<K> {
    pub(super) context: Arc<Context>,
    woken: Receiver<Namespaced>,
    kind: std::marker::PhantomData<K>,
}

impl<K: Kind> Objects<K> {
    /// Those whose turn it is come through `woken`.
    pub(super) fn new(context: &Arc<Context>, woken: Receiver<Namespaced>) -> Self {
        Self { context: context.clone(), woken, kind: std::marker::PhantomData }
    }

    /// A controller of them, without watches on anything else.
    pub(super) fn controller(self, client: &Client) -> Controller<K> {
        let Self { context, mut woken, .. } = self;
        let (store, writer) = reflector::store();
        let events = watch(Api::<K>::all(client.clone()), Config::default()).default_backoff();
        let (forgets, begins, own) = (context.clone(), context.clone(), context.clone());
        let forget = move |gone: &Gone| match gone {
            Gone::One((namespace, name)) => forgets.forget(K::ROLE, namespace, name),
            Gone::AllBut(there) => forgets.retain(K::ROLE, there),
        };
        let events = noticing(events, forget).modify(strip).inspect_ok(move |event| {
            if let Event::InitApply(object) | Event::Apply(object) = event {
                context.told(object);
            }
        });
        let applied = events.reflect(writer).applied_objects();
        let applied = applied.try_filter(move |object| std::future::ready(!own.own().left(object)));
        // What is known of children first: most objects are at rest, and nothing has to be read for them then.
        let begun = futures::stream::once(async move { begins.known(K::ROLE).begun().await });
        let applied = begun.filter_map(|()| std::future::ready(None)).chain(applied);
        let turns = futures::stream::poll_fn(move |waker| woken.poll_recv(waker));
        Controller::for_stream(applied, store)
            .reconcile_on(turns.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace)))
    }
}

/// Who wrote which field is most of an object, and nobody asks.
fn strip<K: ResourceExt>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// What a watch tells of objects that are gone: no pass will ever see them.
#[derive(Debug, PartialEq, Eq)]
enum Gone {
    /// This one.
    One(Namespaced),
    /// All that were there, but for these: the watch began anew.
    AllBut(BTreeSet<Namespaced>),
}

/// The same events, while somebody is told of what is gone.
fn noticing<K, S>(events: S, tell: impl Fn(&Gone)) -> impl Stream<Item = watcher::Result<Event<K>>>
where
    K: ResourceExt,
    S: Stream<Item = watcher::Result<Event<K>>>,
{
    let namespaced = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
    let mut there = BTreeSet::new();
    events.inspect_ok(move |event| match event {
        Event::Init => there.clear(),
        Event::InitApply(object) => drop(there.insert(namespaced(object))),
        Event::InitDone => tell(&Gone::AllBut(std::mem::take(&mut there))),
        Event::Delete(object) => tell(&Gone::One(namespaced(object))),
        Event::Apply(_) => {}
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str) -> ConfigMap {
        serde_json::from_value(serde_json::json!({"metadata": {"namespace": "ns", "name": name}})).unwrap()
    }

    #[tokio::test]
    async fn what_is_deleted_is_told_also_when_the_watch_was_cut_meanwhile() {
        let events = [
            Event::Init,
            Event::InitApply(object("a")),
            Event::InitApply(object("b")),
            Event::InitDone,
            Event::Apply(object("c")),
            Event::Delete(object("a")),
            Event::Init,
            Event::InitApply(object("c")),
            Event::InitDone,
        ];
        let told = Mutex::new(Vec::new());
        let tell = |gone: &Gone| {
            told.lock().unwrap().push(match gone {
                Gone::One((_, name)) => name.clone(),
                Gone::AllBut(there) => {
                    let names: Vec<_> = there.iter().map(|(_, name)| name.as_str()).collect();
                    format!("not {}", names.join(" "))
                }
            });
        };
        let passed = noticing(futures::stream::iter(events.map(Ok)), tell).count().await;
        assert_eq!(passed, 9);
        assert_eq!(*told.lock().unwrap(), ["not a b", "a", "not c"]);
    }
}
