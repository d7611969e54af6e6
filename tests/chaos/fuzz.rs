//! Fuzzing of headers, bodies and route files: no panics, and no invalid input is accepted.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use linktree_operator::{
    receiver::ingest::{
        admit::{Credentials, Window, admit},
        event,
    },
    route::Route,
};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};

use super::{
    deliveries::Delivery,
    process,
    row::{Row, count},
};

fn run<S: Strategy>(row: &mut Row, cases: usize, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config =
        ProptestConfig { cases: u32::try_from(cases).unwrap(), failure_persistence: None, ..ProptestConfig::default() };
    let rng = proptest::test_runner::TestRng::from_seed(
        proptest::test_runner::RngAlgorithm::ChaCha,
        &[row.seed.to_le_bytes(), [0; 8], [0; 8], [0; 8]].concat(),
    );
    if let Err(error) = TestRunner::new_with_rng(config, rng).run(&strategy, test) {
        row.violated(error.to_string());
    }
    row.tried(cases);
}

/// A header's value: arbitrary, or similar to a valid one.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..150),
        "[0-9a-fA-F]{60,68}".prop_map(String::into_bytes),
        "[-+0-9.]{1,13}".prop_map(String::into_bytes),
        "[!-~ ]{0,140}".prop_map(String::into_bytes),
    ]
}

fn header(pairs: &[(usize, Vec<u8>)]) -> HeaderMap {
    let names = ["x-linktree-signature", "x-linktree-timestamp", "x-linktree-delivery-id", "content-encoding"];
    let mut header = HeaderMap::new();
    for (name, value) in pairs {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            header.append(HeaderName::from_static(names[name % names.len()]), value);
        }
    }
    header
}

#[test]
fn fuzz_headers() {
    let mut row = Row::new("fuzz: headers", "fuzz_headers");
    let route = process::route(None);
    run(
        &mut row,
        count(200_000, 2_000),
        (vec((0usize..4, value()), 0..6), vec(any::<u8>(), 0..64)),
        |(pairs, body)| {
            let (window, now) = (Window::of(&route), Timestamp::UNIX_EPOCH);
            let Ok(credentials) = Credentials::read(&header(&pairs), window, now) else { return Ok(()) };
            let admitted = admit(&route.keys, window, &credentials, Bytes::from(body), now);
            prop_assert!(admitted.is_err(), "an unsigned delivery was admitted");
            Ok(())
        },
    );
    row.finish();
}

#[test]
fn fuzz_bodies() {
    let mut row = Row::new("fuzz: bodies", "fuzz_bodies");
    let json = r#"[{}\[\]":,a-z0-9\\. \n-]{0,200}"#.prop_map(String::into_bytes);
    let typed = "\\PC{0,150}".prop_map(|name| serde_json::json!({ "type": name, "data": {} }).to_string().into_bytes());
    let deep = (0usize..3000).prop_map(|depth| [b"{\"type\":".repeat(depth), b"[".repeat(depth)].concat());
    run(&mut row, count(200_000, 2_000), prop_oneof![vec(any::<u8>(), 0..300), json, typed, deep], |body| {
        let name = event::event_type(&body);
        prop_assert!(
            (1..=128).contains(&name.as_str().len()) && name.as_str().bytes().all(|byte| byte.is_ascii_graphic())
        );
        Ok(())
    });
    row.finish();
}

#[test]
fn fuzz_route_files() {
    let mut row = Row::new("fuzz: route files", "fuzz_route_files");
    let good = process::route(Some("127.0.0.1:1".parse().unwrap())).render().unwrap();
    let changes = vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..4), 1..6);
    run(&mut row, count(100_000, 1_000), changes, |changes| {
        let mut bytes = good.clone();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1));
            match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                2 if at < bytes.len() => bytes[at] = byte,
                _ => drop(bytes.splice(at..at.min(bytes.len()), b"[{\"".iter().copied())),
            }
        }
        match Route::parse(&bytes) {
            Ok(route) => prop_assert_eq!(Route::parse(&route.render().unwrap()).unwrap(), route),
            Err(error) => prop_assert!(!error.to_string().contains("s3cret"), "{}", error),
        }
        Ok(())
    });
    row.finish();
}

/// Checks the fuzzer itself: a signed delivery is admitted.
#[test]
fn a_signed_delivery_is_admitted() {
    let delivery = Delivery::numbered(1);
    let text = String::from_utf8(delivery.request()).unwrap();
    let value =
        |name: &str| text.split_once(&format!("{name}: ")).unwrap().1.lines().next().unwrap().as_bytes().to_vec();
    let header = header(&[(0, value("x-linktree-signature")), (1, value("x-linktree-timestamp"))]);
    let at = Timestamp::from_second(delivery.sent_at).unwrap();
    let route = process::route(None);
    let window = Window::of(&route);
    let credentials = Credentials::read(&header, window, at).unwrap();
    let admitted = admit(&route.keys, window, &credentials, delivery.body.into(), at);
    assert!(admitted.is_ok());
}
