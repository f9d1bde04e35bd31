//! A client whose process dies after a given write, and one whose writes meet somebody else's. Injected faults: nothing
//! here stands in for the API server.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use kube::client::{Body, ClientBuilder};
use tower::{BoxError, Layer, Service};

/// Counts writes, and lets nothing through once the last allowed one is done.
#[derive(Clone)]
pub(super) struct Mortal {
    writes: Arc<AtomicUsize>,
    last: usize,
}

impl Mortal {
    /// Dies after this many writes.
    pub(super) fn after(last: usize) -> Self {
        Self { writes: Arc::default(), last }
    }

    /// Never dies.
    pub(super) fn immortal() -> Self {
        Self::after(usize::MAX)
    }

    /// How many writes were done.
    pub(super) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Whether it died: whether anything was asked for after the last allowed write.
    pub(super) fn is_dead(&self) -> bool {
        self.writes() > self.last
    }

    /// A client with this fate.
    pub(super) fn client(&self, config: kube::Config) -> kube::Client {
        ClientBuilder::try_from(config).unwrap().with_layer(self).build()
    }
}

impl<S> Layer<S> for Mortal {
    type Service = MortalService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MortalService { fate: self.clone(), inner }
    }
}

pub(super) struct MortalService<S> {
    fate: Mortal,
    inner: S,
}

impl<S, R> Service<http::Request<Body>> for MortalService<S>
where
    S: Service<http::Request<Body>, Response = R>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = R;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<R, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let is_write = request.method() != http::Method::GET;
        let dead = || -> Self::Future { Box::pin(async { Err("the process is dead".into()) }) };
        if self.fate.is_dead() {
            return dead();
        }
        if is_write && self.fate.writes.fetch_add(1, Ordering::SeqCst) >= self.fate.last {
            return dead();
        }
        let answer = self.inner.call(request);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}

/// Before the operator's first two patches of each object that others write to as well, somebody else writes to it.
#[derive(Clone)]
pub(super) struct Meddler {
    /// The other one's client.
    other: kube::Client,
    met: Arc<Mutex<BTreeSet<String>>>,
    conflicts: Arc<AtomicUsize>,
}

impl Meddler {
    pub(super) fn new(other: kube::Client) -> Self {
        Self { other, met: Arc::default(), conflicts: Arc::default() }
    }

    /// How many of the operator's writes were refused for that.
    pub(super) fn conflicts(&self) -> usize {
        self.conflicts.load(Ordering::SeqCst)
    }

    /// A client whose writes are met.
    pub(super) fn client(&self, config: kube::Config) -> kube::Client {
        ClientBuilder::try_from(config).unwrap().with_layer(self).build()
    }

    /// Writes to the object of this path.
    async fn meddle(other: kube::Client, path: String, time: usize) {
        let patch = serde_json::json!({"metadata": {"annotations": {"meddled": time.to_string()}}}).to_string();
        let request = http::Request::patch(&path).header("Content-Type", "application/merge-patch+json");
        // It may be gone.
        let _ = other.request_text(request.body(patch.into_bytes()).unwrap()).await;
    }

    /// Whether this is the first or the second patch of a snapshot or a volume, and which.
    fn meets(&self, request: &http::Request<Body>) -> Option<usize> {
        let path = request.uri().path();
        let is_shared = path.contains("/volumesnapshots/") || path.contains("/persistentvolumes/");
        if !is_shared || request.method() != http::Method::PATCH {
            return None;
        }
        let mut met = self.met.lock().unwrap();
        [1, 2].into_iter().find(|time| met.insert(format!("{time} {path}")))
    }
}

impl<S> Layer<S> for Meddler {
    type Service = MeddlerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MeddlerService { meddler: self.clone(), inner }
    }
}

pub(super) struct MeddlerService<S> {
    meddler: Meddler,
    inner: S,
}

impl<S, B> Service<http::Request<Body>> for MeddlerService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = http::Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<http::Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let meets = self.meddler.meets(&request);
        let path = request.uri().path().to_owned();
        let meddler = self.meddler.clone();
        // Nothing is sent before it is awaited.
        let answer = self.inner.call(request);
        Box::pin(async move {
            if let Some(time) = meets {
                Meddler::meddle(meddler.other.clone(), path, time).await;
            }
            let answer = answer.await.map_err(Into::into)?;
            if answer.status() == http::StatusCode::CONFLICT {
                meddler.conflicts.fetch_add(1, Ordering::SeqCst);
            }
            Ok(answer)
        })
    }
}

/// Remembers what is asked about single namespaces and objects. Lists and watches of the whole cluster are not.
#[derive(Clone, Default)]
pub(super) struct Listener(Arc<Mutex<Vec<String>>>);

impl Listener {
    pub(super) fn client(&self, config: kube::Config) -> kube::Client {
        ClientBuilder::try_from(config).unwrap().with_layer(self).build()
    }

    pub(super) fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl<S> Layer<S> for Listener {
    type Service = ListenerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ListenerService { listener: self.clone(), inner }
    }
}

pub(super) struct ListenerService<S> {
    listener: Listener,
    inner: S,
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for ListenerService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path().contains("/namespaces/") {
            self.listener.0.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        }
        self.inner.call(request)
    }
}
