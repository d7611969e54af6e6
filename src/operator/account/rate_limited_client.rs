//! Rate-limited client: each call to Linktree waits in the account's request queue and uses its budget.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Account, DEFAULT_RETRY_AFTER, Reservation, capabilities::Call, request_queue::Priority};
use crate::{
    api::connection::Capability,
    clock,
    linktree::{
        client::Linktree,
        error::ApiError,
        secret::Secret,
        wire::{Account as WireAccount, CreateSubscription, Subscription, SubscriptionId, UpdateSubscription},
    },
    operator::kubernetes::object_key::ObjectKey,
};

/// Longest expected wait for the slot of a list page: enough for our own window, but not for a long `Retry-After` of
/// Linktree.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(120);

/// Rate-limited Linktree client of one caller. If the budget allows no request now, a call is not sent and fails with
/// [`ApiError::Throttled`].
pub struct RateLimitedClient {
    account: Arc<Account>,
    caller: ObjectKey,
    creation: Priority,
}

impl std::fmt::Debug for RateLimitedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitedClient").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Permit for one request in flight. Dropping it counts the request as answered, also if the call was cancelled.
struct Permit<'a> {
    account: &'a Account,
    priority: Priority,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.account.state().queue.end(self.priority, clock::steady());
    }
}

impl RateLimitedClient {
    /// A client whose calls queue as `caller`, the key of a webhook or connection.
    #[must_use]
    pub fn new(account: &Arc<Account>, caller: &ObjectKey) -> Self {
        RateLimitedClient { account: Arc::clone(account), caller: caller.clone(), creation: Priority::Create }
    }

    /// The same client, with this priority of a creation.
    #[must_use]
    pub fn with_creation(self, creation: Priority) -> Self {
        RateLimitedClient { creation, ..self }
    }

    /// Makes one call: acquires a permit, sends the request, and records the result.
    async fn call<T>(
        &self,
        call: Call,
        priority: Priority,
        answer: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        self.account.acquire_slot(priority, &self.caller)?;
        let permit = self.account.acquire(call, priority, &self.caller).await?;
        let answer = answer.await;
        drop(permit);
        self.account.record_response(call, answer, clock::steady())
    }

