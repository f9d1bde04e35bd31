//! Composition root: client, lease, watches, probes and metrics, and their common end. The only place that spawns.

mod claims;
pub mod client;
mod objects;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::runtime::controller::{Action, Controller};
use kube::{Api, Client};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::objects::Objects;
use crate::api::destination::ReplicationDestination;
use crate::api::source::ReplicationSource;
use crate::args::OperatorArgs;
use crate::population::{self, offer};
use crate::replication::interpret::Kind;
use crate::replication::queue::Queue;
use crate::replication::{Context, reconcile};
use crate::telemetry::events::Events;
use crate::telemetry::lease::{Lease, LeaseError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::scrape::{ScrapeError, Scrapes};
use crate::telemetry::server::{self, Readiness};
use crate::telemetry::volsync::{Neighbour, VolSync};

/// Objects worked on at the same time, for each kind. A pass waits for the API server nearly all of its time.
const CONCURRENCY: u16 = 50;

/// How long passes that are under way have to end, of the 30 s that Kubernetes gives a pod. One takes well under a second; one that is cut
/// short is gone on with by the next instance, which waits for the end of this one. A controller that is told to stop before it knows its
/// objects never ends by itself (kube's waits for a list that is not read any more).
const DRAIN: Duration = Duration::from_secs(2);

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no API server to talk to.
    #[error("connecting to the API server: {0}")]
    Client(#[from] kube::Error),
    /// The Lease could not be had, or was lost: another instance may act now, so this one must not.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Nobody knows whether a VolSync runs beside this operator.
    #[error("the operator may not look for VolSync's Lease; check its ClusterRole: {0}")]
    Blind(kube::Error),
    /// A VolSync began to run beside this operator. The next container waits for its end.
    #[error("{0}; Doppel must not act beside it")]
    NotAlone(Neighbour),
    /// Metrics cannot be served.
    #[error(transparent)]
    Scrape(#[from] ScrapeError),
    /// Probes or signals.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs the operator until it is told to end (SIGTERM or SIGINT; a second one ends it at once).
///
/// # Errors
/// When it cannot start, or must not go on.
pub async fn run(args: OperatorArgs) -> Result<(), OperatorError> {
    let mut signals = Signals::new()?;
    let client = client::connect().await?;
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    let probes = server::probes(args.health_probe_bind_address, readiness.clone());
    let scrapes = scrapes(&args, &metrics, &client).await?;
    tokio::select! {
        ended = act(client, &args, metrics, readiness, &mut signals) => ended,
        failed = probes => Ok(failed?),
        () = scrapes => Ok(()),
    }
}

/// Answers scrapes if there are to be any; never ends by itself.
async fn scrapes(
    args: &OperatorArgs,
    metrics: &Metrics,
    client: &Client,
) -> Result<impl Future<Output = ()> + use<>, ScrapeError> {
    let scrapes = match args.scrapes() {
        Some(settings) => Some(Scrapes::listen(settings, metrics.clone(), client.clone()).await?),
        None => None,
    };
    Ok(async move {
        match scrapes {
            Some(scrapes) => scrapes.serve().await,
            None => std::future::pending().await,
        }
    })
}

/// Waits for the Lease, then works until a signal, and gives the Lease up.
async fn act(
    client: Client,
    args: &OperatorArgs,
    metrics: Metrics,
    readiness: Readiness,
    signals: &mut Signals,
) -> Result<(), OperatorError> {
    // A waiting instance is ready too: it does what it should.
    readiness.set();
    if !args.leader_elect {
        return work_alone(client, args, metrics, signals).await;
    }
    let lease = Lease::new(client.clone(), &args.namespace, &args.identity);
    tokio::select! {
        acquired = lease.acquired() => acquired?,
        () = signals.next() => return Ok(()),
    }
    tracing::info!(identity = args.identity, "Lease was acquired");
    let ended = tokio::select! {
        ended = work_alone(client, args, metrics, signals) => ended,
        error = lease.lost() => Err(error.into()),
    };
    lease.release().await;
    ended
}

/// Works while no VolSync runs.
async fn work_alone(
    client: Client,
    args: &OperatorArgs,
    metrics: Metrics,
    signals: &mut Signals,
) -> Result<(), OperatorError> {
    let mut volsync = VolSync::new(client.clone());
    tokio::select! {
        gone = volsync.gone() => gone.map_err(OperatorError::Blind)?,
        () = signals.next() => return Ok(()),
    }
    tokio::select! {
        ended = work(client, args, metrics, signals) => ended,
        found = volsync.comes() => Err(found.map_or_else(OperatorError::Blind, OperatorError::NotAlone)),
    }
}

/// Runs all controllers. At the first signal passes that are under way are finished, at the second they are not.
async fn work(
    client: Client,
    args: &OperatorArgs,
    metrics: Metrics,
    signals: &mut Signals,
) -> Result<(), OperatorError> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let controllers = controllers(client, args, metrics, stopped);
    tokio::pin!(controllers);
    tokio::select! {
        () = &mut controllers => return Ok(()),
        () = signals.next() => tracing::info!("Signal was received, passes under way are finished"),
    }
    stop.send_replace(true);
    tokio::select! {
        () = &mut controllers => {}
        () = signals.next() => tracing::warn!("Second signal was received"),
        () = tokio::time::sleep(DRAIN) => tracing::warn!("Passes under way were not finished in time"),
    }
    Ok(())
}

/// Runs all controllers until they are told to stop, and the passes that are under way then to their end.
pub async fn controllers(
    client: Client,
    args: &OperatorArgs,
    metrics: Metrics,
    stopped: tokio::sync::watch::Receiver<bool>,
) {
    metrics.lead();
    let events = Events::new(client.clone(), args.identity.clone());
    let populations = population::Context::new(client.clone(), args.image(), events.clone());
    let (queue, woken) = Queue::new(args.policy(), metrics.clone());
    let context = Arc::new(Context::new(client.clone(), args.image(), events, (metrics, queue)));
    if let Err(error) = context.begin().await {
        tracing::warn!(%error, "Could not read who waits for a place, the first pass tries again");
    }
    let sources = Objects::<ReplicationSource>::new(&context, woken.sources);
    let sources = controller(client.clone(), sources, stopping(stopped.clone()));
    let destinations = Objects::<ReplicationDestination>::new(&context, woken.destinations);
    let destinations = controller(client.clone(), destinations, stopping(stopped.clone()));
    let populations = fill_claims(&client, Arc::new(populations), stopping(stopped.clone()));
    let offers = offer_populator(client.clone(), stopping(stopped));
    tokio::select! {
        _ = async { futures::join!(sources, destinations, populations, offers) } => {}
        never = context.ask_movers() => match never {},
    }
}

async fn stopping(mut stopped: tokio::sync::watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn controller<K: Kind>(
    client: Client,
    objects: Objects<K>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let config = kube::runtime::controller::Config::default().concurrency(CONCURRENCY);
    let context = objects.context.clone();
    watches::attach(objects.controller(&client), &client, &context)
        .with_config(config)
        .graceful_shutdown_on(stop)
        .run(reconcile::<K>, |_, error, _| -> Action { match *error {} }, context)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(kind = K::ROLE.kind(), %error, "Controller queue reported an error");
            }
        })
        .await;
}

async fn fill_claims(
    client: &Client,
    context: Arc<population::Context>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    claims::controller(client)
        .with_config(kube::runtime::controller::Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(stop)
        .run(population::reconcile, |_, error, _| -> Action { match *error {} }, context)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(kind = "PersistentVolumeClaim", %error, "Controller queue reported an error");
            }
        })
        .await;
}

async fn offer_populator(client: Client, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    Controller::new(Api::<CustomResourceDefinition>::all(client.clone()), offer::definition())
        .graceful_shutdown_on(stop)
        .run(offer::reconcile, |_, error, _| -> Action { match *error {} }, Arc::new(client))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(kind = "CustomResourceDefinition", %error, "Controller queue reported an error");
            }
        })
        .await;
}
