//! The two boundaries of one operator process: its calls to the API server and to Linktree. Kills and faults are
//! injected here. A dead process has no further effect: its calls never return.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body as KubeBody;
use linktree_operator::linktree::{client::Exchange, error::ApiError};
use tokio::sync::Notify;

use crate::{
    kubernetes::{
        Kubernetes,
        http::{Body, Target},
    },
    linktree::{Answer, Linktree},
};

/// The server of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Kubernetes,
    Linktree,
}

/// One call, by method and resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub peer: Peer,
    /// Such as `PATCH linktreewebhooks/status` or `POST /v1/webhooks`.
    pub what: String,
    /// Whether it is a write.
    pub is_effect: bool,
}

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    Passes,
    /// The process dies before the call.
    DiesBefore,
    /// The call takes effect, and the process dies before the response.
    DiesAfter,
    /// The call fails without effect.
    Fails(Failure),
    /// The call takes effect, and its response fails.
    FailsAfter(Failure),
}

/// The failure of a response.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// This status, with this `Retry-After`.
    Status(u16, Option<String>),
    /// This status, with an error that has this message.
    Message(u16, String),
    /// The connection fails: name, port or certificate.
    NotConnected(&'static str),
    /// The connection is reset.
    Reset,
    /// Half of the response, or of an empty object.
    Cut,
    /// Another content type and body.
    Says(&'static str, &'static str),
    /// The response is late, or missing.
    Late(Duration),
}

/// Decides the fate of each call of all processes of a case.
pub type Judge = Box<dyn FnMut(&Call) -> Fate + Send>;

/// The state shared by all processes of a case.
#[derive(Clone)]
pub struct Calls(Arc<Mutex<Record>>);

struct Record {
    judge: Judge,
    /// The latency of a call.
    latency: Duration,
    /// All calls, except those on leases and watches.
    made: Vec<Call>,
    /// The paths of all calls.
    paths: BTreeSet<(Peer, String)>,
}

impl Calls {
    pub fn new() -> Self {
        Calls(Arc::new(Mutex::new(Record {
            judge: Box::new(|_| Fate::Passes),
            latency: Duration::ZERO,
            made: Vec::new(),
            paths: BTreeSet::new(),
        })))
    }

    pub fn judge(&self, judge: Judge) {
        self.0.lock().unwrap().judge = judge;
    }

    /// Sets the latency of each call, so that time passes while two operators react to each other's writes.
    pub fn set_latency(&self, latency: Duration) {
        self.0.lock().unwrap().latency = latency;
    }

    async fn wait_latency(&self) {
        let latency = self.0.lock().unwrap().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    pub fn made(&self) -> Vec<Call> {
        self.0.lock().unwrap().made.clone()
    }

    pub fn paths(&self) -> BTreeSet<(Peer, String)> {
        self.0.lock().unwrap().paths.clone()
    }

    fn record_path(&self, peer: Peer, uri: &http::Uri) {
        self.0.lock().unwrap().paths.insert((peer, uri.path().to_owned()));
    }

    pub fn effects(&self) -> usize {
        self.0.lock().unwrap().made.iter().filter(|call| call.is_effect).count()
    }

    fn decide(&self, call: Call) -> Fate {
        let mut record = self.0.lock().unwrap();
        let fate = (record.judge)(&call);
        record.made.push(call);
        fate
    }
}

/// The boundary of one process.
#[derive(Clone)]
pub struct Gate {
    calls: Calls,
    dead: Arc<AtomicBool>,
    died: Arc<Notify>,
}

impl Gate {
    pub fn new(calls: Calls) -> Self {
        Gate { calls, dead: Arc::default(), died: Arc::default() }
    }

    pub fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.died.notify_one();
    }

    /// Waits until the process has died.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    async fn dies<T>(&self) -> T {
        self.die();
        std::future::pending().await
    }
}

/// The boundary to the API server, as a tower service.
#[derive(Clone)]
pub struct KubernetesGate {
    pub gate: Gate,
    pub kubernetes: Kubernetes,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl tower::Service<Request<KubeBody>> for KubernetesGate {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<KubeBody>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            this.exchange(Request::from_parts(head, body)).await
        })
    }
}

impl KubernetesGate {
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Body>, BoxError> {
        if self.gate.is_dead() {
            return std::future::pending().await;
        }
        self.gate.calls.wait_latency().await;
        self.gate.calls.record_path(Peer::Kubernetes, request.uri());
        let answer = || self.kubernetes.answer(&request);
        let Some(call) = kubernetes_call(&request) else { return Ok(answer()) };
        match self.gate.calls.decide(call) {
            Fate::Passes => Ok(answer()),
            Fate::DiesBefore => self.gate.dies().await,
            Fate::DiesAfter => {
                answer();
                self.gate.dies().await
            }
            Fate::Fails(failure) => kubernetes_failure(failure, None).await,
            Fate::FailsAfter(failure) => kubernetes_failure(failure, Some(answer())).await,
        }
    }
}

