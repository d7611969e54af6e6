//! The two boundaries of one operator process: its way to the API server and its way to Linktree. Here it dies. What
//! is dead does nothing more: its calls never end.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Passes,
    /// The process dies instead.
    DiesBefore,
    /// It takes effect, and the process dies before it sees the answer.
    DiesAfter,
}

/// Decides about each call of every process of a case.
pub type Judge = Box<dyn FnMut(&Call) -> Fate + Send>;

/// What is common to all processes of a case.
#[derive(Clone)]
pub struct Calls(Arc<Mutex<Record>>);

struct Record {
    judge: Judge,
    /// Every call that was made, but for those on leases and watches.
    made: Vec<Call>,
    /// Every path there was, of whatever call.
    paths: BTreeSet<(Peer, String)>,
}

impl Calls {
    pub fn new() -> Self {
        Calls(Arc::new(Mutex::new(Record {
            judge: Box::new(|_| Fate::Passes),
            made: Vec::new(),
            paths: BTreeSet::new(),
        })))
    }

    pub fn judge(&self, judge: Judge) {
        self.0.lock().unwrap().judge = judge;
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
    Some(Call { peer: Peer::Kubernetes, what, is_effect: *request.method() != Method::GET })
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
        }
    }
}
