//! Each invalid pair has its own message, and the last valid pair stays in use.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A self-signed certificate and its key, both PEM.
fn pair(until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["hooks.example.com".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn parse(certificate: &str, key: &str) -> Result<Pair, PairError> {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    Pair::parse(certificate.as_bytes(), key.as_bytes(), &aws_lc_rs::default_provider(), now)
}

#[test]
fn each_invalid_pair_has_its_own_message_without_content() {
    let ((good, key), (other, other_key), (old, old_key)) = (pair(2030), pair(2031), pair(2025));
    assert!(parse(&good, &key).is_ok());
    assert!(parse(&format!("{good}{other}"), &key).is_ok(), "a chain: the first is the leaf");
    for (certificate, key, expected) in [
        ("", key.as_str(), "tls.crt holds no certificate in PEM"),
        (&key, &key, "tls.crt holds no certificate in PEM"),
        (&good, "", "tls.key holds no private key in PEM"),
        (&good, "-----BEGIN PRIVATE KEY-----\ns3cret\n", "tls.key holds no private key in PEM"),
        (&good, &good, "tls.key holds no private key in PEM"),
        (&good, &other_key, "tls.key is not the key of the certificate in tls.crt"),
        (&old, &old_key, "the certificate expired at 2025-01-01T00:00:00Z"),
    ] {
        assert_eq!(parse(certificate, key).unwrap_err().to_string(), expected);
    }
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(parse(garbage, &key), Err(PairError::Unusable { .. })));
    let shown = format!("{:?}", parse(&good, &key).unwrap());
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn an_invalid_pair_leaves_the_last_valid_one_in_use_until_it_expires() {
    let ((good, key), (other, _)) = (pair(2030), pair(2031));
    let at = |text: &str| text.parse().unwrap();
    let certificate = Certificate::default();
    assert!(!certificate.status(at("2026-01-01T00:00:00Z")).serving);
    certificate.update(parse(&good, &key));
    assert_eq!(certificate.status(at("2026-01-01T00:00:00Z")).problem, None);
    certificate.update(parse(&other, &key));
    let status = certificate.status(at("2026-01-01T00:00:00Z"));
    assert_eq!((status.serving, status.problem), (true, Some(PairError::Mismatch.to_string())));
    assert!(!certificate.status(at("2030-01-02T00:00:00Z")).serving);
    certificate.update(parse(&good, &key));
    let late = certificate.status(at("2030-01-02T00:00:00Z"));
    assert_eq!(late.problem.unwrap(), "the certificate expired at 2030-01-01T00:00:00Z");
}
