//! What an object is known by here.

use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

use crate::api::webhook::LinktreeWebhook;

/// `(namespace, name)` of an object.
pub type Key = (String, String);

#[must_use]
pub fn of(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The object as kube's controllers and stores call it.
#[must_use]
pub fn reference<K: Resource<DynamicType = ()>>(key: &Key) -> ObjectRef<K> {
    ObjectRef::new(&key.1).within(&key.0)
}

/// The connection a webhook refers to: one of its own namespace.
#[must_use]
pub fn of_connection(webhook: &LinktreeWebhook) -> Key {
    (webhook.namespace().unwrap_or_default(), webhook.spec.connection_ref.name.clone())
}
