//! A Linktree with fewer capabilities: the missing ones are reported as unsupported, and everything else works.

use kube::api::DeleteParams;
use linktree_operator::api::{
    connection::{
        Capability::{Supported, Unknown, Unsupported},
        CapabilityStatus,
    },
    webhook::LinktreeWebhook,
};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, scenario_with},
    wait::until,
};

async fn until_capabilities(harness: &Harness, expected: CapabilityStatus) {
    until(&format!("the connection shows {expected:?}"), async || {
        harness.connection().await.status.and_then(|status| status.capabilities) == Some(expected)
    })
    .await;
}

/// Restarts the operator, which then detects the same capabilities.
async fn restart(harness: &mut Harness, webhook: &str) {
    harness.operator.kill();
    harness.restart_operator();
    harness.operator.ready().await;
    harness.trigger_reconciles(webhook, 2).await;
    harness.until_condition(webhook, "Ready", "True", "Available").await;
    let calls = harness.calls_since(0).await;
    assert_eq!(calls.iter().filter(|call| *call == "POST /v1/webhooks").count(), 1, "{calls:?}");
}

/// Deletes the webhook; the subscription stays, and its orphan is reported.
async fn delete(harness: &Harness, webhook: &str) {
    harness.api::<LinktreeWebhook>().delete(webhook, &DeleteParams::default()).await.unwrap();
    until("the webhook is gone", async || harness.api::<LinktreeWebhook>().get_opt(webhook).await.unwrap().is_none())
        .await;
    assert_eq!(harness.subscriptions().await.len(), 1);
    until("the orphan is reported by an Event", async || harness.events().await.contains(&"OrphanReleased".to_owned()))
        .await;
    assert!(!harness.events().await.contains(&"SubscriptionDeleted".to_owned()));
}

#[tokio::test]
async fn the_documented_calls_suffice_to_receive_events() {
    scenario_with(&["--no-rate-limit", "--offers=register"], async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        harness.until_condition("links", "Registered", "True", "Created").await;
        let message = harness.until_condition("links", "SigningKeysReady", "False", "AwaitingProviderSecret").await;
        assert!(message.contains("key secret of Secret links-signing"), "{message}");
        harness.until_condition("links", "Ready", "False", "AwaitingProviderSecret").await;

        // As a user copies it from the dashboard.
        let [kept] = harness.subscriptions().await.try_into().unwrap();
        let secret = kept["signing_secret"].as_str().unwrap();
        harness.put_secret("links-signing", "secret", secret).await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        until("the receiver has the key", async || node.receiver_keys() == [secret]).await;
        assert_eq!(node.deliver(&harness.delivery_path("links").await, "d1", secret).await, 200);
        harness.until_condition("links", "UpToDate", "Unknown", "Unobservable").await;
        let (list, get, rotate_secret) = (Unsupported, Unsupported, Unsupported);
        let (update, reenable, delete_) = (Unknown, Unknown, Unknown);
        until_capabilities(harness, CapabilityStatus { list, get, update, reenable, delete: delete_, rotate_secret })
            .await;

        restart(harness, "links").await;
        delete(harness, "links").await;
    })
    .await;
}

#[tokio::test]
async fn without_update_and_delete_the_user_is_sent_to_the_dashboard() {
    scenario_with(&["--no-rate-limit", "--offers=register-and-get"], async |harness| {
        let _node = harness.settled("links").await;
        let id = harness.status("links").await.subscription.unwrap().id.unwrap();
        let dashboard = format!("/subscriptions/{id}");
        let (list, get) = (Unsupported, Supported);
        let (update, reenable, delete_, rotate_secret) = (Unknown, Unknown, Unknown, Unknown);
        until_capabilities(harness, CapabilityStatus { list, get, update, reenable, delete: delete_, rotate_secret })
            .await;
        restart(harness, "links").await;

        let events: Value = json!(["profile.updated"]);
        harness.change::<LinktreeWebhook>("links", json!({"spec": {"events": events}})).await;
        let message = harness.until_condition("links", "UpToDate", "False", "UpdateRestricted").await;
        assert!(message.contains("change it in the dashboard"), "{message}");
        harness.linktree.control("PATCH", &dashboard, json!({"events": events})).await;
        harness.until_condition("links", "UpToDate", "True", "Matched").await;

        harness.linktree.control("PATCH", &dashboard, json!({"status": "disabled"})).await;
        let message = harness.until_condition("links", "SubscriptionEnabled", "False", "ReenableUnsupported").await;
        assert!(message.contains("enable it in the dashboard"), "{message}");
        harness.until_condition("links", "Registered", "True", "Created").await;
        harness.linktree.control("PATCH", &dashboard, json!({"status": "active"})).await;
        harness.until_condition("links", "SubscriptionEnabled", "True", "Enabled").await;
        let rotate_secret = Unknown;
        let (update, reenable, delete_) = (Unsupported, Unsupported, Unsupported);
        until_capabilities(harness, CapabilityStatus { list, get, update, reenable, delete: delete_, rotate_secret })
            .await;
        delete(harness, "links").await;
    })
    .await;
}
