//! Publishes Kubernetes Events.

use kube::{
    Client, Resource,
    runtime::{
        events::{Event, EventType, Recorder, Reporter},
        reflector::ObjectRef,
    },
};

use super::apply::FIELD_MANAGER;

/// Publisher of Kubernetes Events, with the operator as their reporting controller.
#[derive(Clone)]
pub struct Events(Recorder);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Events").finish_non_exhaustive()
    }
}

impl Events {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Events(Recorder::new(client, Reporter { controller: FIELD_MANAGER.into(), instance: None }))
    }

    /// Publishes an Event about an object's status change, and logs it.
    ///
    /// A failure to publish is only logged: Events are best effort, and the status has the same information.
    pub async fn publish<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        note: String,
    ) {
        tracing::info!(object = %ObjectRef::from_obj(object), reason, "{note}");
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(%error, reason, "publishing an Event failed");
        }
    }
}
