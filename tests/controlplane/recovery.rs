//! A disabled subscription is enabled again if, and only if, its receiver is proven healthy.

use std::time::Duration;

use serde_json::json;

use crate::{
    harness::{Harness, quiet_for, scenario},
    network::Destination,
    wait::until,
};

async fn disable(harness: &Harness, webhook: &str) {
    let id = harness.status(webhook).await.subscription.unwrap().id.unwrap();
    harness.linktree.control("PATCH", &format!("/subscriptions/{id}"), json!({"status": "disabled"})).await;
}

fn patches(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.starts_with("PATCH")).count()
}

#[tokio::test]
async fn a_disabled_subscription_is_enabled_once_after_the_receiver_is_healthy() {
    scenario(async |harness| {
        let mut node = harness.settled("links").await;
        node.stop().await;
        disable(harness, "links").await;
        let message = harness.until_condition("links", "SubscriptionEnabled", "False", "WaitingForHealth").await;
        assert!(message.contains("once this is fixed"), "{message}");
        harness.until_condition("links", "DeliveryAtRisk", "True", "SubscriptionDisabled").await;
        assert_eq!(patches(&harness.calls_since(0).await), 0);

        node.start().await;
        harness.until_condition("links", "SubscriptionEnabled", "True", "Enabled").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert_eq!(patches(&harness.calls_since(0).await), 1);
        assert_eq!(harness.subscriptions().await[0]["status"], "active");
        let events = harness.events().await;
        assert_eq!(events.iter().filter(|event| *event == "Reenabled").count(), 1, "{events:?}");
    })
    .await;
}

#[tokio::test]
async fn a_foreign_response_at_the_url_is_not_healthy() {
    const FOREIGN: [&str; 4] = [
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 17\r\nconnection: close\r\n\r\nMissing signature",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>",
        "HTTP/1.1 302 Found\r\nlocation: https://login.example.com\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ];
    scenario(async |harness| {
        let node = harness.settled("links").await;
        for answer in FOREIGN {
            harness.network.route(&harness.host("links"), Destination::Answers(answer));
            disable(harness, "links").await;
            harness.until_condition("links", "EndpointReachable", "False", "UnexpectedResponse").await;
            harness.until_condition("links", "SubscriptionEnabled", "False", "WaitingForHealth").await;
        }
        // Further reconciliations do not enable it.
        quiet_for(Duration::from_secs(4)).await;
        assert_eq!(patches(&harness.calls_since(0).await), 0);

        harness.network.route(&harness.host("links"), Destination::Closed);
        harness.until_condition("links", "EndpointReachable", "False", "ConnectionFailed").await;
        harness.network.route(&harness.host("links"), Destination::At(node.delivery_address()));
        until("the subscription is enabled again", async || harness.subscriptions().await[0]["status"] == "active")
            .await;
        assert_eq!(patches(&harness.calls_since(0).await), 1);
    })
    .await;
}

#[tokio::test]
async fn failing_deliveries_are_reported_with_their_deadline() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        // The simulator cannot reach the receiver, so its deliveries fail.
        let link = json!({"title": "Shop", "url": "https://shop.example.com"});
        harness.linktree.control("POST", "/links", link).await;
        harness.linktree.advance(3600).await;
        let message = harness.until_condition("links", "DeliveryAtRisk", "True", "DeliveriesFailing").await;
        let subscription = harness.status("links").await.subscription.unwrap();
        let (since, deadline) =
            (subscription.failing_since_time.unwrap().0, subscription.disable_deadline_time.unwrap().0);
        assert_eq!(deadline.duration_since(since).as_hours(), 72);
        assert!(message.contains(&deadline.to_string()), "{message}");
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_secret_must_be_replaced_before_the_subscription_is_enabled() {
    scenario(async |harness| {
        let mut node = harness.settled("links").await;
        let id = harness.status("links").await.subscription.unwrap().id.unwrap();
        let rotated = harness.linktree.control("POST", &format!("/subscriptions/{id}/rotate-secret"), json!({})).await;
        let secret = rotated["signing_secret"].as_str().unwrap();
        let path = harness.delivery_path("links").await;
        for n in 0..3 {
            assert_eq!(node.deliver(&path, &format!("d{n}"), secret).await, 403);
        }
        harness.linktree.advance(3600).await;
        disable(harness, "links").await;
        let message = harness.until_condition("links", "SubscriptionEnabled", "False", "SecretMismatch").await;
        assert!(message.contains("key secret of Secret links-signing"), "{message}");
        harness.until_condition("links", "SignaturesVerified", "False", "SecretMismatch").await;
        harness.until_condition("links", "Stalled", "True", "SecretMismatch").await;

        // A restarted receiver has not counted those deliveries, and the secret is still wrong.
        node.stop().await;
        harness.until_condition("links", "ReceiverAvailable", "False", "Progressing").await;
        node.start().await;
        harness.until_condition("links", "ReceiverAvailable", "True", "Available").await;
        harness.until_condition("links", "SubscriptionEnabled", "False", "SecretMismatch").await;
        assert_eq!(patches(&harness.calls_since(0).await), 0);

        harness.put_secret("links-signing", "secret", secret).await;
        harness.until_condition("links", "SubscriptionEnabled", "True", "Enabled").await;
        assert_eq!(patches(&harness.calls_since(0).await), 1);
        assert_eq!(node.deliver(&path, "d9", secret).await, 200);
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}
