//! Annotation names, and one-shot requests: a user sets an annotation to a unique value, usually the time. Each value
//! is handled once and then written to the status, as with Flux's `reconcile.fluxcd.io/requestedAt`. Pure.

use kube::ResourceExt;

/// Request on a webhook or connection: list the account now and, for a webhook, probe its URL.
pub const SYNC: &str = "webhooks.linktree-operator.dev/sync-requested-at";

/// Request on a webhook: replace its signing secret with a new one.
pub const ROTATE_SECRET: &str = "webhooks.linktree-operator.dev/rotate-secret-requested-at";

/// Request on a webhook: send dead letters again. Its value selects them, and is followed by a text that makes it unique.
pub const REDRIVE: &str = "webhooks.linktree-operator.dev/redrive-requested";

/// Annotation of a receiver's pod with the digest of its current route: a new value makes the kubelet refresh the
/// mounted Secrets.
pub const ROUTE_DIGEST_ANNOTATION: &str = "webhooks.linktree-operator.dev/route-digest";

/// Annotation of a signing Secret with the id of the subscription that its secret belongs to. A user created a Secret
/// without it.
pub const SUBSCRIPTION_ANNOTATION: &str = "webhooks.linktree-operator.dev/subscription-id";

/// Annotation of a signing Secret with the time until which its previous secret also verifies deliveries.
pub const PREVIOUS_NOT_AFTER_ANNOTATION: &str = "webhooks.linktree-operator.dev/previous-not-after-time";

/// Annotation of a webhook or connection with the namespace and name of the operator that manages it. It hands the
/// object over from one operator to another.
pub const OPERATOR: &str = "webhooks.linktree-operator.dev/operator";

/// Annotation of a journal's claim without a webhook, with the time at which the operator noticed that.
pub const UNUSED_SINCE: &str = "webhooks.linktree-operator.dev/unused-since-time";

/// Annotation of a journal's claim without a webhook, with the number of seconds for which the operator has watched it.
pub const UNUSED_SECONDS: &str = "webhooks.linktree-operator.dev/unused-seconds";

/// The value of a request annotation that differs from `handled`, the last handled value; `None` if there is no such
/// request.
#[must_use]
pub fn pending<'a>(object: &'a impl ResourceExt, request: &str, handled: Option<&str>) -> Option<&'a str> {
    let value = object.annotations().get(request).map(String::as_str)?;
    (Some(value) != handled).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::webhook::spec::tests::webhook;

    #[test]
    fn a_request_is_pending_until_its_value_was_handled() {
        let requested = webhook(|object| object["metadata"]["annotations"] = serde_json::json!({SYNC: "2"}));
        assert_eq!(pending(&requested, SYNC, None), Some("2"));
        assert_eq!(pending(&requested, SYNC, Some("1")), Some("2"));
        assert_eq!(pending(&requested, SYNC, Some("2")), None);
        assert_eq!(pending(&webhook(|_| {}), SYNC, Some("2")), None);
    }
}
