//! What all webhooks of one connection share: the client with its request budget, and one snapshot of the account's
//! subscriptions. Held in memory only: a new process lists the account before it writes to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{
    backoff::Failures,
    budget::Budget,
    capabilities::{Call, Capabilities},
    leader::Leadership,
    metrics::Metrics,
};
use crate::{
    api::connection::Capability,
    clock,
    linktree::{
        client::Linktree,
        error::{ApiError, RetryClass},
        secret::Secret,
        wire::{Account as WireAccount, CreateSubscription, Subscription, SubscriptionId, UpdateSubscription},
    },
};

/// `(namespace, name)` of an object.
pub type Key = (String, String);

/// How long to leave Linktree alone after a 429 that does not say so itself: the length of its window.
const DEFAULT_RETRY_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// How long a page of a list waits for its turn: a window of our own budget, not a long refusal by Linktree.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(60);

/// The account's subscriptions as they were listed, brought up to date with our own writes since.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When the list was *begun*: a subscription made before that is in it.
    pub listed_at: Timestamp,
    /// Whose account it is, if Linktree tells.
    pub account: Option<WireAccount>,
    pub subscriptions: Vec<Subscription>,
}

/// What one of our writes made of a subscription.
#[derive(Clone, Debug)]
enum Write {
    Stands(Subscription),
    Gone(SubscriptionId),
}

impl Write {
    fn replay(&self, subscriptions: &mut Vec<Subscription>) {
        match self {
            Write::Stands(written) => match subscriptions.iter_mut().find(|known| known.id == written.id) {
                Some(known) => *known = written.clone(),
                None => subscriptions.push(written.clone()),
            },
            Write::Gone(id) => subscriptions.retain(|known| known.id != *id),
        }
    }
}

/// One connection's account.
pub struct Account {
    linktree: Box<dyn Linktree>,
    leadership: Leadership,
    metrics: Metrics,
    state: Mutex<State>,
}

struct State {
    budget: Budget,
    /// Whose account it is, once that is known.
    whose: Option<WireAccount>,
    snapshot: Option<Arc<Snapshot>>,
    /// Our own writes since the snapshot's list was begun. A list under way may or may not have seen them.
    writes: Vec<(Timestamp, Write)>,
    list_wanted: bool,
    capabilities: Capabilities,
    /// Why the connection cannot be used at present; its webhooks show it.
    trouble: Option<ApiError>,
    failures: Failures,
}

impl Account {
    #[must_use]
    pub fn new(linktree: Box<dyn Linktree>, leadership: Leadership, budget: Budget, metrics: Metrics) -> Self {
        let state = State {
            budget,
            whose: None,
            snapshot: None,
            writes: Vec::new(),
            list_wanted: false,
            capabilities: Capabilities::default(),
            trouble: None,
            failures: Failures::default(),
        };
        Account { linktree, leadership, metrics, state: Mutex::new(state) }
    }

