//! Signs requests as Standard Webhooks defines it (specification 1.0, symmetric): `v1,` and the base64 of the
//! HMAC-SHA256 of `id.timestamp.body`. Pure.

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::route::credentials::SigningKey;

/// The signature of `body`.
#[must_use]
pub fn sign(key: &SigningKey, id: &str, timestamp: i64, body: &[u8]) -> String {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

/// The `webhook-id` of an event: its id, with every byte percent-encoded that a header or the signed text must not
/// contain; a dot would end the id in the signed text.
#[must_use]
pub fn message_id(id: &str) -> String {
    id.bytes().fold(String::with_capacity(id.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linktree::secret::Secret;

    #[test]
    fn a_signature_matches_the_example_of_the_specification() {
        let key = SigningKey::parse(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_prefix_of_a_secret_changes_no_signature() {
        let signed = |secret: &str| sign(&SigningKey::parse(&Secret::new(secret)).unwrap(), "i", 1, b"x");
        assert_eq!(signed("abc"), signed("whsec_YWJj"));
        assert_eq!(signed("YWJj"), signed("whsec_YWJj"));
        assert_eq!(signed("whsec_YQ=="), signed("whsec_YQ"));
        assert_ne!(signed("abc"), signed("abd"));
    }

    #[test]
    fn an_id_cannot_be_parsed_as_an_id_and_a_timestamp() {
        assert_eq!(message_id("dlv_1.2 é"), "dlv_1%2E2%20%C3%A9");
    }
}
