//! Predicates on changes of a connection: which reconcile the connection itself, and which its webhooks. Also maps a
//! Secret to the connections that refer to it.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    ResourceExt,
    runtime::{reflector::store::Store, watcher::Event},
};

use super::index::WebhookIndex;
use crate::{
    api::connection::{CapabilityStatus, LinktreeConnection},
    operator::kubernetes::{digest::digest, guarded::Guarded, object_key::ObjectKey},
};

/// The connections whose API token is in this Secret.
pub fn by_token_secret(store: &Store<Guarded<LinktreeConnection>>, secret: &ObjectKey) -> Vec<ObjectKey> {
    let uses = |connection: &Guarded<LinktreeConnection>| {
        connection.namespace().as_ref() == Some(&secret.namespace)
            && connection.spec.token_secret_ref.name == secret.name
    };
    store.state().iter().filter(|connection| uses(connection)).map(|connection| ObjectKey::of(&**connection)).collect()
}

/// Predicate on connection events: which ones enqueue the connection. By key, the digest of the last observed state.
#[derive(Debug, Default)]
pub struct ChangeFilter(HashMap<ObjectKey, u64>);

impl ChangeFilter {
    /// Whether the event changes a connection's generation, annotations or deletion. A changed status does not count:
    /// two operators that briefly see an account differently would react to each other's status writes without end.
    pub fn is_changed(&mut self, event: &Event<Guarded<LinktreeConnection>>) -> bool {
        match event {
            Event::Apply(connection) | Event::InitApply(connection) => {
                let meta = &connection.metadata;
                let deleted_at = meta.deletion_timestamp.as_ref().map(|at| at.0);
                // A removed status does count, since it must be written again.
                let observed = connection.status.as_ref().map(|status| status.observed_generation);
                let state = digest(&(meta.generation, deleted_at, &meta.annotations, observed));
                self.0.insert(ObjectKey::of(connection), state) != Some(state)
            }
            Event::Delete(connection) => {
                self.0.remove(&ObjectKey::of(connection));
                true
            }
            Event::Init => {
                self.0.clear();
                true
            }
            Event::InitDone => true,
        }
    }
}

/// The parts of a connection that its webhooks depend on. The request budget in its status is not one of them: it is
/// written often while many webhooks wait for it.
#[derive(Debug, PartialEq)]
struct State {
    generation: Option<i64>,
    deleting: bool,
    status: Option<(Vec<Condition>, Option<CapabilityStatus>)>,
}

impl State {
    fn of(connection: &LinktreeConnection) -> Self {
        let status = connection.status.clone();
        State {
            generation: connection.metadata.generation,
            deleting: connection.metadata.deletion_timestamp.is_some(),
            status: status.map(|status| (status.conditions, status.capabilities)),
        }
    }
}

/// Finds the webhooks to enqueue when a connection changes.
#[derive(Debug)]
pub struct ConnectionUsers {
    index: Arc<WebhookIndex>,
    states: HashMap<ObjectKey, State>,
    /// The connections received so far of a list in progress.
    listed: HashMap<ObjectKey, State>,
}

impl ConnectionUsers {
    pub fn new(index: Arc<WebhookIndex>) -> Self {
        ConnectionUsers { index, states: HashMap::new(), listed: HashMap::new() }
    }

    /// Records an event of the watch. Returns the keys of the webhooks that its change affects.
    pub fn record(&mut self, event: &Event<Guarded<LinktreeConnection>>) -> Vec<ObjectKey> {
        let changed = match event {
            Event::Apply(connection) => {
                let (key, state) = (ObjectKey::of(connection), State::of(connection));
                if self.states.get(&key) == Some(&state) {
                    return Vec::new();
                }
                self.states.insert(key.clone(), state);
                vec![key]
            }
            Event::Delete(connection) => {
                let key = ObjectKey::of(connection);
                self.states.remove(&key);
                vec![key]
            }
            Event::Init => {
                self.listed = HashMap::new();
                return Vec::new();
            }
            Event::InitApply(connection) => {
                self.listed.insert(ObjectKey::of(connection), State::of(connection));
                return Vec::new();
            }
            Event::InitDone => self.finish_list(),
        };
        self.index.by_connections(&changed).into_iter().map(|entry| (*entry.key).clone()).collect()
    }

