//! Signs requests as Standard Webhooks defines it (specification 1.0, symmetric): `v1,` and the base64 of the
//! HMAC-SHA256 of `id.timestamp.body`. Pure.

use base64::{
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::{BASE64_STANDARD, Engine},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::linktree::secret::Secret;

/// The prefix of a secret in the specification's recommended form: the rest is base64.
const PREFIX: &str = "whsec_";
/// Secrets occur with and without padding.
const SECRETS: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The signature of `body`. A secret that begins with `whsec_` is decoded from base64, any other is used as its own
/// bytes.
#[must_use]
pub fn sign(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    // HMAC accepts a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key(secret)) else { return String::new() };
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

fn key(secret: &Secret) -> Zeroizing<Vec<u8>> {
    let text = secret.expose();
    let decoded = text.strip_prefix(PREFIX).and_then(|encoded| SECRETS.decode(encoded).ok());
    Zeroizing::new(decoded.unwrap_or_else(|| text.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_matches_the_example_of_the_specification() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signature = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_without_the_prefix_is_used_as_bytes() {
        let plain = sign(&Secret::new("abc"), "i", 1, b"x");
        assert_eq!(plain, sign(&Secret::new("whsec_YWJj"), "i", 1, b"x"));
        assert_eq!(sign(&Secret::new("whsec_YQ=="), "i", 1, b"x"), sign(&Secret::new("whsec_YQ"), "i", 1, b"x"));
        assert_ne!(plain, sign(&Secret::new("abd"), "i", 1, b"x"));
    }

    #[test]
    fn an_id_cannot_be_parsed_as_an_id_and_a_timestamp() {
        assert_eq!(message_id("dlv_1.2 é"), "dlv_1%2E2%20%C3%A9");
    }
}
