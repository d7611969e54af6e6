//! The webhooks of one scope as their watch last showed them: no more of each than what finds the ones that something
//! else concerns. The objects themselves are read when they are looked at. No IO.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::{observed_versions::Version, secret_names::named_secrets};
use crate::{
    api::webhook::LinktreeWebhook,
    linktree::wire::SubscriptionId,
    operator::kubernetes::{names, object_key::ObjectKey},
};

/// What is kept of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Shared by all that is kept of it: there may be ten thousand.
    pub key: Arc<ObjectKey>,
    pub version: Version,
    /// Name of its connection, which is in the same namespace.
    pub connection: String,
    /// The subscription that its status names.
    pub subscription: Option<SubscriptionId>,
    /// When its registration was begun, by its status.
    pub begun: Option<Timestamp>,
    /// The url that its status names.
    pub url: Option<String>,
    /// The Secrets that its spec names.
    secrets: Box<[String]>,
}

impl IndexEntry {
    #[must_use]
    pub fn of(webhook: &LinktreeWebhook) -> Self {
        let status = webhook.status.as_ref();
        let subscription = status.and_then(|status| status.subscription.as_ref());
        IndexEntry {
            key: Arc::new(ObjectKey::of(webhook)),
            version: Version::of(webhook),
            connection: webhook.spec.connection_ref.name.clone(),
            subscription: subscription.and_then(|known| known.id.clone()).map(SubscriptionId),
            begun: subscription.and_then(|known| Some(known.registration_time.as_ref()?.0)),
            url: status.and_then(|status| Some(status.address.as_ref()?.url.clone())),
            secrets: named_secrets(webhook).into_iter().collect(),
        }
    }
}

/// The indexes of all scopes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Indexes(Arc<RwLock<Vec<Arc<WebhookIndex>>>>);

impl Indexes {
    /// Adds the index of one more scope.
    #[must_use]
    pub fn add(&self) -> Arc<WebhookIndex> {
        let index = Arc::<WebhookIndex>::default();
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&index));
        index
    }

    /// The entry of a webhook of any scope.
    #[must_use]
    pub fn get(&self, webhook: &ObjectKey) -> Option<Arc<IndexEntry>> {
        self.all().iter().find_map(|index| index.get(webhook))
    }

    /// The webhooks of these connections.
    #[must_use]
    pub fn by_connections(&self, connections: &[ObjectKey]) -> Vec<Arc<IndexEntry>> {
        self.all().iter().flat_map(|index| index.by_connections(connections)).collect()
    }

    /// The webhooks of one connection.
    #[must_use]
    pub fn by_connection(&self, connection: &ObjectKey) -> Vec<Arc<IndexEntry>> {
        self.by_connections(std::slice::from_ref(connection))
    }

    fn all(&self) -> RwLockReadGuard<'_, Vec<Arc<WebhookIndex>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the watch of the webhooks.
#[derive(Debug, Default)]
pub struct WebhookIndex {
    state: Mutex<State>,
    /// A list of all there is was over once.
    filled: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Arc<ObjectKey>, Arc<IndexEntry>>,
    /// For each Secret that a spec names, the names of the webhooks.
    by_secret: HashMap<ObjectKey, Vec<String>>,
    /// Those that a list which is not over yet has shown.
    listed: HashSet<Arc<ObjectKey>>,
}

