//! The admin port of the operator and of the receiver: `/healthz`, `/readyz` and `/metrics`; the receiver merges more
//! routes into the router. These three show no secret, but the port must not be open to the internet.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{Request, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{body::Incoming, service::service_fn};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::serve::{self, Limits, Problem, Transport, WhenFull};

/// The limits of an admin port. Its clients are few and their requests short: the kubelet, the operator, Prometheus. It
/// carries no credentials by which the kubelet could be preferred, so that a new connection always gets a place.
const LIMITS: Limits = Limits {
    connections: 64,
    connections_per_address: 8,
    when_full: WhenFull::CloseOldest,
    streams: 0,
    handshake: Duration::from_secs(2),
    header: Duration::from_secs(2),
    idle: Duration::from_secs(4),
    header_fields: 64,
    header_bytes: 16 * 1024,
    drain: Duration::from_secs(1),
};
/// The limits of a port for people and programs that are trusted, such as the simulator's.
const TRUSTED: Limits = Limits {
    connections: 4096,
    connections_per_address: 4096,
    when_full: WhenFull::Wait,
    streams: 0,
    handshake: Duration::from_secs(10),
    header: Duration::from_secs(30),
    idle: Duration::from_secs(120),
    header_fields: 256,
    header_bytes: 64 * 1024,
    drain: Duration::from_secs(5),
};
/// How long an admin port may take for a response, with the time to receive the request's body.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The content type of `/metrics`, in the format that Prometheus requests.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The check behind `/readyz`: `Ok`, or the reason why the process is not ready, which must contain no secret.
#[derive(Clone)]
pub struct Readiness(Arc<dyn Fn() -> Result<&'static str, String> + Send + Sync>);

impl Readiness {
    /// A readiness check whose ready state is named `ok`. `check` runs at each probe of `/readyz`, so it must not
    /// block.
    pub fn new(check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Readiness::with_state(move || check().map(|()| "ok"))
    }

    /// Like [`Readiness::new`], for a process with several ready states; `check` returns the name of the current one.
    pub fn with_state(check: impl Fn() -> Result<&'static str, String> + Send + Sync + 'static) -> Self {
        Readiness(Arc::new(check))
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&(self.0)()).finish()
    }
}

/// Routes for `/healthz`, 200 while the process runs; `/readyz`, 200 or 503 with the reason; and `/metrics`,
/// OpenMetrics text.
pub fn router(registry: Arc<Registry>, readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(metrics).with_state(registry))
}

/// Serves an admin port until `shutdown`. However many connections are held open, a new one is served.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_within(listener, router, LIMITS, RESPONSE_TIMEOUT, shutdown).await;
}

/// Serves `router` to clients that are trusted, until `shutdown`, with wide limits.
pub async fn serve_trusted(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_within(listener, router, TRUSTED, Duration::MAX, shutdown).await;
}

async fn serve_within(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    response_timeout: Duration,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = timeout(response_timeout, router.clone().oneshot(request));
        async move {
            Ok::<_, Infallible>(match response.await {
                Ok(Ok(response)) => response,
                Err(_elapsed) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            })
        }
    });
    let report = |problem| match problem {
        Problem::Accept(error) => tracing::debug!(%error, "accept failed at the admin port, retrying"),
        Problem::HeaderTooLarge | Problem::BadRequest => {}
    };
    serve::serve(listener, Transport::Tcp, service, limits, report, shutdown).await;
}

async fn ready(State(Readiness(check)): State<Readiness>) -> Response {
    match check() {
        Ok(state) => format!("{state}\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], body).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
