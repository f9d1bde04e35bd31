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
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readiness.status() }));
    axum::serve(TcpListener::bind(address).await?, router).await
}

/// Answers scrapes, until it is dropped.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn metrics(address: SocketAddr, metrics: Metrics) -> std::io::Result<()> {
    let render = move || async move { ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.render()) };
    axum::serve(TcpListener::bind(address).await?, Router::new().route("/metrics", get(render))).await
}
