//! A receiver on its own ports, signed deliveries, and a sink that records requests.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap};
use linktree_operator::{
    admin, clock,
    linktree::{
        headers::{self, SentAt},
        secret::Secret,
        signature::Signature,
    },
    receiver::{Args, Receiver},
    route::{self, Forwarding, Key, Retry, Route, Sink, StaleDeliveryPolicy, WebhookName, status::ReceiverStatus},
};
use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

pub const PATH: &str = "/h/abc";
pub const SECRET: &str = "s3cret";
pub const BODY: &str = r#"{"type":"link.created","data":{"link_id":"l1","title":"Ü"},"timestamp":1700000000}"#;
const DEADLINE: Duration = Duration::from_secs(15);

/// A route with one key and these sinks.
pub fn route(sinks: Vec<Sink>) -> Route {
    Route {
        version: route::VERSION,
        webhook: WebhookName { namespace: "marketing".into(), name: "links".into() },
        path: PATH.into(),
        admin_token: Secret::new("t0ken"),
        probe_key: Secret::new("probe-k3y"),
        keys: vec![key("k1", SECRET)],
        timestamp_tolerance_seconds: 300,
        stale_delivery_policy: StaleDeliveryPolicy::Reject,
        deduplication_window_seconds: 604_800,
        retention_seconds: 604_800,
        dead_letter_retention_seconds: 2_592_000,
        capacity_bytes: 1 << 30,
        max_body_bytes: 262_144,
        redact_fields: BTreeSet::new(),
        sinks,
        forwarding: Forwarding::On,
    }
}

pub fn key(name: &str, secret: &str) -> Key {
    Key { name: name.into(), secret: Secret::new(secret) }
}

/// A sink with a retry every second, longer than any test.
pub fn sink(name: &str, address: SocketAddr) -> Sink {
    let mut sink = Sink::new(name, Url::parse(&format!("http://{address}/in")).unwrap());
    sink.timeout_seconds = 2;
    sink.retry = Retry { give_up_after_seconds: 600, delay_seconds: 1, max_delay_seconds: 1 };
    sink
}

/// A receiver in this process. Stopped and deleted with its directory on drop.
pub struct Running {
    pub delivery: SocketAddr,
    pub admin: SocketAddr,
    pub directory: TempDir,
    pub client: Client,
    shutdown: DropGuard,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a receiver and waits until it is ready.
    pub async fn start(route: &Route) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(route::FILE), route.render().unwrap()).unwrap();
        let running = Running::start_in(directory).await;
        until("the receiver is ready", async || running.get("/readyz").await.status() == 200).await;
        running
    }

    /// Starts a receiver that serves deliveries over TLS, with a certificate installed later in its directory.
    pub async fn start_with_tls(route: &Route) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(route::FILE), route.render().unwrap()).unwrap();
        let args = Args { tls_directory: Some(directory.path().to_owned()), ..args(&directory, &[]) };
        let running = Running::start_as(directory, args).await;
        until("the route is loaded", async || running.get("/status").await.status() == 401).await;
        running
    }

    /// Starts a receiver with this CA bundle, whose sinks may be on this machine.
    pub async fn start_trusting(route: &Route, ca_file: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(route::FILE), route.render().unwrap()).unwrap();
        let args = Args { ca_file: Some(ca_file), ..args(&directory, &["127.0.0.0/8"]) };
        Running::start_as(directory, args).await
    }

    /// Starts a receiver with the files in `directory`.
    pub async fn start_in(directory: TempDir) -> Self {
        Running::start_with(directory, &["127.0.0.0/8"]).await
    }

    /// Starts a receiver whose sinks may be in these networks.
    pub async fn start_with(directory: TempDir, egress_allow: &[&str]) -> Self {
        let args = args(&directory, egress_allow);
        Running::start_as(directory, args).await
    }

    async fn start_as(directory: TempDir, args: Args) -> Self {
        let receiver = Receiver::bind(args).await.unwrap();
        let (delivery, admin) = (receiver.delivery_address().unwrap(), receiver.admin_address().unwrap());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(receiver.serve(shutdown.clone()));
        let client = Client::builder().no_proxy().build().unwrap();
        Running { delivery, admin, directory, client, shutdown: shutdown.drop_guard(), task }
    }

    /// Shuts the receiver down cleanly and returns its directory.
    pub async fn stop(self) -> TempDir {
        let Running { directory, shutdown, task, client, .. } = self;
        drop(client);
        drop(shutdown);
        tokio::time::timeout(DEADLINE, task).await.expect("the receiver did not stop in time").unwrap();
        directory
    }

    pub fn route_file(&self) -> PathBuf {
        self.directory.path().join(route::FILE)
    }

    /// Replaces the route and waits until it is loaded.
    pub async fn reroute(&self, route: &Route) {
        let bytes = route.render().unwrap();
        std::fs::write(self.route_file(), &bytes).unwrap();
        let digest = Route::digest(&bytes);
        until("the route is loaded", async || self.status().await.route_digest == digest).await;
    }

    /// Sends a delivery; returns status and body of the response.
    pub async fn deliver(&self, delivery: &Delivery) -> (u16, String) {
        let answer = self.post(delivery).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub fn post(&self, delivery: &Delivery) -> RequestBuilder {
        signed(self.client.post(format!("http://{}{PATH}", self.delivery)), delivery)
    }

    /// Sends a GET request to the admin port.
    pub async fn get(&self, path: &str) -> Response {
        self.client.get(format!("http://{}{path}", self.admin)).send().await.unwrap()
    }

    pub async fn status(&self) -> ReceiverStatus {
        self.read("/status").await
    }

    /// Requests a redrive; returns status and body of the response.
    pub async fn redrive(&self, request: &serde_json::Value) -> (u16, String) {
        let post = self.client.post(format!("http://{}/redrive", self.admin)).bearer_auth("t0ken").json(request);
        let answer = post.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Reads JSON from the admin port, with the token.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let request = self.client.get(format!("http://{}{path}", self.admin)).bearer_auth("t0ken");
        request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }
}

