//! One life of an operator: its account, a task for the connection and one for each webhook. Dropped, it is killed.

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
    linktree::{Notes, World},
};

/// Objects looked at at the same time, as in the operator.
const CONCURRENCY: usize = 16;
/// How often a condition is looked at that something waits for.
const POLL: Duration = Duration::from_millis(100);

/// What stands in the statuses of the webhooks: it outlives a process.
pub(super) struct Webhooks {
    ids: Mutex<Vec<Option<SubscriptionId>>>,
    /// When their registration was begun.
    begun: Mutex<Vec<Option<Timestamp>>>,
    /// Those that Linktree has disabled, and since when a turn is asked for.
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

    /// Disables so many, one after another, while others are still being created. That it is disabled is taken as known at
    /// once: how long that takes is measured apart.
    pub(super) async fn disable_some(self: Arc<Self>, world: Arc<World>, number: usize) {
        for _ in 0..number {
            tokio::time::sleep(world.between(60, 300)).await;
            let first = self.ids.lock().expect("one thread").iter().position(Option::is_some);
            let Some(index) = first else { continue };
            if let Some(id) = self.id(index) {
                world.disable(&id);
                self.disabled.lock().expect("one thread").push((index, None));
            }
            self.until_none_is_disabled().await;
        }
    }

    /// How long each re-enable waited.
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.waits.lock().expect("one thread").clone()
    }

    fn id(&self, index: usize) -> Option<SubscriptionId> {
        self.ids.lock().expect("one thread")[index].clone()
    }

    /// Whether it is disabled: then since when a turn is asked for, which is now if it was not before.
    fn disabled_since(&self, index: usize) -> Option<Duration> {
        let mut disabled = self.disabled.lock().expect("one thread");
        let found = disabled.iter_mut().find(|(disabled, _)| *disabled == index);
        found.map(|(_, since)| *since.get_or_insert_with(elapsed))
    }

    /// The registrations that were begun, and whether their answer was seen.
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

/// One life of an operator.
pub(super) struct Process {
    account: Arc<Account>,
    _tasks: JoinSet<()>,
}

impl Process {
    pub(super) fn start(world: &Arc<World>, webhooks: &Arc<Webhooks>) -> Self {
        let known = webhooks.ids.lock().expect("one thread").iter().flatten().count();
        let budget = resumed(REQUESTS_PER_MINUTE, world.written().as_ref(), known, 100, clock::now());
        let account = Arc::new(Account::new(
            Box::new(world.client()),
            Box::new(Notes(Arc::clone(world))),
            Leadership::unopposed(),
            budget,
            Metrics::default(),
        ));
        account.add_connection(&connection(), REQUESTS_PER_MINUTE);
        account.assume_registrations(webhooks.registrations().into_iter(), clock::now());
        let mut tasks = JoinSet::new();
        tasks.spawn(look_after_connection(Arc::clone(&account)));
        let looks = Arc::new(Semaphore::new(CONCURRENCY));
        for index in 0..webhooks.ids.lock().expect("one thread").len() {
            let webhook = Webhook {
                index,
                account: Arc::clone(&account),
                webhooks: Arc::clone(webhooks),
                looks: Arc::clone(&looks),
            };
            tasks.spawn(webhook.look_after());
        }
        Process { account, _tasks: tasks }
    }

    /// Has Linktree disable some subscription, and waits until a list says so. Nobody enables it but this.
    pub(super) async fn until_drift_is_seen(&self, world: &World) -> Duration {
        let (began, id) = (elapsed(), self.account.snapshot().expect("it was listed").subscriptions[0].id.clone());
        world.disable(&id);
        let disabled = |known: &Subscription| known.id == id && known.status == Some(SubscriptionStatus::Disabled);
        until(|| self.account.snapshot().is_some_and(|snapshot| snapshot.subscriptions.iter().any(disabled))).await;
        world.enable(&id);
        elapsed() - began
    }
}

fn connection() -> ObjectKey {
    ObjectKey::new("marketing", "brand")
}

async fn look_after_connection(account: Arc<Account>) {
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
        // As the operator does it: at the end of the hold, or when the next list is due.
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
    looks: Arc<Semaphore>,
}

impl Webhook {
    async fn look_after(self) {
        loop {
            let pause = {
                let _look = self.looks.acquire().await;
                // A look takes time before it comes to Linktree.
                tokio::time::sleep(Duration::from_millis(50)).await;
                self.look().await
            };
            tokio::time::sleep(pause.unwrap_or(Duration::from_secs(5)).max(Duration::from_millis(1))).await;
        }
    }

    /// One look; how long until the next.
    async fn look(&self) -> Option<Duration> {
        let Some(snapshot) = self.account.snapshot() else { return Some(Duration::from_secs(3)) };
        let url = format!("https://hooks.example.com/h/{:032x}", self.index);
        let done = match self.webhooks.id(self.index) {
            Some(id) => match self.webhooks.disabled_since(self.index) {
                Some(since) => self.reenable(&id, since).await,
                None => return Some(Duration::from_secs(15)),
            },
            // Made by an earlier life that did not live to write it down.
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
        // The intent is written down.
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

    /// Half of them are of another namespace.
    fn key(&self) -> ObjectKey {
        let namespace = if self.index.is_multiple_of(2) { "marketing" } else { "shop" };
        ObjectKey::new(namespace, self.index.to_string())
    }
}
