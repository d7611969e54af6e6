//! An in-memory Kubernetes API server with the requests that the operator makes, in simulated time.
//! `tests/controlplane/fidelity.rs` compares its responses with a real one. Lists and watches can be made stale, see
//! [`View`].

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use linktree_operator::clock;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};

use self::store::{Policy, Store};
pub use self::{
    kinds::Kind,
    status_error::StatusError,
    store::{Change, Key, Part},
    view::View,
};

mod apply;
pub mod http;
mod kinds;
mod managed_fields;
mod merge;
pub mod schema;
mod status_error;
mod store;
mod stream;
mod view;

/// The delay of the garbage collector.
const COLLECTED_AFTER: Duration = Duration::from_millis(700);

/// A handle to the API server. Clones share it.
#[derive(Clone)]
pub struct Kubernetes(Arc<Shared>);

struct Shared {
    store: Mutex<Store>,
    changed: broadcast::Sender<()>,
    view: Mutex<View>,
}

impl Kubernetes {
    /// Starts an empty API server and its garbage collector.
    pub fn start() -> Self {
        let kubernetes = Kubernetes(Arc::new(Shared {
            store: Mutex::default(),
            changed: broadcast::Sender::new(1),
            view: Mutex::default(),
        }));
        let collected = kubernetes.clone();
        tokio::spawn(async move { collected.collect().await });
        kubernetes
    }

    pub fn key(&self, kind: &str, namespace: &str, name: &str) -> Key {
        Key { kind: Kind::named(kind), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub fn get(&self, key: &Key) -> Option<Value> {
        self.store().get(key).cloned()
    }

    pub fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let store = self.store();
        store.all(Kind::named(kind), Some(namespace)).map(|(_, object)| object.clone()).collect()
    }

    /// All objects with their keys.
    pub fn everything(&self) -> Vec<(Key, Value)> {
        self.store().everything().map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    pub fn version(&self) -> u64 {
        self.store().version()
    }

    /// Reads the log of changes.
    pub fn read_log<T>(&self, read: impl FnOnce(&[Change]) -> T) -> T {
        read(&self.store().log)
    }

    /// Applies an object as `manager`; fields unknown to its schema are pruned.
    pub fn apply(&self, key: &Key, manager: &str, object: Value) -> Result<Value, StatusError> {
        self.write(|store, at| store.apply(key, Part::Main, (manager, true), object, at))
    }

    pub fn merge(&self, key: &Key, part: Part, patch: &Value) -> Result<Value, StatusError> {
        self.write(|store, at| store.merge(key, part, "user", patch, at))
    }

    /// Reads an object, changes it, and replaces it.
    pub fn edit(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Result<Value, StatusError> {
        self.write(|store, at| {
            let mut object = store.get(key).cloned().ok_or_else(|| StatusError::absent(key))?;
            change(&mut object);
            store.replace(key, "user", &object, at)
        })
    }

    /// Sets the admission policy: it may change each object that is created or changed.
    pub fn set_policy(&self, policy: impl Fn(&Key, &mut Value) + Send + Sync + 'static) {
        self.store().policy = Policy(Some(Arc::new(policy)));
    }

    /// Changes an object past validation.
    pub fn put_raw(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Result<Value, StatusError> {
        self.write(|store, at| store.put_raw(key, change, at))
    }

    pub fn delete(&self, key: &Key) -> Result<(), StatusError> {
        self.write(|store, at| store.delete(key, at))
    }

    /// The staleness of lists and watches, to read or change.
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.0.view.lock().unwrap()
    }

    /// Subscribes to changes.
    pub fn changes(&self) -> Changes {
        Changes(self.0.changed.subscribe())
    }

    fn write<T>(
        &self,
        act: impl FnOnce(&mut Store, jiff::Timestamp) -> Result<T, StatusError>,
    ) -> Result<T, StatusError> {
        let mut store = self.store();
        let before = store.version();
        let result = act(&mut store, clock::now());
        let changed = store.version() != before;
        drop(store);
        if changed {
            // It fails if there are no subscribers.
            let _ = self.0.changed.send(());
        }
        result
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap()
    }

    async fn collect(self) {
        let mut changes = self.changes();
        while changes.changed().await {
            tokio::time::sleep(COLLECTED_AFTER).await;
            loop {
                let orphans = self.store().orphans();
                if orphans.is_empty() {
                    break;
                }
                for key in orphans {
                    self.delete(&key).unwrap();
                }
            }
        }
    }
}

/// A subscription to changes. Subscribers wake in the order of their subscription, so that a case is deterministic
/// (tokio's `watch` wakes in any order).
pub struct Changes(broadcast::Receiver<()>);

impl Changes {
    /// Waits for the next change; `false` once the API server is gone.
    pub async fn changed(&mut self) -> bool {
        !matches!(self.0.recv().await, Err(RecvError::Closed))
    }

    /// Skips all changes up to now.
    pub fn skip(&mut self) {
        self.0 = self.0.resubscribe();
    }
}
