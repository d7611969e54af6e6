//! What all webhooks of one token share: the client with its request budget, and one snapshot of the account's
//! subscriptions. Held in memory only: a new process lists the account before it writes to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use self::{
    backoff::Failures,
    capabilities::{Call, Capabilities},
    limiter::{Budget, Use, WINDOW},
    request_queue::{Priority, RequestQueue},
    reservation::{ANSWER, Reservation},
    snapshot::Write,
};
pub use self::{reservation::resumed, snapshot::Snapshot};
use super::{election::leadership::Leadership, kubernetes::object_key::ObjectKey, metrics::Metrics};
use crate::{
    api::connection::{Capability, RequestBudgetStatus},
    clock,
    linktree::{
        client::Linktree,
        error::ApiError,
        wire::{Account as WireAccount, Subscription, SubscriptionId},
    },
};

pub mod backoff;
pub mod budget_metrics;
pub mod capabilities;
pub mod limiter;
pub mod rate_limited_client;
pub mod reason;
pub mod registry;
pub mod request_queue;
pub mod reservation;
pub mod snapshot;

/// How long to leave Linktree alone after a 429 that does not say so itself: the length of its window.
const DEFAULT_RETRY_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// For how long a call that Linktree does not know is not tried again.
const UNSUPPORTED_TTL: SignedDuration = SignedDuration::from_hours(24);

/// Where the use of a budget is written down before it is used.
#[async_trait]
pub trait ReservationStore: Send + Sync {
    /// Writes it into the connection's status. That the connection is gone is no error.
    ///
    /// # Errors
    /// Why it could not be written: then the request must not be made.
    async fn write(&self, connection: &ObjectKey, budget: &RequestBudgetStatus) -> Result<(), String>;
}

/// The account that a token opens.
pub struct Account {
    linktree: Box<dyn Linktree>,
    reservations: Box<dyn ReservationStore>,
    leadership: Leadership,
    metrics: Metrics,
    /// Held while an announcement is written: one at a time.
    reserving: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// What an account's budget is like at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests a minute.
    pub limit: usize,
    pub remaining: usize,
    pub waiting: [(Priority, usize); Priority::ALL.len()],
}

struct State {
    queue: RequestQueue,
    /// The connections that use the account, with the requests a minute that each asks for.
    connections: BTreeMap<ObjectKey, usize>,
    reservation: Option<Reservation>,
    /// Whose account it is, once that is known.
    identity: Option<WireAccount>,
    snapshot: Option<Arc<Snapshot>>,
    list_took: Duration,
    /// Our own writes since the snapshot's list was begun. A list under way may or may not have seen them.
    writes: Vec<(Timestamp, Write)>,
    relist_requested: bool,
    sought: BTreeMap<SubscriptionId, String>,
    capabilities: Capabilities,
    /// Since when some call is taken for missing.
    unsupported_since: Option<Timestamp>,
    /// Why the connection cannot be used at present; its webhooks show it.
    last_error: Option<ApiError>,
    failures: Failures,
}

impl Account {
    #[must_use]
    pub fn new(
        linktree: Box<dyn Linktree>,
        reservations: Box<dyn ReservationStore>,
        leadership: Leadership,
        budget: Budget,
        metrics: Metrics,
    ) -> Self {
        let state = State {
            queue: RequestQueue::new(budget),
            connections: BTreeMap::new(),
            reservation: None,
            identity: None,
            snapshot: None,
            list_took: Duration::ZERO,
            writes: Vec::new(),
            relist_requested: false,
            sought: BTreeMap::new(),
            capabilities: Capabilities::default(),
            unsupported_since: None,
            last_error: None,
            failures: Failures::default(),
        };
        Account {
            linktree,
            reservations,
            leadership,
            metrics,
            reserving: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        }
    }

