//! The environment of the operator: Linktree, the network, and the connection's status.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use linktree_operator::{
    api::connection::RequestBudgetStatus,
    linktree::{
        client::{Exchange, HttpLinktree, Transport},
        error::ApiError,
        secret::Secret,
        wire::SubscriptionId,
    },
    operator::{account::ReservationStore, kubernetes::object_key::ObjectKey},
    simulator::{
        InProcess,
        state::{Setup, ids::Ids, offers::Offers, subscriptions::DisabledReason},
    },
};
use rand::{Rng, rngs::StdRng};
use tower::Service;

const TOKEN: &str = "lt_test_thousand";

/// The simulator with delays and counters.
pub(super) struct SimulatedLinktree {
    simulator: InProcess,
    random: Arc<Mutex<StdRng>>,
    calls: AtomicUsize,
    rate_limited: AtomicUsize,
    notes: AtomicUsize,
    written: Mutex<Option<RequestBudgetStatus>>,
}

impl SimulatedLinktree {
    pub(super) fn new(random: Arc<Mutex<StdRng>>) -> Self {
        let account = format!("name=acc_1,plan=Pro,token={TOKEN}").parse().expect("an account");
        SimulatedLinktree {
            simulator: InProcess::new(
                Setup { accounts: vec![account], rate_limits: true, offers: Offers::All },
                Ids::from_seed(1),
            ),
            random,
            calls: AtomicUsize::default(),
            rate_limited: AtomicUsize::default(),
            notes: AtomicUsize::default(),
            written: Mutex::default(),
        }
    }

    /// The operator's own client, over a transport with delays.
    pub(super) fn client(self: &Arc<Self>) -> HttpLinktree {
        let transport = Transport::over(Arc::new(DelayedExchange(Arc::clone(self))));
        let base = "https://api.linktr.ee".parse().expect("a URL");
        HttpLinktree::new(&transport, base, &Secret::new(TOKEN), Duration::from_secs(15)).expect("a client")
    }

    /// A random duration between two bounds in seconds.
    pub(super) fn between(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.random.lock().expect("one thread").random_range(from * 1000..to * 1000))
    }

    /// The budget in the connection's status, which the next process reads.
    pub(super) fn written(&self) -> Option<RequestBudgetStatus> {
        self.written.lock().expect("one thread").clone()
    }

    /// Linktree disables a subscription.
    pub(super) fn disable(&self, id: &SubscriptionId) {
        self.simulator.with(|state, now| {
            let found = state.subscriptions.get_mut(id).expect("the subscription exists");
            found.disable(now, DisabledReason::ConsecutiveFailures);
        });
    }

    pub(super) fn enable(&self, id: &SubscriptionId) {
        self.simulator.with(|state, _| state.subscriptions.get_mut(id).expect("the subscription exists").enable());
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn rate_limited(&self) -> usize {
        self.rate_limited.load(Ordering::Relaxed)
    }

    pub(super) fn notes(&self) -> usize {
        self.notes.load(Ordering::Relaxed)
    }

    /// Sleeps for a random latency of the network or the API server.
    async fn latency(&self) {
        let milliseconds = self.random.lock().expect("one thread").random_range(5..400);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// A transport with delays.
struct DelayedExchange(Arc<SimulatedLinktree>);

#[async_trait]
impl Exchange for DelayedExchange {
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Result<Bytes, ApiError>>, ApiError> {
        let DelayedExchange(linktree) = self;
        linktree.calls.fetch_add(1, Ordering::Relaxed);
        linktree.latency().await;
        let answer =
            linktree.simulator.api().call(request.map(Body::from)).await.expect("the in-process call cannot fail");
        let (parts, body) = answer.into_parts();
        if parts.status == StatusCode::TOO_MANY_REQUESTS {
            linktree.rate_limited.fetch_add(1, Ordering::Relaxed);
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("the body is in memory");
        linktree.latency().await;
        Ok(Response::from_parts(parts, Ok(body)))
    }
}

/// The connection's status as the budget's store.
pub(super) struct Notes(pub(super) Arc<SimulatedLinktree>);

#[async_trait]
impl ReservationStore for Notes {
    async fn write(&self, _: &ObjectKey, budget: &RequestBudgetStatus) -> Result<(), String> {
        let Notes(linktree) = self;
        linktree.notes.fetch_add(1, Ordering::Relaxed);
        linktree.latency().await;
        *linktree.written.lock().expect("one thread") = Some(budget.clone());
        Ok(())
    }
}