impl WebhookIndex {
    /// Takes in what the watch tells.
    pub fn apply(&self, event: &Event<LinktreeWebhook>) {
        let mut state = self.state();
        match event {
            Event::Apply(webhook) => drop(state.put(IndexEntry::of(webhook))),
            Event::Delete(webhook) => state.remove(&ObjectKey::of(webhook)),
            Event::Init => state.listed = HashSet::new(),
            Event::InitApply(webhook) => {
                let key = state.put(IndexEntry::of(webhook));
                state.listed.insert(key);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut state.listed);
                let gone: Vec<Arc<ObjectKey>> =
                    state.entries.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                gone.iter().for_each(|key| state.remove(key));
                self.filled.send_replace(true);
            }
        }
    }

    /// Waits until all there is was seen once.
    pub async fn filled(&self) {
        // It fails only without a sender, and `self` has one.
        let _ = self.filled.subscribe().wait_for(|filled| *filled).await;
    }

    /// What is kept of this webhook.
    #[must_use]
    pub fn get(&self, webhook: &ObjectKey) -> Option<Arc<IndexEntry>> {
        self.state().entries.get(webhook).cloned()
    }

    #[must_use]
    pub fn has(&self, webhook: &ObjectKey) -> bool {
        self.state().entries.contains_key(webhook)
    }

    /// The webhooks of these connections, in the order of their names.
    #[must_use]
    pub fn by_connections(&self, connections: &[ObjectKey]) -> Vec<Arc<IndexEntry>> {
        let is_of = |entry: &IndexEntry, connection: &ObjectKey| {
            entry.key.namespace == connection.namespace && entry.connection == connection.name
        };
        let uses = |entry: &&Arc<IndexEntry>| connections.iter().any(|connection| is_of(entry, connection));
        let mut entries: Vec<_> = self.state().entries.values().filter(uses).cloned().collect();
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        entries
    }

    /// The names of the webhooks, all in the Secret's namespace, that a Secret concerns: whose spec names it, or whose
    /// own one it is.
    #[must_use]
    pub fn by_secret(&self, secret: &ObjectKey) -> Vec<String> {
        let state = self.state();
        let mut names = state.by_secret.get(secret).cloned().unwrap_or_default();
        let owner = names::owner_of_secret(&secret.name).map(str::to_owned);
        let is_known = |owner: &String| state.entries.contains_key(&ObjectKey::new(&secret.namespace, owner));
        names.extend(owner.filter(is_known));
        names
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns what it is known by here.
    fn put(&mut self, mut entry: IndexEntry) -> Arc<ObjectKey> {
        if let Some(known) = self.entries.get(&entry.key) {
            entry.key = Arc::clone(&known.key);
            if **known == entry {
                return entry.key;
            }
        }
        self.remove(&Arc::clone(&entry.key));
        for secret in &entry.secrets {
            let names = self.by_secret.entry(ObjectKey::new(&entry.key.namespace, secret)).or_default();
            names.push(entry.key.name.clone());
        }
        let key = Arc::clone(&entry.key);
        self.entries.insert(Arc::clone(&key), Arc::new(entry));
        key
    }

    fn remove(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.remove(key) else { return };
        for secret in &entry.secrets {
            let secret = ObjectKey::new(&key.namespace, secret);
            if let Some(names) = self.by_secret.get_mut(&secret) {
                names.retain(|name| *name != key.name);
                if names.is_empty() {
                    self.by_secret.remove(&secret);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    fn named(name: &str, edit: impl FnOnce(&mut Value)) -> LinktreeWebhook {
        webhook(|object| {
            object["metadata"]["name"] = name.into();
            edit(object);
        })
    }

    fn with_key(secret: &str) -> impl FnOnce(&mut Value) {
        move |object| {
            object["spec"]["signing"] = json!({"keys": [{"name": "k", "secretRef": {"name": secret, "key": "k"}}]});
        }
    }

    fn place(name: &str) -> ObjectKey {
        ObjectKey::new(&IndexEntry::of(&webhook(|_| {})).key.namespace, name)
    }

    #[test]
    fn a_secret_concerns_those_that_name_it_and_the_one_whose_own_it_is() {
        let index = WebhookIndex::default();
        index.apply(&Event::Apply(named("a", with_key("shared"))));
        index.apply(&Event::Apply(named("b", with_key("shared"))));
        let mut of_shared = index.by_secret(&place("shared"));
        of_shared.sort();
        assert_eq!(of_shared, ["a", "b"]);
        assert_eq!(index.by_secret(&ObjectKey::new("elsewhere", "shared")), [""; 0]);
        assert_eq!(index.by_secret(&place("a-signing")), ["a"]);
        assert_eq!(index.by_secret(&place("b-receiver-route")), ["b"]);
        assert_eq!(index.by_secret(&place("c-signing")), [""; 0], "there is no such webhook");

        index.apply(&Event::Apply(named("a", with_key("other"))));
        assert_eq!(index.by_secret(&place("shared")), ["b"]);
        index.apply(&Event::Delete(named("b", with_key("shared"))));
        assert_eq!(index.by_secret(&place("shared")), [""; 0]);
        assert_eq!(index.by_secret(&place("other")), ["a"]);
    }

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let index = WebhookIndex::default();
        index.apply(&Event::Apply(named("a", |_| {})));
        index.apply(&Event::Apply(named("b", |_| {})));
        index.apply(&Event::Init);
        index.apply(&Event::InitApply(named("b", |_| {})));
        assert!(index.has(&place("a")), "the list is not over");
        index.apply(&Event::InitDone);
        assert_eq!((index.has(&place("a")), index.has(&place("b"))), (false, true));
    }

    #[test]
    fn a_connections_webhooks_are_found_with_what_their_status_says() {
        let index = WebhookIndex::default();
        index.apply(&Event::Apply(named("a", |object| {
            object["status"] =
                json!({"address": {"url": "https://x/"}, "subscription": {"id": "wh_1", "state": "Enabled"}});
        })));
        index.apply(&Event::Apply(named("b", |object| object["spec"]["connectionRef"]["name"] = "other".into())));
        let connection = index.by_secret(&place("a-signing"));
        assert_eq!(connection, ["a"]);
        let name = IndexEntry::of(&named("a", |_| {})).connection;
        let [found] = index.by_connections(&[place(&name)]).try_into().unwrap();
        assert_eq!((found.key.name.as_str(), found.url.as_deref()), ("a", Some("https://x/")));
        assert_eq!(found.subscription, Some(SubscriptionId("wh_1".into())));
    }
}
