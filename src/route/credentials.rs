//! A sink's credentials in the form that its requests need. The operator parses them to report a credential that cannot
//! be used; the receiver sends and signs with them. Pure.

use std::fmt;

use base64::{
    alphabet::STANDARD,
    engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig},
};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::linktree::secret::Secret;

/// The prefix of a signing secret in the form that Standard Webhooks recommends: the rest is base64.
const PREFIX: &str = "whsec_";
/// Signing secrets occur with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The key that a signing secret stands for. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Zeroizing<Vec<u8>>);

impl SigningKey {
    /// Reads a signing secret as the libraries of Standard Webhooks do: base64, with or without `whsec_` and line
    /// breaks. A secret that is not base64 is its own bytes, unless it begins with `whsec_`.
    ///
    /// # Errors
    /// If the secret begins with `whsec_` and the rest is not base64, or is empty: what is wrong, and the remedy.
    pub fn parse(secret: &Secret) -> Result<Self, &'static str> {
        let text: Zeroizing<Vec<u8>> =
            Zeroizing::new(secret.expose().bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
        let decoded = |encoded: &[u8]| BASE64.decode(encoded).ok().filter(|key| !key.is_empty()).map(Zeroizing::new);
        if let Some(encoded) = text.strip_prefix(PREFIX.as_bytes()) {
            return decoded(encoded)
                .map(SigningKey)
                .ok_or("begins with whsec_, but the rest is not base64: store the signing secret unchanged");
        }
        // Without the prefix, only the length distinguishes padded base64 from a word.
        let encoded = Some(&text[..]).filter(|text| text.len().is_multiple_of(4)).and_then(decoded);
        Ok(SigningKey(encoded.unwrap_or_else(|| Zeroizing::new(secret.expose().as_bytes().to_vec()))))
    }

    /// The key's bytes, to sign with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The value of `Authorization` for a bearer token, hidden from `Debug`.
///
/// # Errors
/// If no header can hold the token: what is wrong, and the remedy.
pub fn authorization(token: &Secret) -> Result<HeaderValue, &'static str> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| "has a line break or another character that a header cannot hold: store the token without it")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> Option<Vec<u8>> {
        SigningKey::parse(&Secret::new(secret)).ok().map(|key| key.expose().to_vec())
    }

    #[test]
    fn base64_is_decoded_with_or_without_prefix_padding_and_line_breaks() {
        for secret in [
            "whsec_MDEyMzQ1Njc4OWFiY2RlZg==",
            "whsec_MDEyMzQ1Njc4OWFiY2RlZg",
            "MDEyMzQ1Njc4OWFiY2RlZg==",
            "MDEyMzQ1Njc4\nOWFiY2RlZg==",
            "whsec_MDEyMzQ1Njc4\r\n OWFiY2RlZg==\n",
        ] {
            assert_eq!(key(secret).as_deref(), Some(b"0123456789abcdef".as_slice()), "{secret:?}");
        }
    }

    #[test]
    fn another_secret_is_its_own_bytes() {
        for secret in ["abc", "s3cret", "p\u{e4}ssword", "two words!", "MDEyMzQ1Njc4OWFiY2RlZg", "===="] {
            assert_eq!(key(secret).as_deref(), Some(secret.as_bytes()), "{secret}");
        }
    }

    #[test]
    fn the_prefix_without_base64_is_an_error() {
        for secret in ["whsec_", "whsec_not base64!", "whsec_a", "whsec_\u{e4}", "whsec_MDEy-_x="] {
            assert_eq!(key(secret), None, "{secret}");
        }
    }

    #[test]
    fn a_token_that_a_header_cannot_hold_is_an_error() {
        assert_eq!(authorization(&Secret::new("t0ken")).unwrap(), "Bearer t0ken");
        for token in ["eyJh.\neyJz", "a\rb", "a\u{0}", "a\u{7f}"] {
            assert!(authorization(&Secret::new(token)).is_err(), "{token:?}");
        }
        let key = SigningKey::parse(&Secret::new("s3cret"));
        assert_eq!(format!("{:?} {key:?}", authorization(&Secret::new("t0ken"))), "Ok(Sensitive) Ok(SigningKey(…))");
    }
}
