//! A subscription that Linktree has disabled comes back when, and only when, its receiver is proven healthy.

use std::time::Duration;

use serde_json::json;

use crate::{
    network::Place,
    wait::until,
    world::{World, quiet_for, scenario},
};

async fn disable(world: &World, webhook: &str) {
    let id = world.status(webhook).await.subscription.unwrap().id.unwrap();
    world.linktree.control("PATCH", &format!("/subscriptions/{id}"), json!({"status": "disabled"})).await;
}

fn patches(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.starts_with("PATCH")).count()
}

#[tokio::test]
async fn it_waits_for_the_receiver_and_then_enables_once() {
    scenario(async |world| {
        let mut node = world.settled("links").await;
        node.stop().await;
        disable(world, "links").await;
        let message = world.until_condition("links", "SubscriptionEnabled", "False", "WaitingForHealth").await;
        assert!(message.contains("once this is mended"), "{message}");
        world.until_condition("links", "DeliveryAtRisk", "True", "SubscriptionDisabled").await;
        assert_eq!(patches(&world.calls_since(0).await), 0);

        node.start().await;
        world.until_condition("links", "SubscriptionEnabled", "True", "Enabled").await;
        world.until_condition("links", "Ready", "True", "Available").await;
        assert_eq!(patches(&world.calls_since(0).await), 1);
        assert_eq!(world.subscriptions().await[0]["status"], "active");
        let events = world.events().await;
        assert_eq!(events.iter().filter(|event| *event == "Reenabled").count(), 1, "{events:?}");
    })
    .await;
}

#[tokio::test]
async fn something_else_at_the_url_is_no_health() {
    const FOREIGN: [&str; 4] = [
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 17\r\nconnection: close\r\n\r\nMissing signature",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>",
        "HTTP/1.1 302 Found\r\nlocation: https://login.example.com\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ];
    scenario(async |world| {
        let node = world.settled("links").await;
        for answer in FOREIGN {
            world.network.route(&world.host("links"), Place::Answers(answer));
            disable(world, "links").await;
            world.until_condition("links", "EndpointReachable", "False", "UnexpectedResponse").await;
            world.until_condition("links", "SubscriptionEnabled", "False", "WaitingForHealth").await;
        }
        // It would try with its next looks.
        quiet_for(Duration::from_secs(4)).await;
        assert_eq!(patches(&world.calls_since(0).await), 0);

        world.network.route(&world.host("links"), Place::Closed);
        world.until_condition("links", "EndpointReachable", "False", "ConnectionFailed").await;
        world.network.route(&world.host("links"), Place::At(node.delivery_address()));
        until("it is enabled again", async || world.subscriptions().await[0]["status"] == "active").await;
        assert_eq!(patches(&world.calls_since(0).await), 1);
    })
    .await;
}

#[tokio::test]
async fn failing_deliveries_are_told_with_their_deadline() {
    scenario(async |world| {
        let _node = world.settled("links").await;
        // The simulator has no way to the receiver, so its deliveries fail.
        let link = json!({"title": "Shop", "url": "https://shop.example.com"});
        world.linktree.control("POST", "/links", link).await;
        world.linktree.advance(3600).await;
        let message = world.until_condition("links", "DeliveryAtRisk", "True", "DeliveriesFailing").await;
        let subscription = world.status("links").await.subscription.unwrap();
        let (since, deadline) =
            (subscription.failing_since_time.unwrap().0, subscription.disable_deadline_time.unwrap().0);
        assert_eq!(deadline.duration_since(since).as_hours(), 72);
        assert!(message.contains(&deadline.to_string()), "{message}");
        world.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_secret_is_mended_before_it_is_enabled_again() {
    scenario(async |world| {
        let mut node = world.settled("links").await;
        let id = world.status("links").await.subscription.unwrap().id.unwrap();
        let rotated = world.linktree.control("POST", &format!("/subscriptions/{id}/rotate-secret"), json!({})).await;
        let secret = rotated["signing_secret"].as_str().unwrap();
        let path = world.delivery_path("links").await;
        for n in 0..3 {
            assert_eq!(node.deliver(&path, &format!("d{n}"), secret).await, 403);
        }
        world.linktree.advance(3600).await;
        disable(world, "links").await;
        let message = world.until_condition("links", "SubscriptionEnabled", "False", "SecretMismatch").await;
        assert!(message.contains("key secret of Secret links-signing"), "{message}");
        world.until_condition("links", "SignaturesVerified", "False", "SecretMismatch").await;
        world.until_condition("links", "Stalled", "True", "SecretMismatch").await;

        // A receiver that starts anew has not seen those deliveries. Nobody has mended anything.
        node.stop().await;
        world.until_condition("links", "ReceiverAvailable", "False", "Progressing").await;
        node.start().await;
        world.until_condition("links", "ReceiverAvailable", "True", "Available").await;
        world.until_condition("links", "SubscriptionEnabled", "False", "SecretMismatch").await;
        assert_eq!(patches(&world.calls_since(0).await), 0);

        world.put_secret("links-signing", "secret", secret).await;
        world.until_condition("links", "SubscriptionEnabled", "True", "Enabled").await;
        assert_eq!(patches(&world.calls_since(0).await), 1);
        assert_eq!(node.deliver(&path, "d9", secret).await, 200);
        world.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}
