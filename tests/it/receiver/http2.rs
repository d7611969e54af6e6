//! Deliveries over HTTP/2: the same responses.

use super::fixture::{BODY, PATH, Running, SECRET, delivery, numbered, route, signed};

#[tokio::test]
async fn a_delivery_over_http2_is_answered_as_over_http1() {
    let mut route = route(vec![]);
    route.max_body_bytes = 100_000;
    let receiver = Running::start(&route).await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}{PATH}", receiver.delivery);
    for (delivery, expected) in [
        (numbered(1), (200, r#"{"received":true}"#)),
        (numbered(1), (200, r#"{"duplicate":true}"#)),
        (delivery("d2", BODY, "another secret"), (403, "Invalid signature")),
        (delivery("d3", &"x".repeat(100_000), SECRET), (200, r#"{"received":true}"#)),
        (delivery("d4", &"x".repeat(100_001), SECRET), (413, "Body too large")),
    ] {
        let answer = signed(client.post(&url), &delivery).send().await.unwrap();
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), expected);
    }
    let many = (10..110).map(|n| signed(client.post(&url), &numbered(n)).send());
    for answer in futures::future::join_all(many).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
}
