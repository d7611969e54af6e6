//! A sync requested by annotation.

use linktree_operator::api::{connection::LinktreeConnection, webhook::LinktreeWebhook};
use serde_json::json;

use crate::{
    harness::{Harness, scenario},
    network::Destination,
    wait::until,
};

fn lists(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.starts_with("GET /v1/webhooks?")).count()
}

async fn until_handled(harness: &Harness, value: &str) {
    until(&format!("sync request {value} is handled"), async || {
        harness.status("links").await.last_handled_sync_request.as_deref() == Some(value)
    })
    .await;
}

#[tokio::test]
async fn a_requested_sync_lists_once_and_probes_again() {
    scenario(async |harness| {
        harness.connect(|spec| spec["syncPeriodSeconds"] = 86_400.into()).await;
        let mut node = harness.webhook("links", |spec| spec["subscription"] = json!({"driftPolicy": "Report"})).await;
        node.start().await;
        harness.until_condition("links", "Ready", "True", "Available").await;
        let id = harness.status("links").await.subscription.unwrap().id.unwrap();
        let events = json!({"events": ["profile.updated"]});
        harness.linktree.control("PATCH", &format!("/subscriptions/{id}"), events).await;
        harness.network.route(&harness.host("links"), Destination::Closed);

        let call = harness.last_call().await;
        harness.request_sync::<LinktreeWebhook>("links", "2026-09-20T10:00:00Z").await;
        until_handled(harness, "2026-09-20T10:00:00Z").await;
        // Once the request is handled, the status shows the new observations.
        let status = harness.status("links").await;
        assert_eq!(status.subscription.unwrap().drift[0].observed, "profile.updated");
        let reason = |of: &str| status.conditions.iter().find(|it| it.type_ == of).unwrap().reason.clone();
        assert_eq!(
            (reason("UpToDate"), reason("EndpointReachable")),
            ("DriftDetected".into(), "ConnectionFailed".into())
        );
        harness.trigger_reconciles("links", 3).await;
        let calls = harness.calls_since(call).await;
        assert_eq!((lists(&calls), calls.len()), (1, 1), "{calls:?}");

        harness.request_sync::<LinktreeWebhook>("links", "once more").await;
        until_handled(harness, "once more").await;
        assert_eq!(lists(&harness.calls_since(call).await), 2);
    })
    .await;
}

#[tokio::test]
async fn a_requested_sync_of_a_connection_skips_the_backoff() {
    scenario(async |harness| {
        harness.put_secret("linktree-api", "token", "lt_test_free").await;
        harness.connect_without_token(|spec| spec["syncPeriodSeconds"] = 86_400.into()).await;
        harness.until_connection("Stalled", "True", "PlanExcludesWebhooks").await;
        // The next retry is minutes away.
        let call = harness.last_call().await;
        harness.request_sync::<LinktreeConnection>("brand", "now").await;
        until("the request is handled", async || {
            harness.connection().await.status.unwrap().last_handled_sync_request.as_deref() == Some("now")
        })
        .await;
        assert_eq!(harness.calls_since(call).await.len(), 1);
        harness.until_connection("Stalled", "True", "PlanExcludesWebhooks").await;
    })
    .await;
}
