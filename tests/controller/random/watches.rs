//! What an operator's watches tell it, and how late: some of what they have to tell is held up for longer than a step takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinSet;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use doppel::mirror::Mirrored;
use doppel::replication::Context;
use doppel::replication::interpret::Kind;
use doppel::resources::snapshot::VolumeSnapshot;

use super::dice::Dice;

/// The longest that one thing is held up.
const LAG_MS: usize = 400;

/// The objects themselves, as they were told of last.
type Told<K> = Arc<Mutex<HashMap<(String, String), Arc<K>>>>;

pub(super) struct Watches {
    pub(super) sources: Told<ReplicationSource>,
    pub(super) destinations: Told<ReplicationDestination>,
    /// They end with this.
    _tellers: JoinSet<()>,
}

impl Watches {
    pub(super) fn start(client: &Client, context: &Arc<Context>, dice: &mut Dice) -> Self {
        let mut tellers = JoinSet::new();
        let sources = of_kind::<ReplicationSource>(client, context, (&mut tellers, dice));
        let destinations = of_kind::<ReplicationDestination>(client, context, (&mut tellers, dice));
        Self { sources, destinations, _tellers: tellers }
    }
}

/// Starts all watches of a controller, as `operator::watches` does.
fn of_kind<K: Kind>(
    client: &Client,
    context: &Arc<Context>,
    (tellers, dice): (&mut JoinSet<()>, &mut Dice),
) -> Told<K> {
    let ours = Config::default().labels("app.kubernetes.io/created-by=volsync");
    let all = Config::default();
    tellers.spawn(children::<K, Job>(client, context, ours.clone(), dice));
    tellers.spawn(children::<K, VolumeSnapshot>(client, context, ours.clone(), dice));
    tellers.spawn(children::<K, Service>(client, context, ours.clone(), dice));
    tellers.spawn(children::<K, ServiceAccount>(client, context, ours.clone(), dice));
    tellers.spawn(children::<K, Pod>(client, context, ours, dice));
    tellers.spawn(children::<K, PersistentVolumeClaim>(client, context, all.clone(), dice));
    tellers.spawn(children::<K, PartialObjectMeta<Namespace>>(client, context, all, dice));
    let told = Told::<K>::default();
    let (noted, context) = (told.clone(), context.clone());
    tellers.spawn(tell(Api::<K>::all(client.clone()), Config::default(), dice, move |event| {
        let namespaced = |object: &K| (object.namespace().unwrap(), object.name_any());
        match event {
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                context.told(object);
                noted.lock().unwrap().insert(namespaced(object), Arc::new(object.clone()));
            }
            Ok(Event::Delete(object)) => {
                let (namespace, name) = namespaced(object);
                context.forget(K::ROLE, &namespace, &name);
                noted.lock().unwrap().remove(&(namespace, name));
            }
            Ok(Event::Init | Event::InitDone) | Err(_) => {}
        }
    }));
    told
}

fn children<K: Kind, C: Mirrored>(
    client: &Client,
    context: &Arc<Context>,
    config: Config,
    dice: &mut Dice,
) -> impl Future<Output = ()> + use<K, C> {
    let context = context.clone();
    tell(Api::<C>::all(client.clone()), config, dice, move |event| context.known(K::ROLE).learn(event))
}

fn tell<
    C: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    L,
>(
    api: Api<C>,
    config: Config,
    dice: &mut Dice,
    learn: L,
) -> impl Future<Output = ()> + use<C, L>
where
    L: Fn(&watcher::Result<Event<C>>),
{
    let mut dice = Dice::new(dice.throw());
    async move {
        let mut events = std::pin::pin!(watch(api, config).default_backoff());
        while let Some(event) = events.next().await {
            if dice.one_in(6) {
                tokio::time::sleep(Duration::from_millis(u64::try_from(dice.below(LAG_MS)).unwrap())).await;
            }
            learn(&event);
        }
    }
}
