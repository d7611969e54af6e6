//! The watches of one scope, one per kind, whose events all its reconcilers share. They turn events into reconcile
//! requests.
//!
//! Only connections are cached as whole objects. Webhooks are indexed; for the other kinds, only metadata is received,
//! and dropped once its event is handled. Initial lists are paged.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt,
    core::{NamespaceResourceScope, ObjectMeta},
    runtime::{
        reflector::{
            self,
            store::{Store, Writer},
        },
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::{
    backoff::{Result, with_backoff},
    connections::{ChangeFilter, ConnectionUsers, by_token_secret},
    index::WebhookIndex,
    observed_versions::{Kind, Object, ObservedVersions, Version},
    scope_health::{ScopeHealth, is_refusal},
};
use crate::{
    api::{connection::LinktreeConnection, webhook::LinktreeWebhook},
    clock,
    operator::kubernetes::{
        guarded::{Guarded, GuardedApi},
        metadata::MetadataOf,
        names::{self, MANAGED_BY},
        object_key::ObjectKey,
    },
};

/// Number of objects per page of a list. A whole page is in memory at once, several times over while it is parsed.
const PAGE_SIZE: u32 = 25;

/// A request to reconcile an object, because the object itself or one that it depends on has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconcileRequest {
    Webhook(ObjectKey),
    Connection(ObjectKey),
}

/// The stream of reconcile requests that one watch causes.
pub type ReconcileRequests = BoxStream<'static, ReconcileRequest>;

/// Records of one scope that all its watches keep.
#[derive(Clone, Debug)]
pub struct Records {
    pub versions: Arc<ObservedVersions>,
    pub health: ScopeHealth,
}

/// Watches webhooks, and enqueues each one that was created or changed.
pub fn webhooks(api: GuardedApi<LinktreeWebhook>, index: Arc<WebhookIndex>, records: Records) -> ReconcileRequests {
    let (observed, mut initial) = (Arc::clone(&records.versions), InitBuffer::default());
    let events = watched(api, all()).map(|event| event.map(unguarded));
    requests(events, Kind::LinktreeWebhook, records, move |event| {
        let is_reason = index.apply(event);
        if matches!(event, Event::InitDone) {
            observed.on_relist(Kind::LinktreeWebhook, &HashSet::new());
        }
        let requested = initial.record(event).into_iter().filter(|_| is_reason);
        requested.map(ReconcileRequest::Webhook).collect()
    })
}

/// Watches connections. Enqueues each one that was created or changed, and the webhooks that the change affects.
pub fn connections(
    api: GuardedApi<LinktreeConnection>,
    writer: Writer<Guarded<LinktreeConnection>>,
    index: Arc<WebhookIndex>,
    records: Records,
) -> ReconcileRequests {
    let events = watched(api, all());
    let (mut initial, mut filter, mut users) =
        (InitBuffer::default(), ChangeFilter::default(), ConnectionUsers::new(index));
    requests(reflector::reflector(writer, events), Kind::LinktreeConnection, records, move |event| {
        let is_changed = filter.is_changed(event);
        let connections = initial.record(event).into_iter().filter(|_| is_changed).map(ReconcileRequest::Connection);
        connections.chain(users.record(event).into_iter().map(ReconcileRequest::Webhook)).collect()
    })
}

/// Watches one kind of a webhook's child objects; a change enqueues the webhook that owns the object.
pub fn parts<K>(api: Api<MetadataOf<K>>, kind: Kind, records: Records, index: Arc<WebhookIndex>) -> ReconcileRequests
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
{
    let ours = all().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
    let owner = move |meta: &ObjectMeta| {
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = names::owner_of_part(meta.name.as_deref()?)?;
        Some(ObjectKey::new(namespace, name)).filter(|owner| index.has(owner))
    };
    dependents(api, ours, kind, records, move |meta| owner(meta).into_iter().map(ReconcileRequest::Webhook).collect())
}

/// Watches Secrets; a change enqueues the webhooks and connections that refer to the Secret.
///
/// It watches all Secrets, since a spec may refer to any of them, but only their metadata, so that no secret value is
/// cached.
pub fn secrets<K>(
    api: Api<MetadataOf<K>>,
    records: Records,
    index: Arc<WebhookIndex>,
    store: Store<Guarded<LinktreeConnection>>,
) -> ReconcileRequests
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
{
    dependents(api, all(), Kind::Secret, records, move |meta| {
        let secret = ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let webhooks = index
            .by_secret(&secret)
            .into_iter()
            .map(|name| ReconcileRequest::Webhook(ObjectKey::new(&secret.namespace, name)));
        let connections = by_token_secret(&store, &secret).into_iter().map(ReconcileRequest::Connection);
        webhooks.chain(connections).collect()
    })
}

