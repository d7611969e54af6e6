//! The signature of a delivery: a lower- or upper-case hex HMAC-SHA256, keyed by the signing secret, over
//! `"{x-linktree-timestamp}.{raw body bytes}"` (Linktree's documentation, "Verify signatures").

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{headers::SentAt, secret::Secret};

/// The length of the MAC in bytes; on the wire it has twice as many hex digits.
pub const MAC_BYTES: usize = 32;

/// A decoded signature. It is built only from exactly 64 hex digits, so that no comparison meets a wrong length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature([u8; MAC_BYTES]);

impl Signature {
    /// Parses 64 hex digits of either case; `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut mac = [0; MAC_BYTES];
        hex::decode_to_slice(text, &mut mac).ok()?;
        Some(Signature(mac))
    }

    /// Signs `body` with the timestamp `sent_at`.
    #[must_use]
    pub fn sign(secret: &Secret, sent_at: &SentAt, body: &[u8]) -> Self {
        Signature(mac(secret, sent_at, body).finalize().into_bytes().into())
    }

    /// Whether `secret` signed exactly this timestamp and body. Takes the same time wherever the MACs differ.
    /// An empty secret verifies nothing: anyone could sign with it.
    #[must_use]
    pub fn verifies(&self, secret: &Secret, sent_at: &SentAt, body: &[u8]) -> bool {
        !secret.is_empty() && mac(secret, sent_at, body).verify_slice(&self.0).is_ok()
    }

    /// The bytes of the MAC. The receiver stores them, because a captured request can be replayed under a new delivery
    /// id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; MAC_BYTES] {
        &self.0
    }

    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

fn mac(secret: &Secret, sent_at: &SentAt, body: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length (RFC 2104, section 3), so this cannot fail.
    #[allow(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC accepts keys of any length");
    mac.update(sent_at.as_str().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_at(text: &str) -> SentAt {
        SentAt::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn agrees_with_an_independent_implementation() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac s3cret
        let signature = Signature::sign(&Secret::new("s3cret"), &sent_at("1700000000"), br#"{"a":1}"#);
        assert_eq!(signature.to_hex(), "1698a50bc74d1ff1db85c4e0a5297c2ad9fdba245d5737cdb789e4cc6e098940");
    }

    #[test]
    fn verifies_what_it_signed_and_nothing_else() {
        let (secret, at, body) = (Secret::new("s3cret"), sent_at("1700000000"), b"body".as_slice());
        let signature = Signature::sign(&secret, &at, body);
        assert!(signature.verifies(&secret, &at, body));
        assert!(!signature.verifies(&Secret::new("other"), &at, body));
        assert!(!signature.verifies(&secret, &sent_at("1700000001"), body));
        assert!(!signature.verifies(&secret, &at, b"bodY"));
    }

    #[test]
    fn an_empty_secret_verifies_nothing() {
        let (empty, at) = (Secret::new(""), sent_at("1700000000"));
        assert!(!Signature::sign(&empty, &at, b"x").verifies(&empty, &at, b"x"));
    }

    #[test]
    fn only_sixty_four_hex_digits_are_a_signature() {
        let good = "ab".repeat(32);
        assert!(Signature::from_hex(good.as_bytes()).is_some());
        assert!(Signature::from_hex(good.to_uppercase().as_bytes()).is_some());
        for bad in ["", &good[1..], &format!("{good}0"), &format!("g{}", &good[1..]), &format!("sha256={good}")] {
            assert!(Signature::from_hex(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
