//! What the reconcilers of one scope (all namespaces, or one) share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use kube::{
    Client, Resource,
    runtime::{
        events::{Event, EventType, Recorder},
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::{
    account::registry::Accounts,
    controllers::scope::Ready,
    election::run::Leadership,
    kubernetes::object_key::Key,
    metrics::Metrics,
    watch::{
        index::{Member, Roster},
        observed_versions::Seen,
    },
    webhook::{
        observe::addressable::Resolver, probe::Probe, receiver_client::Receivers, render::children::Launch,
        state::Memory,
    },
};
use crate::{api::connection::LinktreeConnection, linktree::client::Transport};

/// Everything that outlives a scope: one of each per process.
#[derive(Clone)]
pub struct Shared {
    /// Writes only while this process leads.
    pub client: Client,
    pub leadership: Leadership,
    pub recorder: Recorder,
    pub transport: Transport,
    /// How long one request to Linktree may take.
    pub linktree_timeout: Duration,
    pub prober: Arc<dyn Probe>,
    pub receivers: Arc<dyn Receivers>,
    pub accounts: Arc<Accounts>,
    /// Of all scopes: connections of several may share an account.
    pub webhooks: Views,
    pub launch: Launch,
    pub addressables: Resolver,
    pub metrics: Metrics,
}

/// The webhooks that the scopes have seen.
#[derive(Clone, Default)]
pub struct Views(Arc<RwLock<Vec<Arc<Roster>>>>);

impl Views {
    /// The webhooks of these connections, as last seen.
    pub fn of(&self, connections: &[Key]) -> Vec<Arc<Member>> {
        let rosters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        rosters.iter().flat_map(|roster| roster.of_connections(connections)).collect()
    }

    fn add(&self, roster: Arc<Roster>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(roster);
    }
}

/// One scope's view of the custom resources, and the ways to have one looked at.
pub struct Context {
    pub shared: Shared,
    pub roster: Arc<Roster>,
    pub seen: Arc<Seen>,
    pub connections: Store<LinktreeConnection>,
    pub look_at_webhook: Sender<Arc<Key>>,
    pub look_at_connection: Sender<ObjectRef<LinktreeConnection>>,
    ready: Ready,
    shutdown: CancellationToken,
    /// Boxed, since a map has up to twice the room that it needs, and three times while it grows.
    memories: Mutex<HashMap<Arc<Key>, Box<Memory>>>,
}

impl Context {
    pub fn new(
        shared: Shared,
        connections: Store<LinktreeConnection>,
        look_at_webhook: Sender<Arc<Key>>,
        look_at_connection: Sender<ObjectRef<LinktreeConnection>>,
        ready: Ready,
        shutdown: CancellationToken,
    ) -> Self {
        let (roster, seen, memories) = (Arc::default(), Arc::default(), Mutex::default());
        shared.webhooks.add(Arc::clone(&roster));
        Context { shared, roster, seen, connections, look_at_webhook, look_at_connection, ready, shutdown, memories }
    }

    /// Waits until a look may begin: all objects were seen, since which connection a webhook has and which subscriptions
    /// are managed is not known before; and this process leads. `false` when it is to end instead.
    pub async fn may_begin(&self) -> bool {
        let begun = async {
            self.ready.wait().await;
            self.shared.leadership.begun().await;
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => false,
            () = begun => true,
        }
    }

    /// The webhooks of a connection, as last seen.
    pub fn webhooks_of(&self, connection: &Key) -> Vec<Arc<Member>> {
        self.shared.webhooks.of(std::slice::from_ref(connection))
    }

    /// Asks or changes what is remembered of a webhook, for a moment.
    pub fn with_memory<T>(&self, webhook: &Key, of: impl FnOnce(&mut Memory) -> T) -> Option<T> {
        self.memories().get_mut(webhook).map(|memory| of(memory))
    }

    /// What is remembered of a webhook from the last look.
    pub fn recall(&self, webhook: &Key) -> Memory {
        self.memories().get(webhook).map(|memory| (**memory).clone()).unwrap_or_default()
    }

    pub fn remember(&self, webhook: &Arc<Key>, memory: Memory) {
        self.memories().insert(Arc::clone(webhook), Box::new(memory));
    }

    pub fn forget(&self, webhook: &Key) {
        self.memories().remove(webhook);
        self.seen.forget(webhook);
    }

    /// Publishes a Kubernetes Event about a transition. That it could not be published is logged and otherwise let be:
    /// the status is what counts.
    pub async fn publish<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        type_: EventType,
        reason: &str,
        note: String,
    ) {
        tracing::info!(object = %ObjectRef::from_obj(about), reason, "{note}");
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.shared.recorder.publish(&event, &about.object_ref(&())).await {
            tracing::warn!(%error, reason, "an Event could not be published");
        }
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<Key>, Box<Memory>>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