/// Watches the metadata of one kind; a change of an object enqueues the objects that `affected` returns for it.
fn dependents<K>(
    api: Api<MetadataOf<K>>,
    config: watcher::Config,
    kind: Kind,
    records: Records,
    affected: impl Fn(&ObjectMeta) -> Vec<ReconcileRequest> + Send + 'static,
) -> ReconcileRequests
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
{
    let mut recorder = ChangeRecorder { kind, versions: Arc::clone(&records.versions), listed: HashSet::new() };
    requests(watched(api, config), kind, records, move |event| recorder.record(event, &affected))
}

/// A watch that waits after a failure. After a refusal it starts again with a list, whose end shows that it works again.
fn watched<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Result<Event<K>>> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let start = move || Box::pin(watcher::watcher(api.clone(), config.clone()));
    let watch = start();
    with_backoff(futures::stream::unfold((watch, start), |(mut watch, start)| async move {
        let event = watch.next().await?;
        if event.as_ref().is_err_and(is_refusal) {
            watch = start();
        }
        Some((event, (watch, start)))
    }))
}

/// Turns each watch event into the requests that `record` returns. A failure of the watch is recorded and logged; the
/// watch retries.
fn requests<K: Send + 'static>(
    events: impl Stream<Item = Result<Event<K>>> + Send + 'static,
    kind: Kind,
    Records { versions, health }: Records,
    mut record: impl FnMut(&Event<K>) -> Vec<ReconcileRequest> + Send + 'static,
) -> ReconcileRequests {
    let requests = events.flat_map(move |event| {
        let requests = event.map_or_else(
            |error| {
                versions.watch_failed(kind, clock::now());
                if !health.watch_failed(kind, &error) {
                    warn(kind, &error);
                }
                Vec::new()
            },
            |event| {
                match event {
                    Event::Init | Event::InitApply(_) => {}
                    Event::InitDone | Event::Apply(_) | Event::Delete(_) => health.watch_works(kind),
                }
                record(&event)
            },
        );
        futures::stream::iter(requests)
    });
    requests.boxed()
}

fn warn(kind: Kind, error: &watcher::Error) {
    if kind == Kind::HttpRoute {
        // In a cluster without the Gateway API, the watch fails like this until that API is installed.
        tracing::debug!(%error, "watch of HTTPRoutes failed, retrying");
    } else {
        tracing::warn!(%error, ?kind, "watch failed, retrying");
    }
}

/// A buffer for the keys received during a list, which are enqueued when the list completes. Only then does the store
/// have the objects; an earlier reconciliation would read the state from before the list.
#[derive(Debug, Default)]
struct InitBuffer(Vec<ObjectKey>);

impl InitBuffer {
    fn record<K: Resource>(&mut self, event: &Event<K>) -> Vec<ObjectKey> {
        match event {
            Event::Apply(object) => vec![ObjectKey::of(object)],
            Event::Delete(_) => Vec::new(),
            Event::Init => {
                self.0 = Vec::new();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.0.push(ObjectKey::of(object));
                Vec::new()
            }
            Event::InitDone => std::mem::take(&mut self.0),
        }
    }
}

/// Records the object versions that the watch of one kind reports.
struct ChangeRecorder {
    kind: Kind,
    versions: Arc<ObservedVersions>,
    /// The objects received so far of a list in progress.
    listed: HashSet<Object>,
}

impl ChangeRecorder {
    /// Records an event. Returns the reconcile requests for the objects that `affected` returns.
    fn record<K: Resource>(
        &mut self,
        event: &Event<K>,
        affected: impl Fn(&ObjectMeta) -> Vec<ReconcileRequest>,
    ) -> Vec<ReconcileRequest> {
        match event {
            Event::Apply(object) => self.record_version(object, Version::of(object), affected),
            Event::Delete(object) => self.record_version(object, Version::ABSENT, affected),
            Event::Init => {
                self.listed = HashSet::new();
                Vec::new()
            }
            Event::InitApply(object) => {
                // Includes objects that affect no webhook yet: their webhook may be indexed before this list is
                // complete.
                self.listed.insert(self.object(object));
                self.record_version(object, Version::of(object), affected)
            }
            Event::InitDone => {
                self.versions.on_relist(self.kind, &std::mem::take(&mut self.listed));
                Vec::new()
            }
        }
    }

