//! What the status says of the signing keys.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    api::webhook_status::SigningStatus,
    operator::webhook::{
        observed::{Child, Keys, Observed},
        outcome::{Failure, Outcome},
        plan::Step,
    },
    route::Route,
};

/// The keys in the route, and which of them verified the last delivery.
pub(super) fn status(route: &Route, observed: &Observed) -> SigningStatus {
    let active_key = match &observed.keys {
        Keys::Found { active, .. } => Some(active.clone()),
        Keys::CurrentMissing(_) | Keys::ProviderMissing(_) | Keys::Expired => None,
    };
    let last = observed.receiver.status.as_ref().map(|status| status.last_verified_key.clone());
    let known = observed.status.signing.as_ref().and_then(|signing| signing.last_verified_key.clone());
    SigningStatus { active_key, last_verified_key: last.unwrap_or(known), key_digests: key_digests(route) }
}

/// What the status says of each key.
#[must_use]
pub fn key_digests(route: &Route) -> BTreeMap<String, String> {
    route.keys.iter().map(|key| (key.name.clone(), keyed_digest(route, key.secret.expose()))).collect()
}

/// Whether the route Secret, which holds the admin token, is there. Before, each look makes a new token up, and what is
/// keyed by it would change with each look.
pub(super) fn has_admin_token(observed: &Observed, steps: &[Step], outcome: &Outcome) -> bool {
    let failed = outcome.failures.iter().any(|failure| matches!(failure, Failure::Kubernetes { .. }));
    !observed.children_outdated.contains(&Child::RouteSecret)
        || (!failed && steps.contains(&Step::Apply(Child::RouteSecret)))
}

/// Keyed by the admin token, which is random and in the same Secret as the keys: who cannot read those cannot try
/// guesses against the digest.
fn keyed_digest(route: &Route, secret: &str) -> String {
    #[allow(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(route.admin_token.expose().as_bytes()).expect("HMAC accepts keys of any length");
    mac.update(secret.as_bytes());
    hex::encode(&mac.finalize().into_bytes()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_changes_with_the_key_and_cannot_be_tried_without_the_admin_token() {
        let route = crate::route::tests::route();
        let other =
            Route { admin_token: crate::linktree::secret::Secret::new("other"), ..crate::route::tests::route() };
        let digest = keyed_digest(&route, "s3cret");
        assert_eq!(digest, keyed_digest(&route, "s3cret"));
        assert_ne!(digest, keyed_digest(&route, "s3cret2"));
        assert_ne!(digest, keyed_digest(&other, "s3cret"));
    }
}