    /// Whether it is the turn of `who`. It then stays so for the call that follows.
    ///
    /// # Errors
    /// [`ApiError::Throttled`].
    pub fn acquire_slot(&self, priority: Priority, who: &ObjectKey) -> Result<(), ApiError> {
        let now = clock::now();
        self.state().queue.acquire(priority, who, now).map_err(|throttled| ApiError::Throttled {
            about: crate::operator::kubernetes::conditions::whole_seconds(throttled.expected),
            wait: throttled.retry_at.duration_since(now).try_into().unwrap_or_default(),
        })
    }

    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.state().snapshot.clone()
    }

    #[must_use]
    pub fn last_error(&self) -> Option<ApiError> {
        self.state().last_error.clone()
    }

    /// Whose account it is, if that was found out already.
    #[must_use]
    pub fn identity(&self) -> Option<WireAccount> {
        self.state().identity.clone()
    }

    /// Linktree said whose account it is. That stays so as long as the token does.
    pub fn set_identity(&self, identity: WireAccount) {
        self.state().identity = Some(identity);
    }

    /// A list succeeded. What we wrote since it was begun counts more than what it says.
    pub fn listed(&self, mut snapshot: Snapshot) {
        let mut state = self.state();
        state.writes.retain(|(at, _)| *at >= snapshot.listed_at);
        state.writes.iter().for_each(|(_, write)| write.replay(&mut snapshot));
        state.sought.retain(|id, _| !snapshot.knows_of(id));
        state.relist_requested = !state.sought.is_empty();
        state.snapshot = Some(Arc::new(snapshot));
        state.queue.budget_mut().share_with_lists();
        state.last_error = None;
        state.failures = Failures::default();
    }

    /// How long the last list took.
    #[must_use]
    pub fn list_took(&self) -> Duration {
        self.state().list_took
    }

    pub fn note_list_took(&self, took: Duration) {
        self.state().list_took = took;
    }

    /// A list failed. The last snapshot stays: what is known is better than nothing, and its age can be seen. That it was
    /// not its turn is no trouble.
    pub fn list_failed(&self, error: ApiError, now: Timestamp) {
        let mut state = self.state();
        state.failures.add(&error, now);
        if !matches!(error, ApiError::Throttled { .. }) {
            state.last_error = Some(error);
        }
    }

    /// Until when the account is not listed after a list that failed.
    #[must_use]
    pub fn hold_until(&self) -> Option<Timestamp> {
        self.state().failures.hold_until()
    }

    /// Asks for a list before the sync period is over, in which this subscription, of this url, is looked for.
    pub fn request_relist(&self, sought: Option<(SubscriptionId, String)>) {
        let mut state = self.state();
        state.relist_requested = true;
        state.sought.extend(sought);
    }

    /// The subscriptions that are to be looked for in the next list, with their urls.
    #[must_use]
    pub fn sought(&self) -> BTreeMap<SubscriptionId, String> {
        self.state().sought.clone()
    }

    #[must_use]
    pub fn relist_requested(&self) -> bool {
        self.state().relist_requested
    }

    /// Notes a subscription as Linktree answered it, so that the next decision sees our own write.
    pub fn record_subscription(&self, subscription: Subscription, now: Timestamp) {
        self.wrote(Write::Stands(subscription), now);
    }

    /// Notes that a subscription is gone.
    pub fn record_deletion(&self, id: &SubscriptionId, now: Timestamp) {
        self.wrote(Write::Gone(id.clone()), now);
    }

    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.state().capabilities
    }

    /// Linktree's answer means that it does not offer a call.
    pub fn mark_unsupported(&self, call: Call) {
        self.state().mark_unsupported(call, clock::now());
    }

    /// Calls that were found to be missing are tried again where a person asks for that, and after a day: they may have come,
    /// and that they are missing may have been the word of something between us and Linktree.
    pub fn reconsider_capabilities(&self, requested: bool, now: Timestamp) {
        let mut state = self.state();
        if requested || state.unsupported_since.is_some_and(|since| now.duration_since(since) >= UNSUPPORTED_TTL) {
            state.capabilities.reconsider();
            state.unsupported_since = None;
        }
    }

    /// Requests left now, by our own count and by Linktree's last word; and from when on there are some again.
    #[must_use]
    pub fn budget(&self, now: Timestamp) -> (usize, Option<Timestamp>) {
        let state = self.state();
        let budget = state.queue.budget();
        (budget.remaining(now), budget.next_free(now))
    }

    /// What another process in our place must know of the budget. Without an announcement in force: that nothing is used,
    /// whatever lists there are, so that it need not be written with each of them.
    #[must_use]
    pub fn budget_status(&self, now: Timestamp) -> RequestBudgetStatus {
        let state = self.state();
        let quiet = || RequestBudgetStatus {
            remaining: i64::try_from(state.queue.budget().limit()).unwrap_or(i64::MAX),
            reset_time: None,
        };
        state.reservation.as_ref().and_then(|reservation| reservation.status(now)).cloned().unwrap_or_else(quiet)
    }

    /// While it is held, nothing is reservation: for writing the connection's whole status.
    pub async fn lock_reservation(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reserving.lock().await
    }

    /// A connection uses the account and asks for so many requests a minute. The smallest number counts.
    pub fn add_connection(&self, connection: &ObjectKey, requests_per_minute: usize) {
        let mut state = self.state();
        if state.connections.insert(connection.clone(), requests_per_minute).is_none() {
            // Its status knows nothing of what was reservation in the others'.
            state.reservation = None;
        }
        state.resize();
    }

    /// Registrations that an earlier process began, as the statuses of a connection's webhooks tell: when, and whether the
    /// answer was seen.
    pub fn assume_registrations(&self, begun: impl Iterator<Item = (Timestamp, bool)>, now: Timestamp) {
        let mut state = self.state();
        for (begun, answered) in begun {
            let latest = begun.saturating_add(ANSWER).unwrap_or(Timestamp::MAX);
            let counted = if answered { latest.min(now) } else { latest };
            if counted + WINDOW > now {
                state.queue.budget_mut().assume(1, Use::Ordinary, counted);
            }
        }
    }

    /// A connection uses it no more.
    pub fn remove_connection(&self, connection: &ObjectKey) {
        let mut state = self.state();
        state.connections.remove(connection);
        state.resize();
    }

    /// What the budget is like now.
    #[must_use]
    pub fn load(&self, now: Timestamp) -> Load {
        let state = self.state();
        let budget = state.queue.budget();
        let waiting = Priority::ALL.map(|of| (of, state.queue.waiting(of)));
        Load { limit: budget.limit(), remaining: budget.remaining(now), waiting }
    }

    fn wrote(&self, write: Write, now: Timestamp) {
        let mut state = self.state();
        if let Some(snapshot) = &mut state.snapshot {
            write.replay(Arc::make_mut(snapshot));
        }
        state.writes.push((now, write));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means that another thread panicked between two assignments; each state in between is valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn mark_unsupported(&mut self, call: Call, now: Timestamp) {
        self.capabilities.set(call, Capability::Unsupported);
        self.unsupported_since.get_or_insert(now);
    }

    /// An account that nobody uses keeps the budget it had: it is for deletions only.
    fn resize(&mut self) {
        if let Some(smallest) = self.connections.values().min() {
            self.queue.budget_mut().resize(*smallest);
        }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(in crate::operator) mod tests;