/// The call of a request; `None` for leases and watches, which are not disturbed one by one (see `View`).
fn kubernetes_call(request: &Request<Bytes>) -> Option<Call> {
    let target = Target::parse(request.uri());
    let what = match &target {
        Some(target) if target.is_watch() || target.kind.plural == "leases" => return None,
        Some(target) => {
            let part = if request.uri().path().ends_with("/status") { "/status" } else { "" };
            let many = if target.name.is_none() && *request.method() == Method::GET { " (list)" } else { "" };
            format!("{} {}{part}{many}", request.method(), target.kind.plural)
        }
        None => format!("{} {}", request.method(), request.uri().path()),
    };
    let dry_run = request.uri().query().is_some_and(|query| query.contains("dryRun"));
    Some(Call { peer: Peer::Kubernetes, what, is_effect: *request.method() != Method::GET && !dry_run })
}

async fn kubernetes_failure(failure: Failure, answer: Option<Response<Body>>) -> Result<Response<Body>, BoxError> {
    let broken = || Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) as BoxError;
    let rejected = |code, message: String| {
        let error = crate::kubernetes::StatusError { code, reason: reason(code), message };
        crate::kubernetes::http::json_answer(code, &error.body())
    };
    match failure {
        Failure::Message(code, message) => Ok(rejected(code, message)),
        Failure::Status(code, retry_after) => {
            let mut answer = rejected(code, "injected fault".to_owned());
            if let Some(value) = retry_after.and_then(|it| it.parse().ok()) {
                answer.headers_mut().insert(http::header::RETRY_AFTER, value);
            }
            Ok(answer)
        }
        Failure::NotConnected(_) | Failure::Reset => Err(broken()),
        Failure::Cut => {
            let bytes = match answer {
                Some(answer) => answer.into_body().collect().await?.to_bytes(),
                None => Bytes::from_static(b"{}"),
            };
            let half = bytes.slice(..bytes.len() / 2);
            let frames = futures::stream::iter([Ok(http_body::Frame::data(half)), Err(broken())]);
            Ok(Response::new(StreamBody::new(frames).boxed_unsync()))
        }
        Failure::Says(content_type, text) => {
            let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync();
            Ok(Response::builder().header("content-type", content_type).body(body)?)
        }
        Failure::Late(late) => {
            tokio::time::sleep(late).await;
            answer.ok_or_else(broken)
        }
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    }
}

/// The boundary to Linktree.
pub struct LinktreeGate {
    pub gate: Gate,
    pub linktree: Linktree,
}

#[async_trait]
impl Exchange for LinktreeGate {
    async fn exchange(&self, request: Request<Bytes>) -> Result<Answer, ApiError> {
        if self.gate.is_dead() {
            return std::future::pending().await;
        }
        self.gate.calls.wait_latency().await;
        self.gate.calls.record_path(Peer::Linktree, request.uri());
        let is_effect = *request.method() != Method::GET;
        let id = |segment: &str| if segment.starts_with("wh_") { "{id}".to_owned() } else { segment.to_owned() };
        let path: Vec<String> = request.uri().path().split('/').map(id).collect();
        let call = Call { peer: Peer::Linktree, what: format!("{} {}", request.method(), path.join("/")), is_effect };
        match self.gate.calls.decide(call) {
            Fate::Passes => Ok(self.linktree.answer(request).await),
            Fate::DiesBefore => self.gate.dies().await,
            Fate::DiesAfter => {
                drop(self.linktree.answer(request).await);
                self.gate.dies().await
            }
            Fate::Fails(failure) => linktree_failure(failure, None).await,
            Fate::FailsAfter(failure) => {
                let answer = self.linktree.answer(request).await;
                linktree_failure(failure, Some(answer)).await
            }
        }
    }
}

async fn linktree_failure(failure: Failure, answer: Option<Answer>) -> Result<Answer, ApiError> {
    let unreachable =
        |problem: &str, before_sending| ApiError::Unreachable { problem: problem.to_owned(), before_sending };
    match failure {
        Failure::Status(code, retry_after) => {
            let body = Ok(Bytes::from_static(br#"{"error":"fault","message":"injected fault"}"#));
            let mut answer = Response::builder().status(code);
            if let Some(value) = retry_after {
                answer = answer.header("retry-after", value);
            }
            Ok(answer.body(body).unwrap())
        }
        Failure::Message(code, message) => {
            let body = serde_json::json!({"error": "fault", "message": message}).to_string();
            Ok(Response::builder().status(code).body(Ok(Bytes::from(body))).unwrap())
        }
        Failure::NotConnected(problem) => Err(unreachable(problem, true)),
        Failure::Reset => Err(unreachable("connection reset by peer", false)),
        Failure::Cut => {
            let broken = Err(ApiError::Unreadable { problem: "the answer broke off".to_owned() });
            Ok(match answer {
                Some(answer) => answer.map(|_| broken),
                None => Response::new(broken),
            })
        }
        Failure::Says(content_type, text) => {
            let body = Ok(Bytes::from_static(text.as_bytes()));
            Ok(Response::builder().header("content-type", content_type).body(body).unwrap())
        }
        Failure::Late(late) => {
            tokio::time::sleep(late).await;
            answer.ok_or_else(|| unreachable("connection reset by peer", false))
        }
    }
}
