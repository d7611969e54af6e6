//! The watches of one scope, each begun once, whoever is concerned by what it tells. Of all but connections no object is
//! held: of webhooks names and versions, of the objects that belong to them metadata, and that only while it passes by.
//! Initial lists come in pages.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt,
    core::{NamespaceResourceScope, ObjectMeta, PartialObjectMeta},
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
    connections::{ChangeFilter, ConnectionUsers, of_token},
    index::WebhookIndex,
    observed_versions::{Kind, Object, ObservedVersions, Version},
};
use crate::{
    api::{connection::LinktreeConnection, webhook::LinktreeWebhook},
    clock,
    operator::kubernetes::{
        names::{self, MANAGED_BY},
        object_key::ObjectKey,
    },
};

/// Objects in one page of a list: a page is in memory as a whole, several times over while it is parsed.
const PAGE: u32 = 25;

/// What is to be looked at, since something that concerns it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconcileRequest {
    Webhook(ObjectKey),
    Connection(ObjectKey),
}

/// What one watch has looked at.
pub type ReconcileRequests = BoxStream<'static, ReconcileRequest>;

/// Webhooks that were made or changed.
pub fn webhooks(
    api: Api<LinktreeWebhook>,
    index: Arc<WebhookIndex>,
    versions: Arc<ObservedVersions>,
) -> ReconcileRequests {
    let (told, mut initial) = (Arc::clone(&versions), InitBuffer::default());
    requests(with_backoff(watcher::watcher(api, all())), Kind::LinktreeWebhook, versions, move |event| {
        index.apply(event);
        if matches!(event, Event::InitDone) {
            told.on_relist(Kind::LinktreeWebhook, &HashSet::new());
        }
        initial.record(event).into_iter().map(ReconcileRequest::Webhook).collect()
    })
}

/// Connections that were made or changed, and the webhooks that use one of which they see a change.
pub fn connections(
    api: Api<LinktreeConnection>,
    writer: Writer<LinktreeConnection>,
    index: Arc<WebhookIndex>,
    versions: Arc<ObservedVersions>,
) -> ReconcileRequests {
    let events = with_backoff(watcher::watcher(api, all()))
        .map(|event| event.map(|event| event.modify(|connection| connection.metadata.managed_fields = None)));
    let (mut initial, mut filter, mut users) =
        (InitBuffer::default(), ChangeFilter::default(), ConnectionUsers::new(index));
    requests(reflector::reflector(writer, events), Kind::LinktreeConnection, versions, move |event| {
        let is_changed = filter.is_changed(event);
        let connections = initial.record(event).into_iter().filter(|_| is_changed).map(ReconcileRequest::Connection);
        connections.chain(users.record(event).into_iter().map(ReconcileRequest::Webhook)).collect()
    })
}

/// Objects made by us that changed, of one kind, each as the webhooks it concerns.
pub fn parts<K>(
    api: Api<PartialObjectMeta<K>>,
    kind: Kind,
    versions: Arc<ObservedVersions>,
    index: Arc<WebhookIndex>,
) -> ReconcileRequests
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let ours = all().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
    let owner = move |meta: &ObjectMeta| {
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = names::owner_of_part(meta.name.as_deref()?)?;
        Some(ObjectKey::new(namespace, name)).filter(|owner| index.has(owner))
    };
    concerned(api, ours, kind, versions, move |meta| owner(meta).into_iter().map(ReconcileRequest::Webhook).collect())
}

/// Secrets that changed, each as the webhooks and the connections it concerns. All of them are watched, since anyone's may
/// be named in a spec; only their metadata is, so that no secret is in memory that is not in use.
pub fn secrets<K>(
    api: Api<PartialObjectMeta<K>>,
    versions: Arc<ObservedVersions>,
    index: Arc<WebhookIndex>,
    known: Store<LinktreeConnection>,
) -> ReconcileRequests
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    concerned(api, all(), Kind::Secret, versions, move |meta| {
        let secret = ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let webhooks = index
            .by_secret(&secret)
            .into_iter()
            .map(|name| ReconcileRequest::Webhook(ObjectKey::new(&secret.namespace, name)));
        let connections = of_token(&known, &secret).into_iter().map(ReconcileRequest::Connection);
        webhooks.chain(connections).collect()
    })
}

fn concerned<K>(
    api: Api<PartialObjectMeta<K>>,
    config: watcher::Config,
    kind: Kind,
    versions: Arc<ObservedVersions>,
    concerns: impl Fn(&ObjectMeta) -> Vec<ReconcileRequest> + Send + 'static,
) -> ReconcileRequests
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let mut recorder = ChangeRecorder { kind, versions: Arc::clone(&versions), listed: HashSet::new() };
    let events = with_backoff(watcher::watcher(api, config));
    requests(events, kind, versions, move |event| recorder.record(event, &concerns))
}

/// The looks that `record` makes of each event; a failed watch is noted, and begun again.
fn requests<K: Send + 'static>(
    events: impl Stream<Item = Result<Event<K>>> + Send + 'static,
    kind: Kind,
    versions: Arc<ObservedVersions>,
    mut record: impl FnMut(&Event<K>) -> Vec<ReconcileRequest> + Send + 'static,
) -> ReconcileRequests {
    let looks = events.flat_map(move |event| {
        let looks = event.map_or_else(
            |error| {
                versions.watch_failed(kind, clock::now());
                warn(kind, &error);
                Vec::new()
            },
            |event| record(&event),
        );
        futures::stream::iter(looks)
    });
    looks.boxed()
}

