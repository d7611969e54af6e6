//! One scope: the controllers of all namespaces, or of one. Wires watches to reconcilers; decides nothing.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, future::join, stream::select};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::ListParams,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    connection,
    context::{Context, Shared},
    gateway, key,
    webhook::{self, children::MANAGED_BY, spec},
};
use crate::api::{connection::LinktreeConnection, webhook::LinktreeWebhook};

/// Requests for a look that may wait in line. More come with their period.
const LOOKS_WAITING: usize = 1024;
/// Objects looked at at the same time, per kind.
const CONCURRENCY: u16 = 16;
/// How long one look may take, whatever hangs.
const LOOK_DEADLINE: Duration = Duration::from_secs(120);
/// The same for a connection, whose list waits for its budget page by page: the longest one at 10 requests a minute.
const LIST_DEADLINE: Duration = Duration::from_secs(3600);
/// When a look that failed is repeated.
const RETRY: Duration = Duration::from_secs(5);

/// All namespaces (`None`), or each of those named once.
#[must_use]
pub fn namespaces(named: Vec<String>) -> Vec<Option<String>> {
    if named.is_empty() {
        return vec![None];
    }
    named.into_iter().collect::<BTreeSet<_>>().into_iter().map(Some).collect()
}

/// Set once every scope has seen all of its objects: connections of several may share an account. Anyone may wait for it,
/// which is why it is not the stores' own readiness: a kube store wakes only the last that waits, and reconciles run as
/// tasks of their own.
#[derive(Clone, Debug)]
pub struct Ready(Arc<watch::Sender<usize>>);

impl Ready {
    #[must_use]
    pub fn of(scopes: usize) -> Self {
        Ready(Arc::new(watch::Sender::new(scopes)))
    }

    pub fn is_set(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// One scope more has seen all of its objects.
    fn seen(&self) {
        self.0.send_modify(|left| *left = left.saturating_sub(1));
    }

    pub async fn wait(&self) {
        // It fails only without a sender, and `self` is one.
        let _ = self.0.subscribe().wait_for(|left| *left == 0).await;
    }
}

pub struct Scope {
    shared: Shared,
    namespace: Option<String>,
    ready: Ready,
}

impl Scope {
    #[must_use]
    pub fn new(shared: Shared, namespace: Option<String>, ready: Ready) -> Self {
        Scope { shared, namespace, ready }
    }

    /// Whether the custom resources can be listed at all.
    pub async fn check(&self) -> Result<(), kube::Error> {
        self.api::<LinktreeConnection>().list(&ListParams::default().limit(1)).await?;
        self.api::<LinktreeWebhook>().list(&ListParams::default().limit(1)).await?;
        Ok(())
    }

    /// Runs both controllers until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let (look_at_webhook, webhooks_to_look_at) = mpsc::channel(LOOKS_WAITING);
        let (look_at_connection, connections_to_look_at) = mpsc::channel(LOOKS_WAITING);
        let webhooks = Controller::new(self.api::<LinktreeWebhook>(), watcher::Config::default());
        let connections = Controller::new(self.api::<LinktreeConnection>(), watcher::Config::default());
        let context = Arc::new(Context::new(
            self.shared.clone(),
            webhooks.store(),
            connections.store(),
            look_at_webhook,
            look_at_connection,
            self.ready.clone(),
            shutdown.clone(),
        ));

