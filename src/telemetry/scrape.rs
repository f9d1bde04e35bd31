//! Scrapes of the metrics: `/metrics` over HTTPS, for those whom [`super::access`] lets in, or plainly where an administrator
//! says so.
//!
//! Everybody in the cluster can connect, so a connection costs little and ends soon: there are only so many at a time, and
//! each has a deadline for its handshake, for its request and as a whole.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::access::{Access, METRICS_PATH, Verdict};
use super::certificate::{Certificate, CertificateError, Source};
use super::metrics::Metrics;

/// The content type of [`Metrics::render`].
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Most connections at a time. A few Prometheus servers need one each; a TLS connection takes some 50 KiB.
const MOST_CONNECTIONS: usize = 64;
/// Most of them from one address, so that one pod that holds connections open keeps no other away.
const MOST_FROM_ONE: usize = 8;
/// A handshake takes three round trips; whoever needs longer is let go.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// From the handshake, or the last answer, to the end of a request's head. Longer than Prometheus' usual pause of 30 s between
/// scrapes would keep a connection for each that only waits.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection lasts at most, whatever it does. In that time the answer for 10,000 objects goes over 2 Mbit/s.
const CONNECTION_FOR: Duration = Duration::from_secs(120);
/// Most answers in memory at a time, from their rendering until they are sent: one of 10,000 objects has up to 25 MB.
const MOST_ANSWERS: usize = 4;
/// Pause after the system refused a connection, for lack of descriptors for example.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// How scrapes are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeSettings {
    /// Where.
    pub address: SocketAddr,
    /// Under which certificate; none for plain HTTP.
    pub certificate: Option<Source>,
    /// Who is let in.
    pub readers: Readers,
}

/// Who may read the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Everybody who can connect.
    Everybody,
    /// Whom the cluster's RBAC lets.
    ByRbac,
}

/// Why scrapes cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The address cannot be listened on.
    #[error("listening on {0} for scrapes: {1}; see --metrics-bind-address")]
    Listen(SocketAddr, std::io::Error),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Answers scrapes.
pub struct Scrapes {
    listener: TcpListener,
    certificate: Option<Certificate>,
    page: Arc<Page>,
}

/// What is served, and to whom.
struct Page {
    metrics: Metrics,
    access: Option<Access>,
    answers: Arc<Semaphore>,
}

impl Page {
    fn new(metrics: Metrics, access: Option<Access>) -> Self {
        Self { metrics, access, answers: Arc::new(Semaphore::new(MOST_ANSWERS)) }
    }
}

/// Rendered metrics, which keep their turn for as long as they are in memory.
struct Rendered {
    text: String,
    _turn: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Rendered {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Scrapes {
    /// Listens.
    ///
    /// # Errors
    /// When that is not possible as it is wished.
    pub async fn listen(settings: ScrapeSettings, metrics: Metrics, client: kube::Client) -> Result<Self, ScrapeError> {
        let ScrapeSettings { address, certificate, readers } = settings;
        let certificate = certificate.map(|source| Certificate::new(source, Instant::now())).transpose()?;
        let listener = TcpListener::bind(address).await.map_err(|error| ScrapeError::Listen(address, error))?;
        let access = match readers {
            Readers::Everybody => None,
            Readers::ByRbac => Some(Access::new(client)),
        };
        Ok(Self { listener, certificate, page: Arc::new(Page::new(metrics, access)) })
    }

    /// Where.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers, until it is dropped. Connections live in this future and end with it.
    pub async fn serve(mut self) {
        let mut connections = FuturesUnordered::new();
        let mut callers = Callers::default();
        loop {
            let may_accept = connections.len() < MOST_CONNECTIONS;
            tokio::select! {
                Some(caller) = connections.next() => callers.leave(caller),
                accepted = self.listener.accept(), if may_accept => match accepted {
                    Ok((stream, from)) if callers.enter(from.ip()) => {
                        let connection = self.connection(stream);
                        connections.push(async move { connection.await; from.ip() });
                    }
                    Ok((_, from)) => tracing::debug!(%from, "Connection for metrics was one too many"),
                    Err(error) => {
                        tracing::debug!(%error, "Connection for metrics was not accepted");
                        tokio::time::sleep(REFUSED_PAUSE).await;
                    }
                },
            }
        }
    }

    fn connection(&mut self, stream: TcpStream) -> BoxFuture<'static, ()> {
        let acceptor = self.certificate.as_mut().map(|certificate| certificate.acceptor(Instant::now()));
        let page = self.page.clone();
        Box::pin(async move {
            // What strangers do to a connection is nobody's trouble but theirs.
            let _ = timeout(CONNECTION_FOR, async {
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(Ok(stream)) = timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                            talk(stream, page).await;
                        }
                    }
                    None => talk(stream, page).await,
                }
            })
            .await;
        })
    }
}

/// How many connections each address has.
#[derive(Debug, Default)]
struct Callers(HashMap<IpAddr, usize>);

impl Callers {
    /// Whether it may have one more; then it has.
    fn enter(&mut self, caller: IpAddr) -> bool {
        let connections = self.0.entry(caller).or_default();
        let may_enter = *connections < MOST_FROM_ONE;
        *connections += usize::from(may_enter);
        may_enter
    }

