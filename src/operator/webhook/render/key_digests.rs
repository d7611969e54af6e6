//! Digests of the signing keys in a route, for the status.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::route::Route;

/// The digest of each signing key in a route, by the key's name.
#[must_use]
pub fn key_digests(route: &Route) -> BTreeMap<String, String> {
    route.keys.iter().map(|key| (key.name.clone(), keyed_digest(route, key.secret.expose()))).collect()
}

/// The HMAC of a signing key with the admin token, which is random and in the same Secret as the keys. Without access
/// to that Secret, no guess of the key can be verified against the digest.
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
    fn a_digest_depends_on_the_key_and_on_the_admin_token() {
        let route = crate::route::tests::route();
        let other =
            Route { admin_token: crate::linktree::secret::Secret::new("other"), ..crate::route::tests::route() };
        let digest = keyed_digest(&route, "s3cret");
        assert_eq!(digest, keyed_digest(&route, "s3cret"));
        assert_ne!(digest, keyed_digest(&route, "s3cret2"));
        assert_ne!(digest, keyed_digest(&other, "s3cret"));
    }
}