        let ours = || watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
        let config = controller::Config::default().concurrency(CONCURRENCY);
        let of_secret = secret_to_webhooks(context.webhooks.clone());
        let of_connection = connection_to_webhooks(context.webhooks.clone());
        let webhooks = webhooks
            .with_config(config.clone())
            .owns(self.api::<StatefulSet>(), ours())
            .owns(self.api::<Service>(), ours())
            .owns(self.api::<ServiceAccount>(), ours())
            .owns(self.api::<NetworkPolicy>(), ours())
            .owns(self.api::<Ingress>(), ours())
            .watches(self.api::<LinktreeConnection>(), watcher::Config::default(), of_connection)
            .watches(self.api::<PartialObjectMeta<Secret>>(), watcher::Config::default(), of_secret)
            .reconcile_on(select(received(webhooks_to_look_at), gateway::changes(self.api(), ours())))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(reconcile_webhook, retry_later, Arc::clone(&context))
            .for_each(|result| async move { note(&result) });
        let of_secret = secret_to_connections(context.connections.clone());
        let connections = connections
            .with_config(config)
            .watches(self.api::<PartialObjectMeta<Secret>>(), watcher::Config::default(), of_secret)
            .reconcile_on(received(connections_to_look_at))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(reconcile_connection, retry_later, Arc::clone(&context))
            .for_each(|result| async move { note(&result) });
        let filled = announce_filled(&context, &self.ready);
        tokio::select! {
            _ = join(webhooks, connections) => {}
            () = filled => {}
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let client: Client = self.shared.client.clone();
        match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

/// A webhook is looked at when its connection changes, but for what the connection only counts: its budget is written down
/// again and again while many webhooks wait for it.
fn connection_to_webhooks(
    webhooks: Store<LinktreeWebhook>,
) -> impl Fn(LinktreeConnection) -> Vec<ObjectRef<LinktreeWebhook>> {
    let seen = Mutex::new(HashMap::new());
    move |connection| {
        let status = connection.status.as_ref();
        let state = (
            connection.metadata.generation,
            connection.metadata.deletion_timestamp.is_some(),
            status.map(|status| (status.conditions.clone(), status.capabilities)),
        );
        let key = key::of(&connection);
        let before = seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), state.clone());
        if before == Some(state) {
            return Vec::new();
        }
        let webhooks = webhooks.state();
        let of_it = webhooks.iter().filter(|webhook| key::of_connection(webhook) == key);
        of_it.map(|webhook| ObjectRef::from_obj(&**webhook)).collect()
    }
}

/// A webhook is looked at when a Secret changes that it speaks of. Only metadata is watched: no secret is held in memory
/// that is not in use.
fn secret_to_webhooks(
    webhooks: Store<LinktreeWebhook>,
) -> impl Fn(PartialObjectMeta<Secret>) -> Vec<ObjectRef<LinktreeWebhook>> {
    move |secret| {
        let uses = |webhook: &Arc<LinktreeWebhook>| {
            webhook.namespace() == secret.namespace() && spec::referenced_secrets(webhook).contains(&secret.name_any())
        };
        webhooks.state().iter().filter(|webhook| uses(webhook)).map(|webhook| ObjectRef::from_obj(&**webhook)).collect()
    }
}

/// A connection is looked at when its token's Secret changes.
fn secret_to_connections(
    connections: Store<LinktreeConnection>,
) -> impl Fn(PartialObjectMeta<Secret>) -> Vec<ObjectRef<LinktreeConnection>> {
    move |secret| {
        let uses = |connection: &Arc<LinktreeConnection>| {
            connection.namespace() == secret.namespace() && connection.spec.token_secret_ref.name == secret.name_any()
        };
        let connections = connections.state();
        connections.iter().filter(|connection| uses(connection)).map(|found| ObjectRef::from_obj(&**found)).collect()
    }
}

/// Marks the scope as seen when both caches are filled, and then waits for ever. The only one to wait for the stores.
async fn announce_filled(context: &Context, ready: &Ready) {
    if context.webhooks.wait_until_ready().await.is_ok() && context.connections.wait_until_ready().await.is_ok() {
        ready.seen();
    }
    std::future::pending::<()>().await;
}

async fn reconcile_webhook(webhook: Arc<LinktreeWebhook>, context: Arc<Context>) -> Result<Action, LookError> {
    let metrics = context.shared.metrics.clone();
    if !context.may_begin().await {
        return Ok(Action::await_change());
    }
    let look = async { webhook::reconcile(webhook, context).await.map_err(LookError::Failed) };
    counted("LinktreeWebhook", LOOK_DEADLINE, &metrics, look).await
}

async fn reconcile_connection(connection: Arc<LinktreeConnection>, context: Arc<Context>) -> Result<Action, LookError> {
    let metrics = context.shared.metrics.clone();
    if !context.may_begin().await {
        return Ok(Action::await_change());
    }
    // It may have changed while this process stood by.
    let connection = context.connections.get(&ObjectRef::from_obj(&*connection)).unwrap_or(connection);
    let look = async { connection::reconcile(connection, context).await.map_err(LookError::Failed) };
    counted("LinktreeConnection", LIST_DEADLINE, &metrics, look).await
}

async fn counted(
    kind: &'static str,
    deadline: Duration,
    metrics: &super::metrics::Metrics,
    look: impl Future<Output = Result<Action, LookError>>,
) -> Result<Action, LookError> {
    let result = tokio::time::timeout(deadline, look).await.unwrap_or(Err(LookError::TookTooLong { deadline }));
    metrics.reconciled(kind, if result.is_ok() { "ok" } else { "error" });
    result
}

/// Why a look was not finished.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Failed(webhook::Error),
    #[error("it took longer than {deadline:?}")]
    TookTooLong { deadline: Duration },
}

fn retry_later<K>(_: Arc<K>, _: &LookError, _: Arc<Context>) -> Action {
    Action::requeue(RETRY)
}

fn note<K, E>(result: &Result<(ObjectRef<K>, Action), controller::Error<LookError, E>>)
where
    K: Resource<DynamicType = ()>,
    E: std::error::Error + 'static,
{
    match result {
        Ok((object, _)) => tracing::debug!(%object, "looked at"),
        // Deleted since a look at it was asked for: nothing is left to be done.
        Err(controller::Error::ObjectNotFound(object)) => tracing::debug!(%object, "gone"),
        Err(error) => tracing::warn!(%error, "a look failed and is repeated"),
    }
}

fn received<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|item| (item, receiver)) })
}
