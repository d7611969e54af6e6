//! Existing subscriptions, and subscriptions changed at Linktree out of band.

use linktree_operator::{
    api::webhook::LinktreeWebhook,
    linktree::{client::Linktree, event::EventType, wire::CreateSubscription},
};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, TOKEN, scenario},
    wait::{until, until_some},
};

/// The URL for the registration. Needs no connection.
async fn url(harness: &Harness, webhook: &str) -> String {
    until_some("the webhook has a url", async || Some(harness.status(webhook).await.address?.url)).await
}

fn registrations(calls: &[String]) -> usize {
    calls.iter().filter(|call| *call == "POST /v1/webhooks").count()
}

#[tokio::test]
async fn a_subscription_with_our_url_is_adopted() {
    scenario(async |harness| {
        let mut node = harness.webhook("links", |_| {}).await;
        let url = url(harness, "links").await;
        let events = vec![EventType::LinkCreated, EventType::LinkUpdated];
        let made = harness.linktree.client(TOKEN).create(&CreateSubscription { url, events }).await.unwrap();
        harness.connect(|_| {}).await;
        node.start().await;

        harness.until_condition("links", "Registered", "True", "Adopted").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert_eq!(harness.status("links").await.subscription.unwrap().id, Some(made.id.0));
        let calls = harness.calls_since(0).await;
        assert_eq!(registrations(&calls), 1, "only the registration by the test: {calls:?}");
        let events = harness.events().await;
        assert!(events.contains(&"Adopted".to_owned()) && events.contains(&"SecretRotated".to_owned()), "{events:?}");
    })
    .await;
}

#[tokio::test]
async fn a_subscription_on_the_second_page_is_found() {
    scenario(async |harness| {
        let mut node = harness.webhook("links", |_| {}).await;
        let url = url(harness, "links").await;
        for n in 0..150 {
            let other = json!({"url": format!("https://other.example.com/{n}"), "events": ["link.created"]});
            harness.linktree.control("POST", "/subscriptions", other).await;
        }
        harness.linktree.control("POST", "/subscriptions", json!({"url": url, "events": ["link.created"]})).await;
        harness.connect(|_| {}).await;
        node.start().await;

        harness.until_condition("links", "Registered", "True", "Adopted").await;
        harness.until_condition("links", "UpToDate", "True", "Matched").await;
        assert_eq!(registrations(&harness.calls_since(0).await), 0);
        until("the connection has the counts", async || {
            let connection = harness.connection().await.status.and_then(|status| status.subscriptions);
            connection.is_some_and(|counts| (counts.managed, counts.unmanaged) == (1, 150))
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn events_changed_out_of_band_are_corrected() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let id = harness.status("links").await.subscription.unwrap().id.unwrap();
        let events = json!({"events": ["profile.updated"]});
        harness.linktree.control("PATCH", &format!("/subscriptions/{id}"), events).await;
        until("the events match the spec", async || {
            harness.subscriptions().await[0]["events"] == json!(["link.created", "link.updated"])
        })
        .await;
        harness.until_condition("links", "UpToDate", "True", "Matched").await;
        harness.until_events(&["SubscriptionCreated", "DriftCorrected"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_changed_spec_reaches_linktree_at_once() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let before = harness.last_call().await;
        harness.change::<LinktreeWebhook>("links", json!({"spec": {"events": ["analytics.milestone"]}})).await;
        until("Linktree has the new events", async || {
            harness.subscriptions().await[0]["events"] == json!(["analytics.milestone"])
        })
        .await;
        harness.until_condition("links", "UpToDate", "True", "Matched").await;
        let writes = harness.calls_since(before).await.into_iter().filter(|call| !call.starts_with("GET"));
        assert_eq!(writes.count(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_subscription_deleted_out_of_band_is_recreated() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let old = harness.status("links").await.subscription.unwrap().id.unwrap();
        harness.linktree.control("DELETE", &format!("/subscriptions/{old}"), Value::Null).await;
        until("there is a new subscription", async || !harness.subscriptions().await.is_empty()).await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let new = harness.subscriptions().await;
        assert_eq!(new.len(), 1);
        until("its id is recorded", async || {
            harness.status("links").await.subscription.unwrap().id.as_deref() == new[0]["id"].as_str()
        })
        .await;
        assert_eq!(harness.signing_secret("links").await, new[0]["signing_secret"]);
    })
    .await;
}
