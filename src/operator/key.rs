//! What an object is known by here.

use kube::ResourceExt;

use crate::api::webhook::LinktreeWebhook;

/// `(namespace, name)` of an object.
pub type Key = (String, String);

#[must_use]
pub fn of(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The connection a webhook refers to: one of its own namespace.
#[must_use]
pub fn of_connection(webhook: &LinktreeWebhook) -> Key {
    (webhook.namespace().unwrap_or_default(), webhook.spec.connection_ref.name.clone())
}
