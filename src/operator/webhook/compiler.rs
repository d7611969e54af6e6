//! Compiles the programs of webhooks' sinks, once per uid and generation, on threads beside the runtime: a compilation
//! takes long, and on the runtime's only thread it would hold up every other webhook.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};

use super::spec::{InvalidSpec, Spec, programs};
use crate::operator::kubernetes::object_key::ObjectKey;

/// Maximum number of compilations at a time.
const PLACES: usize = 2;
/// How long a reconciliation waits for a compilation. The compilation goes on, and its result is kept.
const DEADLINE: Duration = Duration::from_secs(2);

/// The results of the compilations of all webhooks: at most one per webhook.
#[derive(Clone, Debug)]
pub struct Compiler {
    results: Arc<Mutex<HashMap<ObjectKey, Entry>>>,
    places: Arc<Semaphore>,
}

/// The compilation of one webhook's programs.
#[derive(Clone, Debug)]
struct Entry {
    uid: String,
    generation: Option<i64>,
    /// The result; `None` while it is compiled.
    result: Option<Result<(), InvalidSpec>>,
    done: Arc<Notify>,
}

/// The result of a request to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiled {
    Valid,
    Invalid(InvalidSpec),
    /// Still being compiled, or waiting for a place.
    NotYet,
}

impl Default for Compiler {
    fn default() -> Self {
        Compiler { results: Arc::default(), places: Arc::new(Semaphore::new(PLACES)) }
    }
}

impl Compiler {
    /// Compiles the programs of a webhook's sinks, unless that was done for this generation.
    pub async fn compile(&self, key: &ObjectKey, spec: &Spec) -> Compiled {
        if !programs::any(&spec.sinks) {
            self.forget(key);
            return Compiled::Valid;
        }
        let done = match self.known(key, spec) {
            Some(Entry { result: Some(result), .. }) => return verdict(result),
            Some(entry) => entry.done,
            None => self.start(key, spec),
        };
        // The permit of a notification that came before is kept.
        if tokio::time::timeout(DEADLINE, done.notified()).await.is_err() {
            return Compiled::NotYet;
        }
        self.known(key, spec).and_then(|entry| entry.result).map_or(Compiled::NotYet, verdict)
    }

    /// Drops the result of a deleted webhook.
    pub fn forget(&self, key: &ObjectKey) {
        self.results().remove(key);
    }

    fn known(&self, key: &ObjectKey, spec: &Spec) -> Option<Entry> {
        self.results().get(key).filter(|entry| entry.is_of(spec)).cloned()
    }

    fn start(&self, key: &ObjectKey, spec: &Spec) -> Arc<Notify> {
        let done = Arc::<Notify>::default();
        let entry = Entry { uid: spec.uid.clone(), generation: spec.generation, result: None, done: Arc::clone(&done) };
        self.results().insert(key.clone(), entry);
        let (compiler, key, spec, ended) = (self.clone(), key.clone(), spec.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let Ok(_place) = compiler.places.acquire().await else { return };
            // A newer generation or the webhook's deletion has replaced this request while it waited.
            if compiler.known(&key, &spec).is_none() {
                return;
            }
            let sinks = spec.sinks.clone();
            let result = tokio::task::spawn_blocking(move || programs::compile(&sinks)).await;
            let mut results = compiler.results();
            match (result, results.get_mut(&key).filter(|entry| entry.is_of(&spec))) {
                (Ok(result), Some(entry)) => entry.result = Some(result),
                // It is started again by the next reconciliation.
                (Err(_), Some(_)) => drop(results.remove(&key)),
                (_, None) => {}
            }
            drop(results);
            ended.notify_one();
        });
        done
    }

    fn results(&self) -> MutexGuard<'_, HashMap<ObjectKey, Entry>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_of(&self, spec: &Spec) -> bool {
        self.uid == spec.uid && self.generation == spec.generation
    }
}

fn verdict(result: Result<(), InvalidSpec>) -> Compiled {
    result.map_or_else(Compiled::Invalid, |()| Compiled::Valid)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::spec::tests::webhook, *};

    fn spec(generation: i64, filter: &str) -> Spec {
        let parsed = Spec::parse(&webhook(|object: &mut Value| {
            object["metadata"]["generation"] = json!(generation);
            object["spec"]["sinks"][0]["filter"] = filter.into();
        }));
        parsed.unwrap()
    }

    fn key() -> ObjectKey {
        ObjectKey::new("marketing", "links")
    }

    #[tokio::test]
    async fn programs_are_compiled_once_per_generation() {
        let compiler = Compiler::default();
        assert_eq!(compiler.compile(&key(), &spec(1, "true")).await, Compiled::Valid);
        // No place is left: only a kept result can be returned.
        let places = Arc::clone(&compiler.places).acquire_many_owned(PLACES as u32).await.unwrap();
        assert_eq!(compiler.compile(&key(), &spec(1, "true")).await, Compiled::Valid);
        drop(places);
        let Compiled::Invalid(error) = compiler.compile(&key(), &spec(2, "evnt")).await else { panic!("valid") };
        assert!(error.to_string().starts_with("spec.sinks[cms].filter uses the unknown variable"), "{error}");
        compiler.forget(&key());
        assert!(compiler.results().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconciliation_does_not_wait_longer_than_its_deadline() {
        let compiler = Compiler::default();
        let places = Arc::clone(&compiler.places).acquire_many_owned(PLACES as u32).await.unwrap();
        assert_eq!(compiler.compile(&key(), &spec(1, "true")).await, Compiled::NotYet);
        drop(places);
        assert_eq!(compiler.compile(&key(), &spec(1, "true")).await, Compiled::Valid);
    }

    #[tokio::test]
    async fn a_webhook_without_programs_is_not_compiled() {
        let compiler = Compiler::default();
        let plain = Spec::parse(&webhook(|_| {})).unwrap();
        assert_eq!(compiler.compile(&key(), &plain).await, Compiled::Valid);
        assert!(compiler.results().is_empty());
    }
}
