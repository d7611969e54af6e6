//! The client that pays for each call out of its account's budget, when it is its turn.

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

/// How long a page of a list waits for its turn: a window of our own budget, not a long refusal by Linktree.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(120);

/// Every call waits for its turn first. Where it is not its turn, the answer is [`ApiError::Throttled`].
pub struct RateLimitedClient {
    account: Arc<Account>,
    caller: ObjectKey,
}

impl std::fmt::Debug for RateLimitedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitedClient").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// A request under way; dropped when it is over, also where nobody waits for its answer any more.
struct Permit<'a> {
    account: &'a Account,
    priority: Priority,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.account.state().queue.end(self.priority, clock::now());
    }
}

impl RateLimitedClient {
    #[must_use]
    pub fn new(account: &Arc<Account>, caller: &ObjectKey) -> Self {
        RateLimitedClient { account: Arc::clone(account), caller: caller.clone() }
    }

    /// One call: its turn, its announcement, and what its answer tells besides.
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
        self.account.record_response(call, answer, clock::now())
    }

    /// Waits for its turn rather than being refused: a list that was given up would begin anew each time, and one with more
    /// pages than the budget has requests would never end.
    async fn wait_for_permit(&self, priority: Priority) -> Result<(), ApiError> {
        while let Err(refused) = self.account.acquire_slot(priority, &self.caller) {
            let ApiError::Throttled { wait, about } = refused else { return Err(refused) };
            let far = Duration::try_from(about.duration_since(clock::now())).is_ok_and(|wait| wait > PAGE_WAIT_MAX);
            if far {
                return Err(refused);
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

impl Account {
    /// Uses a turn that was granted, written down beforehand where that is needed.
    async fn acquire(&self, call: Call, priority: Priority, caller: &ObjectKey) -> Result<Permit<'_>, ApiError> {
        self.reserve(call).await?;
        self.leadership.check().map_err(|problem| not_sent(problem.to_string()))?;
        let waited = self.state().queue.begin(priority, caller);
        let Some(waited) = waited else { return Err(not_sent("its turn was not used in time".to_owned())) };
        self.metrics.waited(priority.as_str(), waited);
        Ok(Permit { account: self, priority })
    }

    /// Writes down that requests will be made, unless that was done. A list that is repeated in its period is not: what it
    /// uses is known, and nothing is to be written when nothing changes. Nor is a registration: the intent to make it stands
    /// in its webhook's status.
    async fn reserve(&self, call: Call) -> Result<(), ApiError> {
        let known = match call {
            Call::Create => true,
            Call::Account | Call::List | Call::Get => self.snapshot().is_some(),
            Call::Update | Call::Reenable | Call::Delete | Call::RotateSecret => false,
        };
        if known || self.covered(clock::now()) {
            return Ok(());
        }
        let _one_at_a_time = self.reserving.lock().await;
        let now = clock::now();
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
                written.map_err(|problem| not_sent(format!("its use could not be written down: {problem}")))?;
            }
        }
        reservation.take(now);
        self.state().reservation = Some(reservation);
        Ok(())
    }

    fn covered(&self, now: Timestamp) -> bool {
        self.state().reservation.as_mut().is_some_and(|reservation| reservation.take(now))
    }

    /// Counts a call, heeds what Linktree says of its limit, and notes whether it offers the call at all.
    fn record_response<T>(&self, call: Call, answer: Result<T, ApiError>, now: Timestamp) -> Result<T, ApiError> {
        let mut state = self.state();
        let knows = state.capabilities.tells_what_is_absent(call);
        // A server that does not know the call answers the same as one that does not know the subscription.
        let unknown = |error| if error == ApiError::NotFound { ApiError::Unsupported { status: 404 } } else { error };
        let answer = if knows { answer } else { answer.map_err(unknown) };
        self.metrics.requested(call.as_str(), answer.as_ref().map_or_else(ApiError::kind, |_| "ok"));
        if answer.as_ref().err().is_none_or(ApiError::is_answer)
            && let Some(left) = self.linktree.remaining_requests()
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

    /// Only where there is no list: a page of it, as it were.
    async fn get(&self, id: &SubscriptionId) -> Result<Subscription, ApiError> {
        self.wait_for_permit(Priority::Page).await?;
        self.call(Call::Get, Priority::Page, self.account.linktree.get(id)).await
    }

    async fn create(&self, request: &CreateSubscription) -> Result<Subscription, ApiError> {
        self.call(Call::Create, Priority::Create, self.account.linktree.create(request)).await
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

    /// Without its secret a subscription delivers nothing that can be verified: as urgent as its creation.
    async fn rotate_secret(&self, id: &SubscriptionId) -> Result<Secret, ApiError> {
        self.call(Call::RotateSecret, Priority::Create, self.account.linktree.rotate_secret(id)).await
    }

    fn remaining_requests(&self) -> Option<u32> {
        self.account.linktree.remaining_requests()
    }
}
