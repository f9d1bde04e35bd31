//! A client whose process dies after a given write, and one whose writes meet somebody else's. Injected faults: nothing
//! here stands in for the API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