    /// Waits for a slot; only an expected wait above [`PAGE_WAIT_MAX`] fails. If each page failed instead, a list would
    /// start again from its first page, and one with more pages than the budget has requests would never finish.
    async fn wait_for_permit(&self, priority: Priority) -> Result<(), ApiError> {
        while let Err(error) = self.account.acquire_slot(priority, &self.caller) {
            let ApiError::Throttled { wait, about } = error else { return Err(error) };
            let too_long =
                Duration::try_from(about.duration_since(clock::now())).is_ok_and(|wait| wait > PAGE_WAIT_MAX);
            if too_long {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

impl Account {
    /// Turns `caller`'s granted slot into a permit, after reserving quota if the call needs a reservation.
    async fn acquire(&self, call: Call, priority: Priority, caller: &ObjectKey) -> Result<Permit<'_>, ApiError> {
        self.reserve(call).await?;
        self.leadership.check().map_err(|problem| not_sent(problem.to_string()))?;
        let waited = self.state().queue.begin(priority, caller);
        let Some(waited) = waited else {
            return Err(not_sent("its slot in the request queue expired before it was sent".to_owned()));
        };
        self.metrics.waited(priority.as_str(), waited);
        Ok(Permit { account: self, priority })
    }

    /// Reserves quota in the connections' statuses, unless a reservation covers the call already. Two calls need none:
    /// a periodic list, since a successor process assumes one, and without changes there must be no writes; and a
    /// registration, since its webhook's status records the intent.
    async fn reserve(&self, call: Call) -> Result<(), ApiError> {
        let known = match call {
            Call::Create => true,
            Call::Account | Call::List | Call::Get => self.snapshot().is_some(),
            Call::Update | Call::Reenable | Call::Delete | Call::RotateSecret => false,
        };
        if known || self.covered(clock::steady()) {
            return Ok(());
        }
        let _one_at_a_time = self.reserving.lock().await;
        let now = clock::steady();
        if self.covered(now) {
            return Ok(());
        }
        let (mut reservation, connections) = {
            let state = self.state();
            (Reservation::next(state.queue.budget(), now), state.connections.keys().cloned().collect::<Vec<_>>())
        };
        if let Some(status) = reservation.status(now) {
            for connection in connections {
                let written = self.reservations.write(&connection, status).await;
                written.map_err(|problem| {
                    not_sent(format!("the quota could not be reserved in status.requestBudget: {problem}"))
                })?;
            }
        }
        reservation.take(now);
        self.state().reservation = Some(reservation);
        Ok(())
    }

    /// Takes one request out of the reservation in force; `false` if there is none or it is used up.
    fn covered(&self, now: Timestamp) -> bool {
        self.state().reservation.as_mut().is_some_and(|reservation| reservation.take(now))
    }

    /// Records the result of a call in the metrics, the rate limiter and the capabilities.
    fn record_response<T>(&self, call: Call, answer: Result<T, ApiError>, now: Timestamp) -> Result<T, ApiError> {
        let mut state = self.state();
        let trusts_not_found = state.capabilities.trusts_not_found(call);
        // An untrusted 404 counts as an unsupported call: the endpoint may be missing, not the subscription.
        let unsupported =
            |error| if error == ApiError::NotFound { ApiError::Unsupported { status: 404 } } else { error };
        let answer = if trusts_not_found { answer } else { answer.map_err(unsupported) };
        self.metrics.requested(call.as_str(), answer.as_ref().map_or_else(ApiError::kind, |_| "ok"));
        if answer.as_ref().err().is_none_or(ApiError::is_answer)
            && let Some(left) = self.linktree.take_remaining_requests()
        {
            state.queue.budget_mut().at_most(usize::try_from(left).unwrap_or(usize::MAX), now);
        }
        match &answer {
            Ok(_) => state.capabilities.set(call, Capability::Supported),
            Err(ApiError::Unsupported { .. }) => state.mark_unsupported(call, now),
            Err(ApiError::TooManyRequests { retry_after }) => {
                let wait = retry_after.and_then(|after| after.try_into().ok()).unwrap_or(DEFAULT_RETRY_AFTER);
                state.queue.budget_mut().close(now.saturating_add(wait).unwrap_or(Timestamp::MAX));
            }
            Err(_) => {}
        }
        answer
    }
}

/// The error of a request that was not sent, because of `problem`.
fn not_sent(problem: String) -> ApiError {
    ApiError::Unreachable { problem, before_sending: true }
}

#[async_trait]
impl Linktree for RateLimitedClient {
    async fn account(&self) -> Result<WireAccount, ApiError> {
        self.call(Call::Account, Priority::List, self.account.linktree.account()).await
    }

    async fn list_page(&self, cursor: Option<&str>) -> Result<(Vec<Subscription>, Option<String>), ApiError> {
        let priority = if cursor.is_none() { Priority::List } else { Priority::Page };
        if cursor.is_some() {
            self.wait_for_permit(priority).await?;
        }
        self.call(Call::List, priority, self.account.linktree.list_page(cursor)).await
    }

    /// Has the priority of a list page: it is used only if Linktree has no list call, in place of the pages.
    async fn get(&self, id: &SubscriptionId) -> Result<Subscription, ApiError> {
        self.wait_for_permit(Priority::Page).await?;
        self.call(Call::Get, Priority::Page, self.account.linktree.get(id)).await
    }

    async fn create(&self, request: &CreateSubscription) -> Result<Subscription, ApiError> {
        self.call(Call::Create, self.creation, self.account.linktree.create(request)).await
    }

    async fn update(&self, id: &SubscriptionId, change: &UpdateSubscription) -> Result<Subscription, ApiError> {
        let (call, priority) = match change.status {
            Some(_) => (Call::Reenable, Priority::Reenable),
            None => (Call::Update, Priority::Update),
        };
        self.call(call, priority, self.account.linktree.update(id, change)).await
    }

    async fn delete(&self, id: &SubscriptionId) -> Result<(), ApiError> {
        self.call(Call::Delete, Priority::Delete, self.account.linktree.delete(id)).await
    }

    /// Has the priority of a creation: without a known secret, the receiver cannot verify deliveries.
    async fn rotate_secret(&self, id: &SubscriptionId) -> Result<Secret, ApiError> {
        self.call(Call::RotateSecret, Priority::Create, self.account.linktree.rotate_secret(id)).await
    }

    fn take_remaining_requests(&self) -> Option<u32> {
        self.account.linktree.take_remaining_requests()
    }

    fn unclear_fields(&self) -> Vec<&'static str> {
        self.account.unclear_fields()
    }
}
