//! State that all users of one API token share: a rate-limited client, and a snapshot of the account's subscriptions.
//! It is kept in memory only: a new process lists the account before it writes to it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use self::{
    backoff::Failures,
    capabilities::{Call, Capabilities},
    limiter::{Budget, Use},
    listing::Listing,
    request_queue::{Priority, RequestQueue},
    reservation::{ANSWER_TIMEOUT, Reservation},
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
pub mod listing;
pub mod rate_limited_client;
pub mod reason;
pub mod registry;
pub mod request_queue;
pub mod reservation;
pub mod snapshot;

/// Pause of all calls after a 429 without `Retry-After`: the length of Linktree's rate limit window.
const DEFAULT_RETRY_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Time after which a call that Linktree's API did not support is tried again.
const UNSUPPORTED_TTL: SignedDuration = SignedDuration::from_hours(24);

/// The number of the next account.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// Persistent store of quota reservations: requests are recorded here before they are sent.
#[async_trait]
pub trait ReservationStore: Send + Sync {
    /// Writes the reservation into the connection's status. Succeeds if the connection was deleted.
    ///
    /// # Errors
    /// The cause of a failed write, as text. The caller must then not send its request.
    async fn write(&self, connection: &ObjectKey, budget: &RequestBudgetStatus) -> Result<(), String>;
}

/// A Linktree account as one token accesses it: client, request queue, snapshot and capabilities.
pub struct Account {
    number: u64,
    linktree: Box<dyn Linktree>,
    reservations: Box<dyn ReservationStore>,
    leadership: Leadership,
    metrics: Metrics,
    /// Locked while a reservation is written, so that writes do not overlap.
    reserving: tokio::sync::Mutex<()>,
    /// Locked while a connection lists the account: connections that share it would mix their pages.
    listing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// Use of an account's request budget at one moment, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Size of the budget in requests per minute.
    pub limit: usize,
    pub remaining: usize,
    pub waiting: [(Priority, usize); Priority::ALL.len()],
}

