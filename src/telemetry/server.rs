//! HTTP of the operator itself: `/healthz`, `/readyz` and `/metrics`. Plain and without secrets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;

use super::metrics::Metrics;

/// The content type of [`Metrics::render`].
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the operator is ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that it is.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn status(&self) -> StatusCode {
        if self.0.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}

/// Answers probes, until it is dropped.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn probes(address: SocketAddr, readiness: Readiness) -> std::io::Result<()> {
    axum::serve(TcpListener::bind(address).await?, probes_router(readiness)).await
}

fn probes_router(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readiness.status() }))
}

/// Answers scrapes, until it is dropped.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn metrics(address: SocketAddr, metrics: Metrics) -> std::io::Result<()> {
    axum::serve(TcpListener::bind(address).await?, metrics_router(metrics)).await
}

fn metrics_router(metrics: Metrics) -> Router {
    let render = move || async move { ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.render()) };
    Router::new().route("/metrics", get(render))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: Router, path: &str) -> (StatusCode, Option<String>, String) {
        let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_operator_is_alive_before_it_is_ready() {
        let readiness = Readiness::default();
        let router = probes_router(readiness.clone());
        assert_eq!(get(router.clone(), "/healthz").await.0, StatusCode::OK);
        assert_eq!(get(router.clone(), "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        readiness.set();
        assert_eq!(get(router, "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics_and_nothing_else_is() {
        let router = metrics_router(Metrics::default());
        let (status, kind, body) = get(router.clone(), "/metrics").await;
        assert_eq!((status, kind.as_deref()), (StatusCode::OK, Some(OPENMETRICS)));
        assert!(body.contains("doppel_build_info"), "{body}");
        assert_eq!(get(router, "/healthz").await.0, StatusCode::NOT_FOUND);
    }
}
