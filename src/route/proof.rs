//! The proof that a probe of a public URL has reached the receiver of one route: an HMAC over the probe's random bytes.
//!
//! The internet can ask for such proofs, so their key serves nothing else, and nothing is derived from it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::linktree::secret::Secret;

/// The request header of a probe, with the hex digits of its [`Nonce`].
pub const NONCE_HEADER: &str = "x-linktree-probe";
/// The response header with the hex digits of the proof.
pub const PROOF_HEADER: &str = "x-linktree-proof";
/// The start of each proven text, so that no other use of an HMAC yields a proof.
const PURPOSE: &[u8] = b"linktree-probe-v1";

/// The random bytes of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce([u8; 32]);

impl Nonce {
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Nonce(random)
    }

    /// Parses 64 hex digits; `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Nonce(bytes))
    }

    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// The proof of the receiver whose route has this key and path, and whose route file has this digest.
    #[must_use]
    pub fn proof(self, key: &Secret, path: &str, route_digest: &str) -> String {
        hex::encode(self.mac(key, path, route_digest).finalize().into_bytes())
    }

    /// Whether `proof` is the one of the receiver with this key, path and route digest. An empty key proves nothing.
    #[must_use]
    pub fn is_proven_by(self, proof: &[u8], key: &Secret, path: &str, route_digest: &str) -> bool {
        let mut sent = [0; 32];
        !key.is_empty()
            && hex::decode_to_slice(proof, &mut sent).is_ok()
            && self.mac(key, path, route_digest).verify_slice(&sent).is_ok()
    }

    /// The path is the only part of variable length, so no two inputs have the same text.
    fn mac(self, key: &Secret, path: &str, route_digest: &str) -> Hmac<Sha256> {
        // HMAC takes a key of any length (RFC 2104, section 3), so this cannot fail.
        #[allow(clippy::expect_used, reason = "HMAC accepts keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).expect("HMAC accepts keys of any length");
        [PURPOSE, &self.0, path.as_bytes(), route_digest.as_bytes()].into_iter().for_each(|part| mac.update(part));
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_valid_only_for_its_probe_key_path_and_route() {
        let (key, nonce) = (Secret::new("k"), Nonce::new([7; 32]));
        let proof = nonce.proof(&key, "/h/1", "d1");
        let proven = |nonce: Nonce, key: &str, path, digest| {
            nonce.is_proven_by(proof.as_bytes(), &Secret::new(key), path, digest)
        };
        assert!(proven(nonce, "k", "/h/1", "d1"));
        assert!(!proven(Nonce::new([8; 32]), "k", "/h/1", "d1"), "a replayed proof");
        assert!(!proven(nonce, "other", "/h/1", "d1"), "the receiver of another cluster");
        assert!(!proven(nonce, "k", "/h/2", "d1") && !proven(nonce, "k", "/h/1", "d2"));
        let empty = Secret::new("");
        let unkeyed = nonce.proof(&empty, "/h/1", "d1");
        assert!(!nonce.is_proven_by(unkeyed.as_bytes(), &empty, "/h/1", "d1"));
        assert!(!nonce.is_proven_by(b"", &key, "/h/1", "d1"));
    }

    #[test]
    fn a_nonce_is_exactly_32_bytes() {
        let nonce = Nonce::new([255; 32]);
        assert_eq!(Nonce::from_hex(nonce.to_hex().as_bytes()), Some(nonce));
        for text in ["", "1", "ff", &"f".repeat(63), &"f".repeat(66), &"g".repeat(64)] {
            assert_eq!(Nonce::from_hex(text.as_bytes()), None, "{text}");
        }
    }
}
