//! Deletion of a webhook: its subscription is deleted, and the deletion never hangs without one.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Secret, Service},
};
use kube::api::DeleteParams;
use linktree_operator::api::{connection::LinktreeConnection, webhook::LinktreeWebhook};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, quiet_for, scenario},
    wait::until,
};

async fn delete(harness: &Harness, webhook: &str) {
    harness.api::<LinktreeWebhook>().delete(webhook, &DeleteParams::default()).await.unwrap();
}

async fn until_gone(harness: &Harness, webhook: &str) {
    let webhooks = harness.api::<LinktreeWebhook>();
    until("the webhook is gone", async || webhooks.get_opt(webhook).await.unwrap().is_none()).await;
}

fn deletions(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.starts_with("DELETE")).count()
}

#[tokio::test]
async fn the_subscription_and_all_objects_are_deleted() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        delete(harness, "links").await;
        until_gone(harness, "links").await;
        assert_eq!(harness.subscriptions().await, Vec::<Value>::new());
        until("the objects are collected", async || {
            harness.api::<StatefulSet>().get_opt("links-receiver").await.unwrap().is_none()
                && harness.api::<Service>().get_opt("links-receiver").await.unwrap().is_none()
                && harness.api::<Secret>().get_opt("links-receiver-route").await.unwrap().is_none()
                && harness.api::<Secret>().get_opt("links-signing").await.unwrap().is_none()
        })
        .await;
        assert!(harness.api::<Secret>().get_opt("linktree-api").await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_webhook_without_subscription_is_finalized() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        let id = harness.status("links").await.subscription.unwrap().id.unwrap();
        harness.linktree.control("DELETE", &format!("/subscriptions/{id}"), Value::Null).await;
        delete(harness, "links").await;
        until_gone(harness, "links").await;
    })
    .await;
}

#[tokio::test]
async fn an_unregistered_webhook_is_finalized_without_linktree() {
    scenario(async |harness| {
        let _unconnected = harness.webhook("links", |_| {}).await;
        harness.until_condition("links", "Ready", "False", "ConnectionMissing").await;
        delete(harness, "links").await;
        until_gone(harness, "links").await;
        assert_eq!(harness.calls_since(0).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn it_waits_for_a_linktree_that_is_down_and_says_so() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        harness.fault(json!({"kind": "status", "status": 503, "method": "DELETE"})).await;
        delete(harness, "links").await;
        let message = harness.until_condition("links", "Reconciling", "True", "Terminating").await;
        assert!(message.contains("left behind at"), "{message}");
        until("the message has the cause", async || {
            let conditions = harness.status("links").await.conditions;
            conditions.iter().any(|condition| condition.message.contains("last attempt: Linktree responded with 503"))
        })
        .await;
        harness.until_condition("links", "Ready", "False", "Terminating").await;
        assert_eq!(harness.subscriptions().await.len(), 1);
        let before = deletions(&harness.calls_since(0).await);
        quiet_for(Duration::from_secs(2)).await;
        assert_eq!(deletions(&harness.calls_since(0).await), before, "the deletion was retried at once");
        harness.clear_faults().await;
        until_gone(harness, "links").await;
        assert_eq!(harness.subscriptions().await, Vec::<Value>::new());
    })
    .await;
}

#[tokio::test]
async fn a_webhook_deleted_with_connection_and_token_leaves_no_orphan() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        // The account is unavailable at first, so that all three are deleted before the finalizer runs.
        harness.fault(json!({"kind": "status", "status": 503, "method": "DELETE", "times": 1})).await;
        delete(harness, "links").await;
        harness.api::<Secret>().delete("linktree-api", &DeleteParams::default()).await.unwrap();
        harness.api::<LinktreeConnection>().delete("brand", &DeleteParams::default()).await.unwrap();
        until_gone(harness, "links").await;
        assert_eq!(harness.subscriptions().await, Vec::<Value>::new());
    })
    .await;
}
