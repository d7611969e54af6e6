//! What the parts of the running simulator share: the state behind its lock, and the order of deliveries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Notify, RwLock};

use super::state::State;
use crate::clock;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Rings after every change of the state: something may be due earlier than before.
    pub(super) changed: Notify,
    /// Every attempt under way holds this for reading; moving the clock ahead holds it for writing, so that then
    /// attempts are made one by one, in the order they fall due.
    pub(super) order: Arc<RwLock<()>>,
}

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), order: Arc::new(RwLock::new(())) })
    }

    /// Reads or changes the state at the present moment.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let seen = act(&mut self.lock(), clock::now());
        self.changed.notify_one();
        seen
    }

    /// As [`Shared::with`] for the one who listens to `changed`, without ringing.
    pub(super) fn quietly<T>(&self, act: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        act(&mut self.lock(), clock::now())
    }

    /// A panic elsewhere cannot leave the state half changed in a way that matters to a simulator.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