struct State {
    queue: RequestQueue,
    /// The connections that use the account, and the requests per minute in each one's spec.
    connections: BTreeMap<ObjectKey, usize>,
    reservation: Option<Reservation>,
    /// Linktree's id, user name and plan of the account, once they are known.
    identity: Option<WireAccount>,
    snapshot: Option<Arc<Snapshot>>,
    listing: Listing,
    list_took: Duration,
    /// Our own writes since the start of the last list, replayed on the next: a list in progress may or may not contain
    /// them.
    writes: Vec<(Timestamp, Write)>,
    relist_requested: bool,
    /// Subscriptions, id to url: the next list must verify that they exist.
    unverified: BTreeMap<SubscriptionId, String>,
    capabilities: Capabilities,
    /// When the first unsupported call was detected.
    unsupported_since: Option<Timestamp>,
    /// The error of the last list, if it failed; the webhooks' conditions report it.
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
            listing: Listing::default(),
            list_took: Duration::ZERO,
            writes: Vec::new(),
            relist_requested: false,
            unverified: BTreeMap::new(),
            capabilities: Capabilities::default(),
            unsupported_since: None,
            last_error: None,
            failures: Failures::default(),
        };
        Account {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            linktree,
            reservations,
            leadership,
            metrics,
            reserving: tokio::sync::Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        }
    }

    /// The account's number, which no other account of this process has had.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Requests a slot for `caller` in the request queue. It stays granted until the caller's next call uses it or it
    /// expires.
    ///
    /// # Errors
    /// [`ApiError::Throttled`] with the time to retry at.
    pub fn acquire_slot(&self, priority: Priority, caller: &ObjectKey) -> Result<(), ApiError> {
        let now = clock::steady();
        self.state().queue.acquire(priority, caller, now).map_err(|throttled| ApiError::Throttled {
            about: crate::operator::kubernetes::conditions::whole_seconds(clock::to_wall(throttled.expected)),
            wait: throttled.retry_at.duration_since(now).try_into().unwrap_or_default(),
        })
    }

    /// The snapshot from the last successful list; `None` before the first.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.state().snapshot.clone()
    }

    /// The names of the fields of Linktree's responses that were not understood so far and counted as absent.
    #[must_use]
    pub fn unclear_fields(&self) -> Vec<&'static str> {
        self.linktree.unclear_fields()
    }

    /// The error of the last list; `None` if it succeeded.
    #[must_use]
    pub fn last_error(&self) -> Option<ApiError> {
        self.state().last_error.clone()
    }

    /// Linktree's id, user name and plan of the account, if they are known.
    #[must_use]
    pub fn identity(&self) -> Option<WireAccount> {
        self.state().identity.clone()
    }

    /// Whether Linktree's ids of both accounts are known and equal: they then have two tokens of one account.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let id = |account: &Account| account.identity().map(|identity| identity.id);
        self.number != other.number && id(self).is_some_and(|own| Some(own) == id(other))
    }

    /// Records the account's identity. It cannot change for a token.
    pub fn set_identity(&self, identity: WireAccount) {
        self.state().identity = Some(identity);
    }

    /// Replaces the snapshot after a successful list. Our own writes since the list began take precedence over it.
    pub fn listed(&self, mut snapshot: Snapshot) {
        let mut state = self.state();
        state.writes.retain(|(at, _)| *at >= snapshot.listed_at);
        state.writes.iter().for_each(|(_, write)| write.replay(&mut snapshot));
        state.unverified.retain(|id, _| !snapshot.knows_of(id));
        state.relist_requested = !state.unverified.is_empty();
        state.snapshot = Some(Arc::new(snapshot));
        state.queue.budget_mut().share_with_lists();
        state.last_error = None;
        state.failures = Failures::default();
        state.listing = Listing::default();
    }

    /// Waits until no other connection lists the account. It may be listed while the returned guard lives.
    pub async fn lock_listing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.listing.lock().await
    }

    /// Reads or changes the progress of the account's list.
    pub fn with_listing<T>(&self, change: impl FnOnce(&mut Listing) -> T) -> T {
        change(&mut self.state().listing)
    }

    /// Duration of the last list.
    #[must_use]
    pub fn list_took(&self) -> Duration {
        self.state().list_took
    }

    /// Records the duration of a list.
    pub fn note_list_took(&self, took: Duration) {
        self.state().list_took = took;
    }

    /// Records a failed list. The snapshot of the last successful list stays in use: its age is visible. A throttled
    /// list is not an error; it only delays the next one.
    pub fn list_failed(&self, error: ApiError, now: Timestamp) {
        let mut state = self.state();
        state.failures.add(&error, now);
        if !Listing::survives(&error) {
            state.listing = Listing::default();
        }
        if !matches!(error, ApiError::Throttled { .. }) {
            state.last_error = Some(error);
        }
    }

    /// End of the backoff after a failed list.
    #[must_use]
    pub fn hold_until(&self) -> Option<Timestamp> {
        self.state().failures.hold_until()
    }

    /// Requests a list ahead of the sync period, which must also verify that this subscription, id and url, exists.
    pub fn request_relist(&self, unverified: Option<(SubscriptionId, String)>) {
        let mut state = self.state();
        state.relist_requested = true;
        state.unverified.extend(unverified);
    }

    /// The subscriptions, id to url, whose existence the next list must verify.
    #[must_use]
    pub fn unverified(&self) -> BTreeMap<SubscriptionId, String> {
        self.state().unverified.clone()
    }

    /// Whether a list was requested ahead of the sync period.
    #[must_use]
    pub fn relist_requested(&self) -> bool {
        self.state().relist_requested
    }

    /// Records a created or updated subscription, as Linktree returned it, so that the next decision sees our own
    /// write.
    pub fn record_subscription(&self, subscription: Subscription, now: Timestamp) {
        self.record_write(Write::Upsert(subscription), now);
    }

    /// Records that we deleted a subscription at Linktree.
    pub fn record_deletion(&self, id: &SubscriptionId, now: Timestamp) {
        self.record_write(Write::Delete(id.clone()), now);
    }

    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.state().capabilities
    }

    /// Marks a call as unsupported by Linktree's API, after a response that shows it.
    pub fn mark_unsupported(&self, call: Call) {
        self.state().mark_unsupported(call, clock::now());
    }

    /// Resets unsupported calls to unknown, so that they are tried again: a day after the first was detected, or if a
    /// user requests a sync. Linktree may support them by then, or a proxy may have sent the response.
    pub fn reconsider_capabilities(&self, requested: bool, now: Timestamp) {
        let mut state = self.state();
        if requested || state.unsupported_since.is_some_and(|since| now.duration_since(since) >= UNSUPPORTED_TTL) {
            state.capabilities.reset_unsupported();
            state.unsupported_since = None;
        }
    }

    /// Requests that may start now, by our own count and Linktree's last response; if none may, when the next one may.
    #[must_use]
    pub fn budget(&self, now: Timestamp) -> (usize, Option<Timestamp>) {
        let state = self.state();
        let (budget, now) = (state.queue.budget(), clock::to_steady(now));
        (budget.remaining(now), budget.next_free(now).map(clock::to_wall))
    }

    /// `requestBudget` for the connection's status: the reservation in force, which a successor process reads. Without
    /// a reservation it is the whole budget, whatever lists use, so that a list alone does not change the status.
    #[must_use]
    pub fn budget_status(&self, now: Timestamp) -> RequestBudgetStatus {
        let state = self.state();
        let unused = || RequestBudgetStatus {
            remaining: i64::try_from(state.queue.budget().limit()).unwrap_or(i64::MAX),
            reset_time: None,
        };
        let reservation = state.reservation.as_ref();
        reservation.and_then(|it| it.status(clock::to_steady(now))).cloned().unwrap_or_else(unused)
    }

    /// Blocks new reservations while the returned guard lives, so that a write of the connection's whole status does
    /// not overwrite one.
    pub async fn lock_reservation(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.reserving.lock().await
    }

    /// Adds or updates a connection that uses the account. The smallest `requests_per_minute` of all connections
    /// applies.
    pub fn add_connection(&self, connection: &ObjectKey, requests_per_minute: usize) {
        let mut state = self.state();
        if state.connections.insert(connection.clone(), requests_per_minute).is_none() {
            // The new connection's status lacks the current reservation, so the next call must write one to all
            // statuses.
            state.reservation = None;
        }
        state.resize();
    }

    /// Counts registrations that an earlier process may have sent, so that the budget covers them. Each item, from the
    /// status of one of a connection's webhooks, is the start of a registration and whether Linktree answered it.
    pub fn assume_registrations(&self, registrations: impl Iterator<Item = (Timestamp, bool)>, now: Timestamp) {
        let mut state = self.state();
        let now = clock::to_steady(now);
        for (started, answered) in registrations {
            // A time in the future was written by another clock or by hand.
            let started = clock::to_steady(started).min(now);
            let latest = started.saturating_add(ANSWER_TIMEOUT).unwrap_or(Timestamp::MAX);
            let counted = if answered { latest.min(now) } else { latest };
            if limiter::end(counted) > now {
                state.queue.budget_mut().assume(1, Use::Ordinary, counted);
            }
        }
    }

    /// A copy of the request budget, which a successor of this account continues.
    #[must_use]
    pub fn used_budget(&self) -> Budget {
        self.state().queue.budget().clone().settled(clock::steady())
    }

    /// Removes a connection that no longer uses the account.
    pub fn remove_connection(&self, connection: &ObjectKey) {
        let mut state = self.state();
        state.connections.remove(connection);
        state.resize();
    }

    /// The use of the account's request budget now.
    #[must_use]
    pub fn load(&self, now: Timestamp) -> Load {
        let state = self.state();
        let (budget, now) = (state.queue.budget(), clock::to_steady(now));
        let waiting = Priority::ALL.map(|priority| (priority, state.queue.waiting(priority)));
        Load { limit: budget.limit(), remaining: budget.remaining(now), waiting }
    }

    fn record_write(&self, write: Write, now: Timestamp) {
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

    /// Sets the limit to the smallest one of all connections. An account without connections keeps its last limit: it
    /// still serves deletions.
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
