//! An index of the webhooks of one scope, filled by their watch, with lookups by key, connection and Secret. It stores
//! only the fields that these lookups need; a reconciliation reads the whole webhook. No IO.

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
    operator::kubernetes::{digest::digest, names, object_key::ObjectKey},
};

/// The indexed fields of one `LinktreeWebhook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Shared with the work queue, the in-memory states and the observed versions, since there may be ten thousand
    /// webhooks.
    pub key: Arc<ObjectKey>,
    pub version: Version,
    /// The name of the webhook's connection, which is in the same namespace.
    pub connection: String,
    /// The id of the subscription in the webhook's status.
    pub subscription: Option<SubscriptionId>,
    /// The id of the subscription that the webhook's spec names, with `adoptionPolicy: ByID`.
    named: Option<SubscriptionId>,
    created_at: Option<Timestamp>,
    /// The start time of the registration in the webhook's status.
    pub begun: Option<Timestamp>,
    /// The URL in the webhook's status.
    pub url: Option<String>,
    /// A digest of what a reconciliation reacts to at once. The operator's own status writes do not change it.
    trigger: u64,
    /// Whether the webhook has a status that the operator wrote.
    has_status: bool,
    /// The names of the Secrets that the webhook's spec refers to.
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
            named: webhook.spec.subscription.id.clone().map(SubscriptionId),
            created_at: webhook.metadata.creation_timestamp.as_ref().map(|created| created.0),
            begun: subscription.and_then(|known| Some(known.registration_time.as_ref()?.0)),
            url: status.and_then(|status| Some(status.address.as_ref()?.url.clone())),
            trigger: trigger(webhook),
            // The schema's default is -1.
            has_status: status.and_then(|status| status.observed_generation).is_some_and(|seen| seen >= 0),
            secrets: named_secrets(webhook).into_iter().collect(),
        }
    }
}

/// A webhook's claim to a subscription. Of several, the smallest wins: one by the status goes before one by the spec
/// alone, then that of the oldest webhook, then that of the first by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim<'a> {
    only_named: bool,
    created_at: Option<Timestamp>,
    pub webhook: &'a ObjectKey,
    pub id: &'a SubscriptionId,
}

impl IndexEntry {
    /// The webhook's claim to the subscription in its status, or else to the one that its spec names.
    #[must_use]
    pub fn claim(&self) -> Option<Claim<'_>> {
        let id = self.subscription.as_ref().or(self.named.as_ref())?;
        let only_named = self.subscription.is_none();
        Some(Claim { only_named, created_at: self.created_at, webhook: &self.key, id })
    }
}

/// A digest of the webhook without its status, of which a change by another client is noticed at the next poll.
fn trigger(webhook: &LinktreeWebhook) -> u64 {
    let meta = &webhook.metadata;
    let deleted_at = meta.deletion_timestamp.as_ref().map(|at| at.0);
    digest(&(&meta.uid, meta.generation, deleted_at, &meta.annotations, &meta.labels, &meta.finalizers))
}

/// The webhook indexes of all scopes. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Indexes(Arc<RwLock<Vec<Arc<WebhookIndex>>>>);

impl Indexes {
    /// Adds an empty index for one more scope, and returns it.
    #[must_use]
    pub fn add(&self) -> Arc<WebhookIndex> {
        let index = Arc::<WebhookIndex>::default();
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&index));
        index
    }

    /// The webhooks that use any of these connections.
    #[must_use]
    pub fn by_connections(&self, connections: &[ObjectKey]) -> Vec<Arc<IndexEntry>> {
        self.all().iter().flat_map(|index| index.by_connections(connections)).collect()
    }

    /// The webhooks of any connection that claim this subscription.
    #[must_use]
    pub fn by_claim(&self, id: &SubscriptionId) -> Vec<Arc<IndexEntry>> {
        self.all().iter().flat_map(|index| index.by_claim(id)).collect()
    }

    /// The webhooks that use this connection.
    #[must_use]
    pub fn by_connection(&self, connection: &ObjectKey) -> Vec<Arc<IndexEntry>> {
        self.by_connections(std::slice::from_ref(connection))
    }

    fn all(&self) -> RwLockReadGuard<'_, Vec<Arc<WebhookIndex>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index of the webhooks of one scope.
#[derive(Debug, Default)]
pub struct WebhookIndex {
    state: Mutex<State>,
    /// Whether the initial list of webhooks is complete.
    filled: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Arc<ObjectKey>, Arc<IndexEntry>>,
    /// Per Secret, the names of the webhooks whose spec refers to it.
    by_secret: HashMap<ObjectKey, Vec<String>>,
    /// Per subscription, the webhooks that claim it.
    by_claim: HashMap<SubscriptionId, Vec<Arc<ObjectKey>>>,
    /// The keys received so far of a list in progress.
    listed: HashSet<Arc<ObjectKey>>,
}

