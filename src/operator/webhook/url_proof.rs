//! The last proof that a webhook's URL leads to its receiver. It is reused for a while, since a webhook that only
//! observes its subscription needs it at every reconciliation. Pure.

use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::operator::kubernetes::digest::digest;

/// How long a proof is reused.
const TTL: SignedDuration = SignedDuration::from_secs(60);

/// The proven URL, as a digest, and the time of the proof.
#[derive(Clone, Debug, Default)]
pub struct UrlProof(Option<(u64, Timestamp)>);

impl UrlProof {
    #[must_use]
    pub fn of(url: &Url, now: Timestamp) -> Self {
        UrlProof(Some((digest(&url.as_str()), now)))
    }

    /// Whether this URL was proven a short time ago. A proof in the future was made before the clock was set back.
    #[must_use]
    pub fn holds(&self, url: &Url, now: Timestamp) -> bool {
        let is_recent = |at: Timestamp| (SignedDuration::ZERO..TTL).contains(&now.duration_since(at));
        self.0.is_some_and(|(proven, at)| proven == digest(&url.as_str()) && is_recent(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_url_and_a_minute() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (url, other) = (Url::parse("https://a/").unwrap(), Url::parse("https://b/").unwrap());
        let proof = UrlProof::of(&url, at(10));
        assert!(proof.holds(&url, at(10)) && proof.holds(&url, at(69)));
        assert!(!proof.holds(&url, at(70)) && !proof.holds(&url, at(9)) && !proof.holds(&other, at(11)));
        assert!(!UrlProof::default().holds(&url, at(0)));
    }
}
