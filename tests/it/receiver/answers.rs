//! The documented responses, verbatim.

use linktree_operator::{
    clock,
    linktree::headers,
    route::{self, StaleDeliveryPolicy},
};

use super::fixture::{BODY, Delivery, PATH, Running, SECRET, delivery, delivery_at, route};

fn answer(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

#[tokio::test]
async fn a_repeated_delivery_is_a_duplicate() {
    let receiver = Running::start(&route(vec![])).await;
    let first = delivery("d1", BODY, SECRET);
    let response = receiver.post(&first).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!((response.status().as_u16(), response.text().await.unwrap()), answer(200, r#"{"received":true}"#));
    assert_eq!(receiver.deliver(&first).await, answer(200, r#"{"duplicate":true}"#));
    let resigned = delivery_at("d1", BODY, SECRET, clock::now().as_second() - 100);
    assert_eq!(receiver.deliver(&resigned).await, answer(200, r#"{"duplicate":true}"#), "a retry that was re-signed");
    let replayed = Delivery { id: "d2".into(), ..first };
    assert_eq!(receiver.deliver(&replayed).await, answer(200, r#"{"duplicate":true}"#), "a replay under a new id");
    let conflict = delivery("d1", r#"{"type":"link.deleted"}"#, SECRET);
    assert_eq!(receiver.deliver(&conflict).await, answer(200, r#"{"received":true}"#), "never dropped");
    let counts = receiver.status().await.last_hour;
    assert_eq!((counts.verified, counts.duplicate, counts.conflict), (1, 3, 1));
}

#[tokio::test]
async fn a_request_without_signature_or_timestamp_gets_the_response_that_the_probe_expects() {
    let receiver = Running::start(&route(vec![])).await;
    let url = format!("http://{}{PATH}", receiver.delivery);
    for header in [None, Some(headers::SIGNATURE), Some(headers::TIMESTAMP), Some(headers::DELIVERY_ID)] {
        let request = receiver.client.post(&url).body(BODY);
        let request = header.into_iter().fold(request, |request, name| request.header(name, "1700000000"));
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()[route::RECEIVER_HEADER], "1");
        assert_eq!((response.status().as_u16(), response.text().await.unwrap()), answer(401, "Missing signature"));
    }
    let probe = receiver.client.post(&url).header(route::RECEIVER_HEADER, "1").send().await.unwrap();
    assert_eq!((probe.status().as_u16(), probe.text().await.unwrap()), answer(401, route::UNSIGNED_ANSWER));
    let status = receiver.status().await;
    assert_eq!(status.last_hour.rejected_missing_header, 4, "a probe is not a delivery");
    assert_eq!(status.last_received_time, None);
}

#[tokio::test]
async fn a_delivery_without_a_valid_recent_signature_is_invalid() {
    let receiver = Running::start(&route(vec![])).await;
    let now = clock::now().as_second();
    let good = delivery("d1", BODY, SECRET);
    let invalid = answer(403, "Invalid signature");
    for bad in [
        delivery("d1", BODY, "another secret"),
        Delivery { body: BODY.replace("l1", "l2"), ..good.clone() },
        Delivery { sent_at: (now + 1).to_string(), ..good.clone() },
        Delivery { sent_at: format!("0{}", good.sent_at), ..good.clone() },
        Delivery { signature: good.signature[1..].to_owned(), ..good.clone() },
        Delivery { signature: format!("sha256={}", good.signature), ..good.clone() },
        delivery_at("d1", BODY, SECRET, now - 310),
        delivery_at("d1", BODY, SECRET, now + 310),
    ] {
        assert_eq!(receiver.deliver(&bad).await, invalid, "{bad:?}");
    }
    let doubled = receiver.post(&good).header(headers::SIGNATURE, &good.signature).send().await.unwrap();
    assert_eq!(doubled.status(), 403);
    let status = receiver.status().await;
    let hour = status.last_hour;
    assert_eq!((hour.rejected_signature, hour.rejected_malformed, hour.rejected_stale), (3, 4, 2));
    assert_eq!(status.unverified_run.map(|run| run.count), Some(5), "recent, and signed by no key, in whatever form");
    assert_eq!((status.last_verified_time, status.backlog), (None, Some(0)));
    let upper = Delivery { signature: good.signature.to_uppercase(), ..good };
    assert_eq!(receiver.deliver(&upper).await, answer(200, r#"{"received":true}"#));
    let status = receiver.status().await;
    assert_eq!((status.unverified_run, status.last_verified_key.as_deref()), (None, Some("k1")));
}

#[tokio::test]
async fn a_stale_delivery_is_accepted_once_if_the_policy_allows_it() {
    let late = |id: &str| delivery_at(id, BODY, SECRET, clock::now().as_second() - 1210);
    let mut route = route(vec![]);
    let receiver = Running::start(&route).await;
    let (first, other) = (late("d1"), late("d2"));
    assert_eq!(receiver.deliver(&first).await, answer(403, "Invalid signature"));
    route.stale_delivery_policy = StaleDeliveryPolicy::AcceptOnce;
    receiver.reroute(&route).await;
    assert_eq!(receiver.deliver(&first).await, answer(200, r#"{"received":true}"#));
    assert_eq!(receiver.deliver(&first).await, answer(200, r#"{"duplicate":true}"#));
    let replayed = Delivery { signature: first.signature.clone(), sent_at: first.sent_at.clone(), ..other };
    assert_eq!(receiver.deliver(&replayed).await, answer(200, r#"{"duplicate":true}"#), "under a new id");
    let too_late = delivery_at("d3", BODY, SECRET, clock::now().as_second() - 604_500);
    assert_eq!(receiver.deliver(&too_late).await.0, 403, "its id may have left the deduplication window");
}

#[tokio::test]
async fn deliveries_with_a_consistent_offset_reveal_clock_skew() {
    let receiver = Running::start(&route(vec![])).await;
    let now = clock::now().as_second();
    for n in 0..8 {
        assert_eq!(receiver.status().await.clock_offset_seconds, None, "{n}");
        let sent = delivery_at(&format!("d{n}"), &format!("[{n}]"), SECRET, now - 400 - n);
        assert_eq!(receiver.deliver(&sent).await.0, 403);
    }
    let offset = receiver.status().await.clock_offset_seconds;
    assert!(offset.is_some_and(|offset| (400..420).contains(&offset)), "{offset:?}");
}

#[tokio::test]
async fn a_verified_body_is_received_with_any_content() {
    let receiver = Running::start(&route(vec![])).await;
    for (n, body) in ["", "not json", r#"{"type":"collection.created"}"#, r#"{"type":7}"#, "[]"].iter().enumerate() {
        let delivery = delivery(&format!("d{n}"), body, SECRET);
        assert_eq!(receiver.deliver(&delivery).await, answer(200, r#"{"received":true}"#), "{body}");
    }
    receiver.deliver(&delivery("d0", "", SECRET)).await;
    assert_eq!(receiver.status().await.last_hour.unknown_type, 5, "a duplicate is not counted again");
    let metrics = receiver.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("linktree_receiver_unknown_types_total 5\n"), "{metrics}");
}

#[tokio::test]
async fn only_a_post_to_the_path_is_a_delivery() {
    let receiver = Running::start(&route(vec![])).await;
    let base = format!("http://{}", receiver.delivery);
    for path in ["/", "/h", "/h/abc/", "/h/abcd", "/status", "/metrics", "/readyz"] {
        let response = receiver.client.post(format!("{base}{path}")).body(BODY).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert!(!response.headers().contains_key(route::RECEIVER_HEADER));
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let method = method.parse().unwrap();
        let response = receiver.client.request(method, format!("{base}{PATH}")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
    }
}

#[tokio::test]
async fn one_of_many_concurrent_copies_is_received() {
    let receiver = Running::start(&route(vec![])).await;
    let same = delivery("d1", BODY, SECRET);
    let answers = futures::future::join_all((0..64).map(|_| receiver.deliver(&same))).await;
    let received = answers.iter().filter(|(_, body)| body == r#"{"received":true}"#).count();
    let duplicate = answers.iter().filter(|(_, body)| body == r#"{"duplicate":true}"#).count();
    assert_eq!((received, duplicate), (1, 63));
}

#[tokio::test]
async fn the_status_requires_the_token() {
    let receiver = Running::start(&route(vec![])).await;
    assert_eq!(receiver.get("/status").await.status(), 401);
    let wrong = receiver.client.get(format!("http://{}/status", receiver.admin)).bearer_auth("token");
    assert_eq!(wrong.send().await.unwrap().status(), 401);
    receiver.deliver(&delivery("d1", BODY, SECRET)).await;
    let metrics = receiver.get("/metrics").await.text().await.unwrap();
    for count in [r#"{verdict="verified"} 1"#, r#"{verdict="duplicate"} 0"#, r#"{verdict="malformed"} 0"#] {
        assert!(metrics.contains(&format!("linktree_receiver_requests_total{count}")), "{metrics}");
    }
    assert!(!metrics.contains(SECRET) && !metrics.contains("t0ken"));
}
