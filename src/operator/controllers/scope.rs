//! One scope: the controllers of all namespaces, or of one. Wires watches to reconcilers; decides nothing.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

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
        reflector::{self, ObjectRef, store::Writer},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{connection::LinktreeConnection, webhook::LinktreeWebhook},
    operator::{
        connection,
        context::{Context, Shared},
        kubernetes::{
            gateway::HTTPRoute,
            object_key::{self, Key},
        },
        watch::{
            observed_versions::Kind,
            queue,
            streams::{self, Look},
        },
        webhook,
    },
};

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
pub struct Ready {
    /// How many scopes have not.
    missing: Arc<AtomicUsize>,
    /// Cancelled when none is missing: who waits for that is woken in the order of waiting.
    all: CancellationToken,
}

impl Ready {
    #[must_use]
    pub fn of(scopes: usize) -> Self {
        Ready { missing: Arc::new(AtomicUsize::new(scopes)), all: CancellationToken::new() }
    }

    pub fn is_set(&self) -> bool {
        self.all.is_cancelled()
    }

    /// One scope more has seen all of its objects.
    fn seen(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.cancel();
        }
    }

    pub async fn wait(&self) {
        self.all.cancelled().await;
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
        let (connections, known_connections) = reflector::store();
        let context = Arc::new(Context::new(
            self.shared.clone(),
            connections,
            look_at_webhook,
            look_at_connection,
            self.ready.clone(),
            shutdown.clone(),
        ));

        // Both hear of everything through their channels: what one watch tells may concern either.
        let look = |webhook| reconcile_webhook(webhook, Arc::clone(&context));
        let webhooks = queue::run(webhooks_to_look_at, CONCURRENCY.into(), shutdown.clone(), look);
        let connections = Controller::for_stream(stream::pending(), context.connections.clone())
            .with_config(controller::Config::default().concurrency(CONCURRENCY))
            .reconcile_on(received(connections_to_look_at))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(reconcile_connection, retry_later, Arc::clone(&context))
            .for_each(|result| async move { note(&result) });
        let looks = hand_on(self.looks(&context, known_connections), &context);
        let filled = announce_filled(&context, &self.ready);
        tokio::select! {
            biased;
            _ = join(webhooks, connections) => {}
            () = looks => {}
            () = filled => {}
        }
    }

    /// What is to be looked at, whenever something of the cluster changes that concerns it.
    fn looks(
        &self,
        context: &Context,
        connections: Writer<LinktreeConnection>,
    ) -> impl Stream<Item = Look> + Send + use<> {
        let (roster, seen) = (|| Arc::clone(&context.roster), || Arc::clone(&context.seen));
        stream::select_all([
            streams::webhooks(self.api(), roster(), seen()),
            streams::connections(self.api(), connections, roster(), seen()),
            streams::parts::<StatefulSet>(self.api(), Kind::StatefulSet, seen(), roster()),
            streams::parts::<Service>(self.api(), Kind::Service, seen(), roster()),
            streams::parts::<ServiceAccount>(self.api(), Kind::ServiceAccount, seen(), roster()),
            streams::parts::<NetworkPolicy>(self.api(), Kind::NetworkPolicy, seen(), roster()),
            streams::parts::<Ingress>(self.api(), Kind::Ingress, seen(), roster()),
            streams::parts::<HTTPRoute>(self.api(), Kind::HttpRoute, seen(), roster()),
            streams::parts::<Pod>(self.api(), Kind::Pod, seen(), roster()),
            streams::secrets::<Secret>(self.api(), seen(), roster(), context.connections.clone()),
        ])
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

/// Has the controllers look; waits where many looks wait, so that none is lost.
async fn hand_on(looks: impl Stream<Item = Look>, context: &Context) {
    // A controller that does not listen any more ends, and with it the scope.
    let hand_on = async |look| match look {
        Look::Webhook(key) => {
            let key = context.roster.get(&key).map_or_else(|| Arc::new(key), |known| Arc::clone(&known.key));
            drop(context.look_at_webhook.send(key).await);
        }
        Look::Connection(key) => drop(context.look_at_connection.send(object_key::reference(&key)).await),
    };
    looks.for_each(hand_on).await;
}

/// Marks the scope as seen when both kinds were, and then waits for ever. The only one to wait for the store.
async fn announce_filled(context: &Context, ready: &Ready) {
    context.roster.filled().await;
    if context.connections.wait_until_ready().await.is_ok() {
        ready.seen();
    }
    std::future::pending::<()>().await;
}

/// Returns when to look again.
async fn reconcile_webhook(key: Arc<Key>, context: Arc<Context>) -> Option<Duration> {
    if !context.may_begin().await {
        return None;
    }
    let (namespace, webhook) = (key.0.as_str(), key.1.as_str());
    let look = async { webhook::reconcile(Arc::clone(&key), Arc::clone(&context)).await.map_err(LookError::Failed) };
    match counted("LinktreeWebhook", LOOK_DEADLINE, &context.shared.metrics, look).await {
        Ok(again) => {
            tracing::debug!(namespace, webhook, "looked at");
            again
        }
        Err(error) => {
            tracing::warn!(namespace, webhook, %error, "a look failed and is repeated");
            Some(RETRY)
        }
    }
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

async fn counted<T>(
    kind: &'static str,
    deadline: Duration,
    metrics: &crate::operator::metrics::Metrics,
    look: impl Future<Output = Result<T, LookError>>,
) -> Result<T, LookError> {
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
