//! The client to the API server, which may keep this operator waiting for only so long.
//!
//! A connection that is open and silent (the API server is frozen, or a proxy has forgotten it) would hold a pass for ever, and with it
//! its object. So every answer is to be there, whole, within a time. A watch is meant to go on: of its answer only the beginning is
//! held to that. How long it may be silent then is for kube's watcher to say, which knows for how long it has asked.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, Uri};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt, DynBody};
use kube::{Client, Config};
use tokio::time::timeout;
use tower::retry::RetryLayer;
use tower::util::BoxService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};

/// An API server itself gives up after 60 s on whatever is no watch (`kube-apiserver --request-timeout`), and says so: who has not
/// answered a little later will not.
const ANSWER_WITHIN: Duration = Duration::from_secs(65);

/// A client to the API server that this program is to work with: as its kubeconfig says, or the one whose pod it is.
///
/// # Errors
/// When it is not known where that is, or how to be allowed in.
pub async fn connect() -> kube::Result<Client> {
    let config = Config::infer().await.map_err(kube::Error::InferConfig)?;
    Ok(builder(config)?.with_layer(&Patience::default()).build())
}

/// What requests go through, up to the connections.
pub type Requests = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// A client as kube makes it, but for TCP_NODELAY: without it, the first request on each new connection waits some 40 ms until the other
/// end has confirmed what ended the handshake.
///
/// # Errors
/// When the configuration names what cannot be read, or used.
pub fn builder(config: Config) -> kube::Result<ClientBuilder<Requests>> {
    // These kube sets up in ways that cannot be told from outside.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return ClientBuilder::try_from(config);
    }
    // It is no error if there is one.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let connections = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let requests = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(connections)
        .map_response(|answer: Response<Incoming>| {
            answer.map(|body| -> Box<DynBody> { Box::new(body.map_err(BoxError::from)) })
        });
    Ok(ClientBuilder::new(requests.boxed(), config.default_namespace))
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience(Duration);

impl Patience {
    /// This long.
    #[must_use]
    pub fn of(limit: Duration) -> Self {
        Self(limit)
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self(ANSWER_WITHIN)
    }
}

impl<S> Layer<S> for Patience {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Patient<S> {
        Patient { limit: self.0, inner }
    }
}

/// A request that was not answered in time. What it asked for may have been done, or may still be.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {limit:?}: {request}")]
struct Unanswered {
    request: String,
    limit: Duration,
}

/// Requests that are given up after a time.
#[derive(Debug, Clone)]
pub struct Patient<S> {
    limit: Duration,
    inner: S,
}

impl<S, B> Service<Request<Body>> for Patient<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<Full<Bytes>, B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (limit, method, uri) = (self.limit, request.method().clone(), request.uri().clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let whole = async {
                let (head, body) = answer.await.map_err(Into::into)?.into_parts();
                let body = if is_watch(&uri) {
                    Either::Right(body)
                } else {
                    Either::Left(Full::new(body.collect().await.map_err(Into::into)?.to_bytes()))
                };
                Ok(Response::from_parts(head, body))
            };
            match timeout(limit, whole).await {
                Ok(answered) => answered,
                Err(_) => Err(Unanswered { request: format!("{method} {}", uri.path()), limit }.into()),
            }
        })
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|parameter| parameter.starts_with("watch=")))
}
