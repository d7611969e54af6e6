//! The two boundaries of one operator process: its way to the API server and its way to Linktree. Here it dies, and
//! here its calls go wrong. What dies does nothing more: its calls never end.

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

/// Whom a call is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Kubernetes,
    Linktree,
}

/// One call, by what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub peer: Peer,
    /// Such as `PATCH linktreewebhooks/status` or `POST /v1/webhooks`.
    pub what: String,
    /// Whether it is to change something.
    pub is_effect: bool,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    Passes,
    /// The process dies instead.
    DiesBefore,
    /// It takes effect, and the process dies before it sees the answer.
    DiesAfter,
    /// It does not take effect.
    Fails(Failure),
    /// It takes effect, and the answer goes wrong.
    FailsAfter(Failure),
}

/// How an answer goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// This status, with such a `Retry-After`.
    Status(u16, Option<String>),
    /// The connection is never made: a name, a port, a certificate.
    NotConnected(&'static str),
    /// The connection breaks.
    Reset,
    /// Half of the answer, or of an empty object.
    Cut,
    /// Something else: its type and text.
    Says(&'static str, &'static str),
    /// It comes too late, or never.
    Late(Duration),
}

/// Decides about each call of every process of a case.
pub type Judge = Box<dyn FnMut(&Call) -> Fate + Send>;

/// What is common to all processes of a case.
#[derive(Clone)]
pub struct Calls(Arc<Mutex<Record>>);

struct Record {
    judge: Judge,
    /// How long a call is on its way.
    takes: Duration,
    /// Every call that was made, but for those on leases and watches.
    made: Vec<Call>,
    /// Every path there was, of whatever call.
    paths: BTreeSet<(Peer, String)>,
}

impl Calls {
    pub fn new() -> Self {
        Calls(Arc::new(Mutex::new(Record {
            judge: Box::new(|_| Fate::Passes),
            takes: Duration::ZERO,
            made: Vec::new(),
            paths: BTreeSet::new(),
        })))
    }

    pub fn judge(&self, judge: Judge) {
        self.0.lock().unwrap().judge = judge;
    }

    /// From now on each call takes a while, so that time passes where two operators answer each other's writes.
    pub fn take(&self, long: Duration) {
        self.0.lock().unwrap().takes = long;
    }

    async fn travel(&self) {
        let takes = self.0.lock().unwrap().takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
    }

    pub fn made(&self) -> Vec<Call> {
        self.0.lock().unwrap().made.clone()
    }

    pub fn paths(&self) -> BTreeSet<(Peer, String)> {
        self.0.lock().unwrap().paths.clone()
    }

    fn asked(&self, peer: Peer, uri: &http::Uri) {
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

/// One process's way out.
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

    /// Waits until it has died.
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

/// The way to the API server, as a tower service.
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
        self.gate.calls.travel().await;
        self.gate.calls.asked(Peer::Kubernetes, request.uri());
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

/// `None` for what is not to be tampered with one by one: leases, and watches, whose troubles are the view's.
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
    match failure {
        Failure::Status(code, retry_after) => {
            let error =
                crate::kubernetes::StatusError { code, reason: reason(code), message: "made to fail".to_owned() };
            let mut answer = crate::kubernetes::http::json_answer(code, &error.body());
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

/// The way to Linktree.
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
        self.gate.calls.travel().await;
        self.gate.calls.asked(Peer::Linktree, request.uri());
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
            let body = Ok(Bytes::from_static(br#"{"error":"fault","message":"made to fail"}"#));
            let mut answer = Response::builder().status(code);
            if let Some(value) = retry_after {
                answer = answer.header("retry-after", value);
            }
            Ok(answer.body(body).unwrap())
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
