//! The controllers of one scope, which is all namespaces or one of them. This file connects the watches to the
//! reconcilers.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future::join, stream};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Pod, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    core::NamespaceResourceScope,
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::{self, ObjectRef, Store, store::Writer},
    },
};
use tokio::sync::mpsc::{self, Sender};
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use crate::{
    api::{connection::LinktreeConnection, webhook::LinktreeWebhook},
    clock,
    operator::{
        account::registry::Accounts,
        connection::{self, account_opener::AccountOpener},
        election::leadership::Leadership,
        kubernetes::{error::ReconcileError, gateway::HTTPRoute, guarded::Guarded, object_key::ObjectKey},
        metrics::Metrics,
        watch::{
            caches_synced::ScopeSynced,
            index::{Indexes, WebhookIndex},
            observed_versions::{Kind, ObservedVersions},
            queue,
            scope_health::ScopeHealth,
            streams::{self, ReconcileRequest, Records},
        },
        webhook::{
            self,
            context::{Cluster, Connections, ReceiverAccess},
            journal_claims::JournalClaims,
        },
    },
};

/// Capacity of each controller's queue of reconcile requests. If it is full, a watch waits; other senders drop the
/// request, and the object is reconciled at its next resync.
const QUEUE_CAPACITY: usize = 1024;
/// Maximum number of concurrent reconciliations per custom resource kind and scope.
const CONCURRENCY: u16 = 16;
/// Timeout of one reconciliation of a webhook.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout of one reconciliation of a connection. Each page of its list waits for the request budget; a list that needs
/// longer goes on in the next reconciliation.
const LIST_TIMEOUT: Duration = Duration::from_secs(3600);
/// Interval at which unused accounts are dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Requeue delay after a failed reconciliation.
const REQUEUE_AFTER_ERROR: Duration = Duration::from_secs(5);
/// Requeue delay after a failed reconciliation in a scope that cannot be read.
const REQUEUE_REFUSED: Duration = Duration::from_secs(30);

/// State that the scopes of one process share.
#[derive(Clone)]
pub struct Shared {
    pub cluster: Cluster,
    pub receivers: ReceiverAccess,
    pub opener: AccountOpener,
    pub accounts: Arc<Accounts>,
    pub indexes: Indexes,
    pub metrics: Metrics,
}

/// The controllers of one scope.
pub struct Scope {
    pub shared: Shared,
    /// `None`: all namespaces.
    pub namespace: Option<String>,
    pub synced: ScopeSynced,
    pub health: ScopeHealth,
    pub leadership: Leadership,
    /// How long the journal of a deleted webhook is kept.
    pub keep_journals: Duration,
}

/// Caches of one scope, which its watches fill.
struct Caches {
    index: Arc<WebhookIndex>,
    versions: Arc<ObservedVersions>,
    connections: Store<Guarded<LinktreeConnection>>,
}

impl Scope {
    /// Checks that the API server lets this process list both custom resources in the scope. A named namespace may
    /// refuse it: its watches report that, and retry.
    pub async fn check(&self) -> Result<(), kube::Error> {
        let one = ListParams::default().limit(1);
        let connections = self.api::<Guarded<LinktreeConnection>>().list(&one).await.map(drop);
        let webhooks = self.api::<Guarded<LinktreeWebhook>>().list(&one).await.map(drop);
        match connections.and(webhooks) {
            Err(kube::Error::Api(status)) if status.code == 403 && self.namespace.is_some() => Ok(()),
            checked => checked,
        }
    }

    /// Runs the webhook and the connection controller until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let (webhook_requests, webhooks_queued) = mpsc::channel(QUEUE_CAPACITY);
        let (connection_requests, connections_queued) = mpsc::channel(QUEUE_CAPACITY);
        let (connections, writer) = reflector::store();
        let caches = Caches { index: self.shared.indexes.add(), versions: Arc::default(), connections };
        let webhook_context = Arc::new(self.webhook_context(&caches, connection_requests.clone()));
        let connection_context = Arc::new(self.connection_context(webhook_requests.clone()));