    fn record_version<K: Resource>(
        &self,
        object: &K,
        version: Version,
        affected: impl Fn(&ObjectMeta) -> Vec<ReconcileRequest>,
    ) -> Vec<ReconcileRequest> {
        let requests = affected(object.meta());
        for request in &requests {
            match request {
                ReconcileRequest::Webhook(webhook) => self.versions.on_event(webhook, self.object(object), version),
                // No version to record: reconciling a connection always reads all the objects that it depends on.
                ReconcileRequest::Connection(_) => {}
            }
        }
        requests
    }

    fn object<K: Resource>(&self, object: &K) -> Object {
        Object::new(self.kind, &object.namespace().unwrap_or_default(), &object.name_any())
    }
}

/// The same event, with the objects as far as they parse. Reconciling an object reads it again, with its problems.
fn unguarded<K>(event: Event<Guarded<K>>) -> Event<K> {
    match event {
        Event::Apply(object) => Event::Apply(object.into_inner()),
        Event::Delete(object) => Event::Delete(object.into_inner()),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(object.into_inner()),
        Event::InitDone => Event::InitDone,
    }
}

/// A configuration for a watch of all objects of a kind, with paged initial lists.
fn all() -> watcher::Config {
    watcher::Config::default().page_size(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn key() -> ObjectKey {
        ObjectKey::new("marketing", "links")
    }

    fn service() -> Service {
        let mut service = Service::default();
        let meta = &mut service.metadata;
        meta.namespace = Some("marketing".into());
        meta.name = Some("links-receiver".into());
        meta.resource_version = Some("1".into());
        service
    }

    fn recorder() -> ChangeRecorder {
        let versions = Arc::new(ObservedVersions::default());
        versions.on_relist(Kind::LinktreeWebhook, &HashSet::new());
        ChangeRecorder { kind: Kind::Service, versions, listed: HashSet::new() }
    }

    /// Reconciles the webhook, which reads its Service.
    fn reconcile(recorder: &ChangeRecorder) {
        let (versions, object) = (&recorder.versions, recorder.object(&service()));
        versions.mark_stale(&Arc::new(key()));
        versions.begin_read(&key(), object);
        versions.record_read(&key(), object, Version::of(&service()), 0);
    }

    fn is_current(recorder: &ChangeRecorder) -> bool {
        recorder.versions.all_current(&key(), clock::now())
    }

    #[test]
    fn an_object_that_is_listed_before_its_webhook_does_not_count_as_deleted() {
        let mut recorder = recorder();
        assert!(recorder.record(&Event::<Service>::Init, |_| Vec::new()).is_empty());
        assert!(recorder.record(&Event::InitApply(service()), |_| Vec::new()).is_empty());
        reconcile(&recorder);
        assert!(!is_current(&recorder), "the list is not complete");
        recorder.record(&Event::<Service>::InitDone, |_| vec![ReconcileRequest::Webhook(key())]);
        assert!(is_current(&recorder));
    }

    #[test]
    fn an_object_counts_as_deleted_after_its_deletion_and_after_a_list_without_it() {
        let deletions: [&[Event<Service>]; 2] = [&[Event::Delete(service())], &[Event::Init, Event::InitDone]];
        for events in deletions {
            let mut recorder = recorder();
            for event in [Event::Init, Event::InitApply(service()), Event::InitDone] {
                recorder.record(&event, |_| vec![ReconcileRequest::Webhook(key())]);
            }
            reconcile(&recorder);
            assert_eq!(
                recorder.record(&Event::Apply(service()), |_| vec![ReconcileRequest::Webhook(key())]),
                [ReconcileRequest::Webhook(key())]
            );
            assert!(is_current(&recorder), "the watch reported the version that was read");
            for event in events {
                recorder.record(event, |_| vec![ReconcileRequest::Webhook(key())]);
            }
            assert!(!is_current(&recorder), "{events:?}");
        }
    }

    #[test]
    fn the_objects_of_a_list_are_requested_once_it_is_complete() {
        let mut initial = InitBuffer::default();
        let service_key = || vec![ObjectKey::new("marketing", "links-receiver")];
        let cases = [
            ("a list begins", Event::Init, Vec::new()),
            ("it has an object", Event::InitApply(service()), Vec::new()),
            ("it fails, and another begins", Event::Init, Vec::new()),
            ("that has it too", Event::InitApply(service()), Vec::new()),
            ("it is complete", Event::InitDone, service_key()),
            ("the object changes", Event::Apply(service()), service_key()),
            ("it is deleted", Event::Delete(service()), Vec::new()),
        ];
        for (case, event, requested) in cases {
            assert_eq!(initial.record(&event), requested, "{case}");
        }
    }
}
