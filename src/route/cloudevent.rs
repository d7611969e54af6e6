//! Names of a webhook's CloudEvents: the receiver sends them, and the operator reports them in the status. Pure.

use super::WebhookName;
use crate::linktree::event::EventType;

/// The path of the webhooks in the Kubernetes API. By convention, `source` is the path of the object that events come
/// from.
const SOURCE: &str = "/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces";
const SOURCE_RESOURCE: &str = "linktreewebhooks";
/// The prefix that the CloudEvents `type` adds to Linktree's event type. CloudEvents recommends a reverse-DNS name of
/// the organization that defines the type.
const TYPE_PREFIX: &str = "dev.linktree-operator.";

/// Returns the CloudEvents `source` of a webhook's events.
#[must_use]
pub fn source(WebhookName { namespace, name }: &WebhookName) -> String {
    format!("{SOURCE}/{namespace}/{SOURCE_RESOURCE}/{name}")
}

/// Returns the CloudEvents `type` of an event.
#[must_use]
pub fn event_type(event_type: &EventType) -> String {
    format!("{TYPE_PREFIX}{event_type}")
}
