//! What a webhook's objects are called, and the other way round: whose an object is by its name, which holds even where
//! somebody has cut its owner references. Pure.

/// Keeps a webhook from vanishing before its subscription has.
pub const FINALIZER: &str = "webhooks.linktree-operator.dev/subscription";

/// What `app.kubernetes.io/managed-by` says on everything we make.
pub const MANAGED_BY: &str = "linktree-webhook-operator";

/// Everything that the receiver consists of: workload, Service, ServiceAccount, NetworkPolicy.
#[must_use]
pub fn receiver(webhook: &str) -> String {
    format!("{webhook}-receiver")
}

/// The receiver's only pod.
#[must_use]
pub fn pod(webhook: &str) -> String {
    format!("{webhook}-receiver-0")
}

/// The Secret that holds the route file.
#[must_use]
pub fn route_secret(webhook: &str) -> String {
    format!("{webhook}-receiver-route")
}

/// The Secret that keeps the signing secret Linktree's API returned.
#[must_use]
pub fn signing_secret(webhook: &str) -> String {
    format!("{webhook}-signing")
}

/// Whose part of a receiver, or pod, this would be.
#[must_use]
pub fn owner_of_part(name: &str) -> Option<&str> {
    let workload = name.strip_suffix("-0").unwrap_or(name);
    workload.strip_suffix("-receiver").or_else(|| name.strip_suffix("-receiver"))
}

/// Whose own Secret this would be.
#[must_use]
pub fn owner_of_secret(name: &str) -> Option<&str> {
    name.strip_suffix("-receiver-route").or_else(|| name.strip_suffix("-signing"))
}

/// Whether a path is one that a URL of ours has.
#[must_use]
pub fn is_delivery_path(path: &str) -> bool {
    path.strip_prefix("/h/").is_some_and(|digest| digest.len() == 32 && digest.bytes().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_webhook() {
        for webhook in ["links", "links-0", "a-receiver", "x-receiver-0", "y-signing"] {
            assert_eq!(owner_of_part(&receiver(webhook)), Some(webhook));
            assert_eq!(owner_of_part(&pod(webhook)), Some(webhook));
            assert_eq!(owner_of_secret(&route_secret(webhook)), Some(webhook));
            assert_eq!(owner_of_secret(&signing_secret(webhook)), Some(webhook));
        }
        for other in ["links", "links-0", "receiver"] {
            assert_eq!((owner_of_part(other), owner_of_secret(other)), (None, None));
        }
    }
}
