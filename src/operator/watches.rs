//! The watches of one scope. Of all but connections no object is held: of webhooks names and versions, of the objects
//! that belong to them metadata, and that only while it passes by. Initial lists come in pages.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::Arc,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt,
    core::{NamespaceResourceScope, ObjectMeta, PartialObjectMeta, PartialObjectMetaExt},
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, store::Writer},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::{
    key::{self, Key},
    roster::{Roster, Webhook},
    seen::{Kind, Object, Seen, Version},
    webhook::{children::MANAGED_BY, names},
};
use crate::{
    api::{connection::LinktreeConnection, webhook::LinktreeWebhook},
    clock,
};

/// Objects in one page of a list: a page is in memory as a whole, several times over while it is parsed.
const PAGE: u32 = 100;

/// What a watch yields, and what is made of it.
type Result<T> = std::result::Result<T, watcher::Error>;

/// Webhooks that were made or changed.
pub fn webhooks(
    api: Api<LinktreeWebhook>,
    writer: Writer<Webhook>,
    roster: Arc<Roster>,
    seen: Arc<Seen>,
) -> impl Stream<Item = Result<Webhook>> + Send {
    let events = watcher::watcher(api, all()).map(move |event| match event {
        Ok(event) => {
            roster.follow(&event);
            if matches!(event, Event::InitDone) {
                seen.told_all(Kind::LinktreeWebhook, &HashSet::new());
            }
            Ok(named(event))
        }
        Err(error) => {
            seen.watch_failed(Kind::LinktreeWebhook, clock::now());
            Err(error)
        }
    });
    reflector::reflector(writer, events).applied_objects()
}

/// Connections that were made or changed.
pub fn connections(
    api: Api<LinktreeConnection>,
    writer: Writer<LinktreeConnection>,
) -> impl Stream<Item = Result<LinktreeConnection>> + Send {
    let events = watcher::watcher(api, all()).modify(|connection| connection.metadata.managed_fields = None);
    reflector::reflector(writer, events).applied_objects()
}

/// Objects made by us that changed, of one kind, each as the webhooks it concerns.
pub fn parts<K>(api: Api<PartialObjectMeta<K>>, kind: Kind, seen: Arc<Seen>, roster: Arc<Roster>) -> Concerned
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let ours = all().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
    let owner = move |meta: &ObjectMeta| {
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = names::owner_of_part(meta.name.as_deref()?)?;
        Some((namespace, name.to_owned())).filter(|owner| roster.has(owner))
    };
    concerned(api, ours, kind, seen, move |meta| owner(meta).into_iter().collect())
}

/// Secrets that changed, each as the webhooks it concerns. All of them are watched, since anyone's may be named in a spec;
/// only their metadata is, so that no secret is in memory that is not in use.
pub fn secrets<K>(api: Api<PartialObjectMeta<K>>, seen: Arc<Seen>, roster: Arc<Roster>) -> Concerned
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    concerned(api, all(), Kind::Secret, seen, move |meta| {
        let secret = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        roster.of_secret(&secret).into_iter().map(|name| (secret.0.clone(), name)).collect()
    })
}

/// Connections that changed, each as the webhooks that use it; but for what a connection only counts: its budget is written
/// down again and again while many webhooks wait for it.
pub fn uses(api: Api<LinktreeConnection>, roster: Arc<Roster>) -> Concerned {
    let mut states = HashMap::new();
    let changed = watcher::watcher(api, all()).default_backoff().touched_objects();
    let looks = changed.flat_map(move |connection| {
        let key = connection.map_err(|error| warn(None, &error)).ok().and_then(|connection| {
            let (key, state) = (key::of(&connection), state(connection));
            (states.insert(key.clone(), state.clone()) != Some(state)).then_some(key)
        });
        let members = key.map(|key| roster.of_connections(&[key])).unwrap_or_default();
        futures::stream::iter(members.into_iter().map(|member| reference(&member.key)))
    });
    looks.boxed()
}

/// What webhooks see of a connection.
fn state(connection: LinktreeConnection) -> impl PartialEq + Clone + Send + use<> {
    let status = connection.status.map(|status| (status.conditions, status.capabilities));
    (connection.metadata.generation, connection.metadata.deletion_timestamp.is_some(), status)
}

/// What is to be looked at.
pub type Concerned = BoxStream<'static, ObjectRef<Webhook>>;

fn concerned<K>(
    api: Api<PartialObjectMeta<K>>,
    config: watcher::Config,
    kind: Kind,
    seen: Arc<Seen>,
    concerns: impl Fn(&ObjectMeta) -> Vec<Key> + Send + 'static,
) -> Concerned
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let mut follower = Follower { kind, seen, listed: HashSet::new() };
    let looks = watcher::watcher(api, config).default_backoff().flat_map(move |event| {
        let concerned = match event {
            Ok(event) => follower.follow(&event, &concerns),
            Err(error) => {
                follower.seen.watch_failed(kind, clock::now());
                warn(Some(kind), &error);
                Vec::new()
            }
        };
        futures::stream::iter(concerned.into_iter().map(|webhook| reference(&webhook)))
    });
    looks.boxed()
}