impl WebhookIndex {
    /// Applies an event of the webhooks' watch. Returns whether it is a reason to reconcile the webhook: not if only its
    /// status has changed, unless the status was removed, which must be written again.
    pub fn apply(&self, event: &Event<LinktreeWebhook>) -> bool {
        let mut state = self.state();
        match event {
            Event::Apply(webhook) => {
                let entry = IndexEntry::of(webhook);
                let is_same =
                    |known: &Arc<IndexEntry>| known.trigger == entry.trigger && (entry.has_status || !known.has_status);
                let is_reason = !state.entries.get(&entry.key).is_some_and(is_same);
                state.put(entry);
                return is_reason;
            }
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
        true
    }

    /// Waits until the initial list of webhooks is complete.
    pub async fn filled(&self) {
        // The wait fails only if the sender is dropped, and `self` holds it.
        let _ = self.filled.subscribe().wait_for(|filled| *filled).await;
    }

    /// The entry of this webhook, if the scope has it.
    #[must_use]
    pub fn get(&self, webhook: &ObjectKey) -> Option<Arc<IndexEntry>> {
        self.state().entries.get(webhook).cloned()
    }

    #[must_use]
    pub fn has(&self, webhook: &ObjectKey) -> bool {
        self.state().entries.contains_key(webhook)
    }

    /// The webhooks that use any of these connections, sorted by key.
    #[must_use]
    pub fn by_connections(&self, connections: &[ObjectKey]) -> Vec<Arc<IndexEntry>> {
        let uses = |entry: &IndexEntry, connection: &ObjectKey| {
            entry.key.namespace == connection.namespace && entry.connection == connection.name
        };
        let uses_any = |entry: &&Arc<IndexEntry>| connections.iter().any(|connection| uses(entry, connection));
        let mut entries: Vec<_> = self.state().entries.values().filter(uses_any).cloned().collect();
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        entries
    }

    /// The webhooks that claim this subscription.
    #[must_use]
    pub fn by_claim(&self, id: &SubscriptionId) -> Vec<Arc<IndexEntry>> {
        let state = self.state();
        let claimants = state.by_claim.get(id).map(Vec::as_slice).unwrap_or_default();
        claimants.iter().filter_map(|key| state.entries.get(key).cloned()).collect()
    }

    /// The names of the webhooks that a Secret affects, all in its namespace: the one that owns it, and those whose
    /// spec refers to it.
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
    /// Inserts or replaces a webhook's entry. Returns the key that the index shares.
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
        if let Some(Claim { id, .. }) = entry.claim() {
            self.by_claim.entry(id.clone()).or_default().push(Arc::clone(&key));
        }
        self.entries.insert(Arc::clone(&key), Arc::new(entry));
        key
    }

    fn remove(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.remove(key) else { return };
        if let Some(Claim { id, .. }) = entry.claim()
            && let Some(claims) = self.by_claim.get_mut(id)
        {
            claims.retain(|claimant| **claimant != *key);
            if claims.is_empty() {
                self.by_claim.remove(id);
            }
        }
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

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(&IndexEntry::of(&webhook(|_| {})).key.namespace, name)
    }

    #[test]
    fn a_secret_affects_the_webhooks_that_name_it_and_its_owner() {
        let index = WebhookIndex::default();
        index.apply(&Event::Apply(named("a", with_key("shared"))));
        index.apply(&Event::Apply(named("b", with_key("shared"))));
        let mut webhooks = index.by_secret(&key("shared"));
        webhooks.sort();
        assert_eq!(webhooks, ["a", "b"]);
        assert_eq!(index.by_secret(&ObjectKey::new("elsewhere", "shared")), [""; 0]);
        assert_eq!(index.by_secret(&key("a-signing")), ["a"]);
        assert_eq!(index.by_secret(&key("b-receiver-route")), ["b"]);
        assert_eq!(index.by_secret(&key("c-signing")), [""; 0], "there is no such webhook");

        index.apply(&Event::Apply(named("a", with_key("other"))));
        assert_eq!(index.by_secret(&key("shared")), ["b"]);
        index.apply(&Event::Delete(named("b", with_key("shared"))));
        assert_eq!(index.by_secret(&key("shared")), [""; 0]);
        assert_eq!(index.by_secret(&key("other")), ["a"]);
    }

