//! The operator is killed, or a response is lost, at the worst moment: there is never a second subscription, and the
//! secret of the only one is stored.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::{
    harness::{Harness, quiet_for, scenario},
    wait::until,
};

/// Waits for exactly one subscription, whose id is in the status and whose secret is stored. It must wait, since a
/// status may still be `Ready` from before the last kill.
async fn assert_one_subscription(harness: &Harness, webhook: &str) {
    until("the status has the id of the only subscription, and its secret is stored", async || {
        let host = harness.host(webhook);
        let all = harness.subscriptions().await;
        let ours: Vec<_> = all.iter().filter(|it| it["url"].as_str().unwrap().contains(&host)).collect();
        let named = harness.status(webhook).await.subscription.and_then(|subscription| subscription.id);
        let stored = harness.api::<Secret>().get(&format!("{webhook}-signing")).await.unwrap().data.unwrap();
        ours.len() == 1
            && named.as_deref() == ours[0]["id"].as_str()
            && ours[0]["signing_secret"] == String::from_utf8(stored["secret"].0.clone()).unwrap()
    })
    .await;
}

fn registrations(calls: &[String]) -> usize {
    calls.iter().filter(|call| *call == "POST /v1/webhooks").count()
}

#[tokio::test]
async fn an_operator_killed_between_registration_and_status_write_adopts() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        harness.fault(json!({"kind": "delay", "milliseconds": 3000, "method": "POST", "times": 1})).await;
        node.start().await;
        until("Linktree has the subscription", async || harness.subscriptions().await.len() == 1).await;
        assert!(harness.status("links").await.subscription.unwrap().id.is_none(), "the response was not delayed");
        harness.operator.kill();
        harness.restart_operator();

        harness.until_condition("links", "Ready", "True", "Available").await;
        harness.until_condition("links", "Registered", "True", "Adopted").await;
        assert_one_subscription(harness, "links").await;
        assert_eq!(registrations(&harness.calls_since(0).await), 1);
    })
    .await;
}

/// Loses the response to a registration that took effect, by this fault.
async fn lose_the_response(mut fault: Value) {
    fault["method"] = "POST".into();
    fault["times"] = 1.into();
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        harness.fault(fault).await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert_one_subscription(harness, "links").await;
        assert_eq!(registrations(&harness.calls_since(0).await), 1);
    })
    .await;
}

#[tokio::test]
async fn a_registration_with_a_broken_connection_is_listed() {
    lose_the_response(json!({"kind": "drop-after"})).await;
}

#[tokio::test]
async fn a_registration_with_a_truncated_response_is_listed() {
    lose_the_response(json!({"kind": "truncate"})).await;
}

#[tokio::test]
async fn a_registration_that_timed_out_is_listed() {
    lose_the_response(json!({"kind": "delay", "milliseconds": 4000})).await;
}

#[tokio::test]
async fn the_secret_of_an_earlier_subscription_is_not_reused() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let id = harness.status("links").await.subscription.unwrap().id.unwrap();
        harness.linktree.control("DELETE", &format!("/subscriptions/{id}"), Value::Null).await;
        harness.fault(json!({"kind": "delay", "milliseconds": 1500, "method": "POST", "times": 1})).await;
        // A new operator detects at once that the subscription is gone.
        harness.operator.kill();
        harness.restart_operator();
        until("there is another subscription", async || harness.subscriptions().await.len() == 1).await;
        harness.operator.kill();
        harness.restart_operator();
        harness.until_condition("links", "Registered", "True", "Adopted").await;
        until("the secret of the new subscription is stored", async || {
            harness.subscriptions().await[0]["signing_secret"] == harness.signing_secret("links").await
        })
        .await;
        assert_one_subscription(harness, "links").await;
    })
    .await;
}

#[tokio::test]
async fn after_twenty_random_kills_each_webhook_has_one_subscription() {
    const KILLS: usize = 20;
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            let mut node = harness.webhook(name, |_| {}).await;
            node.start().await;
            nodes.push(node);
        }
        // Slow enough for a kill during a registration.
        harness.fault(json!({"kind": "delay", "milliseconds": 100, "method": "POST"})).await;
        for _ in 0..KILLS {
            quiet_for(Duration::from_millis(rand::random_range(20..600))).await;
            harness.operator.kill();
            let mut urls: Vec<_> = harness.subscriptions().await.iter().map(|it| it["url"].to_string()).collect();
            let all = urls.len();
            urls.sort();
            urls.dedup();
            assert_eq!(urls.len(), all, "two subscriptions have one url: {urls:?}");
            if all == 3 {
                // Leaves work for the next round.
                let id = harness.subscriptions().await[0]["id"].as_str().unwrap().to_owned();
                harness.linktree.control("DELETE", &format!("/subscriptions/{id}"), Value::Null).await;
            }
            harness.restart_operator();
        }
        for name in ["a", "b", "c"] {
            harness.until_condition(name, "Ready", "True", "Available").await;
            assert_one_subscription(harness, name).await;
        }
        assert_eq!(harness.subscriptions().await.len(), 3);
    })
    .await;
}
