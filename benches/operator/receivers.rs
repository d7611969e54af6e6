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
use linktree_operator::route::{ADMIN_PORT, RECEIVER_HEADER, UNSIGNED_ANSWER, status::ReceiverStatus};
use tokio::{net::TcpListener, task::JoinSet};

/// The number of addresses for the receivers, since connections between two addresses are limited.
const ADDRESSES: u8 = 16;

/// The server. Stopped on drop.
#[derive(Debug)]
pub(crate) struct Receivers {
    statuses: Statuses,
    cut_off: Hosts,
    addresses: Vec<Ipv4Addr>,
    /// The address of the proxy for public URLs.
    pub(crate) proxy: SocketAddr,
    _servers: JoinSet<()>,
}

/// By admin token.
type Statuses = Arc<Mutex<HashMap<String, String>>>;

/// The hosts of unreachable public URLs.
type Hosts = Arc<Mutex<Vec<String>>>;

impl Receivers {
    pub(crate) async fn start() -> Result<Self> {
        let (statuses, cut_off) = (Statuses::default(), Hosts::default());
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
        servers.spawn(serve(listener, Router::new().fallback(unsigned).with_state(Arc::clone(&cut_off))));
        Ok(Receivers { statuses, cut_off, addresses, proxy, _servers: servers })
    }

    /// The address of one receiver's pod.
    pub(crate) fn address(&self, number: usize) -> Ipv4Addr {
        self.addresses[number % self.addresses.len()]
    }

    /// Makes these receivers unreachable from outside, and all others reachable.
    pub(crate) fn cut_off(&self, hosts: Vec<String>) {
        *self.cut_off.lock().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Sets the route of a receiver.
    pub(crate) fn load(&self, admin_token: String, route_digest: String) -> Result<()> {
        let status = serde_json::to_string(&ReceiverStatus::idle(route_digest))?;
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

async fn unsigned(State(cut_off): State<Hosts>, url: Uri) -> Response {
    let cut_off = cut_off.lock().unwrap_or_else(PoisonError::into_inner);
    if url.host().is_some_and(|host| cut_off.iter().any(|it| it == host)) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    (StatusCode::UNAUTHORIZED, [(RECEIVER_HEADER, "1")], UNSIGNED_ANSWER).into_response()
}
