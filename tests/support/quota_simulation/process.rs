//! One process of the operator: its account, a task for the connection and one per webhook. Killed on drop.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use linktree_operator::{
    api::connection::LinktreeConnectionSpec,
    clock,
    linktree::{
        client::{Linktree, list_all},
        error::ApiError,
        wire::{CreateSubscription, Subscription, SubscriptionId, SubscriptionStatus, UpdateSubscription},
    },
    operator::{
        account::{Account, Snapshot, rate_limited_client::RateLimitedClient, request_queue::Priority, resumed},
        election::leadership::Leadership,
        kubernetes::object_key::ObjectKey,
        listing::{self, ListState, Plan, Token},
        metrics::Metrics,
    },
};
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    REQUESTS_PER_MINUTE, elapsed,
    linktree::{Notes, SimulatedLinktree},
};

/// Concurrent reconciliations, as in the operator.
const CONCURRENCY: usize = 16;
/// The pause between two checks of a condition.
const POLL: Duration = Duration::from_millis(100);

/// The statuses of the webhooks, which outlive a process.
pub(super) struct Webhooks {
    ids: Mutex<Vec<Option<SubscriptionId>>>,
    /// The start of each registration.
    begun: Mutex<Vec<Option<Timestamp>>>,
    /// The webhooks that Linktree has disabled, and since when they request a permit.
    disabled: Mutex<Vec<(usize, Option<Duration>)>>,
    waits: Mutex<Vec<Duration>>,
}

impl Webhooks {
    pub(super) fn new(number: usize) -> Self {
        Webhooks {
            ids: Mutex::new(vec![None; number]),
            begun: Mutex::new(vec![None; number]),
            disabled: Mutex::default(),
            waits: Mutex::default(),
        }
    }

    pub(super) async fn until_all_registered(&self) {
        until(|| self.ids.lock().expect("one thread").iter().all(Option::is_some)).await;
    }

    pub(super) async fn until_none_is_disabled(&self) {
        until(|| self.disabled.lock().expect("one thread").is_empty()).await;
    }

    /// Disables this number of subscriptions one after another while others are created. The operator knows at once;
    /// the detection time is measured separately.
    pub(super) async fn disable_some(self: Arc<Self>, linktree: Arc<SimulatedLinktree>, number: usize) {
        for _ in 0..number {
            tokio::time::sleep(linktree.between(60, 300)).await;
            let first = self.ids.lock().expect("one thread").iter().position(Option::is_some);
            let Some(index) = first else { continue };
            if let Some(id) = self.id(index) {
                linktree.disable(&id);
                self.disabled.lock().expect("one thread").push((index, None));
            }
            self.until_none_is_disabled().await;
        }
    }

    /// The waiting time of each re-enable.
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.waits.lock().expect("one thread").clone()
    }

    fn id(&self, index: usize) -> Option<SubscriptionId> {
        self.ids.lock().expect("one thread")[index].clone()
    }

    /// Since when a disabled webhook requests a permit, starting now if it did not before; `None` if it is not
    /// disabled.
    fn disabled_since(&self, index: usize) -> Option<Duration> {
        let mut disabled = self.disabled.lock().expect("one thread");
        let found = disabled.iter_mut().find(|(disabled, _)| *disabled == index);
        found.map(|(_, since)| *since.get_or_insert_with(elapsed))
    }

    /// The registrations that have started, and whether their response arrived.
    fn registrations(&self) -> Vec<(Timestamp, bool)> {
        let ids = self.ids.lock().expect("one thread");
        let begun = self.begun.lock().expect("one thread");
        begun.iter().zip(ids.iter()).filter_map(|(begun, id)| Some(((*begun)?, id.is_some()))).collect()
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(POLL).await;
    }
}

/// One process of the operator.
pub(super) struct Process {
    account: Arc<Account>,
    _tasks: JoinSet<()>,
}

impl Process {
    pub(super) fn start(linktree: &Arc<SimulatedLinktree>, webhooks: &Arc<Webhooks>) -> Self {
        let known = webhooks.ids.lock().expect("one thread").iter().flatten().count();
        let budget = resumed(REQUESTS_PER_MINUTE, linktree.written().as_ref(), known, 100, clock::now());
        let account = Arc::new(Account::new(
            Box::new(linktree.client()),
            Box::new(Notes(Arc::clone(linktree))),
            Leadership::unopposed(),
            budget,
            Metrics::default(),
        ));
        account.add_connection(&connection(), REQUESTS_PER_MINUTE);
        account.assume_registrations(webhooks.registrations().into_iter(), clock::now());
        let mut tasks = JoinSet::new();
        tasks.spawn(reconcile_connection(Arc::clone(&account)));
        let slots = Arc::new(Semaphore::new(CONCURRENCY));
        for index in 0..webhooks.ids.lock().expect("one thread").len() {
            let webhook = Webhook {
                index,
                account: Arc::clone(&account),
                webhooks: Arc::clone(webhooks),
                slots: Arc::clone(&slots),
            };
            tasks.spawn(webhook.run());
        }
        Process { account, _tasks: tasks }
    }

