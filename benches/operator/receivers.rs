//! All receivers in one server: serves the status of each, identified by its admin token, and as a proxy answers probes
//! of each public URL.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::get,
};
use linktree_operator::{
    linktree::secret::Secret,
    route::{
        ADMIN_PORT, RECEIVER_HEADER, Route, UNSIGNED_ANSWER,
        proof::{NONCE_HEADER, Nonce, PROOF_HEADER},
        status::ReceiverStatus,
    },
};
use tokio::{net::TcpListener, task::JoinSet};

/// The number of addresses for the receivers, since connections between two addresses are limited.
const ADDRESSES: u8 = 16;

/// The server. Stopped on drop.
#[derive(Debug)]
pub(crate) struct Receivers {
    statuses: Statuses,
    outside: Outside,
    addresses: Vec<Ipv4Addr>,
    /// The address of the proxy for public URLs.
    pub(crate) proxy: SocketAddr,
    _servers: JoinSet<()>,
}

/// By admin token.
type Statuses = Arc<Mutex<HashMap<String, String>>>;

/// The public URLs as seen from outside.
#[derive(Clone, Debug, Default)]
struct Outside {
    /// The hosts of unreachable URLs.
    cut_off: Arc<Mutex<Vec<String>>>,
    /// The probe key and the digest of each route, by its path.
    routes: Arc<Mutex<HashMap<String, (Secret, String)>>>,
}

impl Receivers {
    pub(crate) async fn start() -> Result<Self> {
        let (statuses, outside) = (Statuses::default(), Outside::default());
        let router = Router::new().route("/status", get(status)).with_state(Arc::clone(&statuses));
        let mut servers = JoinSet::new();
        let mut addresses = Vec::new();
        // Addresses unique on this machine, by the process id.
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        for number in 0..ADDRESSES {
            let address = Ipv4Addr::new(127, 64 | (number << 2) | (high & 3), middle, low);
            let listener = TcpListener::bind((address, ADMIN_PORT)).await?;
            servers.spawn(serve(listener, router.clone()));
            addresses.push(address);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = listener.local_addr()?;
        servers.spawn(serve(listener, Router::new().fallback(unsigned).with_state(outside.clone())));
        Ok(Receivers { statuses, outside, addresses, proxy, _servers: servers })
    }

    /// The address of one receiver's pod.
    pub(crate) fn address(&self, number: usize) -> Ipv4Addr {
        self.addresses[number % self.addresses.len()]
    }

    /// Makes these receivers unreachable from outside, and all others reachable.
    pub(crate) fn cut_off(&self, hosts: Vec<String>) {
        *self.outside.cut_off.lock().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Sets the route of a receiver, from its file.
    pub(crate) fn load(&self, admin_token: String, file: &[u8]) -> Result<()> {
        let (route, digest) = (Route::parse(file)?, Route::digest(file));
        let mut routes = self.outside.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.insert(route.path, (route.probe_key, digest.clone()));
        let status = serde_json::to_string(&ReceiverStatus::idle(digest))?;
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).insert(admin_token, status);
        Ok(())
    }
}

async fn serve(listener: TcpListener, router: Router) {
    // Stopped with the task.
    let _ = axum::serve(listener, router).await;
}

async fn status(State(statuses): State<Statuses>, headers: HeaderMap) -> Response {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let statuses = statuses.lock().unwrap_or_else(PoisonError::into_inner);
    match token.and_then(|token| statuses.get(token)) {
        Some(status) => status.clone().into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn unsigned(State(outside): State<Outside>, url: Uri, headers: HeaderMap) -> Response {
    let cut_off = outside.cut_off.lock().unwrap_or_else(PoisonError::into_inner);
    if url.host().is_some_and(|host| cut_off.iter().any(|it| it == host)) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let routes = outside.routes.lock().unwrap_or_else(PoisonError::into_inner);
    let nonce = headers.get(NONCE_HEADER).and_then(|nonce| Nonce::from_hex(nonce.as_bytes()));
    let proof = nonce.zip(routes.get(url.path())).map(|(nonce, (key, digest))| nonce.proof(key, url.path(), digest));
    let headers = [(RECEIVER_HEADER, "1".to_owned()), (PROOF_HEADER, proof.unwrap_or_default())];
    (StatusCode::UNAUTHORIZED, headers, UNSIGNED_ANSWER).into_response()
}