    fn leave(&mut self, caller: IpAddr) {
        let Some(connections) = self.0.get_mut(&caller) else { return };
        *connections = connections.saturating_sub(1);
        if *connections == 0 {
            self.0.remove(&caller);
        }
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, page: Arc<Page>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let page = page.clone();
        async move { Ok::<_, Infallible>(page.answer(request.method(), request.uri().path(), request.headers()).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "Connection for metrics ended early");
    }
}

impl Page {
    async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
        if let Some(access) = &self.access
            && let Err(refusal) = admit(access, headers).await
        {
            return refusal;
        }
        match (method, path) {
            (&Method::GET | &Method::HEAD, METRICS_PATH) => self.render().await,
            (_, METRICS_PATH) => refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
            _ => refuse(StatusCode::NOT_FOUND, "see /metrics\n"),
        }
    }

    async fn render(&self) -> Response<Body> {
        // Never closed.
        let Ok(turn) = self.answers.clone().acquire_owned().await else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "the operator ends\n");
        };
        let rendered = Rendered { text: self.metrics.render(), _turn: turn };
        let mut response = Response::new(Body::from(Bytes::from_owner(rendered)));
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(OPENMETRICS));
        response
    }
}

async fn admit(access: &Access, headers: &HeaderMap) -> Result<(), Response<Body>> {
    let Some(token) = bearer(headers) else {
        return Err(unauthorized("no bearer token in the header Authorization\n"));
    };
    match access.judge(token).await {
        Ok(Verdict::Allowed) => Ok(()),
        Ok(Verdict::Unknown) => Err(unauthorized("the API server does not know this token\n")),
        Ok(Verdict::Forbidden) => {
            let text = "the token's owner may not get /metrics; bind the ClusterRole doppel-metrics-reader to it\n";
            Err(refuse(StatusCode::FORBIDDEN, text))
        }
        Err(error) => {
            tracing::warn!(%error, "Scrape was not answered");
            let text = "the API server could not be asked who you are; the operator's log says why\n";
            Err(refuse(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1); the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn unauthorized(text: &'static str) -> Response<Body> {
    let mut response = refuse(StatusCode::UNAUTHORIZED, text);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

fn refuse(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn open_page() -> Arc<Page> {
        Arc::new(Page::new(Metrics::default(), None))
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics_and_nothing_else_is() {
        for (method, path, status) in [
            (Method::GET, "/metrics", StatusCode::OK),
            (Method::HEAD, "/metrics", StatusCode::OK),
            (Method::POST, "/metrics", StatusCode::METHOD_NOT_ALLOWED),
            (Method::GET, "/", StatusCode::NOT_FOUND),
            (Method::GET, "/healthz", StatusCode::NOT_FOUND),
        ] {
            let response = open_page().answer(&method, path, &HeaderMap::new()).await;
            assert_eq!(response.status(), status, "{method} {path}");
            let is_metrics = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == OPENMETRICS);
            assert_eq!(is_metrics, status == StatusCode::OK);
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&body).contains("doppel_build_info"), is_metrics);
        }
    }

    #[test]
    fn only_a_bearer_token_is_one() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(bearer(&headers), token, "{value:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    /// How many seconds a connection lasts whose client sends this, and then nothing.
    async fn lasts_after(sent: &str) -> u64 {
        let (mut client, server) = duplex(1024);
        let begin = tokio::time::Instant::now();
        let talk = talk(server, open_page());
        let client = async {
            client.write_all(sent.as_bytes()).await.unwrap();
            // Until the server hangs up.
            client.read_to_end(&mut Vec::new()).await.unwrap();
        };
        tokio::join!(talk, client);
        begin.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_come_is_not_waited_for() {
        let within = REQUEST_WITHIN.as_secs();
        for sent in
            ["", "GET /metr", "GET /metrics HTTP/1.1\r\nHost: x\r\n", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"]
        {
            assert_eq!(lasts_after(sent).await, within, "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_reads_do_not_fill_the_memory() {
        let page = open_page();
        let headers = HeaderMap::new();
        let scrape = || page.answer(&Method::GET, METRICS_PATH, &headers);
        let mut unread = Vec::new();
        for _ in 0..MOST_ANSWERS {
            unread.push(scrape().await);
        }
        assert!(timeout(CONNECTION_FOR, scrape()).await.is_err(), "one more waits, and its connection ends");
        drop(unread.pop());
        assert_eq!(scrape().await.status(), StatusCode::OK);
    }

    #[test]
    fn one_address_has_so_many_connections_and_no_more_and_others_have_theirs() {
        let mut callers = Callers::default();
        let [one, other] = ["192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
        for _ in 0..MOST_FROM_ONE {
            assert!(callers.enter(one));
        }
        assert!(!callers.enter(one));
        assert!(callers.enter(other));
        callers.leave(one);
        assert!(callers.enter(one));
        assert!(!callers.enter(one));
        for _ in 0..MOST_FROM_ONE {
            callers.leave(one);
        }
        callers.leave(other);
        assert!(callers.0.is_empty(), "nobody is remembered who is gone");
    }
}