    /// Completes a list: returns the connections that it shows as changed, and those that it lacks.
    fn finish_list(&mut self) -> Vec<ObjectKey> {
        let before = std::mem::replace(&mut self.states, std::mem::take(&mut self.listed));
        let gone = before.keys().filter(|key| !self.states.contains_key(*key));
        let changed = self.states.iter().filter(|(key, state)| before.get(*key) != Some(*state)).map(|(key, _)| key);
        gone.chain(changed).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    fn connection(name: &str, edit: impl FnOnce(&mut Value)) -> Guarded<LinktreeConnection> {
        let mut object = json!({
            "apiVersion": "webhooks.linktree-operator.dev/v1alpha1",
            "kind": "LinktreeConnection",
            "metadata": {"namespace": "marketing", "name": name, "generation": 1},
            "spec": {"tokenSecretRef": {"name": "linktree-api"}},
        });
        edit(&mut object);
        serde_json::from_value(object).unwrap()
    }

    /// The users of the connection `brand`, and its only webhook.
    fn users() -> (ConnectionUsers, ObjectKey) {
        let webhook = webhook(|object| {
            object["metadata"]["namespace"] = "marketing".into();
            object["spec"]["connectionRef"]["name"] = "brand".into();
        });
        let index = WebhookIndex::default();
        index.apply(&Event::Apply(webhook.clone()));
        (ConnectionUsers::new(Arc::new(index)), ObjectKey::of(&webhook))
    }

    #[test]
    fn a_connection_is_reconciled_for_its_spec_and_annotations_and_not_for_its_status() {
        let apply = |edit: fn(&mut Value)| Event::Apply(connection("brand", edit));
        let status =
            |it: &mut Value| it["status"] = json!({"observedGeneration": 1, "requestBudget": {"remaining": 7}});
        let other_status =
            |it: &mut Value| it["status"] = json!({"observedGeneration": 1, "requestBudget": {"remaining": 3}});
        let mut filter = ChangeFilter::default();
        let cases = [
            ("it is new", apply(|_| {}), true),
            ("its first status", apply(status), true),
            ("a changed status", apply(other_status), false),
            ("its status was removed", apply(|_| {}), true),
            ("its spec", apply(|it| it["metadata"]["generation"] = 2.into()), true),
            ("an annotation", apply(|it| it["metadata"]["annotations"] = json!({"a": "b"})), true),
            ("it is deleted", Event::Delete(connection("brand", |_| {})), true),
            ("it is recreated", apply(|_| {}), true),
        ];
        for (case, event, is_changed) in cases {
            assert_eq!(filter.is_changed(&event), is_changed, "{case}");
        }
    }

    #[test]
    fn webhooks_are_reconciled_only_for_the_parts_of_their_connection_that_they_depend_on() {
        let plain = || connection("brand", |_| {});
        let counted = || connection("brand", |it| it["status"] = json!({"requestBudget": {"remaining": 7}}));
        let ready = || {
            connection("brand", |it| {
                let ready = json!({"type": "Ready", "status": "True", "reason": "Available", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"});
                it["status"] = json!({"conditions": [ready]});
            })
        };
        let other = || connection("other", |_| {});
        type Events = Vec<Event<Guarded<LinktreeConnection>>>;
        let cases: [(&str, Events, usize); 10] = [
            ("it is new", vec![Event::Apply(plain())], 1),
            ("it is new and listed", vec![Event::Init, Event::InitApply(plain()), Event::InitDone], 1),
            ("the list is not complete", vec![Event::Init, Event::InitApply(plain())], 0),
            ("the same event twice", vec![Event::Apply(plain()), Event::Apply(plain())], 1),
            ("its budget", vec![Event::Apply(counted()), Event::Apply(counted())], 1),
            ("its conditions", vec![Event::Apply(plain()), Event::Apply(ready())], 2),
            ("it is deleted", vec![Event::Apply(plain()), Event::Delete(plain())], 2),
            ("a list lacks it", vec![Event::Apply(plain()), Event::Init, Event::InitDone], 2),
            (
                "a list shows no change",
                vec![Event::Apply(plain()), Event::Init, Event::InitApply(plain()), Event::InitDone],
                1,
            ),
            ("another one", vec![Event::Apply(other()), Event::Delete(other())], 0),
        ];
        for (case, events, expected) in cases {
            let (mut users, webhook) = users();
            let affected: Vec<ObjectKey> = events.iter().flat_map(|event| users.record(event)).collect();
            assert_eq!(affected, vec![webhook; expected], "{case}");
        }
    }

    #[test]
    fn a_secret_affects_the_connections_of_its_namespace_that_name_it() {
        let (store, mut writer) = reflector::store();
        let elsewhere = connection("elsewhere", |it| it["metadata"]["namespace"] = "sales".into());
        let other = connection("other", |it| it["spec"]["tokenSecretRef"]["name"] = "another".into());
        for event in [connection("brand", |_| {}), elsewhere, other].map(Event::Apply) {
            writer.apply_watcher_event(&event);
        }
        let find = |namespace: &str, name: &str| by_token_secret(&store, &ObjectKey::new(namespace, name));
        assert_eq!(find("marketing", "linktree-api"), [ObjectKey::new("marketing", "brand")]);
        assert_eq!(find("marketing", "a-secret-of-others"), []);
    }
}
