//! What is outside of the operator: Linktree, the way to it, and the place where notes are kept.

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

pub(super) struct World {
    simulator: InProcess,
    random: Arc<Mutex<StdRng>>,
    calls: AtomicUsize,
    refused: AtomicUsize,
    notes: AtomicUsize,
    written: Mutex<Option<RequestBudgetStatus>>,
}

impl World {
    pub(super) fn new(random: Arc<Mutex<StdRng>>) -> Self {
        let account = format!("name=acc_1,plan=Pro,token={TOKEN}").parse().expect("an account");
        World {
            simulator: InProcess::new(
                Setup { accounts: vec![account], rate_limits: true, offers: Offers::All },
                Ids::from_seed(1),
            ),
            random,
            calls: AtomicUsize::default(),
            refused: AtomicUsize::default(),
            notes: AtomicUsize::default(),
            written: Mutex::default(),
        }
    }

    /// The operator's own client, over a way that takes time.
    pub(super) fn client(self: &Arc<Self>) -> HttpLinktree {
        let transport = Transport::over(Arc::new(Way(Arc::clone(self))));
        let base = "https://api.linktr.ee".parse().expect("a URL");
        HttpLinktree::new(&transport, base, &Secret::new(TOKEN), Duration::from_secs(15)).expect("a client")
    }

    /// A time that is nobody's choice, in seconds.
    pub(super) fn between(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.random.lock().expect("one thread").random_range(from * 1000..to * 1000))
    }

    /// What a successor finds.
    pub(super) fn written(&self) -> Option<RequestBudgetStatus> {
        self.written.lock().expect("one thread").clone()
    }

    /// Linktree disables a subscription.
    pub(super) fn disable(&self, id: &SubscriptionId) {
        self.simulator.with(|state, now| {
            let found = state.subscriptions.get_mut(id).expect("it is there");
            found.disable(now, DisabledReason::ConsecutiveFailures);
        });
    }

    pub(super) fn enable(&self, id: &SubscriptionId) {
        self.simulator.with(|state, _| state.subscriptions.get_mut(id).expect("it is there").enable());
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn notes(&self) -> usize {
        self.notes.load(Ordering::Relaxed)
    }

    /// A network's or an API server's moment.
    async fn moment(&self) {
        let milliseconds = self.random.lock().expect("one thread").random_range(5..400);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

struct Way(Arc<World>);

#[async_trait]
impl Exchange for Way {
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Result<Bytes, ApiError>>, ApiError> {
        let Way(world) = self;
        world.calls.fetch_add(1, Ordering::Relaxed);
        world.moment().await;
        let answer = world.simulator.api().call(request.map(Body::from)).await.expect("it cannot fail");
        let (parts, body) = answer.into_parts();
        if parts.status == StatusCode::TOO_MANY_REQUESTS {
            world.refused.fetch_add(1, Ordering::Relaxed);
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("it is in memory");
        world.moment().await;
        Ok(Response::from_parts(parts, Ok(body)))
    }
}

/// The connection's status.
pub(super) struct Notes(pub(super) Arc<World>);

#[async_trait]
impl ReservationStore for Notes {
    async fn write(&self, _: &ObjectKey, budget: &RequestBudgetStatus) -> Result<(), String> {
        let Notes(world) = self;
        world.notes.fetch_add(1, Ordering::Relaxed);
        world.moment().await;
        *world.written.lock().expect("one thread") = Some(budget.clone());
        Ok(())
    }
}
