//! The names of a webhook's child objects, and back from such a name to its webhook, which works even if the object's
//! owner reference was removed. Pure.

/// The finalizer on webhooks: a deleted one stays until its subscription at Linktree is deleted.
pub const FINALIZER: &str = "webhooks.linktree-operator.dev/subscription";

/// The value of the label `app.kubernetes.io/managed-by` on every object that the operator creates.
pub const MANAGED_BY: &str = "linktree-webhook-operator";

/// Maximum length of a label's value, and of the name of a Service.
const LABEL_MAX: usize = 63;
/// Maximum length of the hash that the StatefulSet controller appends, after a dash, in the label with a pod's revision.
const REVISION_HASH_MAX: usize = 10;

/// Maximum length of the name of a webhook with a bundled receiver: no pod can be created whose revision label is longer
/// than a label may be.
pub const NAME_WITH_RECEIVER_MAX: usize = LABEL_MAX - "-receiver".len() - "-".len() - REVISION_HASH_MAX;

/// The name of a webhook's receiver objects: StatefulSet, Service, ServiceAccount, NetworkPolicy.
#[must_use]
pub fn receiver(webhook: &str) -> String {
    format!("{webhook}-receiver")
}

/// The name of the receiver's only pod, replica 0 of its StatefulSet.
#[must_use]
pub fn pod(webhook: &str) -> String {
    format!("{webhook}-receiver-0")
}

/// The name of the receiver's volume with the journal, and of the template of its claim.
pub const JOURNAL_VOLUME: &str = "journal";

/// The name of the claim for the volume of a webhook's journal, as the StatefulSet controller forms it.
#[must_use]
pub fn journal_claim(webhook: &str) -> String {
    format!("{JOURNAL_VOLUME}-{}", pod(webhook))
}

/// The name of the webhook that a claim with this name would belong to; the webhook need not exist.
#[must_use]
pub fn owner_of_journal_claim(name: &str) -> Option<&str> {
    name.strip_prefix(JOURNAL_VOLUME)?.strip_prefix('-')?.strip_suffix("-receiver-0")
}

/// The name of the Secret that holds a webhook's route file.
#[must_use]
pub fn route_secret(webhook: &str) -> String {
    format!("{webhook}-receiver-route")
}

/// The name of the Secret that stores the signing secret from Linktree's API.
#[must_use]
pub fn signing_secret(webhook: &str) -> String {
    format!("{webhook}-signing")
}

/// The name of the webhook that a receiver object or pod with this name would belong to; the webhook need not exist.
#[must_use]
pub fn owner_of_part(name: &str) -> Option<&str> {
    let workload = name.strip_suffix("-0").unwrap_or(name);
    workload.strip_suffix("-receiver").or_else(|| name.strip_suffix("-receiver"))
}

/// The name of the webhook that a route Secret or signing Secret with this name would belong to; the webhook need not
/// exist.
#[must_use]
pub fn owner_of_secret(name: &str) -> Option<&str> {
    name.strip_suffix("-receiver-route").or_else(|| name.strip_suffix("-signing"))
}

/// Whether a URL path has the form of a bundled receiver's delivery path.
#[must_use]
pub fn is_delivery_path(path: &str) -> bool {
    path.strip_prefix("/h/").is_some_and(|digest| digest.len() == 32 && digest.bytes().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_the_longest_name_can_be_labeled_with_its_revision() {
        let revision = format!("{}-{}", receiver(&"a".repeat(NAME_WITH_RECEIVER_MAX)), "5cd4f8b9d7");
        assert_eq!((NAME_WITH_RECEIVER_MAX, revision.len()), (43, LABEL_MAX));
    }

    #[test]
    fn the_webhook_is_found_from_the_name_of_its_object() {
        for webhook in ["links", "links-0", "a-receiver", "x-receiver-0", "y-signing"] {
            assert_eq!(owner_of_part(&receiver(webhook)), Some(webhook));
            assert_eq!(owner_of_part(&pod(webhook)), Some(webhook));
            assert_eq!(owner_of_journal_claim(&journal_claim(webhook)), Some(webhook));
            assert_eq!(owner_of_secret(&route_secret(webhook)), Some(webhook));
            assert_eq!(owner_of_secret(&signing_secret(webhook)), Some(webhook));
        }
        for other in ["links", "links-0", "receiver"] {
            assert_eq!((owner_of_part(other), owner_of_secret(other)), (None, None));
        }
        for other in ["links-receiver-0", "journal-links", "journals-links-receiver-0", "journal-links-receiver-1"] {
            assert_eq!(owner_of_journal_claim(other), None, "{other}");
        }
    }
}