    /// Disables a subscription and waits until a list shows it, then enables it itself.
    pub(super) async fn until_drift_is_seen(&self, linktree: &SimulatedLinktree) -> Duration {
        let (began, id) =
            (elapsed(), self.account.snapshot().expect("the account was listed").subscriptions[0].id.clone());
        linktree.disable(&id);
        let disabled = |known: &Subscription| known.id == id && known.status == Some(SubscriptionStatus::Disabled);
        until(|| self.account.snapshot().is_some_and(|snapshot| snapshot.subscriptions.iter().any(disabled))).await;
        linktree.enable(&id);
        elapsed() - began
    }
}

fn connection() -> ObjectKey {
    ObjectKey::new("marketing", "brand")
}

async fn reconcile_connection(account: Arc<Account>) {
    let spec: LinktreeConnectionSpec =
        serde_json::from_value(json!({"tokenSecretRef": {"name": "t"}})).expect("a connection");
    let linktree = RateLimitedClient::new(&account, &connection());
    loop {
        let listed_at = account.snapshot().map(|snapshot| snapshot.listed_at);
        let (took, hold) = (account.list_took(), account.hold_until());
        if listing::decide(
            &spec,
            Token::Present,
            &ListState { listed_at, took, requested: false, hold_until: hold },
            clock::now(),
        ) == Plan::List
        {
            let begun = clock::now();
            match list(&account, &linktree).await {
                Ok(subscriptions) => {
                    account.note_list_took(clock::now().duration_since(begun).unsigned_abs());
                    account.listed(Snapshot {
                        listed_at: begun,
                        account: account.identity(),
                        subscriptions,
                        absent: BTreeSet::new(),
                    });
                }
                Err(error) => account.list_failed(error, clock::now()),
            }
        }
        // As in the operator: at the end of the hold, or when the next list is due.
        let next = account.hold_until().unwrap_or_else(|| {
            let pause = listing::pause(spec.sync_period_seconds, account.list_took(), 0.5);
            account.snapshot().map_or(clock::now(), |snapshot| snapshot.listed_at + pause)
        });
        tokio::time::sleep(next.duration_since(clock::now()).unsigned_abs().max(POLL)).await;
    }
}

async fn list(account: &Account, linktree: &impl Linktree) -> Result<Vec<Subscription>, ApiError> {
    if account.identity().is_none() {
        account.set_identity(linktree.account().await?);
    }
    list_all(linktree).await
}

struct Webhook {
    index: usize,
    account: Arc<Account>,
    webhooks: Arc<Webhooks>,
    slots: Arc<Semaphore>,
}

impl Webhook {
    async fn run(self) {
        loop {
            let pause = {
                let _slot = self.slots.acquire().await;
                // The time of a reconciliation before its first request to Linktree.
                tokio::time::sleep(Duration::from_millis(50)).await;
                self.reconcile().await
            };
            tokio::time::sleep(pause.unwrap_or(Duration::from_secs(5)).max(Duration::from_millis(1))).await;
        }
    }

    /// Reconciles once; returns the delay until the next time.
    async fn reconcile(&self) -> Option<Duration> {
        let Some(snapshot) = self.account.snapshot() else { return Some(Duration::from_secs(3)) };
        let url = format!("https://hooks.example.com/h/{:032x}", self.index);
        let done = match self.webhooks.id(self.index) {
            Some(id) => match self.webhooks.disabled_since(self.index) {
                Some(since) => self.reenable(&id, since).await,
                None => return Some(Duration::from_secs(15)),
            },
            // Created by an earlier process that was killed before its status write.
            None => match snapshot.subscriptions.iter().find(|known| known.url == url) {
                Some(known) => {
                    self.registered(known.id.clone());
                    Ok(())
                }
                None => self.create(url).await,
            },
        };
        match done {
            Ok(()) => None,
            Err(ApiError::Throttled { wait, .. }) => Some(wait),
            Err(_) => {
                self.account.request_relist(None);
                None
            }
        }
    }

    async fn create(&self, url: String) -> Result<(), ApiError> {
        self.account.acquire_slot(Priority::Create, &self.key())?;
        // The status write of the intent.
        self.webhooks.begun.lock().expect("one thread")[self.index] = Some(clock::now());
        tokio::time::sleep(Duration::from_millis(20)).await;
        let events = ["link.created".parse().expect("an event type")].into();
        let answer =
            RateLimitedClient::new(&self.account, &self.key()).create(&CreateSubscription { url, events }).await?;
        self.account.record_subscription(answer.clone(), clock::now());
        self.registered(answer.id);
        Ok(())
    }

    async fn reenable(&self, id: &SubscriptionId, since: Duration) -> Result<(), ApiError> {
        self.account.acquire_slot(Priority::Reenable, &self.key())?;
        let waited = elapsed() - since;
        let change = UpdateSubscription { status: Some(SubscriptionStatus::Active), ..UpdateSubscription::default() };
        RateLimitedClient::new(&self.account, &self.key()).update(id, &change).await?;
        self.webhooks.waits.lock().expect("one thread").push(waited);
        self.webhooks.disabled.lock().expect("one thread").retain(|(index, _)| *index != self.index);
        Ok(())
    }

    fn registered(&self, id: SubscriptionId) {
        self.webhooks.ids.lock().expect("one thread")[self.index] = Some(id);
    }

    /// Half of the webhooks are in another namespace.
    fn key(&self) -> ObjectKey {
        let namespace = if self.index.is_multiple_of(2) { "marketing" } else { "shop" };
        ObjectKey::new(namespace, self.index.to_string())
    }
}