fn warn(kind: Kind, error: &watcher::Error) {
    if kind == Kind::HttpRoute {
        // Where the cluster has no Gateway API this goes on until it has.
        tracing::debug!(%error, "HTTPRoutes cannot be watched");
    } else {
        tracing::warn!(%error, ?kind, "a watch failed and is begun again");
    }
}

/// Which objects are to be looked at. What a list shows is held until the list is over: a store has it only then, and an
/// earlier look would be at what was before.
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

/// Tells what one watch tells.
struct ChangeRecorder {
    kind: Kind,
    versions: Arc<ObservedVersions>,
    /// What a list that is not over yet has initial.
    listed: HashSet<Object>,
}

impl ChangeRecorder {
    /// Notes an event, and says what it concerns.
    fn record<K: Resource>(
        &mut self,
        event: &Event<K>,
        concerns: impl Fn(&ObjectMeta) -> Vec<ReconcileRequest>,
    ) -> Vec<ReconcileRequest> {
        match event {
            Event::Apply(object) => self.tell(object, Version::of(object), concerns),
            Event::Delete(object) => self.tell(object, Version::ABSENT, concerns),
            Event::Init => {
                self.listed = HashSet::new();
                Vec::new()
            }
            Event::InitApply(object) => {
                // Also what concerns no webhook: one that it does concern may be initial before the list is over.
                self.listed.insert(self.object(object));
                self.tell(object, Version::of(object), concerns)
            }
            Event::InitDone => {
                self.versions.on_relist(self.kind, &std::mem::take(&mut self.listed));
                Vec::new()
            }
        }
    }

    fn tell<K: Resource>(
        &self,
        object: &K,
        version: Version,
        concerns: impl Fn(&ObjectMeta) -> Vec<ReconcileRequest>,
    ) -> Vec<ReconcileRequest> {
        let concerned = concerns(object.meta());
        for look in &concerned {
            match look {
                ReconcileRequest::Webhook(webhook) => self.versions.on_event(webhook, self.object(object), version),
                // It is read in full at each look.
                ReconcileRequest::Connection(_) => {}
            }
        }
        concerned
    }

    fn object<K: Resource>(&self, object: &K) -> Object {
        Object::new(self.kind, &object.namespace().unwrap_or_default(), &object.name_any())
    }
}

/// Everything, in pages.
fn all() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
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

    /// A look at the webhook reads its Service.
    fn look(recorder: &ChangeRecorder) {
        let (versions, object) = (&recorder.versions, recorder.object(&service()));
        versions.mark_stale(&Arc::new(key()));
        versions.begin_read(&key(), object);
        versions.record_read(&key(), object, Version::of(&service()), 0);
    }

    fn believed(recorder: &ChangeRecorder) -> bool {
        recorder.versions.all_current(&key(), clock::now())
    }

    #[test]
    fn what_is_listed_before_its_webhook_is_known_is_not_taken_to_be_gone() {
        let mut recorder = recorder();
        assert!(recorder.record(&Event::<Service>::Init, |_| Vec::new()).is_empty());
        assert!(recorder.record(&Event::InitApply(service()), |_| Vec::new()).is_empty());
        look(&recorder);
        assert!(!believed(&recorder), "the list is not over");
        recorder.record(&Event::<Service>::InitDone, |_| vec![ReconcileRequest::Webhook(key())]);
        assert!(believed(&recorder));
    }

    #[test]
    fn a_deleted_object_and_one_that_a_new_list_lacks_are_told_to_be_gone() {
        let gone: [&[Event<Service>]; 2] = [&[Event::Delete(service())], &[Event::Init, Event::InitDone]];
        for events in gone {
            let mut recorder = recorder();
            for event in [Event::Init, Event::InitApply(service()), Event::InitDone] {
                recorder.record(&event, |_| vec![ReconcileRequest::Webhook(key())]);
            }
            look(&recorder);
            assert_eq!(
                recorder.record(&Event::Apply(service()), |_| vec![ReconcileRequest::Webhook(key())]),
                [ReconcileRequest::Webhook(key())]
            );
            assert!(believed(&recorder), "what was told is what was read");
            for event in events {
                recorder.record(event, |_| vec![ReconcileRequest::Webhook(key())]);
            }
            assert!(!believed(&recorder), "{events:?}");
        }
    }

    #[test]
    fn what_a_list_shows_is_looked_at_once_the_store_has_it() {
        let mut initial = InitBuffer::default();
        let service_key = || vec![ObjectKey::new("marketing", "links-receiver")];
        let cases = [
            ("a list begins", Event::Init, Vec::new()),
            ("it shows an object", Event::InitApply(service()), Vec::new()),
            ("it fails, and another begins", Event::Init, Vec::new()),
            ("that shows it too", Event::InitApply(service()), Vec::new()),
            ("it is over", Event::InitDone, service_key()),
            ("the object changes", Event::Apply(service()), service_key()),
            ("it is deleted", Event::Delete(service()), Vec::new()),
        ];
        for (case, event, looks) in cases {
            assert_eq!(initial.record(&event), looks, "{case}");
        }
    }
}