    #[test]
    fn of_several_claims_to_a_subscription_the_first_in_a_status_and_then_the_oldest_wins() {
        let id = SubscriptionId("wh_1".into());
        let by_spec = |created: &str| {
            let created = created.to_owned();
            move |object: &mut Value| {
                object["metadata"]["creationTimestamp"] = created.into();
                object["spec"]["subscription"] = json!({"adoptionPolicy": "ByID", "id": "wh_1"});
            }
        };
        let by_status = |created: &str| {
            let (named, created) = (by_spec(created), created.to_owned());
            move |object: &mut Value| {
                named(object);
                object["metadata"]["creationTimestamp"] = created.into();
                object["status"] = json!({"subscription": {"id": "wh_1", "state": "Enabled"}});
            }
        };
        let winner = |index: &WebhookIndex| {
            let claims = index.by_claim(&id);
            claims.iter().filter_map(|entry| entry.claim()).min().map(|claim| claim.webhook.name.clone())
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let index = WebhookIndex::default();
        assert_eq!(winner(&index), None);
        index.apply(&Event::Apply(named("c", by_spec(late))));
        index.apply(&Event::Apply(named("b", by_spec(late))));
        assert_eq!(winner(&index).as_deref(), Some("b"), "both are as old");
        index.apply(&Event::Apply(named("d", by_spec(early))));
        assert_eq!(winner(&index).as_deref(), Some("d"));
        index.apply(&Event::Apply(named("b", by_status(late))));
        assert_eq!(winner(&index).as_deref(), Some("b"), "it has adopted the subscription already");
        index.apply(&Event::Apply(named("d", by_status(early))));
        assert_eq!(winner(&index).as_deref(), Some("d"));
        for name in ["b", "d"] {
            index.apply(&Event::Delete(named(name, |_| {})));
        }
        assert_eq!(winner(&index).as_deref(), Some("c"));
        index.apply(&Event::Apply(named("c", |_| {})));
        assert_eq!((winner(&index), index.state().by_claim.len()), (None, 0));
    }

    #[test]
    fn a_changed_status_is_no_reason_to_reconcile() {
        let index = WebhookIndex::default();
        let status = |generation: i64, message: &str| {
            let status = json!({"observedGeneration": generation, "sinkUri": message});
            move |object: &mut Value| object["status"] = status
        };
        let cases = [
            ("it is new", named("a", |_| {}), true),
            ("the same again", named("a", |_| {}), false),
            ("the schema's default status", named("a", status(-1, "")), false),
            ("its first status", named("a", status(1, "x")), false),
            ("another status", named("a", status(1, "y")), false),
            ("another generation is observed", named("a", status(2, "y")), false),
            ("its status was removed", named("a", |_| {}), true),
            ("its status was written again", named("a", status(2, "y")), false),
            ("its status was replaced by the default", named("a", status(-1, "")), true),
            ("an annotation", named("a", |object| object["metadata"]["annotations"] = json!({"a": "b"})), true),
            ("its spec", named("a", |object| object["metadata"]["generation"] = 2.into()), true),
            ("it was recreated", named("a", |object| object["metadata"]["uid"] = "u-2".into()), true),
        ];
        for (case, webhook, is_reason) in cases {
            assert_eq!(index.apply(&Event::Apply(webhook)), is_reason, "{case}");
        }
    }

    #[test]
    fn a_webhook_that_a_relist_lacks_is_removed() {
        let index = WebhookIndex::default();
        index.apply(&Event::Apply(named("a", |_| {})));
        index.apply(&Event::Apply(named("b", |_| {})));
        index.apply(&Event::Init);
        index.apply(&Event::InitApply(named("b", |_| {})));
        assert!(index.has(&key("a")), "the list is not complete");
        index.apply(&Event::InitDone);
        assert_eq!((index.has(&key("a")), index.has(&key("b"))), (false, true));
    }

    #[test]
    fn the_webhooks_of_a_connection_are_found_with_the_fields_of_their_status() {
        let index = WebhookIndex::default();
        index.apply(&Event::Apply(named("a", |object| {
            object["status"] =
                json!({"address": {"url": "https://x/"}, "subscription": {"id": "wh_1", "state": "Enabled"}});
        })));
        index.apply(&Event::Apply(named("b", |object| object["spec"]["connectionRef"]["name"] = "other".into())));
        let connection = index.by_secret(&key("a-signing"));
        assert_eq!(connection, ["a"]);
        let name = IndexEntry::of(&named("a", |_| {})).connection;
        let [found] = index.by_connections(&[key(&name)]).try_into().unwrap();
        assert_eq!((found.key.name.as_str(), found.url.as_deref()), ("a", Some("https://x/")));
        assert_eq!(found.subscription, Some(SubscriptionId("wh_1".into())));
    }
}
