//! Every status of a webhook or a connection during a test, from a watch, to check invariants of each.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use futures::TryStreamExt;
use kube::{
    Api, Client,
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt, watcher},
};
use linktree_operator::api::{connection::LinktreeConnection, webhook::LinktreeWebhook};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::task::JoinHandle;

/// The recorded objects of a test. Stopped on drop.
pub struct History {
    webhooks: Recording<LinktreeWebhook>,
    connections: Recording<LinktreeConnection>,
}

struct Recording<K> {
    versions: Arc<Mutex<Vec<K>>>,
    task: JoinHandle<()>,
}

impl<K> Recording<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    K: Send + 'static,
{
    fn follow(client: &Client, namespace: &str) -> Self {
        let versions: Arc<Mutex<Vec<K>>> = Arc::default();
        let (api, into): (Api<K>, _) = (Api::namespaced(client.clone(), namespace), Arc::clone(&versions));
        let task = tokio::spawn(async move {
            let changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
            let recorded = changes.try_for_each(async |object| {
                into.lock().unwrap().push(object);
                Ok(())
            });
            // The watch ends with the namespace, after the test.
            recorded.await.unwrap_or_default();
        });
        Recording { versions, task }
    }

    fn objects(&self) -> Vec<Value> {
        self.versions.lock().unwrap().iter().map(|object| serde_json::to_value(object).unwrap()).collect()
    }
}

impl History {
    pub fn follow(client: &Client, namespace: &str) -> Self {
        History { webhooks: Recording::follow(client, namespace), connections: Recording::follow(client, namespace) }
    }

    /// All recorded versions.
    pub fn objects(&self) -> Vec<Value> {
        [self.webhooks.objects(), self.connections.objects()].concat()
    }

    /// READY, REASON and STATE as `kubectl get --watch` prints them, one row per change.
    pub fn printed(&self) -> Vec<(String, String, String)> {
        let row = |webhook: &LinktreeWebhook| {
            let status = webhook.status.as_ref()?;
            let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
            let state = status.subscription.as_ref().map(|subscription| format!("{:?}", subscription.state));
            Some((ready.status.clone(), ready.reason.clone(), state.unwrap_or_default()))
        };
        let mut printed: Vec<_> = self.webhooks.versions.lock().unwrap().iter().filter_map(row).collect();
        printed.dedup();
        printed
    }

    /// Checks the rules of kstatus: `Reconciling` and `Stalled` only while true and never both; the observed generation
    /// is never ahead.
    pub fn assert_consistent(&self) {
        for webhook in &*self.webhooks.versions.lock().unwrap() {
            let Some(status) = &webhook.status else { continue };
            assert!(status.observed_generation <= webhook.metadata.generation, "{webhook:?}");
            let of = |name: &str| status.conditions.iter().find(|condition| condition.type_ == name);
            let (reconciling, stalled) = (of("Reconciling"), of("Stalled"));
            assert!(
                reconciling.is_none() || stalled.is_none(),
                "Reconciling and Stalled at once: {:?}",
                status.conditions
            );
            for condition in [reconciling, stalled].into_iter().flatten() {
                assert_eq!(condition.status, "True", "{:?}", status.conditions);
            }
            for condition in &status.conditions {
                assert!(!condition.message.is_empty(), "{condition:?}");
                assert!(condition.observed_generation <= webhook.metadata.generation, "{condition:?}");
            }
        }
    }
}

impl<K> Drop for Recording<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
