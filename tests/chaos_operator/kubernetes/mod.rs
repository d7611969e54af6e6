//! A Kubernetes API server in memory: what the operator uses of one, in simulated time. That it answers as the real one does
//! is what `tests/controlplane/fidelity.rs` shows. Views of it can be made stale, see [`View`].

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use linktree_operator::clock;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};

use self::store::Store;
pub use self::{
    kinds::Kind,
    refusal::Refusal,
    store::{Change, Key, Part},
    view::View,
};

mod apply;
pub mod http;
mod kinds;
mod merge;
mod refusal;
pub mod schema;
mod store;
mod stream;
mod view;

/// How long the garbage collector takes.
const COLLECTED_AFTER: Duration = Duration::from_millis(700);

/// Cheap to clone; all clones are the same API server.
#[derive(Clone)]
pub struct Kubernetes(Arc<Shared>);

struct Shared {
    store: Mutex<Store>,
    changed: broadcast::Sender<()>,
    view: Mutex<View>,
}

impl Kubernetes {
    /// An empty one, and the task that collects what its owners have left.
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

    /// Every object, by where it is.
    pub fn everything(&self) -> Vec<(Key, Value)> {
        self.store().everything().map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    pub fn version(&self) -> u64 {
        self.store().version()
    }

    /// Reads what happened so far.
    pub fn read_log<T>(&self, read: impl FnOnce(&[Change]) -> T) -> T {
        read(&self.store().log)
    }

    /// Applies an object as `manager`; what is unknown to its schema is dropped.
    pub fn apply(&self, key: &Key, manager: &str, object: Value) -> Result<Value, Refusal> {
        self.write(|store, at| store.apply(key, Part::Main, manager, object, at))
    }

    pub fn merge(&self, key: &Key, part: Part, patch: &Value) -> Result<Value, Refusal> {
        self.write(|store, at| store.merge(key, part, "somebody", patch, at))
    }

    /// Reads an object, changes it, and replaces it.
    pub fn edit(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Result<Value, Refusal> {
        self.write(|store, at| {
            let mut object = store.get(key).cloned().ok_or_else(|| Refusal::absent(key))?;
            change(&mut object);
            store.replace(key, "somebody", &object, at)
        })
    }

    pub fn delete(&self, key: &Key) -> Result<(), Refusal> {
        self.write(|store, at| store.delete(key, at))
    }

    /// How it shows itself from now on.
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.0.view.lock().unwrap()
    }

    /// Rings after every change.
    pub fn changes(&self) -> Changes {
        Changes(self.0.changed.subscribe())
    }

    fn write<T>(&self, act: impl FnOnce(&mut Store, jiff::Timestamp) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut store = self.store();
        let before = store.version();
        let result = act(&mut store, clock::now());
        let changed = store.version() != before;
        drop(store);
        if changed {
            // It fails where nobody listens.
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
                let abandoned = self.store().abandoned();
                if abandoned.is_empty() {
                    break;
                }
                for key in abandoned {
                    self.delete(&key).unwrap();
                }
            }
        }
    }
}

/// What rings after every change: all that listen are woken in the order in which they began to, so that a case is the same
/// each time. (tokio's `watch` wakes in any order.)
pub struct Changes(broadcast::Receiver<()>);

impl Changes {
    /// Waits for a change since the last; `false` when there will be none.
    pub async fn changed(&mut self) -> bool {
        !matches!(self.0.recv().await, Err(RecvError::Closed))
    }

    /// What has changed until now is known.
    pub fn seen(&mut self) {
        self.0 = self.0.resubscribe();
    }
}
