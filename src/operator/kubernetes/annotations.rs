//! One-shot requests: an annotation with a value of its own, most often the time. A request is handled once, and the
//! status then holds its value, as Flux does with `reconcile.fluxcd.io/requestedAt`. Pure.

use kube::ResourceExt;

/// Asks for a list of the account and a new probe now.
pub const SYNC: &str = "webhooks.linktree-operator.dev/sync-requested-at";

/// Asks for a new signing secret.
pub const ROTATE_SECRET: &str = "webhooks.linktree-operator.dev/rotate-secret-requested-at";

/// The annotation that makes the kubelet look at a pod's mounted Secrets, with the digest it was pointed at.
pub const ROUTE_DIGEST_ANNOTATION: &str = "webhooks.linktree-operator.dev/route-digest";

/// The annotation that says which subscription a kept signing secret is of. A Secret without it was put there by a person.
pub const SUBSCRIPTION_ANNOTATION: &str = "webhooks.linktree-operator.dev/subscription-id";

/// The annotation that says until when the secret before the current one is tried too.
pub const PREVIOUS_NOT_AFTER_ANNOTATION: &str = "webhooks.linktree-operator.dev/previous-not-after-time";

/// Annotation with the digest of what was applied: shows that a field was taken out of the desired object, which the
/// comparison with the live one cannot see.
pub const DIGEST_ANNOTATION: &str = "webhooks.linktree-operator.dev/applied-digest";

/// The value of a request that was not handled yet.
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
    fn a_request_is_pending_until_its_very_value_was_handled() {
        let asked = webhook(|object| object["metadata"]["annotations"] = serde_json::json!({SYNC: "2"}));
        assert_eq!(pending(&asked, SYNC, None), Some("2"));
        assert_eq!(pending(&asked, SYNC, Some("1")), Some("2"));
        assert_eq!(pending(&asked, SYNC, Some("2")), None);
        assert_eq!(pending(&webhook(|_| {}), SYNC, Some("2")), None);
    }
}
