//! The challenge of a probe: only the receiver of one webhook, with the probe key of its route Secret, can answer it.

use crate::{linktree::secret::Secret, route::proof::Nonce};

/// The proof that the receiver at a URL must give: that it has the webhook's probe key and one of its routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    key: Secret,
    /// The digest of the desired route, and that of the route which the receiver's status reports: a receiver answers
    /// with the older one until it has loaded a change.
    route_digests: Vec<String>,
}

impl Challenge {
    #[must_use]
    pub fn new(key: &Secret, desired: &str, loaded: Option<&str>) -> Self {
        let loaded = loaded.filter(|loaded| *loaded != desired);
        let route_digests = [Some(desired), loaded].into_iter().flatten().map(str::to_owned).collect();
        Challenge { key: key.clone(), route_digests }
    }

    /// Whether `proof` answers the challenge with this nonce, sent to a URL with this path.
    #[must_use]
    pub fn is_met_by(&self, nonce: Nonce, path: &str, proof: &[u8]) -> bool {
        self.route_digests.iter().any(|digest| nonce.is_proven_by(proof, &self.key, path, digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_has_not_loaded_the_last_change_is_still_the_webhooks() {
        let (key, nonce) = (Secret::new("k"), Nonce::new([1; 32]));
        let met = |challenge: &Challenge, digest: &str| {
            challenge.is_met_by(nonce, "/h/1", nonce.proof(&key, "/h/1", digest).as_bytes())
        };
        let challenge = Challenge::new(&key, "new", Some("old"));
        assert!(met(&challenge, "new") && met(&challenge, "old") && !met(&challenge, "older"));
        assert!(!met(&Challenge::new(&key, "new", None), "old"));
        assert!(!met(&Challenge::new(&Secret::new("other"), "new", None), "new"));
    }
}