/// The arguments of a receiver on its own ports, with its files in `directory`.
fn args(directory: &TempDir, egress_allow: &[&str]) -> Args {
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Args {
        route_file: directory.path().join(route::FILE),
        journal: directory.path().join("journal"),
        delivery_address: local,
        admin_address: local,
        tls_directory: None,
        ca_file: None,
        egress_allow: egress_allow.iter().map(|network| network.parse().unwrap()).collect(),
    }
}

/// A signed delivery. Changing a field invalidates the signature.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: String,
    pub body: String,
    pub sent_at: String,
    pub signature: String,
}

/// Adds a delivery to a request.
pub fn signed(request: RequestBuilder, delivery: &Delivery) -> RequestBuilder {
    let Delivery { id, body, sent_at, signature } = delivery;
    request
        .header("content-type", "application/json")
        .header(headers::SIGNATURE, signature)
        .header(headers::TIMESTAMP, sent_at)
        .header(headers::DELIVERY_ID, id)
        .body(body.clone())
}

/// A delivery of `body`, signed now with `secret`.
pub fn delivery(id: &str, body: &str, secret: &str) -> Delivery {
    delivery_at(id, body, secret, clock::now().as_second())
}

/// A delivery that was signed at `sent_at`.
pub fn delivery_at(id: &str, body: &str, secret: &str, sent_at: i64) -> Delivery {
    let sent_at = SentAt::from_seconds(sent_at).unwrap();
    let signature = Signature::sign(&Secret::new(secret), &sent_at, body.as_bytes()).to_hex();
    Delivery { id: id.into(), body: body.into(), sent_at: sent_at.as_str().into(), signature }
}

/// The n-th of many deliveries, each with its own id and body.
pub fn numbered(n: usize) -> Delivery {
    let body = format!(r#"{{"type":"link.updated","data":{{"link_id":"l{n}"}},"timestamp":1700000000}}"#);
    delivery(&format!("d{n}"), &body, SECRET)
}

/// A sink that records requests and answers with a variable status. Stopped with the test's runtime.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    taken: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    asked: Arc<Mutex<Vec<HeaderMap>>>,
    answer: Arc<AtomicU16>,
}

impl Collector {
    pub async fn start() -> Self {
        Collector::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let collector = Collector {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            asked: Arc::default(),
            answer: Arc::new(AtomicU16::new(204)),
        };
        let router = Router::new().fallback(Collector::take).with_state(collector.clone());
        tokio::spawn(admin::serve_trusted(listener, router, CancellationToken::new()));
        collector
    }

    async fn take(State(collector): State<Collector>, header: HeaderMap, body: Bytes) -> axum::http::StatusCode {
        let answer = axum::http::StatusCode::from_u16(collector.answer.load(Ordering::SeqCst)).unwrap();
        collector.asked.lock().unwrap().push(header.clone());
        if answer.is_success() {
            collector.taken.lock().unwrap().push((header, body));
        }
        answer
    }

    /// Sets the response's status; only requests answered with 2xx count as taken.
    pub fn answers(&self, status: u16) {
        self.answer.store(status, Ordering::SeqCst);
    }

    /// Header and body of all taken requests.
    pub fn taken(&self) -> Vec<(HeaderMap, Bytes)> {
        self.taken.lock().unwrap().clone()
    }

    /// The headers of all requests, with any response.
    pub fn asked(&self) -> Vec<HeaderMap> {
        self.asked.lock().unwrap().clone()
    }

    /// The ids of all taken events, in order.
    pub fn ids(&self) -> Vec<String> {
        self.taken().iter().map(|(header, _)| header["ce-id"].to_str().unwrap().to_owned()).collect()
    }
}

/// An address without a listener.
pub async fn vacant() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Waits until `condition` holds.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, met).await.is_ok(), "timed out waiting until {what}");
}
