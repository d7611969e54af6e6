//! Every status a webhook had during a test, as a watch saw it: what must hold always is asserted of each.

use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use linktree_operator::api::webhook::LinktreeWebhook;
use tokio::task::JoinHandle;

/// Ends when it is dropped.
pub struct History {
    seen: Arc<Mutex<Vec<LinktreeWebhook>>>,
    task: JoinHandle<()>,
}

impl History {
    pub fn follow(client: &Client, namespace: &str) -> Self {
        let seen: Arc<Mutex<Vec<LinktreeWebhook>>> = Arc::default();
        let (api, into): (Api<LinktreeWebhook>, _) = (Api::namespaced(client.clone(), namespace), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let changes = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
            let noted = changes.try_for_each(async |webhook| {
                into.lock().unwrap().push(webhook);
                Ok(())
            });
            // The namespace goes at the end of the test, and the watch with it.
            noted.await.unwrap_or_default();
        });
        History { seen, task }
    }

    /// Everything that stood there, as text.
    pub fn text(&self) -> String {
        serde_json::to_string(&*self.seen.lock().unwrap()).unwrap()
    }

    /// kstatus: `Reconciling` and `Stalled` only while true and never both; the observed generation never runs ahead;
    /// what is ready is not stalled.
    pub fn assert_consistent(&self) {
        for webhook in &*self.seen.lock().unwrap() {
            let Some(status) = &webhook.status else { continue };
            assert!(status.observed_generation <= webhook.metadata.generation, "{webhook:?}");
            let of = |name: &str| status.conditions.iter().find(|condition| condition.type_ == name);
            let (reconciling, stalled) = (of("Reconciling"), of("Stalled"));
            assert!(reconciling.is_none() || stalled.is_none(), "both at once: {:?}", status.conditions);
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

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}