fn warn(kind: Option<Kind>, error: &watcher::Error) {
    if kind == Some(Kind::HttpRoute) {
        // Where the cluster has no Gateway API this goes on until it has.
        tracing::debug!(%error, "HTTPRoutes cannot be watched");
    } else {
        tracing::warn!(%error, ?kind, "a watch failed and is begun again");
    }
}

/// Tells what one watch tells.
struct Follower {
    kind: Kind,
    seen: Arc<Seen>,
    /// What a list that is not over yet has shown.
    listed: HashSet<Object>,
}

impl Follower {
    /// Notes an event, and says which webhooks it concerns.
    fn follow<K: Resource>(&mut self, event: &Event<K>, concerns: impl Fn(&ObjectMeta) -> Vec<Key>) -> Vec<Key> {
        match event {
            Event::Apply(object) => self.tell(object, Version::of(object), concerns),
            Event::Delete(object) => self.tell(object, Version::ABSENT, concerns),
            Event::Init => {
                self.listed = HashSet::new();
                Vec::new()
            }
            Event::InitApply(object) => {
                // Also what concerns no webhook: one that it does concern may be shown before the list is over.
                self.listed.insert(self.object(object));
                self.tell(object, Version::of(object), concerns)
            }
            Event::InitDone => {
                self.seen.told_all(self.kind, &std::mem::take(&mut self.listed));
                Vec::new()
            }
        }
    }

    fn tell<K: Resource>(&self, object: &K, version: Version, concerns: impl Fn(&ObjectMeta) -> Vec<Key>) -> Vec<Key> {
        let concerned = concerns(object.meta());
        concerned.iter().for_each(|webhook| self.seen.told(webhook, self.object(object), version));
        concerned
    }

    fn object<K: Resource>(&self, object: &K) -> Object {
        Object::new(self.kind, &object.namespace().unwrap_or_default(), &object.name_any())
    }
}

/// A webhook to look at.
#[must_use]
pub fn reference(webhook: &Key) -> ObjectRef<Webhook> {
    ObjectRef::new(&webhook.1).within(&webhook.0)
}

/// Everything, in pages.
#[must_use]
pub fn all() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// The event with no more of the object than its name and version.
fn named(event: Event<LinktreeWebhook>) -> Event<Webhook> {
    let named = |webhook: LinktreeWebhook| {
        let ObjectMeta { name, namespace, uid, resource_version, .. } = webhook.metadata;
        let metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        metadata.into_response_partial()
    };
    match event {
        Event::Apply(webhook) => Event::Apply(named(webhook)),
        Event::Delete(webhook) => Event::Delete(named(webhook)),
        Event::Init => Event::Init,
        Event::InitApply(webhook) => Event::InitApply(named(webhook)),
        Event::InitDone => Event::InitDone,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn key() -> Key {
        ("marketing".into(), "links".into())
    }

    fn service() -> Service {
        let mut service = Service::default();
        let meta = &mut service.metadata;
        meta.namespace = Some("marketing".into());
        meta.name = Some("links-receiver".into());
        meta.resource_version = Some("1".into());
        service
    }

    fn follower() -> Follower {
        let seen = Arc::new(Seen::default());
        seen.told_all(Kind::LinktreeWebhook, &HashSet::new());
        Follower { kind: Kind::Service, seen, listed: HashSet::new() }
    }

    /// A look at the webhook reads its Service.
    fn look(follower: &Follower) {
        let (seen, object) = (&follower.seen, follower.object(&service()));
        seen.anew(&key());
        seen.reading(&key(), object);
        seen.read(&key(), object, Version::of(&service()), 0);
    }

    fn believed(follower: &Follower) -> bool {
        follower.seen.all_as_read(&key(), clock::now())
    }

    #[test]
    fn what_is_listed_before_its_webhook_is_known_is_not_taken_to_be_gone() {
        let mut follower = follower();
        assert!(follower.follow(&Event::<Service>::Init, |_| Vec::new()).is_empty());
        assert!(follower.follow(&Event::InitApply(service()), |_| Vec::new()).is_empty());
        look(&follower);
        assert!(!believed(&follower), "the list is not over");
        follower.follow(&Event::<Service>::InitDone, |_| vec![key()]);
        assert!(believed(&follower));
    }

    #[test]
    fn a_deleted_object_and_one_that_a_new_list_lacks_are_told_to_be_gone() {
        let gone: [&[Event<Service>]; 2] = [&[Event::Delete(service())], &[Event::Init, Event::InitDone]];
        for events in gone {
            let mut follower = follower();
            for event in [Event::Init, Event::InitApply(service()), Event::InitDone] {
                follower.follow(&event, |_| vec![key()]);
            }
            look(&follower);
            assert_eq!(follower.follow(&Event::Apply(service()), |_| vec![key()]), [key()]);
            assert!(believed(&follower), "what was told is what was read");
            for event in events {
                follower.follow(event, |_| vec![key()]);
            }
            assert!(!believed(&follower), "{events:?}");
        }
    }
}