        // Both controllers get all requests through these channels: an event of one watch may enqueue objects of either
        // kind.
        let gate = Gate::new(self.synced.clone(), self.leadership.clone(), shutdown.clone());
        let metrics = &self.shared.metrics;
        let reconcile = |webhook| {
            let reconcile = reconcile_webhook(webhook, Arc::clone(&webhook_context), gate.clone(), metrics.clone());
            let health = self.health.clone();
            async move { reconcile.await.unwrap_or_else(|Failed| Some(requeue_after_error(&health))) }
        };
        let webhooks = queue::run(webhooks_queued, CONCURRENCY.into(), shutdown.clone(), reconcile);
        let runner = Arc::new(ConnectionRunner {
            context: connection_context,
            objects: caches.connections.clone(),
            gate: gate.clone(),
            metrics: metrics.clone(),
            health: self.health.clone(),
        });
        let connections = Controller::for_stream(stream::pending(), caches.connections.clone())
            .with_config(controller::Config::default().concurrency(CONCURRENCY))
            .reconcile_on(received(connections_queued))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(reconcile_connection, |_, _, runner| Action::requeue(requeue_after_error(&runner.health)), runner)
            .for_each(|result| async move { log(&result) });
        let requests = enqueue(self.requests(&caches, writer), &caches.index, &webhook_requests, &connection_requests);
        let synced = self.mark_synced(&caches);
        let swept = self.drop_unused_accounts(&caches);
        let claims = self.sweep_journal_claims(&webhook_context, gate.clone());
        tokio::select! {
            biased;
            _ = join(webhooks, connections) => {}
            () = requests => {}
            () = synced => {}
            () = swept => {}
            () = claims => {}
        }
    }

    fn webhook_context(
        &self,
        caches: &Caches,
        requests: Sender<ObjectRef<Guarded<LinktreeConnection>>>,
    ) -> webhook::context::Context {
        webhook::context::Context {
            cluster: self.shared.cluster.clone(),
            connections: Connections {
                objects: caches.connections.clone(),
                accounts: Arc::clone(&self.shared.accounts),
                indexes: self.shared.indexes.clone(),
                requests,
            },
            receivers: self.shared.receivers.clone(),
            index: Arc::clone(&caches.index),
            versions: Arc::clone(&caches.versions),
            states: webhook::states::WebhookStates::default(),
        }
    }

    fn connection_context(&self, webhook_requests: Sender<Arc<ObjectKey>>) -> connection::context::Context {
        connection::context::Context {
            accounts: Arc::clone(&self.shared.accounts),
            opener: self.shared.opener.clone(),
            indexes: self.shared.indexes.clone(),
            webhook_requests,
        }
    }

    /// Merges the reconcile requests of all watches of the scope.
    fn requests(
        &self,
        caches: &Caches,
        connections: Writer<Guarded<LinktreeConnection>>,
    ) -> impl Stream<Item = ReconcileRequest> + Send + use<> {
        let index = || Arc::clone(&caches.index);
        let records = || Records { versions: Arc::clone(&caches.versions), health: self.health.clone() };
        stream::select_all([
            streams::webhooks(self.api(), index(), records()),
            streams::connections(self.api(), connections, index(), records()),
            streams::parts::<StatefulSet>(self.api(), Kind::StatefulSet, records(), index()),
            streams::parts::<Service>(self.api(), Kind::Service, records(), index()),
            streams::parts::<ServiceAccount>(self.api(), Kind::ServiceAccount, records(), index()),
            streams::parts::<NetworkPolicy>(self.api(), Kind::NetworkPolicy, records(), index()),
            streams::parts::<Ingress>(self.api(), Kind::Ingress, records(), index()),
            streams::parts::<HTTPRoute>(self.api(), Kind::HttpRoute, records(), index()),
            streams::parts::<Pod>(self.api(), Kind::Pod, records(), index()),
            streams::secrets::<Secret>(self.api(), records(), index(), caches.connections.clone()),
        ])
    }

    /// Marks the scope as synced after the initial lists of webhooks and connections; never completes. Nothing else
    /// waits for the store, which wakes only one waiter.
    ///
    /// In a namespace that is being deleted, connections may be refused before webhooks are gone: these are then
    /// finalized without them.
    async fn mark_synced(&self, caches: &Caches) {
        caches.index.filled().await;
        tokio::select! {
            ready = caches.connections.wait_until_ready() => if ready.is_ok() {
                self.synced.mark_synced();
            },
            () = self.health.connections_refused() => self.synced.mark_synced(),
        }
        std::future::pending::<()>().await;
    }

    /// Drops the accounts of deleted connections once no webhook needs them; never completes.
    async fn drop_unused_accounts(&self, caches: &Caches) {
        self.synced.wait().await;
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let is_ours = |key: &ObjectKey| self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
            let exists = |key: &ObjectKey| !is_ours(key) || caches.connections.get(&key.object_ref()).is_some();
            let is_needed = |key: &ObjectKey| !self.shared.indexes.by_connection(key).is_empty();
            self.shared.accounts.sweep(exists, is_needed, clock::steady());
        }
    }

    /// Marks and deletes the claims of journals whose webhook is gone; never completes.
    async fn sweep_journal_claims(&self, context: &webhook::context::Context, gate: Gate) {
        if gate.passed().await {
            JournalClaims { context, claims: self.api(), keep: self.keep_journals }.sweep().await;
        }
        std::future::pending::<()>().await;
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let client: Client = self.shared.cluster.client.clone();
        match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

/// Sends each reconcile request to its controller. Waits while that controller's queue is full, so that no request is
/// lost.
async fn enqueue(
    requests: impl Stream<Item = ReconcileRequest>,
    index: &WebhookIndex,
    webhooks: &Sender<Arc<ObjectKey>>,
    connections: &Sender<ObjectRef<Guarded<LinktreeConnection>>>,
) {
    // A send fails only if the controller has stopped; the scope then stops, too.
    let enqueue = async |request| match request {
        ReconcileRequest::Webhook(key) => {
            let key = index.get(&key).map_or_else(|| Arc::new(key), |known| Arc::clone(&known.key));
            drop(webhooks.send(key).await);
        }
        ReconcileRequest::Connection(key) => drop(connections.send(key.object_ref()).await),
    };
    requests.for_each(enqueue).await;
}

/// The requeue delay after a failed reconciliation.
fn requeue_after_error(health: &ScopeHealth) -> Duration {
    if health.is_refused() { REQUEUE_REFUSED } else { REQUEUE_AFTER_ERROR }
}

/// A failed reconciliation, which has been logged.
struct Failed;

/// Reconciles a webhook and returns its requeue delay; `None` if it must not be requeued.
async fn reconcile_webhook(
    key: Arc<ObjectKey>,
    context: Arc<webhook::context::Context>,
    gate: Gate,
    metrics: Metrics,
) -> Result<Option<Duration>, Failed> {
    if !gate.passed().await {
        return Ok(None);
    }
    let (namespace, webhook) = (key.namespace.as_str(), key.name.as_str());
    let reconcile = webhook::reconcile(Arc::clone(&key), context);
    match with_timeout("LinktreeWebhook", RECONCILE_TIMEOUT, &metrics, reconcile).await {
        Ok(requeue) => {
            tracing::debug!(namespace, webhook, "reconciled");
            Ok(requeue)
        }
        Err(error) => {
            tracing::warn!(namespace, webhook, %error, "reconcile failed, retrying");
            Err(Failed)
        }
    }
}

/// Context that kube's controller passes to each reconciliation of a connection.
struct ConnectionRunner {
    context: Arc<connection::context::Context>,
    objects: Store<Guarded<LinktreeConnection>>,
    gate: Gate,
    metrics: Metrics,
    health: ScopeHealth,
}

async fn reconcile_connection(
    connection: Arc<Guarded<LinktreeConnection>>,
    runner: Arc<ConnectionRunner>,
) -> Result<Action, ReconcileError> {
    if !runner.gate.passed().await {
        return Ok(Action::await_change());
    }
    // The cached connection may have changed while this reconciliation waited at the gate, as on a standby.
    let connection = runner.objects.get(&ObjectRef::from_obj(&*connection)).unwrap_or(connection);
    let reconcile = connection::reconcile(connection, Arc::clone(&runner.context));
    with_timeout("LinktreeConnection", LIST_TIMEOUT, &runner.metrics, reconcile).await
}

/// Runs a reconciliation with a timeout, and counts its result in the metrics.
async fn with_timeout<T>(
    kind: &'static str,
    after: Duration,
    metrics: &Metrics,
    reconcile: impl Future<Output = Result<T, ReconcileError>>,
) -> Result<T, ReconcileError> {
    let result = tokio::time::timeout(after, reconcile).await.unwrap_or(Err(ReconcileError::TimedOut { after }));
    metrics.reconciled(kind, if result.is_ok() { "ok" } else { "error" });
    result
}

fn log<K, E>(result: &Result<(ObjectRef<K>, Action), controller::Error<ReconcileError, E>>)
where
    K: Resource<DynamicType = ()>,
    E: std::error::Error + 'static,
{
    match result {
        Ok((object, _)) => tracing::debug!(%object, "reconciled"),
        // The connection was deleted after it was enqueued.
        Err(controller::Error::ObjectNotFound(object)) => tracing::debug!(%object, "object gone"),
        Err(error) => tracing::warn!(%error, "reconcile failed, retrying"),
    }
}

/// Turns a channel's receiver into a stream.
fn received<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|item| (item, receiver)) })
}
