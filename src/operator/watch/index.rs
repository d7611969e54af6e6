//! The webhooks of one scope as their watch last showed them: no more of each than what finds the ones that something
//! else concerns. The objects themselves are read when they are looked at. No IO.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::observed_versions::Version;
use crate::{
    api::webhook::LinktreeWebhook,
    linktree::wire::SubscriptionId,
    operator::{
        kubernetes::{
            names,
            object_key::{self, Key},
        },
        webhook::spec,
    },
};

/// What is kept of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Shared by all that is kept of it: there may be ten thousand.
    pub key: Arc<Key>,
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

impl Member {
    #[must_use]
    pub fn of(webhook: &LinktreeWebhook) -> Self {
        let status = webhook.status.as_ref();
        let subscription = status.and_then(|status| status.subscription.as_ref());
        Member {
            key: Arc::new(object_key::of(webhook)),
            version: Version::of(webhook),
            connection: webhook.spec.connection_ref.name.clone(),
            subscription: subscription.and_then(|known| known.id.clone()).map(SubscriptionId),
            begun: subscription.and_then(|known| Some(known.registration_time.as_ref()?.0)),
            url: status.and_then(|status| Some(status.address.as_ref()?.url.clone())),
            secrets: spec::named_secrets(webhook).into_iter().collect(),
        }
    }
}

/// Follows the watch of the webhooks.
#[derive(Debug, Default)]
pub struct Roster {
    state: Mutex<State>,
    /// A list of all there is was over once.
    filled: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    members: HashMap<Arc<Key>, Arc<Member>>,
    /// For each Secret that a spec names, the names of the webhooks.
    by_secret: HashMap<Key, Vec<String>>,
    /// Those that a list which is not over yet has shown.
    listed: HashSet<Arc<Key>>,
}

impl Roster {
    /// Takes in what the watch tells.
    pub fn follow(&self, event: &Event<LinktreeWebhook>) {
        let mut state = self.state();
        match event {
            Event::Apply(webhook) => drop(state.put(Member::of(webhook))),
            Event::Delete(webhook) => state.remove(&object_key::of(webhook)),
            Event::Init => state.listed = HashSet::new(),
            Event::InitApply(webhook) => {
                let key = state.put(Member::of(webhook));
                state.listed.insert(key);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut state.listed);
                let gone: Vec<Arc<Key>> = state.members.keys().filter(|key| !listed.contains(*key)).cloned().collect();
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
    pub fn get(&self, webhook: &Key) -> Option<Arc<Member>> {
        self.state().members.get(webhook).cloned()
    }

    #[must_use]
    pub fn has(&self, webhook: &Key) -> bool {
        self.state().members.contains_key(webhook)
    }

    /// The webhooks of these connections, in the order of their names.
    #[must_use]
    pub fn of_connections(&self, connections: &[Key]) -> Vec<Arc<Member>> {
        let is_of = |member: &Member, (namespace, name): &Key| member.key.0 == *namespace && member.connection == *name;
        let uses = |member: &&Arc<Member>| connections.iter().any(|connection| is_of(member, connection));
        let mut members: Vec<_> = self.state().members.values().filter(uses).cloned().collect();
        members.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        members
    }

    /// The names of the webhooks, all in the Secret's namespace, that a Secret concerns: whose spec names it, or whose
    /// own one it is.
    #[must_use]
    pub fn of_secret(&self, secret: &Key) -> Vec<String> {
        let state = self.state();
        let mut names = state.by_secret.get(secret).cloned().unwrap_or_default();
        let owner = names::owner_of_secret(&secret.1).map(str::to_owned);
        names.extend(owner.filter(|owner| state.members.contains_key(&(secret.0.clone(), owner.clone()))));
        names
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns what it is known by here.
    fn put(&mut self, mut member: Member) -> Arc<Key> {
        if let Some(known) = self.members.get(&member.key) {
            member.key = Arc::clone(&known.key);
            if **known == member {
                return member.key;
            }
        }
        self.remove(&Arc::clone(&member.key));
        for secret in &member.secrets {
            let names = self.by_secret.entry((member.key.0.clone(), secret.clone())).or_default();
            names.push(member.key.1.clone());
        }
        let key = Arc::clone(&member.key);
        self.members.insert(Arc::clone(&key), Arc::new(member));
        key
    }

    fn remove(&mut self, key: &Key) {
        let Some(member) = self.members.remove(key) else { return };
        for secret in &member.secrets {
            let place = (key.0.clone(), secret.clone());
            if let Some(names) = self.by_secret.get_mut(&place) {
                names.retain(|name| *name != key.1);
                if names.is_empty() {
                    self.by_secret.remove(&place);
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

    fn place(name: &str) -> Key {
        (Member::of(&webhook(|_| {})).key.0.clone(), name.to_owned())
    }

    #[test]
    fn a_secret_concerns_those_that_name_it_and_the_one_whose_own_it_is() {
        let roster = Roster::default();
        roster.follow(&Event::Apply(named("a", with_key("shared"))));
        roster.follow(&Event::Apply(named("b", with_key("shared"))));
        let mut of_shared = roster.of_secret(&place("shared"));
        of_shared.sort();
        assert_eq!(of_shared, ["a", "b"]);
        assert_eq!(roster.of_secret(&("elsewhere".into(), "shared".into())), [""; 0]);
        assert_eq!(roster.of_secret(&place("a-signing")), ["a"]);
        assert_eq!(roster.of_secret(&place("b-receiver-route")), ["b"]);
        assert_eq!(roster.of_secret(&place("c-signing")), [""; 0], "there is no such webhook");

        roster.follow(&Event::Apply(named("a", with_key("other"))));
        assert_eq!(roster.of_secret(&place("shared")), ["b"]);
        roster.follow(&Event::Delete(named("b", with_key("shared"))));
        assert_eq!(roster.of_secret(&place("shared")), [""; 0]);
        assert_eq!(roster.of_secret(&place("other")), ["a"]);
    }

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let roster = Roster::default();
        roster.follow(&Event::Apply(named("a", |_| {})));
        roster.follow(&Event::Apply(named("b", |_| {})));
        roster.follow(&Event::Init);
        roster.follow(&Event::InitApply(named("b", |_| {})));
        assert!(roster.has(&place("a")), "the list is not over");
        roster.follow(&Event::InitDone);
        assert_eq!((roster.has(&place("a")), roster.has(&place("b"))), (false, true));
    }

    #[test]
    fn a_connections_webhooks_are_found_with_what_their_status_says() {
        let roster = Roster::default();
        roster.follow(&Event::Apply(named("a", |object| {
            object["status"] =
                json!({"address": {"url": "https://x/"}, "subscription": {"id": "wh_1", "state": "Enabled"}});
        })));
        roster.follow(&Event::Apply(named("b", |object| object["spec"]["connectionRef"]["name"] = "other".into())));
        let connection = roster.of_secret(&place("a-signing"));
        assert_eq!(connection, ["a"]);
        let name = Member::of(&named("a", |_| {})).connection;
        let [found] = roster.of_connections(&[place(&name)]).try_into().unwrap();
        assert_eq!((found.key.1.as_str(), found.url.as_deref()), ("a", Some("https://x/")));
        assert_eq!(found.subscription, Some(SubscriptionId("wh_1".into())));
    }
}
