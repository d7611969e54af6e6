//! Pause: no writes while reconciliation is paused, no requests to sinks while forwarding is paused.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service},
};
use kube::api::{DeleteParams, ListParams};
use linktree_operator::api::webhook::LinktreeWebhook;
use serde_json::{Value, json};

use crate::{
    harness::{Harness, scenario},
    wait::until,
};

async fn pause(harness: &Harness, webhook: &str, pause: &str) {
    harness.change::<LinktreeWebhook>(webhook, json!({"spec": {"pause": pause}})).await;
}

#[tokio::test]
async fn a_webhook_created_paused_creates_nothing_until_it_is_resumed() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |spec| spec["pause"] = "Reconciliation".into()).await;
        let message = harness.until_condition("links", "Stalled", "True", "Paused").await;
        assert!(message.contains("ReceiverAvailable") && message.contains("spec.pause"), "{message}");
        harness.until_condition("links", "Ready", "False", "Paused").await;
        harness.until_condition("links", "ConnectionReady", "True", "Available").await;
        let before = harness.get("links").await;
        assert_eq!(before.metadata.finalizers, None);
        // Repeated reconciliations write nothing either.
        for _ in 0..3 {
            let reconciles = harness.operator_reconciles().await;
            harness.put_secret("links-signing", "touched", &reconciles.to_string()).await;
            until("the webhook is reconciled", async || harness.operator_reconciles().await > reconciles).await;
        }
        assert_eq!(harness.get("links").await.metadata.resource_version, before.metadata.resource_version);
        assert_eq!(harness.api::<StatefulSet>().list(&ListParams::default()).await.unwrap().items, []);
        assert_eq!(harness.subscriptions().await, Vec::<Value>::new());

        harness.api::<Secret>().delete("links-signing", &DeleteParams::default()).await.unwrap();
        pause(harness, "links", "None").await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}

#[tokio::test]
async fn paused_reconciliation_keeps_drift_and_children_and_still_finalizes() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        pause(harness, "links", "Reconciliation").await;
        until("the pause is observed", async || {
            let webhook = harness.get("links").await;
            webhook.status.unwrap().observed_generation == webhook.metadata.generation
        })
        .await;
        // Without pending work the webhook stays ready.
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert!(harness.status("links").await.conditions.iter().all(|condition| condition.type_ != "Stalled"));

        let call = harness.last_call().await;
        harness.api::<Service>().delete("links-receiver", &DeleteParams::default()).await.unwrap();
        harness.change::<LinktreeWebhook>("links", json!({"spec": {"events": ["analytics.milestone"]}})).await;
        let message = harness.until_condition("links", "UpToDate", "False", "Paused").await;
        assert!(message.contains("events"), "{message}");
        let message = harness.until_condition("links", "Stalled", "True", "Paused").await;
        assert!(message.contains("ReceiverAvailable, UpToDate") || message.contains("UpToDate, Receiver"), "{message}");
        harness.trigger_reconciles("links", 3).await;
        assert_eq!(harness.api::<Service>().get_opt("links-receiver").await.unwrap(), None);
        let writes: Vec<_> =
            harness.calls_since(call).await.into_iter().filter(|call| !call.starts_with("GET")).collect();
        assert_eq!(writes, Vec::<String>::new());

        harness.api::<LinktreeWebhook>().delete("links", &DeleteParams::default()).await.unwrap();
        until("the webhook is gone", async || {
            harness.api::<LinktreeWebhook>().get_opt("links").await.unwrap().is_none()
        })
        .await;
        assert_eq!(harness.subscriptions().await, Vec::<Value>::new());
    })
    .await;
}

#[tokio::test]
async fn paused_forwarding_is_reported_and_ingest_continues() {
    scenario(async |harness| {
        let node = harness.settled("links").await;
        pause(harness, "links", "Forwarding").await;
        let message = harness.until_condition("links", "Delivering", "False", "Paused").await;
        assert!(message.contains("spec.pause"), "{message}");
        let path = harness.delivery_path("links").await;
        let secret = harness.signing_secret("links").await;
        assert_eq!(node.deliver(&path, "d1", &secret).await, 200);
        harness.trigger_reconciles("links", 1).await;
        harness.until_condition("links", "SignaturesVerified", "True", "Verified").await;
        harness.until_condition("links", "Ready", "True", "Available").await;

        pause(harness, "links", "None").await;
        harness.until_condition("links", "Delivering", "True", "Healthy").await;
        until("the receiver forwards again", async || node.route().forwarding.is_on()).await;
    })
    .await;
}
