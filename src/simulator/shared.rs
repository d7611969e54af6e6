//! The shared state of a running simulator, behind its lock, and the order of deliveries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, RwLock};

use super::state::State;
use crate::clock;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Notified after every change of the state, because an attempt may be due earlier than before.
    pub(super) changed: Notify,
    /// Every attempt in flight holds the read lock; advancing the clock holds the write lock, so that attempts then run
    /// one by one, in the order in which they fall due.
    pub(super) order: Arc<RwLock<()>>,
}

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), order: Arc::new(RwLock::new(())) })
    }

    /// Calls `act` with the locked state and the real time, then notifies `changed`.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let result = act(&mut self.lock(), clock::now());
        self.changed.notify_one();
        result
    }

    /// As [`Shared::with`], without the notification: for the task that itself waits for `changed`.
    pub(super) fn without_notify<T>(&self, act: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        act(&mut self.lock(), clock::now())
    }

    /// Locks the state, even a poisoned lock: a change half made at a panic does no harm in a simulator.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
