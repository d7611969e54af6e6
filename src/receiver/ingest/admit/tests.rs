//! Table tests of accepted and rejected requests, and a property: only a signed delivery is admitted.

use http::HeaderName;
use proptest::prelude::*;

use super::*;
use crate::linktree::secret::Secret;

const NOW: i64 = 1_700_000_000;
const BODY: &[u8] = br#"{"type":"link.created","data":{"link_id":"l1"},"timestamp":1700000000}"#;

fn keys() -> Vec<Key> {
    ["new", "old"].map(|name| Key { name: name.into(), secret: Secret::new(format!("secret-{name}")) }).into()
}

fn signature(secret: &str, sent_at: i64, body: &[u8]) -> String {
    Signature::sign(&Secret::new(secret), &SentAt::from_seconds(sent_at).unwrap(), body).to_hex()
}

fn header(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut header = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        header.append(name, value);
    }
    header
}

fn window(policy: StaleDeliveryPolicy, remembered: u64) -> Window {
    Window::of(&Route {
        timestamp_tolerance_seconds: 300,
        stale_delivery_policy: policy,
        deduplication_window_seconds: remembered,
        ..crate::route::tests::route()
    })
}

/// The result for a request with these fields, at [`NOW`] and with 300 s of tolerance.
fn verdict(fields: &[(&'static str, &str)], body: &[u8]) -> Result<Event, Rejection> {
    let (window, now) = (window(StaleDeliveryPolicy::Reject, 604_800), Timestamp::from_second(NOW).unwrap());
    let credentials = Credentials::read(&header(fields), window, now)?;
    admit(&keys(), window, &credentials, Bytes::copy_from_slice(body), now)
}

fn signed(secret: &str, sent_at: i64, body: &[u8]) -> Result<Event, Rejection> {
    let signature = signature(secret, sent_at, body);
    verdict(
        &[(headers::SIGNATURE, &signature), (headers::TIMESTAMP, &sent_at.to_string()), (headers::DELIVERY_ID, "d1")],
        body,
    )
}

#[test]
fn a_delivery_signed_with_any_key_is_admitted() {
    let event = signed("secret-new", NOW, BODY).unwrap();
    assert_eq!((event.id.as_str(), event.event_type.as_str()), ("d1", "link.created"));
    assert_eq!((event.key.as_str(), event.sent_at, event.received_at), ("new", NOW, NOW));
    assert_eq!(&event.body[..], BODY);
    assert_eq!(signed("secret-old", NOW, BODY).unwrap().key, "old");
    assert_eq!(signed("secret-other", NOW, BODY).unwrap_err(), Rejection::Unverified { recent: true });
}

#[test]
fn the_window_is_300_seconds_in_both_directions() {
    for age in [-300, -1, 0, 299, 300] {
        assert!(signed("secret-new", NOW - age, BODY).is_ok(), "{age}");
    }
    for age in [-301, 301, 100_000] {
        assert_eq!(signed("secret-new", NOW - age, BODY).unwrap_err(), Rejection::Stale { off: age }, "{age}");
        assert_eq!(signed("forged", NOW - age, BODY).unwrap_err(), Rejection::Unverified { recent: false }, "{age}");
    }
}

#[test]
fn a_stale_delivery_is_accepted_within_the_deduplication_window() {
    let accept_once = window(StaleDeliveryPolicy::AcceptOnce, 3600);
    for age in [-300, 0, 301, 1210, 3299] {
        assert!(accept_once.allows(age), "{age}");
    }
    for age in [-301, 3300, 3600, i64::MAX, i64::MIN] {
        assert!(!accept_once.allows(age), "{age}");
    }
    assert!(!accept_once.is_recent(301), "an unverified delivery proves nothing about our keys");
    assert!(window(StaleDeliveryPolicy::AcceptOnce, 100).allows(300), "the tolerance is the minimum");
    assert!(!window(StaleDeliveryPolicy::Reject, 3600).allows(301));
}

#[test]
fn an_absent_or_empty_signature_or_timestamp_is_a_missing_header() {
    let signature = signature("secret-new", NOW, BODY);
    let (sign, time) = ((headers::SIGNATURE, signature.as_str()), (headers::TIMESTAMP, "1700000000"));
    for fields in [
        vec![],
        vec![sign],
        vec![time],
        vec![(headers::SIGNATURE, ""), time],
        vec![sign, (headers::TIMESTAMP, "")],
        vec![(headers::DELIVERY_ID, "d1")],
    ] {
        assert_eq!(verdict(&fields, BODY).unwrap_err(), Rejection::MissingHeader, "{fields:?}");
    }
}

#[test]
fn credentials_follow_one_grammar() {
    let good = signature("secret-new", NOW, BODY);
    let upper = good.to_uppercase();
    let time = (headers::TIMESTAMP, "1700000000");
    assert!(verdict(&[(headers::SIGNATURE, &upper), time], BODY).is_ok(), "hex of either case");
    for bad in [
        good[1..].to_owned(),
        format!("{good}0"),
        format!("sha256={good}"),
        format!("{good},{good}"),
        format!("{}é", &good[2..]),
        "z".repeat(64),
        "ab".repeat(20),
        "ab".repeat(64),
        "FpilC8dNHP8dueXA4OKXfCrZ/bokXVc3zbeJ5MxuCYk=".to_owned(),
    ] {
        let of_age = |age: i64| {
            let sent_at = (NOW - age).to_string();
            verdict(&[(headers::SIGNATURE, &bad), (headers::TIMESTAMP, &sent_at)], BODY).unwrap_err()
        };
        assert_eq!(of_age(300), Rejection::Malformed { recent: true }, "another key or algorithm: {bad}");
        assert_eq!(of_age(301), Rejection::Malformed { recent: false }, "{bad}");
    }
    for bad in ["+1700000000", "01700000000", "1700000000.0", "１７０００００００", "1700000000,1700000000"] {
        let fields = [(headers::SIGNATURE, good.as_str()), (headers::TIMESTAMP, bad)];
        assert_eq!(verdict(&fields, BODY).unwrap_err(), Rejection::Malformed { recent: false }, "{bad}");
    }
}

#[test]
fn a_repeated_header_is_rejected_even_with_equal_values() {
    let signature = signature("secret-new", NOW, BODY);
    let (sign, time) = ((headers::SIGNATURE, signature.as_str()), (headers::TIMESTAMP, "1700000000"));
    for fields in [vec![sign, sign, time], vec![sign, time, time]] {
        assert_eq!(verdict(&fields, BODY).unwrap_err(), Rejection::Malformed { recent: false });
    }
}

#[test]
fn a_verified_delivery_without_a_valid_id_gets_an_id_from_its_signature() {
    let signature = signature("secret-new", NOW, BODY);
    let (sign, time) = ((headers::SIGNATURE, signature.as_str()), (headers::TIMESTAMP, "1700000000"));
    let id = (headers::DELIVERY_ID, "d1");
    let names: Vec<_> = [vec![], vec![id, id], vec![(headers::DELIVERY_ID, "a b")]]
        .into_iter()
        .map(|extra| verdict(&[vec![sign, time], extra].concat(), BODY).unwrap().id)
        .collect();
    assert!(names[0].starts_with("unidentified-"));
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
}

#[test]
fn without_keys_a_delivery_is_rejected_as_no_keys() {
    let signature = signature("secret-new", NOW, BODY);
    let header = header(&[(headers::SIGNATURE, &signature), (headers::TIMESTAMP, "1700000000")]);
    let (window, now) = (window(StaleDeliveryPolicy::Reject, 604_800), Timestamp::from_second(NOW).unwrap());
    let credentials = Credentials::read(&header, window, now).unwrap();
    assert_eq!(admit(&[], window, &credentials, BODY.into(), now).unwrap_err(), Rejection::NoKeys);
}

#[test]
fn the_identity_covers_body_and_key_besides_the_delivery_id() {
    let first = signed("secret-new", NOW, BODY).unwrap().identity;
    let resigned = signed("secret-new", NOW + 10, BODY).unwrap().identity;
    let poisoned = signed("secret-new", NOW, b"{}").unwrap().identity;
    assert_eq!((first.delivery, first.body), (resigned.delivery, resigned.body));
    let rotated = signed("secret-old", NOW, BODY).unwrap().identity;
    assert_ne!(first.signature, rotated.signature);
    assert_eq!(first.delivery, poisoned.delivery);
    assert_ne!(first.body, poisoned.body);
}

proptest! {
    #[test]
    fn any_flipped_bit_of_body_signature_or_timestamp_is_rejected(bit in 0..8 * (BODY.len() + 32 + 10)) {
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        let mut body = BODY.to_vec();
        let mut mac = hex::decode(signature("secret-new", NOW, BODY)).unwrap();
        let mut time = NOW.to_string().into_bytes();
        match byte.checked_sub(BODY.len()) {
            None => body[byte] ^= mask,
            Some(byte) if byte < 32 => mac[byte] ^= mask,
            Some(byte) => time[byte - 32] ^= mask,
        }
        let mut fields = HeaderMap::new();
        fields.insert(headers::SIGNATURE, HeaderValue::from_str(&hex::encode(mac)).unwrap());
        if let Ok(time) = HeaderValue::from_bytes(&time) {
            fields.insert(headers::TIMESTAMP, time);
        }
        let (window, now) = (window(StaleDeliveryPolicy::Reject, 604_800), Timestamp::from_second(NOW).unwrap());
        let verdict = Credentials::read(&fields, window, now)
            .and_then(|credentials| admit(&keys(), window, &credentials, Bytes::from(body), now));
        prop_assert!(verdict.is_err());
    }

    #[test]
    fn every_signed_body_is_admitted_byte_for_byte(body: Vec<u8>, age in -300_i64..=300) {
        let event = signed("secret-old", NOW - age, &body);
        prop_assert_eq!(&event.unwrap().body[..], &body[..]);
    }
}
