//! HTTP, with a limit to every wait and to every answer.
//!
//! Addresses never get into a text: those of Azure have signatures in them.

use std::error::Error as StdError;
use std::future::ready;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{Request, Response};
use opendal::{Buffer, ErrorKind, HttpBody, HttpTransport};
use reqwest::redirect::Policy;
use reqwest::{NoProxy, Proxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use crate::location::Proxies;
use crate::remote::Failed;
use crate::{Error, Kind, LARGEST_OBJECT};

/// A connection that takes longer is not coming.
const CONNECT: Duration = Duration::from_secs(15);

/// How long a server may be silent before it answers, and between parts of its answer.
const SILENCE: Duration = Duration::from_secs(60);

/// The slowest upload that is waited for, in bytes a second: a pack of 16 MiB takes 17 minutes then.
const SLOWEST: u32 = 16 << 10;

/// Sent bytes that nobody has confirmed for so long were sent to nobody: how a dead upload is told from a slow one.
const UNCONFIRMED: Duration = Duration::from_secs(60);

/// An HTTP client.
#[derive(Clone)]
pub(crate) struct Web {
    client: reqwest::Client,
}

impl Web {
    /// A client that trusts the certificates in a file, and no others, or those that the machine trusts.
    pub(crate) fn new(trusted: Option<&Path>, proxies: &Proxies) -> Result<Self, Error> {
        let roots = match trusted {
            Some(file) => from_file(file)?,
            None => of_the_machine(),
        };
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let failed = |error: &dyn std::fmt::Display| Error::new(Kind::Settings, "preparing TLS", error.to_string());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| failed(&error))?.with_root_certificates(roots).with_no_client_auth();
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .user_agent(concat!("doppel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .tcp_user_timeout(UNCONFIRMED)
            // What was signed for one host is of no use to another.
            .redirect(Policy::none());
        for proxy in through(proxies)? {
            client = client.proxy(proxy);
        }
        Ok(Self { client: client.build().map_err(|error| failed(&error))? })
    }

    /// Sends a request, and returns once the answer begins.
    async fn send(&self, request: Request<Bytes>) -> Result<reqwest::Response, Failed> {
        let length = u32::try_from(request.body().len()).unwrap_or(u32::MAX);
        let patience = SILENCE + Duration::from_secs(u64::from(length / SLOWEST));
        let request = reqwest::Request::try_from(request.map(reqwest::Body::from));
        let request = request.map_err(|error| Failed::lasting(Kind::Other, text(&error.without_url())))?;
        let head = *request.method() == http::Method::HEAD;
        let answer = tokio::time::timeout(patience, self.client.execute(request)).await;
        let late = |_| Failed::passing(format_args!("no answer within {} s", patience.as_secs()));
        let answer = answer.map_err(late)?.map_err(broken)?;
        if !head && answer.content_length().is_some_and(|length| length > LARGEST_OBJECT) {
            return Err(Failed::lasting(Kind::Other, crate::error::too_large()));
        }
        Ok(answer)
    }

    /// Sends a request, and returns the whole answer. The runtime's own threads wait for its parts: to wake up the caller for each
    /// of them costs more than all else.
    pub(crate) async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failed> {
        let mut exchanges = JoinSet::new();
        let web = self.clone();
        exchanges.spawn(async move { web.exchange_here(request).await });
        let exchanged = exchanges.join_next().await.and_then(Result::ok);
        exchanged.unwrap_or_else(|| Err(Failed::lasting(Kind::Other, "the request was given up")))
    }

    async fn exchange_here(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failed> {
        let head = request.method() == http::Method::HEAD;
        let answer = self.send(request).await?;
        let length = answer.content_length().filter(|_| !head);
        let mut parts = Response::new(Bytes::new());
        *parts.status_mut() = answer.status();
        *parts.version_mut() = answer.version();
        *parts.headers_mut() = answer.headers().clone();
        let mut content = Vec::with_capacity(length.and_then(|length| length.try_into().ok()).unwrap_or_default());
        let mut body = Guarded::new(answer);
        while let Some(part) = std::future::poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
            content.extend_from_slice(&part?);
        }
        if length.is_some_and(|length| length != content.len() as u64) {
            return Err(Failed::passing("the answer broke off"));
        }
        Ok(parts.map(|_| content.into()))
    }
}

impl HttpTransport for Web {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let answer = self.exchange(request.map(|body| body.to_bytes())).await.map_err(opendals)?;
        Ok(answer.map(|body| {
            let length = body.len() as u64;
            HttpBody::new(stream::once(ready(Ok(Buffer::from(body)))), Some(length))
        }))
    }
}

fn through(Proxies { http, https, except }: &Proxies) -> Result<Vec<Proxy>, Error> {
    // The parser's error may repeat the address, and a password in it.
    let failed = |_| Error::new(Kind::Settings, "preparing a proxy", "its address cannot be used");
    let http = http.as_ref().map(|address| Proxy::http(address.expose()));
    let https = https.as_ref().map(|address| Proxy::https(address.expose()));
    let except = except.as_deref().and_then(NoProxy::from_string);
    let proxies = http.into_iter().chain(https);
    proxies.map(|proxy| Ok(proxy.map_err(failed)?.no_proxy(except.clone()))).collect()
}

fn opendals(failed: Failed) -> opendal::Error {
    let kind = if failed.kind == Kind::Settings { ErrorKind::ConfigInvalid } else { ErrorKind::Unexpected };
    opendal::Error::new(kind, failed.why).with_temporary(failed.passing)
}

/// The parts of an answer, until one is too late or there are too many.
struct Guarded {
    parts: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send + Sync>>,
    silence: Pin<Box<Sleep>>,
    left: u64,
}

impl Guarded {
    fn new(answer: reqwest::Response) -> Self {
        let parts = Box::pin(answer.bytes_stream());
        Self { parts, silence: Box::pin(tokio::time::sleep(SILENCE)), left: LARGEST_OBJECT }
    }
}

impl Stream for Guarded {
    type Item = Result<Bytes, Failed>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.parts.as_mut().poll_next(context) {
            Poll::Ready(Some(Ok(part))) => {
                self.silence.as_mut().reset(Instant::now() + SILENCE);
                match self.left.checked_sub(part.len() as u64) {
                    Some(left) => {
                        self.left = left;
                        Poll::Ready(Some(Ok(part)))
                    }
                    None => Poll::Ready(Some(Err(Failed::lasting(Kind::Other, crate::error::too_large())))),
                }
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.silence.as_mut().poll(context) {
                Poll::Ready(()) => {
                    let seconds = SILENCE.as_secs();
                    Poll::Ready(Some(Err(Failed::passing(format_args!("the answer stopped for {seconds} s")))))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

/// What became of a request that has no answer.
fn broken(error: reqwest::Error) -> Failed {
    let error = error.without_url();
    let why = text(&error);
    if sources(&error).any(is_about_a_certificate) {
        let advice = "its certificate is not trusted; give the certificate of its authority (customCA, --cacert)";
        return Failed::lasting(Kind::Settings, format_args!("{advice}: {why}"));
    }
    Failed::passing(why)
}

/// An `io::Error` hides the error in it from those who walk along the sources, and there may be several around each other.
fn is_about_a_certificate(mut error: &(dyn StdError + 'static)) -> bool {
    while let Some(within) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        error = within;
    }
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
}

fn sources<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The innermost reason: what is around it says only that a request was being sent.
fn text(error: &(dyn StdError + 'static)) -> String {
    sources(error).last().map(ToString::to_string).unwrap_or_default()
}

fn from_file(file: &Path) -> Result<RootCertStore, Error> {
    let failed = |why: String| Error::new(Kind::Settings, format!("reading certificates of {}", file.display()), why);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(format!("is not PEM: {error:?}")))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed(
            "holds no certificate; write it in PEM, from BEGIN CERTIFICATE to END CERTIFICATE".to_owned(),
        ));
    }
    Ok(roots)
}

/// What the machine trusts. An image without such a list has Mozilla's, which is compiled in.
fn of_the_machine() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}
