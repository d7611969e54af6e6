//! What the CloudEvents of a webhook are called: the receiver sends them so, and the operator says so in the status. Pure.

use super::WebhookName;
use crate::linktree::event::EventType;

/// Where the objects live that events come from; `source` is the webhook's path in the Kubernetes API, as is the
/// custom there.
const SOURCE: &str = "/apis/webhooks.linktree-operator.dev/v1alpha1/namespaces";
const SOURCE_RESOURCE: &str = "linktreewebhooks";
/// What Linktree's type is prefixed with: CloudEvents asks for a reverse-DNS name of whoever defines the type.
const TYPE_PREFIX: &str = "dev.linktree-operator.";

/// The `source` of a webhook's events.
#[must_use]
pub fn source(WebhookName { namespace, name }: &WebhookName) -> String {
    format!("{SOURCE}/{namespace}/{SOURCE_RESOURCE}/{name}")
}

/// The `type` of an event.
#[must_use]
pub fn event_type(event_type: &EventType) -> String {
    format!("{TYPE_PREFIX}{event_type}")
}
