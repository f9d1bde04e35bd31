//! What happens to requests on their way: an operator's process dies after a given write, its writes meet somebody else's, nobody
//! answers. Injected in the client's own middleware; nothing here stands in for the API server.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use doppel::operator::client::builder;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use kube::core::Status;
use tower::{BoxError, Layer, Service};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is answered.
    Answered,
    /// It is refused, with this code and reason.
    Refused(u16, &'static str),
    /// It does not arrive.
    Lost,
    /// It is done, and nobody learns of it.
    AnswerLost,
    /// It does not arrive, and nobody says so.
    Silence,
}

/// What may happen to one client's requests.
pub(super) trait Fault: Clone + Send + Sync + 'static {
    /// A request is about to be sent. Once this is done, it has this fate.
    fn meet(&self, request: &mut Request<Body>) -> BoxFuture<'static, Fate>;

    /// One was answered.
    fn hear(&self, _answer: StatusCode) {}

    /// A client to which it happens.
    fn client(&self, config: kube::Config) -> kube::Client {
        builder(config).unwrap().with_layer(&Faulty(self.clone())).build()
    }
}

/// Lets something happen to requests.
pub(super) struct Faulty<F>(pub(super) F);

impl<F: Fault, S> Layer<S> for Faulty<F> {
    type Service = FaultyService<F, S>;

    fn layer(&self, inner: S) -> Self::Service {
        FaultyService { fault: self.0.clone(), inner }
    }
}

pub(super) struct FaultyService<F, S> {
    fault: F,
    inner: S,
}

impl<F, S, B> Service<Request<Body>> for FaultyService<F, S>
where
    F: Fault,
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let fault = self.fault.clone();
        let fate = fault.meet(&mut request);
        // Nothing is sent before it is awaited.
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = match fate.await {
                Fate::Answered => answer.await.map_err(Into::into)?,
                Fate::Refused(code, reason) => {
                    return Err(kube::Error::Api(Status::failure("injected", reason).with_code(code).boxed()).into());
                }
                Fate::Lost => return Err("injected: connection reset".into()),
                Fate::AnswerLost => {
                    answer.await.map_err(Into::into)?;
                    return Err("injected: timed out".into());
                }
                Fate::Silence => std::future::pending().await,
            };
            fault.hear(answer.status());
            Ok(answer)
        })
    }
}

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
}

impl Fault for Mortal {
    fn meet(&self, request: &mut Request<Body>) -> BoxFuture<'static, Fate> {
        let is_write = request.method() != Method::GET;
        let dies = self.is_dead() || (is_write && self.writes.fetch_add(1, Ordering::SeqCst) >= self.last);
        ready(if dies { Fate::Lost } else { Fate::Answered }).boxed()
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

    /// Writes to the object of this path.
    async fn meddle(other: kube::Client, path: String, time: usize) {
        let patch = serde_json::json!({"metadata": {"annotations": {"meddled": time.to_string()}}}).to_string();
        let request = Request::patch(&path).header("Content-Type", "application/merge-patch+json");
        // It may be gone.
        let _ = other.request_text(request.body(patch.into_bytes()).unwrap()).await;
    }

    /// Whether this is the first or the second patch of a snapshot or a volume, and which.
    fn meets(&self, request: &Request<Body>) -> Option<usize> {
        let path = request.uri().path();
        let is_shared = path.contains("/volumesnapshots/") || path.contains("/persistentvolumes/");
        if !is_shared || request.method() != Method::PATCH {
            return None;
        }
        let mut met = self.met.lock().unwrap();
        [1, 2].into_iter().find(|time| met.insert(format!("{time} {path}")))
    }
}

impl Fault for Meddler {
    fn meet(&self, request: &mut Request<Body>) -> BoxFuture<'static, Fate> {
        let Some(time) = self.meets(request) else { return ready(Fate::Answered).boxed() };
        let meddling = Self::meddle(self.other.clone(), request.uri().path().to_owned(), time);
        meddling.map(|()| Fate::Answered).boxed()
    }

    fn hear(&self, answer: StatusCode) {
        if answer == StatusCode::CONFLICT {
            self.conflicts.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Remembers what is asked about single namespaces and objects. Lists and watches of the whole cluster are not.
#[derive(Clone, Default)]
pub(super) struct Listener(Arc<Mutex<Vec<String>>>);

impl Listener {
    pub(super) fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Fault for Listener {
    fn meet(&self, request: &mut Request<Body>) -> BoxFuture<'static, Fate> {
        if request.uri().path().contains("/namespaces/") {
            self.0.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
        }
        ready(Fate::Answered).boxed()
    }
}

/// Every so many requests one is never answered.
#[derive(Clone)]
pub(super) struct Deaf {
    every: usize,
    asked: Arc<AtomicUsize>,
}

impl Deaf {
    pub(super) fn to_one_in(every: usize) -> Self {
        Self { every, asked: Arc::default() }
    }

    /// How many requests there were.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Fault for Deaf {
    fn meet(&self, _: &mut Request<Body>) -> BoxFuture<'static, Fate> {
        let is_heard = !(self.asked.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(self.every);
        ready(if is_heard { Fate::Answered } else { Fate::Silence }).boxed()
    }
}
