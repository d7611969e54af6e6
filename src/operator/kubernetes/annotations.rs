//! Annotation names, and one-shot requests: an annotation with a unique value, usually the time. A request is handled
//! once; the status then holds its value, as with Flux's `reconcile.fluxcd.io/requestedAt`. Pure.

use kube::ResourceExt;

/// Requests a list of the account and a new probe now.
pub const SYNC: &str = "webhooks.linktree-operator.dev/sync-requested-at";

/// Requests a new signing secret.
pub const ROTATE_SECRET: &str = "webhooks.linktree-operator.dev/rotate-secret-requested-at";

/// Annotation of a pod with the digest of its current route: a new value makes the kubelet refresh the mounted Secrets.
pub const ROUTE_DIGEST_ANNOTATION: &str = "webhooks.linktree-operator.dev/route-digest";

/// Annotation of a signing Secret with the id of its subscription. A Secret without it was created by a user.
pub const SUBSCRIPTION_ANNOTATION: &str = "webhooks.linktree-operator.dev/subscription-id";

/// Annotation of a signing Secret with the time until which the previous secret also verifies deliveries.
pub const PREVIOUS_NOT_AFTER_ANNOTATION: &str = "webhooks.linktree-operator.dev/previous-not-after-time";

/// Annotation with the digest of the applied object. It reveals a field that was removed from the desired object, which
/// a comparison with the live object cannot.
pub const DIGEST_ANNOTATION: &str = "webhooks.linktree-operator.dev/applied-digest";

/// The value of a request that was not handled yet; `None` if there is none.
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
