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
    backoff::patient,
    connections::{self as connection_watch, Asked, Uses},
    index::Roster,
    observed_versions::{Kind, Object, Seen, Version},
};
use crate::{
    api::{connection::LinktreeConnection, webhook::LinktreeWebhook},
    clock,
    operator::{
        kubernetes::{
            names,
            object_key::{self, Key},
        },
        webhook::render::children::MANAGED_BY,
    },
};

/// Objects in one page of a list: a page is in memory as a whole, several times over while it is parsed.
const PAGE: u32 = 25;

/// What a watch yields.
pub type Result<T> = std::result::Result<T, watcher::Error>;

/// What is to be looked at, since something that concerns it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Webhook(Key),
    Connection(Key),
}

/// What one watch has looked at.
pub type Looks = BoxStream<'static, Look>;

/// Webhooks that were made or changed.
pub fn webhooks(api: Api<LinktreeWebhook>, roster: Arc<Roster>, seen: Arc<Seen>) -> Looks {
    let (told, mut shown) = (Arc::clone(&seen), Shown::default());
    looks(patient(watcher::watcher(api, all())), Kind::LinktreeWebhook, seen, move |event| {
        roster.follow(event);
        if matches!(event, Event::InitDone) {
            told.told_all(Kind::LinktreeWebhook, &HashSet::new());
        }
        shown.follow(event).into_iter().map(Look::Webhook).collect()
    })
}

/// Connections that were made or changed, and the webhooks that use one of which they see a change.
pub fn connections(
    api: Api<LinktreeConnection>,
    writer: Writer<LinktreeConnection>,
    roster: Arc<Roster>,
    seen: Arc<Seen>,
) -> Looks {
    let events = patient(watcher::watcher(api, all()))
        .map(|event| event.map(|event| event.modify(|connection| connection.metadata.managed_fields = None)));
    let (mut shown, mut asked, mut uses) = (Shown::default(), Asked::default(), Uses::of(roster));
    looks(reflector::reflector(writer, events), Kind::LinktreeConnection, seen, move |event| {
        let is_news = asked.is_news(event);
        let connections = shown.follow(event).into_iter().filter(|_| is_news).map(Look::Connection);
        connections.chain(uses.follow(event).into_iter().map(Look::Webhook)).collect()
    })
}

/// Objects made by us that changed, of one kind, each as the webhooks it concerns.
pub fn parts<K>(api: Api<PartialObjectMeta<K>>, kind: Kind, seen: Arc<Seen>, roster: Arc<Roster>) -> Looks
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let ours = all().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
    let owner = move |meta: &ObjectMeta| {
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = names::owner_of_part(meta.name.as_deref()?)?;
        Some((namespace, name.to_owned())).filter(|owner| roster.has(owner))
    };
    concerned(api, ours, kind, seen, move |meta| owner(meta).into_iter().map(Look::Webhook).collect())
}

/// Secrets that changed, each as the webhooks and the connections it concerns. All of them are watched, since anyone's may
/// be named in a spec; only their metadata is, so that no secret is in memory that is not in use.
pub fn secrets<K>(
    api: Api<PartialObjectMeta<K>>,
    seen: Arc<Seen>,
    roster: Arc<Roster>,
    known: Store<LinktreeConnection>,
) -> Looks
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    concerned(api, all(), Kind::Secret, seen, move |meta| {
        let secret = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let webhooks = roster.of_secret(&secret).into_iter().map(|name| Look::Webhook((secret.0.clone(), name)));
        let connections = connection_watch::of_token(&known, &secret).into_iter().map(Look::Connection);
        webhooks.chain(connections).collect()
    })
}

fn concerned<K>(
    api: Api<PartialObjectMeta<K>>,
    config: watcher::Config,
    kind: Kind,
    seen: Arc<Seen>,
    concerns: impl Fn(&ObjectMeta) -> Vec<Look> + Send + 'static,
) -> Looks
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let mut follower = Follower { kind, seen: Arc::clone(&seen), listed: HashSet::new() };
    let events = patient(watcher::watcher(api, config));
    looks(events, kind, seen, move |event| follower.follow(event, &concerns))
}

/// The looks that `follow` makes of each event; a failed watch is noted, and begun again.
fn looks<K: Send + 'static>(
    events: impl Stream<Item = Result<Event<K>>> + Send + 'static,
    kind: Kind,
    seen: Arc<Seen>,
    mut follow: impl FnMut(&Event<K>) -> Vec<Look> + Send + 'static,
) -> Looks {
    let looks = events.flat_map(move |event| {
        let looks = event.map_or_else(
            |error| {
                seen.watch_failed(kind, clock::now());
                warn(kind, &error);
                Vec::new()
            },
            |event| follow(&event),
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
struct Shown(Vec<Key>);

impl Shown {
    fn follow<K: Resource>(&mut self, event: &Event<K>) -> Vec<Key> {
        match event {
            Event::Apply(object) => vec![object_key::of(object)],
            Event::Delete(_) => Vec::new(),
            Event::Init => {
                self.0 = Vec::new();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.0.push(object_key::of(object));
                Vec::new()
            }
            Event::InitDone => std::mem::take(&mut self.0),
        }
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
    /// Notes an event, and says what it concerns.
    fn follow<K: Resource>(&mut self, event: &Event<K>, concerns: impl Fn(&ObjectMeta) -> Vec<Look>) -> Vec<Look> {
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

    fn tell<K: Resource>(
        &self,
        object: &K,
        version: Version,
        concerns: impl Fn(&ObjectMeta) -> Vec<Look>,
    ) -> Vec<Look> {
        let concerned = concerns(object.meta());
        for look in &concerned {
            match look {
                Look::Webhook(webhook) => self.seen.told(webhook, self.object(object), version),
                // It is read in full at each look.
                Look::Connection(_) => {}
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
        seen.anew(&Arc::new(key()));
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
        follower.follow(&Event::<Service>::InitDone, |_| vec![Look::Webhook(key())]);
        assert!(believed(&follower));
    }

    #[test]
    fn a_deleted_object_and_one_that_a_new_list_lacks_are_told_to_be_gone() {
        let gone: [&[Event<Service>]; 2] = [&[Event::Delete(service())], &[Event::Init, Event::InitDone]];
        for events in gone {
            let mut follower = follower();
            for event in [Event::Init, Event::InitApply(service()), Event::InitDone] {
                follower.follow(&event, |_| vec![Look::Webhook(key())]);
            }
            look(&follower);
            assert_eq!(
                follower.follow(&Event::Apply(service()), |_| vec![Look::Webhook(key())]),
                [Look::Webhook(key())]
            );
            assert!(believed(&follower), "what was told is what was read");
            for event in events {
                follower.follow(event, |_| vec![Look::Webhook(key())]);
            }
            assert!(!believed(&follower), "{events:?}");
        }
    }

    #[test]
    fn what_a_list_shows_is_looked_at_once_the_store_has_it() {
        let mut shown = Shown::default();
        let service_key = || vec![("marketing".to_owned(), "links-receiver".to_owned())];
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
            assert_eq!(shown.follow(&event), looks, "{case}");
        }
    }
}