    /// A client whose every call is paid for out of this account's budget.
    #[must_use]
    pub fn linktree(self: &Arc<Self>) -> impl Linktree + 'static {
        Budgeted(Arc::clone(self))
    }

    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.state().snapshot.clone()
    }

    #[must_use]
    pub fn trouble(&self) -> Option<ApiError> {
        self.state().trouble.clone()
    }

    /// Whose account it is, if that was found out already.
    #[must_use]
    pub fn whose(&self) -> Option<WireAccount> {
        self.state().whose.clone()
    }

    /// Linktree said whose account it is. That stays so as long as the token does.
    pub fn belongs_to(&self, whose: WireAccount) {
        self.state().whose = Some(whose);
    }

    /// A list succeeded. What we wrote since it was begun counts more than what it says.
    pub fn listed(&self, mut snapshot: Snapshot) {
        let mut state = self.state();
        state.writes.retain(|(at, _)| *at >= snapshot.listed_at);
        state.writes.iter().for_each(|(_, write)| write.replay(&mut snapshot.subscriptions));
        state.snapshot = Some(Arc::new(snapshot));
        state.list_wanted = false;
        state.trouble = None;
        state.failures = Failures::default();
    }

    /// A list failed. The last snapshot stays: what is known is better than nothing, and its age can be seen.
    pub fn list_failed(&self, error: ApiError, now: Timestamp) {
        let mut state = self.state();
        state.failures.add(&error, now);
        state.trouble = Some(error);
    }

    /// Until when the account is not listed after a list that failed.
    #[must_use]
    pub fn hold_until(&self) -> Option<Timestamp> {
        self.state().failures.hold_until()
    }

    /// Asks for a list before the sync period is over.
    pub fn want_list(&self) {
        self.state().list_wanted = true;
    }

    #[must_use]
    pub fn list_wanted(&self) -> bool {
        self.state().list_wanted
    }

    /// Notes a subscription as Linktree answered it, so that the next decision sees our own write.
    pub fn noted(&self, subscription: Subscription, now: Timestamp) {
        self.wrote(Write::Stands(subscription), now);
    }

    /// Notes that a subscription is gone.
    pub fn gone(&self, id: &SubscriptionId, now: Timestamp) {
        self.wrote(Write::Gone(id.clone()), now);
    }

    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.state().capabilities
    }

    /// Linktree's answer means that it does not offer a call.
    pub fn lacks(&self, call: Call) {
        self.state().capabilities.set(call, Capability::Unsupported);
    }

    /// Requests left now, by our own count and by Linktree's last word; and from when on there are some again.
    #[must_use]
    pub fn budget(&self, now: Timestamp) -> (usize, Option<Timestamp>) {
        let state = self.state();
        (state.budget.remaining(now), state.budget.next_free(now))
    }

    /// Follows a changed budget in the spec.
    pub fn resize_budget(&self, requests_per_minute: usize) {
        self.state().budget.resize(requests_per_minute);
    }

    fn wrote(&self, write: Write, now: Timestamp) {
        let mut state = self.state();
        if let Some(snapshot) = &mut state.snapshot {
            write.replay(&mut Arc::make_mut(snapshot).subscriptions);
        }
        state.writes.push((now, write));
    }

    fn pay(&self) -> Result<(), ApiError> {
        self.leadership
            .check()
            .map_err(|problem| ApiError::Unreachable { problem: problem.to_string(), before_sending: true })?;
        let now = clock::now();
        let paid = self.state().budget.take(now);
        paid.map_err(|free| ApiError::TooManyRequests { retry_after: free.duration_since(now).try_into().ok() })
    }

    /// Counts a call, heeds a 429, wherever it came from, and notes whether Linktree offers the call at all.
    fn heed<T>(&self, call: Call, answer: Result<T, ApiError>) -> Result<T, ApiError> {
        self.metrics.requested(call.as_str(), answer.as_ref().map_or_else(ApiError::kind, |_| "ok"));
        match &answer {
            Ok(_) => self.state().capabilities.set(call, Capability::Supported),
            Err(ApiError::Unsupported { .. }) => self.lacks(call),
            Err(ApiError::TooManyRequests { retry_after }) => {
                let wait = retry_after.and_then(|after| after.try_into().ok()).unwrap_or(DEFAULT_RETRY_AFTER);
                self.state().budget.close(clock::now().saturating_add(wait).unwrap_or(Timestamp::MAX));
            }
            Err(_) => {}
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means that another thread panicked between two assignments; each state in between is valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

/// Every call takes from the budget first; when it is used up, the answer is the one Linktree itself would give.
struct Budgeted(Arc<Account>);

#[async_trait]
impl Linktree for Budgeted {
    async fn account(&self) -> Result<WireAccount, ApiError> {
        self.0.pay()?;
        self.0.heed(Call::Account, self.0.linktree.account().await)
    }

    /// A list that has begun waits for its further pages' turn: given up, it would begin anew each time, and an account
    /// with more pages than the budget has requests would never be listed.
    async fn list_page(&self, cursor: Option<&str>) -> Result<(Vec<Subscription>, Option<String>), ApiError> {
        while let Err(refused) = self.0.pay() {
            let RetryClass::Transient { after: Some(wait) } = refused.retry_class() else { return Err(refused) };
            if cursor.is_none() || wait > PAGE_WAIT_MAX {
                return Err(refused);
            }
            tokio::time::sleep(wait).await;
        }
        self.0.heed(Call::List, self.0.linktree.list_page(cursor).await)
    }

    async fn get(&self, id: &SubscriptionId) -> Result<Subscription, ApiError> {
        self.0.pay()?;
        self.0.heed(Call::Get, self.0.linktree.get(id).await)
    }

    async fn create(&self, request: &CreateSubscription) -> Result<Subscription, ApiError> {
        self.0.pay()?;
        self.0.heed(Call::Create, self.0.linktree.create(request).await)
    }

    async fn update(&self, id: &SubscriptionId, change: &UpdateSubscription) -> Result<Subscription, ApiError> {
        self.0.pay()?;
        let call = if change.status.is_some() { Call::Reenable } else { Call::Update };
        self.0.heed(call, self.0.linktree.update(id, change).await)
    }

    async fn delete(&self, id: &SubscriptionId) -> Result<(), ApiError> {
        self.0.pay()?;
        self.0.heed(Call::Delete, self.0.linktree.delete(id).await)
    }

    async fn rotate_secret(&self, id: &SubscriptionId) -> Result<Secret, ApiError> {
        self.0.pay()?;
        self.0.heed(Call::RotateSecret, self.0.linktree.rotate_secret(id).await)
    }

    fn remaining_requests(&self) -> Option<u32> {
        self.0.linktree.remaining_requests()
    }
}

/// The accounts of all connections. An account lives as long as its base URL and token stay the same.
#[derive(Debug, Default)]
pub struct Accounts(Mutex<HashMap<Key, Entry>>);

#[derive(Debug)]
struct Entry {
    credentials: Credentials,
    account: Arc<Account>,
    /// The connection and its token are still there.
    current: bool,
}

/// What an account's client was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    pub base_url: String,
    pub token: Secret,
}

impl Accounts {
    /// The connection's account, made anew with `make` if there is none for these credentials.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn get_or_make<E>(
        &self,
        connection: &Key,
        credentials: &Credentials,
        make: impl FnOnce() -> Result<Account, E>,
    ) -> Result<Arc<Account>, E> {
        let mut accounts = self.accounts();
        if let Some(known) = accounts.get_mut(connection)
            && known.credentials == *credentials
        {
            known.current = true;
            return Ok(Arc::clone(&known.account));
        }
        let account = Arc::new(make()?);
        let entry = Entry { credentials: credentials.clone(), account: Arc::clone(&account), current: true };
        accounts.insert(connection.clone(), entry);
        Ok(account)
    }

    #[must_use]
    pub fn get(&self, connection: &Key) -> Option<Arc<Account>> {
        self.accounts().get(connection).filter(|entry| entry.current).map(|entry| Arc::clone(&entry.account))
    }

    /// As [`Accounts::get`], also when the connection or its token is gone. For deletions only: where everything is
    /// deleted together, the subscription can still be taken along with what was known a moment ago.
    #[must_use]
    pub fn last_known(&self, connection: &Key) -> Option<Arc<Account>> {
        self.accounts().get(connection).map(|entry| Arc::clone(&entry.account))
    }

    /// The connection is gone, or its token is.
    pub fn forget(&self, connection: &Key) {
        if let Some(entry) = self.accounts().get_mut(connection) {
            entry.current = false;
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(in crate::operator) mod tests;
