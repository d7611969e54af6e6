//! The in-memory states of all webhooks of one scope.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::state::WebhookState;
use crate::operator::kubernetes::object_key::ObjectKey;

/// The in-memory states of all webhooks of one scope.
#[derive(Debug, Default)]
pub struct WebhookStates {
    /// Boxed, since a map reserves up to twice the space of its entries, and up to three times while it grows.
    states: Mutex<HashMap<Arc<ObjectKey>, Box<WebhookState>>>,
    /// Notified when a webhook appears or is gone.
    changed: Notify,
}

impl WebhookStates {
    /// A copy of the state that the webhook's last reconciliation left, or the default state.
    #[must_use]
    pub fn get(&self, webhook: &ObjectKey) -> WebhookState {
        self.locked().get(webhook).map(|state| (**state).clone()).unwrap_or_default()
    }

    pub fn set(&self, webhook: &Arc<ObjectKey>, state: WebhookState) {
        if self.locked().insert(Arc::clone(webhook), Box::new(state)).is_none() {
            self.changed.notify_one();
        }
    }

    /// Reads or changes a webhook's state in place; `None` if it has no state.
    pub fn with<T>(&self, webhook: &ObjectKey, change: impl FnOnce(&mut WebhookState) -> T) -> Option<T> {
        self.locked().get_mut(webhook).map(|state| change(state))
    }

    pub fn remove(&self, webhook: &ObjectKey) {
        self.locked().remove(webhook);
        self.changed.notify_one();
    }

    /// Waits until a webhook has appeared or is gone since the last call. It has one caller.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Arc<ObjectKey>, Box<WebhookState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
