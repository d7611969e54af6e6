//! Errors of Linktree: the conditions that report them, and recovery.

use std::time::Duration;

use serde_json::json;

use crate::{
    harness::{Harness, quiet_for, scenario, scenario_with},
    wait::until,
};

async fn has_condition(harness: &Harness, webhook: &str, of: &str) -> bool {
    harness.status(webhook).await.conditions.iter().any(|condition| condition.type_ == of)
}

#[tokio::test]
async fn a_wrong_token_stalls_until_it_is_replaced() {
    scenario(async |harness| {
        harness.put_secret("linktree-api", "token", "lt_test_wrong").await;
        harness.connect_without_token(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        harness.until_connection("TokenAccepted", "False", "TokenRejected").await;
        harness.until_connection("Stalled", "True", "TokenRejected").await;
        harness.until_condition("links", "ConnectionReady", "False", "TokenRejected").await;
        harness.until_condition("links", "Stalled", "True", "TokenRejected").await;
        harness.until_condition("links", "Ready", "False", "TokenRejected").await;

        harness.put_secret("linktree-api", "token", crate::harness::TOKEN).await;
        harness.until_connection("Ready", "True", "Available").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert!(!has_condition(harness, "links", "Stalled").await);
    })
    .await;
}

#[tokio::test]
async fn a_token_created_later_is_used() {
    scenario(async |harness| {
        harness.connect_without_token(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        let message = harness.until_connection("Ready", "False", "TokenMissing").await;
        assert_eq!(message, "no API token in key token of Secret linktree-api: add it there");
        let message = harness.until_condition("links", "Ready", "False", "TokenMissing").await;
        assert!(message.contains("Secret linktree-api"), "{message}");

        harness.put_secret("linktree-api", "token", crate::harness::TOKEN).await;
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}

#[tokio::test]
async fn a_plan_without_webhooks_stalls() {
    scenario(async |harness| {
        harness.put_secret("linktree-api", "token", "lt_test_free").await;
        harness.connect_without_token(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        harness.until_connection("Ready", "False", "PlanExcludesWebhooks").await;
        harness.until_condition("links", "Stalled", "True", "PlanExcludesWebhooks").await;
    })
    .await;
}

#[tokio::test]
async fn a_webhook_without_a_connection_stalls() {
    scenario(async |harness| {
        let _node = harness.webhook("links", |_| {}).await;
        let message = harness.until_condition("links", "Stalled", "True", "ConnectionMissing").await;
        assert!(message.contains("there is no LinktreeConnection brand in this namespace"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_rejected_registration_stalls_and_a_changed_spec_is_retried_at_once() {
    scenario(async |harness| {
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |spec| spec["events"] = json!(["no.such_event"])).await;
        node.start().await;
        let message = harness.until_condition("links", "Registered", "False", "Rejected").await;
        assert!(message.contains("422"), "{message}");
        harness.until_condition("links", "Stalled", "True", "Rejected").await;
        // Further reconciliations neither retry nor drop the reason.
        let calls = harness.last_call().await;
        quiet_for(Duration::from_secs(4)).await;
        harness.until_condition("links", "Stalled", "True", "Rejected").await;
        assert!(!harness.calls_since(calls).await.contains(&"POST /v1/webhooks".to_owned()));

        harness
            .change::<linktree_operator::api::webhook::LinktreeWebhook>(
                "links",
                json!({"spec": {"events": ["link.created"]}}),
            )
            .await;
        harness.until_condition("links", "Ready", "True", "Available").await;
    })
    .await;
}

#[tokio::test]
async fn a_rejected_update_stays_reported_between_retries() {
    scenario(async |harness| {
        let _node = harness.settled("links").await;
        harness.fault(json!({"kind": "status", "status": 422, "method": "PATCH"})).await;
        let change = json!({"spec": {"events": ["analytics.milestone"]}});
        harness.change::<linktree_operator::api::webhook::LinktreeWebhook>("links", change).await;
        harness.until_condition("links", "UpToDate", "False", "Rejected").await;
        let before = harness.get("links").await.metadata.resource_version;
        quiet_for(Duration::from_secs(4)).await;
        let after = harness.get("links").await;
        assert_eq!(after.metadata.resource_version, before, "{:?}", after.status);
    })
    .await;
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    scenario(async |harness| {
        harness.fault(json!({"kind": "status", "status": 429, "retry_after": "8", "times": 1})).await;
        harness.connect(|_| {}).await;
        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        harness.until_connection("Reconciling", "True", "QuotaExhausted").await;
        harness.until_connection("QuotaAvailable", "False", "QuotaExhausted").await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let called = harness.call_times().await;
        assert!(called[1] - called[0] >= 8, "{called:?}");
    })
    .await;
}

/// Makes Linktree's first response fail; the connection must report it, and recover.
async fn fail_once(mut fault: serde_json::Value) {
    fault["times"] = 1.into();
    scenario(async |harness| {
        harness.fault(fault).await;
        harness.connect(|_| {}).await;
        harness.until_connection("Reconciling", "True", "LinktreeUnavailable").await;
        harness.until_connection("Ready", "True", "Available").await;
    })
    .await;
}

#[tokio::test]
async fn a_500_is_retried() {
    fail_once(json!({"kind": "status", "status": 500})).await;
}

#[tokio::test]
async fn an_html_response_is_retried() {
    fail_once(json!({"kind": "html"})).await;
}

#[tokio::test]
async fn a_truncated_response_is_retried() {
    fail_once(json!({"kind": "truncate"})).await;
}

#[tokio::test]
async fn a_timeout_is_retried() {
    fail_once(json!({"kind": "delay", "milliseconds": 4000})).await;
}

#[tokio::test]
async fn a_failed_connection_is_retried() {
    fail_once(json!({"kind": "drop-before"})).await;
}

#[tokio::test]
async fn a_small_request_budget_is_respected_and_suffices() {
    scenario_with(&[], async |harness| {
        harness.connect(|spec| spec["requestBudget"] = json!({"requestsPerMinute": 4})).await;
        let mut node = harness.webhook("links", |_| {}).await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        assert!(harness.calls_since(0).await.len() <= 4);
        until("the status has the budget", async || {
            harness.connection().await.status.and_then(|status| status.request_budget).is_some()
        })
        .await;
    })
    .await;
}
