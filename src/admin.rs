//! The admin port of the operator and of the receiver: `/healthz`, `/readyz` and `/metrics`; the receiver merges more
//! routes into the router. These three show no secret, but the port must not be open to the internet.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use prometheus_client::{encoding::text, registry::Registry};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How long requests in flight at an admin port may take to finish once shutdown has begun.
const DRAIN: Duration = Duration::from_secs(1);
/// Idle time of a connection after which TCP keepalive checks whether the peer still exists.
const KEEPALIVE: Duration = Duration::from_secs(60);

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

/// Serves an admin port: as [`serve_and_drain`], with a second for requests in flight.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    serve_and_drain(listener, router, DRAIN, shutdown).await;
}

/// Serves `router` with axum until `shutdown`, and then for at most `drain`. It limits neither connections nor slow
/// requests: a port that is open to the internet needs [`serve`](crate::serve::serve).
pub async fn serve_and_drain(listener: TcpListener, router: Router, drain: Duration, shutdown: CancellationToken) {
    let server =
        axum::serve(listener.tap_io(configure), router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let drained = async {
        shutdown.cancelled().await;
        sleep(drain).await;
    };
    tokio::select! {
        // axum's server has no errors: it retries a failed accept.
        _ = server.into_future() => {}
        () = drained => tracing::debug!("requests were still in flight at the end of the drain time"),
    }
}

fn configure(stream: &mut TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    let socket = SockRef::from(&*stream);
    if let Err(error) = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive)) {
        tracing::debug!(%error, "cannot configure a connection");
    }
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
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
        time::timeout,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(15);

    /// Serves on a free port and returns status and body of `GET path`.
    async fn get(registry: Registry, readiness: Readiness, path: &str) -> (u16, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router(Arc::new(registry), readiness), shutdown.clone()));
        let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
        let answer = (answer.status().as_u16(), answer.text().await.unwrap());
        shutdown.cancel();
        server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_unready_service_is_healthy_and_gives_the_reason() {
        let unready = Readiness::new(|| Err("no route file yet".into()));
        assert_eq!(get(Registry::default(), unready.clone(), "/healthz").await, (200, "ok\n".into()));
        assert_eq!(get(Registry::default(), unready, "/readyz").await, (503, "no route file yet\n".into()));
        assert_eq!(get(Registry::default(), Readiness::new(|| Ok(())), "/readyz").await, (200, "ok\n".into()));
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_text() {
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        registry.register("deliveries", "Deliveries by verdict", counter.clone());
        counter.inc_by(3);
        let (status, body) = get(registry, Readiness::new(|| Ok(())), "/metrics").await;
        assert_eq!(status, 200);
        assert!(body.contains("deliveries_total 3") && body.ends_with("# EOF\n"), "{body}");
    }

    #[tokio::test]
    async fn shutdown_closes_idle_connections_and_waits_only_so_long_for_a_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let begun = Arc::new(Notify::new());
        let notify = Arc::clone(&begun);
        let router = Router::new().route(
            "/hangs",
            axum::routing::get(async move || {
                notify.notify_one();
                std::future::pending::<()>().await;
            }),
        );
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router, shutdown.clone()));
        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET /hangs HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        timeout(DEADLINE, begun.notified()).await.expect("the request arrives");
        shutdown.cancel();
        assert_eq!(timeout(DEADLINE, idle.read(&mut [0; 1])).await.expect("it closes").unwrap(), 0);
        timeout(DEADLINE, server).await.expect("it ends in time").unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "it still listens");
    }
}
