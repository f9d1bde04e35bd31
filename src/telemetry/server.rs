//! Probes: `/healthz` and `/readyz`, plain HTTP without secrets. Metrics are in [`super::scrape`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: Router, path: &str) -> StatusCode {
        router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn an_operator_is_alive_before_it_is_ready() {
        let readiness = Readiness::default();
        let router = probes_router(readiness.clone());
        assert_eq!(get(router.clone(), "/healthz").await, StatusCode::OK);
        assert_eq!(get(router.clone(), "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        readiness.set();
        assert_eq!(get(router.clone(), "/readyz").await, StatusCode::OK);
        assert_eq!(get(router, "/metrics").await, StatusCode::NOT_FOUND, "metrics are not for everybody");
    }
}
